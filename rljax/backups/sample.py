"""What follows is one value: the next action's, the mean of a policy, or the highest."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks
from rljax.structs import floats


def td_target(r_t: ArrayLike, discount_t: ArrayLike, v_t: ArrayLike) -> Array:
    """What a state is worth, judged by one step.

        y = r_t + discount_t v_t

    Args:
      r_t: [] reward.
      discount_t: [] gamma, or 0 where the episode terminated.
      v_t: [] value of the true successor, before any reset.

    Returns:
      []. Gradient reaches all arguments.

    Errors:
      ValueError: an argument that is not a scalar.

    Example:
      >>> float(td_target(1.0, 0.5, 4.0))
      3.0

    Sutton & Barto (2018), eq. 6.2; Geron (2022), ch. 18, "Temporal difference learning".
    """
    checks.rank(0, r_t=r_t, discount_t=discount_t, v_t=v_t)
    # A product with 0 would let an infinite or undefined v_t through.
    return jnp.asarray(r_t + discount_t * jnp.where(jnp.equal(discount_t, 0), jnp.zeros_like(v_t), v_t))


def td_error(v_tm1: ArrayLike, r_t: ArrayLike, discount_t: ArrayLike, v_t: ArrayLike) -> Array:
    """TD(0): delta = r_t + discount_t v_t - v_{t-1}.

    Args:
      v_tm1: [] estimate of the source.
      r_t, discount_t, v_t: as in `td_target`.

    Returns:
      []. Gradient reaches `v_tm1` alone.

    Example:
      >>> float(td_error(2.0, 1.0, 0.5, 4.0))
      1.0

    Sutton (1988); Sutton & Barto (2018), eq. 6.5.
    """
    checks.rank(0, v_tm1=v_tm1)
    return lax.stop_gradient(td_target(r_t, discount_t, v_t)) - v_tm1


def sarsa_target(r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, a_t: ArrayLike) -> Array:
    """What an action is worth if `a_t` is the next one.

        y = r_t + discount_t q_t(a_t)

    Args:
      r_t, discount_t: as in `td_target`.
      q_t: [A] action values of the successor.
      a_t: [] the action that will be taken there.

    Returns:
      []. Gradient reaches rewards, discount and the entry `a_t` of `q_t`.

    Example:
      >>> float(sarsa_target(1.0, 0.5, jnp.array([4.0, 8.0]), 1))
      5.0

    Rummery & Niranjan (1994); Sutton & Barto (2018), eq. 6.7.
    """
    checks.rank(1, q_t=q_t)
    checks.rank(0, a_t=a_t)
    return td_target(r_t, discount_t, q_t[a_t])


def sarsa_error(
    q_tm1: Array, a_tm1: ArrayLike, r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, a_t: ArrayLike
) -> Array:
    """SARSA: delta = r_t + discount_t q_t(a_t) - q_{t-1}(a_{t-1}).

    Args:
      q_tm1: [A] action values of the source.
      a_tm1: [] the action taken.
      r_t, discount_t, q_t, a_t: as in `sarsa_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> float(sarsa_error(jnp.array([2.0, 0.0]), 0, 1.0, 0.5, jnp.array([4.0, 8.0]), 1))
      3.0
    """
    return against(q_tm1, a_tm1, sarsa_target(r_t, discount_t, q_t, a_t))


def expected_sarsa_target(r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, pi_t: Array) -> Array:
    """What an action is worth if a policy goes on: SARSA without the noise of the next action.

        y = r_t + discount_t sum_a pi_t(a) q_t(a)

    Args:
      r_t, discount_t: as in `td_target`.
      q_t: [A] action values of the successor.
      pi_t: [A] probabilities there; 0 is the mask.

    Returns:
      []. Gradient reaches all arguments.

    Example:
      >>> float(expected_sarsa_target(1.0, 0.5, jnp.array([4.0, 8.0]), jnp.array([0.5, 0.5])))
      4.0

    van Seijen et al. (2009); Sutton & Barto (2018), eq. 6.9.
    """
    checks.rank(1, q_t=q_t, pi_t=pi_t)
    checks.same_shape(q_t=q_t, pi_t=pi_t)
    return td_target(r_t, discount_t, jnp.sum(pi_t * jnp.where(pi_t > 0, q_t, 0.0)))


def expected_sarsa_error(
    q_tm1: Array, a_tm1: ArrayLike, r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, pi_t: Array
) -> Array:
    """Expected SARSA: delta = r_t + discount_t sum_a pi_t(a) q_t(a) - q_{t-1}(a_{t-1}).

    Args:
      q_tm1, a_tm1: as in `sarsa_error`.
      r_t, discount_t, q_t, pi_t: as in `expected_sarsa_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> float(expected_sarsa_error(jnp.array([2.0]), 0, 1.0, 0.5, jnp.array([4.0, 8.0]), jnp.array([0.5, 0.5])))
      2.0
    """
    return against(q_tm1, a_tm1, expected_sarsa_target(r_t, discount_t, q_t, pi_t))


def q_learning_target(r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, mask_t: Array | None = None) -> Array:
    """What an action is worth if the best follows.

        y = r_t + discount_t max_a q_t(a)        over the available actions

    Args:
      r_t, discount_t: as in `td_target`.
      q_t: [A] action values of the successor.
      mask_t: [A] bool.

    Returns:
      []. Gradient reaches rewards, discount and the largest entry of `q_t` (equal ones share it).

    Example:
      >>> float(q_learning_target(1.0, 0.5, jnp.array([4.0, 8.0]), jnp.array([True, False])))
      3.0

    Watkins (1989); Sutton & Barto (2018), eq. 6.8; Geron (2022), ch. 18, "Q-learning".
    """
    return td_target(r_t, discount_t, highest(q_t, mask_t))


def q_learning_error(
    q_tm1: Array,
    a_tm1: ArrayLike,
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    mask_t: Array | None = None,
) -> Array:
    """Q-learning: delta = r_t + discount_t max_a q_t(a) - q_{t-1}(a_{t-1}).

    Args:
      q_tm1, a_tm1: as in `sarsa_error`.
      r_t, discount_t, q_t, mask_t: as in `q_learning_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> float(q_learning_error(jnp.array([2.0]), 0, 1.0, 0.5, jnp.array([4.0, 8.0])))
      3.0
    """
    return against(q_tm1, a_tm1, q_learning_target(r_t, discount_t, q_t, mask_t))


def double_q_learning_target(
    r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, other_t: Array, mask_t: Array | None = None
) -> Array:
    """One table names the best action, the other says what it is worth: the maximum no longer picks its own errors.

        y = r_t + discount_t other_t(argmax_a q_t(a))        the first of equals, among the available

    Args:
      r_t, discount_t: as in `td_target`.
      q_t: [A] action values of the successor, of the table that is to be corrected.
      other_t: [A] the same of the other table.
      mask_t: [A] bool.

    Returns:
      []. Gradient reaches rewards, discount and one entry of `other_t`.

    Example:
      >>> float(double_q_learning_target(1.0, 0.5, jnp.array([4.0, 8.0]), jnp.array([6.0, 2.0])))
      2.0

    van Hasselt (2010); Sutton & Barto (2018), eq. 6.10.
    """
    checks.rank(1, q_t=q_t)
    checks.same_shape(q_t=q_t, other_t=other_t)
    best = jnp.argmax(q_t if mask_t is None else jnp.where(checked(q_t, mask_t), q_t, -jnp.inf))
    value = other_t[best] if mask_t is None else jnp.where(mask_t.any(), other_t[best], 0.0)
    return td_target(r_t, discount_t, value)


def double_q_learning_error(
    q_tm1: Array,
    a_tm1: ArrayLike,
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    other_t: Array,
    mask_t: Array | None = None,
) -> Array:
    """Double Q-learning: delta = r_t + discount_t other_t(argmax_a q_t(a)) - q_{t-1}(a_{t-1}).

    Args:
      q_tm1, a_tm1: as in `sarsa_error`.
      r_t, discount_t, q_t, other_t, mask_t: as in `double_q_learning_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> q_t, other_t = jnp.array([4.0, 8.0]), jnp.array([6.0, 2.0])
      >>> float(double_q_learning_error(jnp.array([2.0]), 0, 1.0, 0.5, q_t, other_t))
      0.0
    """
    return against(q_tm1, a_tm1, double_q_learning_target(r_t, discount_t, q_t, other_t, mask_t))


def count_bonus_target(
    r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, n_t: Array, kappa: ArrayLike, mask_t: Array | None = None
) -> Array:
    """Q-learning that is curious: what was seldom tried counts as better than it seems.

        y = r_t + discount_t max_a f(q_t(a), n_t(a)),    f(q, n) = q + kappa / (1 + n)

    Args:
      r_t, discount_t: as in `td_target`.
      q_t: [A] action values of the successor.
      n_t: [A] how often each action was taken there.
      kappa: [] how curious; may be traced.
      mask_t: [A] bool.

    Returns:
      []. Gradient as in `q_learning_target`, and to `kappa`.

    Example:
      >>> float(count_bonus_target(1.0, 0.5, jnp.array([4.0, 3.0]), jnp.array([9, 0]), 10.0))
      7.5

    Geron (2022), ch. 18, "Exploration policies".
    """
    checks.rank(1, q_t=q_t)
    return q_learning_target(r_t, discount_t, with_count_bonus(q_t, n_t, kappa), mask_t)


def count_bonus_error(
    q_tm1: Array,
    a_tm1: ArrayLike,
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    n_t: Array,
    kappa: ArrayLike,
    mask_t: Array | None = None,
) -> Array:
    """Curious Q-learning: delta = r_t + discount_t max_a f(q_t(a), n_t(a)) - q_{t-1}(a_{t-1}).

    Args:
      q_tm1, a_tm1: as in `sarsa_error`.
      r_t, discount_t, q_t, n_t, kappa, mask_t: as in `count_bonus_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> float(count_bonus_error(jnp.array([2.0]), 0, 1.0, 0.5, jnp.array([4.0, 3.0]), jnp.array([9, 0]), 10.0))
      5.5
    """
    return against(q_tm1, a_tm1, count_bonus_target(r_t, discount_t, q_t, n_t, kappa, mask_t))


def with_count_bonus(q: Array, n: Array, kappa: ArrayLike) -> Array:
    """The chapter's exploration function.

        f(q, n) = q + kappa / (1 + n)

    Args:
      q: [...] values.
      n: [...] how often each was tried, same shape.
      kappa: [] how curious; may be traced.

    Example:
      >>> with_count_bonus(jnp.array([4.0, 3.0]), jnp.array([9, 0]), 10.0).tolist()
      [5.0, 13.0]

    Geron (2022), ch. 18, "Exploration policies".
    """
    checks.same_shape(q=q, n=n)
    q = floats(q)
    return q + jnp.asarray(kappa, q.dtype) / (1.0 + n.astype(q.dtype))


def against(estimate_q: Array, a: ArrayLike, target: Array) -> Array:
    """The error of one entry: target - q(a), through which no gradient reaches the target."""
    checks.rank(1, q_tm1=estimate_q)
    checks.rank(0, a_tm1=a)
    return lax.stop_gradient(target) - estimate_q[a]


def highest(q: Array, mask: Array | None) -> Array:
    """The largest available entry, 0 if there is none."""
    checks.rank(1, q_t=q)
    if mask is None:
        return jnp.max(q)
    checked(q, mask)
    return jnp.where(mask.any(), jnp.max(jnp.where(mask, q, -jnp.inf)), 0.0)


def checked(q: Array, mask: Array) -> Array:
    """The mask, which fits."""
    checks.same_shape(q_t=q, mask_t=mask)
    checks.boolean(mask_t=mask)
    return mask
