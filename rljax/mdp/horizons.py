"""Other measures of success than a discounted sum: a number of steps that is fixed, or the average over ever more of them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from rljax import checks
from rljax.mdp.model import TabularMDP
from rljax.mdp.operators import choose, reward_scale, sweep


class FiniteHorizon(NamedTuple):
    """The best plan for H steps: row t is for when t steps have been taken."""

    v: Array  # [H + 1, S]; the last row is what the end is worth
    policy: Array  # [H, S] int32


def backward_induction(mdp: TabularMDP, horizon: int, final_value: Array | None = None) -> FiniteHorizon:
    """Plan backwards from the end.

        v_H = final_value,   v_t(s) = max_a (r(s, a) + gamma sum_s' P(s' | s, a) v_{t+1}(s'))

    Exact up to rounding; gamma = 1 is as good as any, whether or not episodes end.

    Args:
      mdp: the problem.
      horizon: H, number of steps.
      final_value: [S]; default 0.

    Returns:
      `FiniteHorizon`: values and a policy that depends on the time.

    Errors:
      ValueError: a horizon below 1, final values of another shape.

    Example:
      >>> from rljax.mdp import problems
      >>> plan = backward_induction(problems.chapter_mdp(gamma=1 - 1e-6), 2)
      >>> plan.v.shape, plan.policy[0].tolist()
      ((3, 3), [0, 0, 1])

    Puterman (1994), sec. 4.5.
    """
    checks.integer("horizon", horizon, 1)
    final_value = jnp.zeros(mdp.num_states, mdp.dtype) if final_value is None else jnp.asarray(final_value)
    checks.same_shape(final_value=final_value, states=mdp.terminal)
    mdp = mdp.with_parts(reward=mdp.expected_reward.T)

    def back(v: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        value, policy = sweep(mdp, v)
        return value, (v, policy)

    first, (later, policy) = lax.scan(back, jnp.where(mdp.terminal, 0.0, final_value), None, horizon, reverse=True)
    return FiniteHorizon(jnp.concatenate([first[None], later]), policy)


class AverageReward(NamedTuple):
    """What `relative_value_iteration` found."""

    gain: Array  # [] best average reward of a step, off by at most `bound`
    bias: Array  # [S] how much better than on average it is to start there, 0 at state 0
    policy: Array  # [S] int32; its own gain is at most 2 `bound` below the best
    bound: Array  # [] certified
    converged: Array  # [] bool
    iterations: Array  # [] int32


def relative_value_iteration(
    mdp: TabularMDP, *, tolerance: float | Array = 1e-6, max_iterations: int | Array = 100_000
) -> AverageReward:
    """The best average reward, where every policy visits one and the same recurrent class (a unichain problem).

        h <- T h - (T h)(0),     min (T h - h) <= g* <= max (T h - h)

    with T undiscounted and lazy (with probability 1/2 nothing happens), so that periodic chains settle too; gamma is not
    looked at. An episode that is over earns 0 for ever: where every policy ends, so does the gain.

    Args:
      mdp: the problem.
      tolerance: largest certified error of the gain wanted; may be traced.
      max_iterations: after which to answer with what there is.

    Returns:
      `AverageReward`; read `converged` or `bound`.

    Example:
      >>> from rljax.mdp import problems
      >>> found = relative_value_iteration(problems.river_swim(gamma=0.9), tolerance=0.1)
      >>> bool(found.converged)
      True

    White (1963); Puterman (1994), sec. 8.5; Odoni (1969) for the bounds.
    """
    checks.real("tolerance", tolerance, 0, above=True)
    checks.real("max_iterations", max_iterations, 1)
    reward, scale = mdp.expected_reward, reward_scale(mdp)
    eps = jnp.finfo(mdp.dtype).eps * (mdp.transitions.fan_out + 3)

    def lazy(h: Array) -> tuple[Array, Array]:
        value, policy = choose(mdp, reward + mdp.transitions.expect(h))
        return 0.5 * (jnp.where(mdp.terminal, h, value) + h), policy

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        h, _, _, _, _, i = carry
        value, policy = lazy(h)
        d = value - h
        slack = eps * (scale + 2.0 * jnp.max(jnp.abs(h)))
        return value - value[0], policy, 2.0 * jnp.min(d), 2.0 * jnp.max(d), slack, i + 1

    def going(carry: tuple[Array, ...]) -> Array:
        _, _, low, high, slack, i = carry
        span = 0.5 * (high - low)
        return (span + slack > tolerance) & (span > 0.5 * slack) & (i < max_iterations)

    infinite = jnp.asarray(jnp.inf, mdp.dtype)
    zeros = jnp.zeros(mdp.num_states, mdp.dtype)
    start = (zeros, zeros.astype(jnp.int32), -infinite, infinite, jnp.zeros_like(infinite), jnp.int32(0))
    h, policy, low, high, slack, i = lax.while_loop(going, step, start)
    bound = 0.5 * (high - low) + slack
    return AverageReward(0.5 * (low + high), h - h[0], policy, bound, bound <= tolerance, i)
