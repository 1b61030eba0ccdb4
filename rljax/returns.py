"""Returns along one stream of experience: what an action turned out to be worth.

Every function takes `[T]` arrays in time order and is batched by `jax.vmap` (time-major storage: `in_axes=1, out_axes=1`).
`r_t, discount_t, v_t` belong to the arrival of step t. The maths never hears "done":

* termination is `discount_t = 0`: no future;
* truncation is `lambda_t = 0`: the recursion is cut and the value of the true successor, `v_t`, stands for the future.

All of them are one linear recurrence, x_t = a_t + b_t x_{t+1}. `parallel=True` solves it by an associative scan, in log T
depth: faster on an accelerator when T is long, equal but for rounding.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks
from rljax.structs import floats


def discounted_returns(r_t: ArrayLike, discount_t: ArrayLike, *, parallel: bool = False) -> Array:
    """Reward to go: the rewards that follow an action, each step later counting `discount` times less.

        G_t = r_t + discount_t G_{t+1},    G_{T+1} = 0

    Args:
      r_t: [T] rewards; integers are converted, not truncated.
      discount_t: [T] gamma, or 0 on the last step of each episode; or [] the same for all.

    Returns:
      [T]. Gradient reaches both arguments.

    Example:
      >>> discounted_returns(jnp.array([10, 0, -50]), 0.8).tolist()
      [-22.0, -40.0, -50.0]

    Sutton & Barto (2018), eq. 3.9; Geron (2022), ch. 18, "Evaluating actions: the credit assignment problem".
    """
    r_t = _stream(r_t)
    discount_t = _fractions("discount_t", discount_t, r_t)
    checks.same_shape(r_t=r_t, discount_t=discount_t)
    return _recurrence(r_t, discount_t, parallel)


def lambda_returns(
    r_t: ArrayLike, discount_t: ArrayLike, v_t: ArrayLike, lambda_t: ArrayLike, *, parallel: bool = False
) -> Array:
    """TD(lambda) targets: a geometric mixture of all n-step returns.

        G_t = r_t + discount_t ((1 - lambda_t) v_t + lambda_t G_{t+1}),    G_T = r_T + discount_T v_T

    lambda = 0 is one-step TD, lambda = 1 is Monte Carlo.

    Args:
      r_t: [T] rewards.
      discount_t: [T] gamma, or 0 where the episode terminated.
      v_t: [T] value of the true successor of each step, before any reset.
      lambda_t: [T] mixture, or 0 where the episode was truncated; or [] the same for all.

    Returns:
      [T]. Gradient reaches all four arguments.

    Example:
      >>> r_t, discount_t, v_t = jnp.array([1., 1.]), jnp.array([0.5, 0.5]), jnp.array([4., 8.])
      >>> lambda_returns(r_t, discount_t, v_t, 1.0).tolist()
      [3.5, 5.0]

    Sutton & Barto (2018), eq. 12.18.
    """
    r_t, discount_t, v_t, lambda_t = _streams(r_t, discount_t, v_t, lambda_t)
    lambda_t = lambda_t.at[-1].set(0.0)  # the end of the stream is a cut
    return _recurrence(r_t + discount_t * (1.0 - lambda_t) * v_t, discount_t * lambda_t, parallel)


def peng_q_lambda(
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    lambda_t: ArrayLike,
    mask_t: Array | None = None,
    *,
    parallel: bool = False,
) -> Array:
    """Peng's Q(lambda) targets: Q-learning that looks further, along whatever was done.

        G_t = r_t + discount_t ((1 - lambda_t) max_a q_t(a) + lambda_t G_{t+1}),    G_T = r_T + discount_T max_a q_T(a)

    Exploring actions count as if they had been meant: with lambda > 0 the fixed point lies between the values of the
    greedy policy and of the one that acts.

    Args:
      r_t, discount_t, lambda_t: as in `lambda_returns`.
      q_t: [T, A] action values of the true successor of each step, before any reset.
      mask_t: [T, A] bool, which actions are available there; where none is, nothing follows: 0.

    Returns:
      [T]. Gradient reaches all numbers.

    Errors:
      ValueError: unequal lengths or shapes.
      TypeError: a mask that is not bool.

    Example:
      >>> q_t = jnp.array([[4., 0.], [2., 8.]])
      >>> peng_q_lambda(jnp.ones(2), jnp.full(2, 0.5), q_t, 0.5).tolist()
      [3.25, 5.0]

    Peng & Williams (1994), Incremental multi-step Q-learning; without replay Gallici et al. (2025), PQN.
    """
    r_t, lambda_t, _, v_t = _action_values(r_t, q_t, lambda_t, mask_t)
    return lambda_returns(r_t, discount_t, v_t, lambda_t, parallel=parallel)


def watkins_q_lambda(
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    a_t: ArrayLike,
    lambda_t: ArrayLike,
    mask_t: Array | None = None,
    *,
    parallel: bool = False,
) -> Array:
    """Watkins's Q(lambda) targets: `peng_q_lambda` that looks no further than to the first exploring action.

        lambda_t <- lambda_t 1{q_t(a_t) = max_a q_t(a)}        any of equal ones is greedy

    Args:
      r_t, discount_t, q_t, lambda_t, mask_t: as in `peng_q_lambda`.
      a_t: [T] the action taken where step t led, that is the one of step t + 1; the last one has no say.

    Returns:
      [T]. Gradient reaches all numbers.

    Errors:
      ValueError: unequal lengths or shapes.
      TypeError: actions that are no integers, a mask that is not bool.

    Example:
      >>> q_t = jnp.array([[4., 0.], [2., 8.]])
      >>> [watkins_q_lambda(jnp.ones(2), jnp.full(2, 0.5), q_t, jnp.array([a, 0]), 0.5).tolist() for a in (0, 1)]
      [[3.25, 5.0], [3.0, 5.0]]

    Watkins (1989), sec. 7; Sutton & Barto (2018), sec. 12.10.
    """
    r_t, lambda_t, values, v_t = _action_values(r_t, q_t, lambda_t, mask_t)
    a_t = jnp.asarray(a_t)
    checks.same_shape(r_t=r_t, a_t=a_t)
    if not jnp.issubdtype(a_t.dtype, jnp.integer):
        raise TypeError(f"a_t has type {a_t.dtype}; expected integers, the actions taken.")
    chosen = jnp.take_along_axis(values, a_t[:, None], axis=1)[:, 0]
    return lambda_returns(r_t, discount_t, v_t, jnp.where(chosen == v_t, lambda_t, 0.0), parallel=parallel)


def n_step_returns(
    r_t: ArrayLike, discount_t: ArrayLike, v_t: ArrayLike, n: int, *, lambda_t: ArrayLike = 1.0
) -> Array:
    """n rewards, then the value of where they led:

        G^(1)_t = r_t + discount_t v_t
        G^(n)_t = r_t + discount_t ((1 - lambda_t) v_t + lambda_t G^(n-1)_{t+1})

    Near the end of the stream fewer than n rewards are left, and fewer are used.

    Args:
      r_t, discount_t, v_t: [T], as in `lambda_returns`.
      n: number of rewards.
      lambda_t: [T] 1, or 0 where the episode was truncated.

    Returns:
      [T]. Gradient reaches all arrays.

    Errors:
      ValueError: n < 1.

    Example:
      >>> n_step_returns(jnp.ones(3), jnp.full(3, 0.5), jnp.array([4., 8., 16.]), 2).tolist()
      [3.5, 5.5, 9.0]

    Sutton & Barto (2018), eq. 7.1.
    """
    checks.integer("n", n, 1)
    r_t, discount_t, v_t, lambda_t = _streams(r_t, discount_t, v_t, lambda_t)
    lambda_t = lambda_t.at[-1].set(0.0)
    one_step = r_t + discount_t * v_t

    def longer(_: int, g_t: Array) -> Array:
        return r_t + discount_t * ((1.0 - lambda_t) * v_t + lambda_t * jnp.roll(g_t, -1))

    return lax.fori_loop(1, n, longer, one_step)


def n_step_reward(
    r_t: ArrayLike, terminated: ArrayLike, truncated: ArrayLike, gamma: ArrayLike
) -> tuple[Array, Array, Array]:
    """A window of n steps as one long step, which stops where an episode does.

        k        = first step that terminated or was truncated, else n - 1
        reward   = sum_{i <= k} gamma^i r_i
        discount = gamma^{k+1}, or 0 if terminated at k        what the value of k's true successor counts

    Args:
      r_t: [n] rewards.
      terminated, truncated: [n] bool.
      gamma: [] in [0, 1]; may be traced.

    Returns:
      reward [], discount [], k [] int32. Gradient reaches r_t and gamma.

    Example:
      >>> going, cut = jnp.array([False, False, False]), jnp.array([False, True, False])
      >>> [float(x) for x in n_step_reward(jnp.array([1., 2., 4.]), going, cut, 0.5)]
      [2.0, 0.25, 1.0]

    Sutton & Barto (2018), sec. 7.1.
    """
    checks.boolean(terminated=terminated, truncated=truncated)
    r_t, terminated, truncated = _stream(r_t), jnp.asarray(terminated), jnp.asarray(truncated)
    checks.same_shape(r_t=r_t, terminated=terminated, truncated=truncated)
    checks.rank(0, gamma=gamma)
    power = jnp.cumprod(_fractions("gamma", gamma, r_t))  # gamma^{i+1}
    step = jnp.arange(r_t.shape[0], dtype=jnp.int32)
    ended = terminated | truncated
    last = jnp.where(ended.any(), jnp.argmax(ended).astype(jnp.int32), step[-1])
    weight = jnp.concatenate([jnp.ones_like(power[:1]), power[:-1]])
    reward = jnp.where(step <= last, weight * r_t, 0.0).sum()
    discount = jnp.where((step == last) & ~terminated, power, 0.0).sum()
    return reward, discount, last


def gae(
    r_t: ArrayLike,
    discount_t: ArrayLike,
    v_tm1: ArrayLike,
    v_t: ArrayLike,
    lambda_t: ArrayLike,
    *,
    parallel: bool = False,
) -> Array:
    """Generalised advantage estimates: discounted sums of TD errors.

        delta_t = r_t + discount_t v_t - v_{t-1}
        A_t     = delta_t + discount_t lambda_t A_{t+1},    A_{T+1} = 0

    Args:
      r_t, discount_t, v_t, lambda_t: [T], as in `lambda_returns`.
      v_tm1: [T] value of the source of each step. At a reset it is not the `v_t` before it: hence two arrays.

    Returns:
      [T], equal to `lambda_returns - v_tm1` wherever `v_tm1` continues `v_t`.

    Example:
      >>> gae(jnp.array([1., 1.]), jnp.array([0.5, 0.]), jnp.array([1., 2.]), jnp.array([2., 9.]), 1.0).tolist()
      [0.5, -1.0]

    Schulman et al. (2016), eq. 16.
    """
    r_t, discount_t, v_t, lambda_t = _streams(r_t, discount_t, v_t, lambda_t)
    v_tm1 = floats(v_tm1)
    checks.same_shape(r_t=r_t, v_tm1=v_tm1)
    return _recurrence(r_t + discount_t * v_t - v_tm1, discount_t * lambda_t, parallel)


def normalise(x: ArrayLike, valid: ArrayLike | None = None) -> Array:
    """Mean 0, standard deviation 1 over all valid entries together: better than average is positive.

        y = (x - mean x) / std x        (population standard deviation; 0 everywhere if all are equal)

    Args:
      x: any shape: returns of a batch of episodes, ragged ones padded; NaN or inf among them makes all of them NaN.
      valid: bool, same shape: False marks padding, which counts nowhere and comes out as 0.

    Returns:
      Same shape as x.

    Example:
      >>> g, valid = jnp.array([[-22., -40., -50.], [26., 20., 0.]]), jnp.array([[1, 1, 1], [1, 1, 0]], bool)
      >>> normalise(g, valid).tolist()
      [[-0.28435, -0.86598, -1.18910], [1.26665, 1.07278, 0.0]]

    Geron (2022), ch. 18, "Policy gradients".
    """
    x = floats(x)
    valid = jnp.ones(x.shape, bool) if valid is None else valid
    checks.boolean(valid=valid)
    valid = jnp.asarray(valid)
    checks.same_shape(x=x, valid=valid)
    count = jnp.maximum(valid.astype(x.dtype).sum(), 1.0)  # a float sum: XLA:CPU sums integers one by one
    # From the least entry up, so that equal entries come out as zero exactly, not as rounding divided by itself; in units
    # of the range, so that no square overflows or underflows. Neither changes the result, nor therefore the gradient.
    least = lax.stop_gradient(jnp.min(x, where=valid, initial=jnp.inf))
    span = lax.stop_gradient(jnp.max(x, where=valid, initial=-jnp.inf)) - least
    equal = span <= 0  # false of NaN, which goes through to where the loop sees it
    above = jnp.where(valid, x - least, 0.0) / jnp.where(equal, 1.0, span)
    centred = jnp.where(valid, above - above.sum() / count, 0.0)
    variance = jnp.square(centred).sum() / count
    return jnp.where(valid & ~equal, centred / jnp.sqrt(jnp.where(equal, 1.0, variance)), 0.0)


def _backward(x: Array, ab: tuple[Array, Array]) -> tuple[Array, Array]:
    # A function of the module, not of each call: outside of `jit` JAX knows by it what it has compiled before.
    x = ab[0] + ab[1] * x
    return x, x


def _recurrence(a_t: Array, b_t: Array, parallel: bool) -> Array:
    """x_t = a_t + b_t x_{t+1} with x_{T+1} = 0, backwards in time."""
    if not parallel:
        return lax.scan(_backward, jnp.zeros_like(a_t[0]), (a_t, b_t), reverse=True)[1]

    def compose(late: tuple[Array, Array], early: tuple[Array, Array]) -> tuple[Array, Array]:
        return early[0] + early[1] * late[0], early[1] * late[1]

    return lax.associative_scan(compose, (a_t, b_t), reverse=True)[0]


def _stream(r_t: ArrayLike) -> Array:
    r_t = floats(r_t)
    checks.rank(1, r_t=r_t)
    checks.integer("the length of the stream", r_t.shape[0], 1)
    return r_t


def _fractions(name: str, value: ArrayLike, r_t: Array) -> Array:
    """Numbers in [0, 1], one for each step; a scalar is the same for all."""
    checks.numbers(**{name: value})
    value = jnp.asarray(value, r_t.dtype)
    checks.real(name, value, 0, 1, batch=True)
    return jnp.full_like(r_t, value) if value.ndim == 0 else value


def _action_values(
    r_t: ArrayLike, q_t: Array, lambda_t: ArrayLike, mask_t: Array | None
) -> tuple[Array, Array, Array, Array]:
    """Rewards; lambda, 0 where no action is available; values [T, A], -inf of what is not; the highest ones, else 0."""
    r_t = _stream(r_t)
    lambda_t = _fractions("lambda_t", lambda_t, r_t)
    checks.rank(2, q_t=q_t)
    checks.integer("the number of actions", q_t.shape[1], 1)
    checks.same_shape(r_t=r_t, lambda_t=lambda_t, **{"q_t[:, 0]": q_t[:, 0]})
    if mask_t is None:
        return r_t, lambda_t, q_t, q_t.max(axis=1)
    checks.same_shape(q_t=q_t, mask_t=mask_t)
    checks.boolean(mask_t=mask_t)
    some, values = mask_t.any(axis=1), jnp.where(mask_t, q_t, -jnp.inf)
    return r_t, jnp.where(some, lambda_t, 0.0), values, jnp.where(some, values.max(axis=1), 0.0)


def _streams(
    r_t: ArrayLike, discount_t: ArrayLike, v_t: ArrayLike, lambda_t: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    r_t, v_t = _stream(r_t), floats(v_t)
    discount_t, lambda_t = _fractions("discount_t", floats(discount_t), r_t), _fractions("lambda_t", lambda_t, r_t)
    checks.same_shape(r_t=r_t, discount_t=discount_t, v_t=v_t, lambda_t=lambda_t)
    return r_t, discount_t, v_t, lambda_t
