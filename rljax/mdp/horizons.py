"""Other measures of success than a discounted sum: a number of steps that is fixed, or the average over ever more of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from rljax import checks
from rljax.mdp.model import TabularMDP, one_problem
from rljax.mdp.operators import choose, reward_scale, sweep
from rljax.mdp.planning import usual_noise


class FiniteHorizon(NamedTuple):
    """The best plan for H steps: row t is for when t steps have been taken."""

    v: Array  # [H + 1, S]; the last row is what the end is worth
    policy: Array  # [H, S] int32


def backward_induction(mdp: TabularMDP, horizon: int, final_value: Array | None = None) -> FiniteHorizon:
    """Plan backwards from the end.

        v_H = final_value,   v_t(s) = max_a (r(s, a) + gamma sum_s' P(s' | s, a) v_{t+1}(s'))

    Exact up to rounding; gamma = 1 is as good as any, whether or not episodes end. Without final values a step is a round of
    value iteration: `agents.planner(mdp, value_iteration())` shows it in the one loop.

    Args:
      mdp: the problem.
      horizon: H, number of steps.
      final_value: [S]; default 0.

    Returns:
      `FiniteHorizon`: values and a policy that depends on the time.

    Errors:
      ValueError: a horizon below 1, final values of another shape, a stack of problems. TypeError: no problem.

    Example:
      >>> from rljax.mdp import problems
      >>> plan = backward_induction(problems.chapter_mdp(gamma=1 - 1e-6), 2)
      >>> plan.v.shape, plan.policy[0].tolist()
      ((3, 3), [0, 0, 1])

    Puterman (1994), sec. 4.5.
    """
    one_problem(mdp)
    checks.integer("horizon", horizon, 1)
    final_value = jnp.zeros(mdp.num_states, mdp.dtype) if final_value is None else final_value
    checks.same_shape(final_value=final_value, states=mdp.terminal)
    mdp = mdp.with_parts(reward=mdp.expected_reward.T)

    def back(v: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        value, policy = sweep(mdp, v)
        return value, (v, policy)

    first, (later, policy) = lax.scan(
        back, jnp.where(mdp.terminal, 0.0, jnp.asarray(final_value, mdp.dtype)), None, horizon, reverse=True
    )
    return FiniteHorizon(jnp.concatenate([first[None], later]), policy)


class AverageReward(NamedTuple):
    """What `relative_value_iteration` found."""

    gain: Array  # [] best average reward of a step, off by at most `bound`
    bias: Array  # [S] how much better than on average it is to start there, 0 at state 0
    policy: Array  # [S] int32; its own gain is at most 2 `bound` below the best
    bound: Array  # [] certified
    converged: Array  # [] bool
    iterations: Array  # [] int32


class Relative(NamedTuple):
    """Where `relative_value_iteration` stands after a backup."""

    h: Array  # [S] relative values, 0 at state 0
    policy: Array  # [S] int32, greedy in the relative values before
    low: Array  # [] the best gain is no less, but for `slack`
    high: Array  # [] and no more
    slack: Array  # [] what rounding may have added to either
    noise: Array  # [] what it usually spreads the two by
    least: Array  # [] the closest that the two have been
    idle: Array  # [] int32 rounds since then
    iterations: Array  # [] int32

    @property
    def gain(self) -> Array:
        """[]: the middle of what is certain."""
        return 0.5 * (self.low + self.high)

    @property
    def bound(self) -> Array:
        """[]: certified error of the gain."""
        return 0.5 * (self.high - self.low) + self.slack

    @property
    def stalled(self) -> Array:
        """[] bool: as of `planning.PlanState`."""
        return (self.idle >= 2) & (self.high - self.low <= self.noise)


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

    Errors:
      ValueError: numbers out of range, a stack of problems. TypeError: no problem.

    Example:
      >>> from rljax.mdp import problems
      >>> found = relative_value_iteration(problems.river_swim(gamma=0.9), tolerance=0.1)
      >>> bool(found.converged)
      True

    White (1963); Puterman (1994), sec. 8.5; Odoni (1969) for the bounds.
    """
    one_problem(mdp)
    checks.real("tolerance", tolerance, 0, above=True)
    checks.real("max_iterations", max_iterations, 1)
    back_up = relative_backup(mdp)

    def going(state: Relative) -> Array:
        return (state.bound > tolerance) & ~state.stalled & (state.iterations < max_iterations)

    found = lax.while_loop(going, back_up, relative_start(mdp))
    bias = found.h - found.h[0]
    return AverageReward(found.gain, bias, found.policy, found.bound, found.bound <= tolerance, found.iterations)


def relative_start(mdp: TabularMDP) -> Relative:
    """Relative values of 0, of which nothing is known."""
    infinite, h = jnp.asarray(jnp.inf, mdp.dtype), jnp.zeros(mdp.num_states, mdp.dtype)
    zero, none = jnp.zeros_like(infinite), jnp.int32(0)
    return Relative(h, h.astype(jnp.int32), -infinite, infinite, zero, zero, infinite, none, none)


def relative_backup(mdp: TabularMDP) -> Callable[[Relative], Relative]:
    """One round of `relative_value_iteration`, as a function of where it stands."""
    reward, scale = mdp.expected_reward, reward_scale(mdp)
    rounding = jnp.asarray(jnp.finfo(mdp.dtype).eps * (mdp.transitions.fan_out + 3), mdp.dtype)

    def back_up(state: Relative) -> Relative:
        value, policy = choose(mdp, reward + mdp.transitions.expect(state.h))
        value = 0.5 * (jnp.where(mdp.terminal, state.h, value) + state.h)
        gain = 2.0 * (value - state.h)
        low, high = jnp.min(gain), jnp.max(gain)
        largest = scale + 2.0 * jnp.max(jnp.abs(state.h))
        slack, noise = rounding * largest, usual_noise(rounding, largest)
        idle = jnp.where(high - low < state.least, 0, state.idle + 1)
        least = jnp.minimum(high - low, state.least)
        return Relative(value - value[0], policy, low, high, slack, noise, least, idle, state.iterations + 1)

    return back_up
