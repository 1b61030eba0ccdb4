"""Planners: the optimal values of a known MDP, with a proof of how far off they are.

All of them are one loop, `solve`, which in every round makes one full backup T v of the values, derives from it what is
certain, and then lets the planner choose the next values. A `Planner` is that choice and nothing else:

    value iteration            v <- T v
    modified policy iteration  v <- T_pi^m v,                  pi greedy in v, m adaptive
    policy iteration           v <- (I - gamma P_pi)^-1 r_pi   by elimination
    Krylov policy iteration    the same, inexactly, by BiCGStab
    Gauss-Seidel               v(s) <- (T v)(s)                block after block, each seeing the last
    prioritised sweeping       v(s) <- (T v)(s)                where the error is largest, again and again
    Anderson acceleration      the mixture of past T v whose residuals cancel best

What is certain (MacQueen, 1966): with d = T v - v and h = gamma / (1 - gamma),

    T v + h min d <= V* <= T v + h max d

so the middle of the two is off by at most half of what lies between: the `bound`. It shrinks with the *span* of d; the
usual rule waits for the largest entry, and needs 1811 sweeps for 6 on a problem that mixes well. Where episodes end, 0
counts among the entries of d; with gamma = 1, h bounds the expected length of an episode under any policy. What rounding
may have done is added, so the bound holds in float32 too: a tolerance that the precision cannot certify ends with
`converged = False` and the bound that was reached, never in an endless loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from rljax import checks
from rljax.mdp import evaluation
from rljax.mdp.model import TabularMDP, one_problem
from rljax.mdp.operators import Sweep, action_values, choose, q_values, reward_scale, sweep
from rljax.structs import pytree_dataclass


@pytree_dataclass
class Solution:
    """What a planner found."""

    v: Array  # [S] values, at most `bound` away from V* everywhere
    q: Array  # [S, A] action values, as close; -inf where an action is not available
    policy: Array  # [S] int32, greedy in the values backed up last: its own are at most 2 `bound` below V*
    bound: Array  # [] certified max_s |v(s) - V*(s)|, rounding included
    converged: Array  # [] bool: bound <= tolerance
    iterations: Array  # [] int32 full backups
    method: str = dataclasses.field(metadata={"static": True})  # the planner's name


class Facts(NamedTuple):
    """What a certificate has to know of the problem, found once."""

    horizon: Array  # [] how often an error of one backup may repeat
    rounding: Array  # [] how far a backup may be off, of the largest numbers in it
    reward: Array  # [] the largest of what can be done, signs aside


class PlanState(NamedTuple):
    """Where `solve` stands after a full backup."""

    v: Array  # [S] what was backed up
    value: Array  # [S] T v
    policy: Array  # [S] int32, greedy in v
    extremes: Array  # [3] the largest of v - T v, of T v - v and of |v|: 0 is among the first two, if anything ends
    least: Array  # [] smallest spread of T v - v so far
    idle: Array  # [] int32 rounds since it was met
    iterations: Array  # [] int32
    memory: Any
    facts: Facts

    @property
    def low(self) -> Array:
        """[]: T v + low <= V*."""
        return -self._repeated(self.extremes[0])

    @property
    def high(self) -> Array:
        """[]: V* <= T v + high."""
        return self._repeated(self.extremes[1])

    @property
    def slack(self) -> Array:
        """[] what rounding may have added to either."""
        largest = self.extremes[2] + self.facts.reward + jnp.maximum(jnp.abs(self.low), jnp.abs(self.high))
        return self.facts.rounding * (largest + self._repeated(largest))

    @property
    def bound(self) -> Array:
        """[] certified error of the middle; inf if none can be proven."""
        error = 0.5 * (self.high - self.low) + self.slack
        return jnp.where(jnp.isinf(self.facts.horizon), jnp.inf, error)

    @property
    def stalled(self) -> Array:
        """[] bool: for two rounds the gains have come no closer to each other, and rounding alone spreads them as far.

        Where policies take turns, each solved for, or a planner starts from bounds, its effect may be repeated as often as
        any error; but better policies too may be on their way, a state a round, and so it takes as many rounds to know.
        """
        noise = usual_noise(self.facts.rounding, self.extremes[2] + self.facts.reward)
        noise = noise * jnp.where(self.idle > self.v.size, jnp.maximum(self.facts.horizon, 1.0), 1.0)
        return (self.idle >= 2) & (self.extremes[0] + self.extremes[1] <= noise)

    def _repeated(self, gain: Array) -> Array:
        return jnp.where(gain == 0, 0.0, self.facts.horizon * gain)  # also of an infinite horizon


def usual_noise(rounding: Array, largest: Array) -> Array:
    """[] by how much rounding spreads the gains of a backup, and hardly more; what is on its way is mostly at 1000 eps.

    By 5 eps of the largest value where few terms are added, 15 where it is a thousand: far less than the worst, `rounding`.
    """
    return jnp.maximum(16.0 * jnp.finfo(largest.dtype).eps, rounding / 16.0) * largest


class Planner(NamedTuple):
    """How the next values follow from a full backup of the last ones."""

    name: str
    improve: Callable[[TabularMDP, PlanState], tuple[Array, Any]]  # (v, memory): the next values, 0 in terminal states
    memory: Callable[[TabularMDP], Any] = lambda mdp: ()


def solve(
    mdp: TabularMDP,
    planner: Planner,
    *,
    tolerance: float | Array = 1e-6,
    max_iterations: int | Array = 100_000,
    start: Array | None = None,
) -> Solution:
    """Plan until the values are certain to `tolerance`: one `while_loop`, for `jit` and for `vmap` over anything in `mdp`.

    Args:
      mdp: the problem; its dtype is the precision.
      planner: one of `rljax.mdp.planners`.
      tolerance: largest certified error wanted; may be traced. The default is for float64: float32 certifies no less than
        some 1e-6 max |V| / (1 - gamma), and ends there with `converged = False` and that bound.
      max_iterations: full backups after which to answer with what there is; may be traced.
      start: [S] first values; default 0.

    Returns:
      `Solution`; read `converged` or `bound`.

    Errors:
      ValueError: a tolerance that is not positive, a stack of problems. TypeError: no planner, no problem.

    Example:
      >>> from rljax.mdp import planners, problems
      >>> solution = solve(problems.chapter_mdp(gamma=0.9), planners.value_iteration(), tolerance=1e-3)
      >>> [round(float(x), 2) for x in solution.v], bool(solution.converged)
      ([18.92, 0.0, 50.13], True)

    Puterman (1994), sec. 6.6; Geron (2022), ch. 18, "Markov decision processes".
    """
    one_problem(mdp)
    checks.real("tolerance", tolerance, 0, above=True)
    checks.integer("max_iterations", max_iterations, 1, batch=True)
    made(planner)
    known = facts(mdp)
    mdp = mdp.with_parts(reward=mdp.expected_reward.T)  # once, not in every round

    def going(state: PlanState) -> Array:
        return (state.bound > tolerance) & ~state.stalled & (state.iterations < max_iterations)

    state = lax.while_loop(going, lambda state: advance(mdp, planner, state), begin(mdp, planner, known, start))
    return conclude(mdp, planner, state, tolerance)


def made(planner: Any) -> None:
    """It is a planner, and not its maker."""
    if not isinstance(planner, Planner):
        raise TypeError(
            f"planner is {planner!r}; expected one that was made: planners.value_iteration(), with its brackets."
        )


def facts(mdp: TabularMDP) -> Facts:
    """Of a problem whose rewards are as they were given: rounding is relative to rewards on arrival, not to their mean."""
    # A sum of n products is off by at most (n + 1) eps of its largest term's bound.
    rounding = jnp.asarray((mdp.transitions.fan_out + 3) * jnp.finfo(mdp.dtype).eps, mdp.dtype)
    return Facts(effective_horizon(mdp), rounding, reward_scale(mdp))


def begin(mdp: TabularMDP, planner: Planner, known: Facts, start: Array | None = None) -> PlanState:
    """The first full backup; that of 0 are the rewards, and nothing of the transitions is read."""
    if start is None:
        v, q = jnp.zeros(mdp.num_states, mdp.dtype), mdp.expected_reward
    else:
        checks.same_shape(start=start, states=mdp.terminal)
        v = jnp.where(mdp.terminal, 0.0, jnp.asarray(start, mdp.dtype))
        q = action_values(mdp, v)
    nothing = jnp.asarray(jnp.inf, mdp.dtype), jnp.int32(0)
    return _certify(v, choose(mdp, q), *nothing, jnp.int32(1), planner.memory(mdp), known)


def advance(mdp: TabularMDP, planner: Planner, state: PlanState) -> PlanState:
    """One round: the planner's next values, their full backup and what it proves."""
    v, memory = planner.improve(mdp, state)
    return _certify(v, sweep(mdp, v), state.least, state.idle, state.iterations + 1, memory, state.facts)


def conclude(mdp: TabularMDP, planner: Planner, state: PlanState, tolerance: float | Array) -> Solution:
    """The middle of what is certain, and the policy that is: greedy in what was backed up, not in the middle."""
    middle = 0.5 * (state.low + state.high)
    v = jnp.where(mdp.terminal, 0.0, state.value + jnp.where(jnp.isfinite(middle), middle, 0.0))
    bound = state.bound
    return Solution(v, q_values(mdp, v), state.policy, bound, bound <= tolerance, state.iterations, planner.name)


def _certify(
    v: Array, swept: Sweep, least: Array, idle: Array, iterations: Array, memory: Any, known: Facts
) -> PlanState:
    # Where nothing ends, the least and largest gain repeat for ever; where something does, it may be 0 at any time, as it
    # is in terminal states.
    gain = swept.value - v
    extremes = jnp.max(jnp.stack([-gain, gain, jnp.abs(v)]), axis=1)  # in one go: many small kernels are slow
    spread = extremes[0] + extremes[1]
    idle, least = jnp.where(spread < least, 0, idle + 1), jnp.minimum(spread, least)
    return PlanState(v, swept.value, swept.policy, extremes, least, idle, iterations, memory, known)


def effective_horizon(mdp: TabularMDP, max_iterations: int = 100_000) -> Array:
    """How often an error of one backup may repeat: gamma / (1 - gamma); for gamma = 1 the longest expected episode.

    The latter solves u(s) = 1 + max_a sum_s' P(s' | s, a) u(s'). Iterated from u = 0, the gains T u - u fall; once they are
    at most 1/2, 2 u satisfies 2 u >= 1 + max P (2 u), and so is an upper bound.

    Returns:
      [] steps; inf if gamma = 1 and some policy never ends.
    """
    gamma = jnp.asarray(mdp.gamma)
    chance = gamma < 1
    time = mdp.with_parts(reward=jnp.ones((mdp.num_states,), mdp.dtype))

    def going(carry: tuple[Array, Array, Array]) -> Array:
        _, gain, i = carry
        return ~chance & (gain > 0.5) & (i < max_iterations)

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        u, _, i = carry
        longer = sweep(time, u).value
        return longer, jnp.max(longer - u), i + 1

    start = (jnp.zeros(mdp.num_states, mdp.dtype), jnp.asarray(jnp.inf, mdp.dtype), jnp.int32(0))
    u, gain, _ = lax.while_loop(going, step, start)
    longest = jnp.where(gain <= 0.5, 2.0 * jnp.max(u), jnp.inf)
    safe = jnp.where(chance, gamma, 0.0)
    return jnp.where(chance, safe / (1.0 - safe), longest)


def optimal_values(mdp: TabularMDP, planner: Planner, *, tolerance: float | Array = 1e-6) -> Array:
    """V* as a differentiable function of the problem.

    V* is the fixed point of T, whose derivative is that of T_pi* (a maximum changes, to first order, as the maximiser), so

        dV* = (I - gamma P_pi*)^-1 (dr_pi* + d(gamma P_pi*) V*)

    and differentiating through one linear solve gives just that; no planner is unrolled. Where two policies are equally
    good, V* has a kink, and this is the derivative on one side of it.

    Args:
      mdp: the problem, as the argument of `jax.grad` with `allow_int=True` (masks and successors have no gradient); [S, S]
        numbers must fit in memory.
      planner: finds the policy.
      tolerance: of the plan; what comes out are the exact values of its policy.

    Returns:
      [S] V*. Gradient reaches rewards, transitions and gamma.

    Example:
      >>> from rljax.mdp import planners, problems
      >>> mdp = problems.chapter_mdp(gamma=0.9)
      >>> gradient = jax.grad(lambda mdp: optimal_values(mdp, planners.value_iteration())[0], allow_int=True)(mdp)
      >>> bool(gradient.gamma > 0)
      True
    """
    policy = solve(jax.tree.map(lax.stop_gradient, mdp), planner, tolerance=tolerance).policy
    return evaluation.evaluate(mdp, policy)
