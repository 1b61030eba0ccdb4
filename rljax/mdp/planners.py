"""The planners: each says how the next values follow from a full backup, and `planning.solve` does the rest.

A planner is made once and serves any MDP; numbers may be traced. `value_iteration()` and `modified_policy_iteration()`
use nothing but backups, hence fit MDPs that are never stored; the others say what more they need.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from rljax import checks
from rljax.mdp import evaluation
from rljax.mdp.generated import Generated
from rljax.mdp.levels import Levels, in_blocks
from rljax.mdp.model import TabularMDP, one_problem
from rljax.mdp.operators import action_values
from rljax.mdp.planning import Planner, PlanState, Solution, solve
from rljax.mdp.transitions import Dense, Sparse, gather


def plan(
    mdp: TabularMDP,
    method: str = "auto",
    *,
    tolerance: float | Array = 1e-6,
    max_iterations: int | Array = 100_000,
    start: Array | None = None,
) -> Solution:
    """Plan with the planner that suits the shape of the problem; `Solution.method` says which it was.

    | problem              | picked                       | since                                                |
    |----------------------|------------------------------|------------------------------------------------------|
    | 33 to 256, `Dense`   | modified policy iteration    | products so small are cheaper than Krylov steps      |
    | successors generated | modified policy iteration    | it needs nothing stored but its policy's successors  |
    | all others           | Krylov policy iteration      | never far from the best, however slow the mixing     |

    With up to 256 states, up to 16 backups of value iteration come first, a quarter of `max_iterations` at most: where mixing
    is fast they are all it takes, and the least that can be done.

    Mazes, and whatever else has goals far away, go several times faster by `gauss_seidel(mdp.outwards(problem))`, which has
    to look at the problem before it is compiled; tables that are mostly zeros, as lists (`mdp.to_sparse`); large lists in
    float64 up to a quarter faster from what float32 has found, `start=plan(problem.astype(jnp.float32)).v`.

    Args:
      mdp: the problem.
      method: "auto", or the name of a planner of this module: "value_iteration", "policy_iteration", ...
      tolerance, max_iterations, start: as in `planning.solve`; two planners, one after the other, back up at least twice.

    Returns:
      `Solution`.

    Errors:
      ValueError: an unknown method, a stack of problems. TypeError: no problem.

    Example:
      >>> from rljax.mdp import problems
      >>> plan(problems.chapter_mdp(gamma=0.9), tolerance=1e-2).method
      'value iteration, then Krylov policy iteration'
    """
    one_problem(mdp)
    checks.choice("method", method, ("auto", *METHODS))
    if method != "auto":
        return solve(mdp, METHODS[method](), tolerance=tolerance, max_iterations=max_iterations, start=start)
    small = mdp.num_states <= 256
    middling = small and mdp.num_states > 32
    modified = isinstance(mdp.transitions, Generated) or (isinstance(mdp.transitions, Dense) and middling)
    planner = modified_policy_iteration() if modified else krylov_policy_iteration()
    if not small:
        return solve(mdp, planner, tolerance=tolerance, max_iterations=max_iterations, start=start)
    checks.integer("max_iterations", max_iterations, 1, batch=True)
    few = jnp.clip(max_iterations // 4, 1, 16)
    first = solve(mdp, value_iteration(), tolerance=tolerance, max_iterations=few, start=start)
    left = jnp.maximum(max_iterations - first.iterations, 1)
    then = solve(mdp, planner, tolerance=tolerance, max_iterations=left, start=first.v)
    iterations, method = first.iterations + then.iterations, f"{first.method}, then {then.method}"
    return dataclasses.replace(then, iterations=iterations, method=method)


def value_iteration() -> Planner:
    """Bellman (1957): the backup itself.

        v_{k+1}(s) = max_a (r(s, a) + gamma sum_s' P(s' | s, a) v_k(s'))

    Geron (2022), ch. 18, "Value iteration".
    """
    return Planner("value iteration", lambda mdp, state: (state.value, state.memory))


def q_value_iteration() -> Planner:
    """The chapter's Q-value iteration, of which `Solution.q` are the values.

        q_{k+1}(s, a) = r(s, a) + gamma sum_s' P(s' | s, a) max_a' q_k(s', a')

    Its maxima are the values of value iteration, v_k = max_a q_k: as that it is carried out, and as that it is proven.

    Geron (2022), ch. 18, "Q-value iteration".
    """
    return value_iteration()._replace(name="Q-value iteration")


def modified_policy_iteration(fraction: float | Array = 0.01, max_sweeps: int = 200) -> Planner:
    """Puterman & Shin (1978): backups under the greedy policy, each 1 / A of the work, until they have settled.

        v <- T_pi v    while  span(T_pi v - v) > fraction * span(T v - v), at most max_sweeps times

    Args:
      fraction: of the outer residual to which the inner one falls; 0.01 to 0.3 all work.
      max_sweeps: of one round.
    """
    checks.real("fraction", fraction, 0, 1, above=True)
    checks.integer("max_sweeps", max_sweeps, 1)

    def improve(mdp: TabularMDP, state: PlanState) -> tuple[Array, Any]:
        residual = state.value - state.v
        ahead = evaluation.one_step_ahead(mdp, state.policy)
        gained, residual = _settle(ahead, residual, fraction * _span(residual), max_sweeps)
        return state.v + gained + residual, state.memory

    return Planner("modified policy iteration", improve)


def policy_iteration() -> Planner:
    """Howard (1960): the exact values of the greedy policy, by Gaussian elimination; for up to some thousand states.

    v = (I - gamma P_pi)^-1 r_pi, [S, S] in memory.
    """

    def improve(mdp: TabularMDP, state: PlanState) -> tuple[Array, Any]:
        return evaluation.evaluate(mdp, state.policy), state.memory

    return Planner("policy iteration", improve)


def krylov_policy_iteration(fraction: float | Array = 0.01, max_sweeps: int = 20, max_steps: int = 200) -> Planner:
    """Inexact policy iteration: backups under the greedy policy as long as they help, then BiCGStab.

    Where mixing is fast, this is modified policy iteration, and no Krylov step is taken; where it is slow, a dozen of them do
    the work of a thousand backups. The planner to take when nothing is known.

    Args:
      fraction: of the outer residual to which the inner one falls.
      max_sweeps: backups before BiCGStab takes over.
      max_steps: of BiCGStab, two backups each.

    Gargiani et al. (2024), Inexact policy iteration methods for large-scale MDPs.
    """
    checks.real("fraction", fraction, 0, 1, above=True)
    checks.integer("max_sweeps", max_sweeps, 1)
    checks.integer("max_steps", max_steps, 1)

    def improve(mdp: TabularMDP, state: PlanState) -> tuple[Array, Any]:
        residual = state.value - state.v
        ahead, enough = evaluation.one_step_ahead(mdp, state.policy), fraction * _span(residual)
        gained, residual = _settle(ahead, residual, enough, max_sweeps)

        # What all states lack alike, a backup would bring in 1 / (1 - gamma) rounds: it is added at once, if nothing ends.
        alike = 0.5 * (jnp.max(residual) + jnp.min(residual))
        alike = jnp.where(mdp.terminal.any() | (mdp.gamma == 1), 0.0, alike)
        v = state.v + gained + alike / jnp.where(alike == 0, 1.0, 1.0 - mdp.gamma)
        gained, residual = evaluation.bicgstab(ahead, residual - alike, enough, max_steps)
        return v + gained + residual, state.memory

    return Planner("Krylov policy iteration", improve)


def anderson(depth: int = 5) -> Planner:
    """Anderson (1965) acceleration of value iteration: the affine mixture of the last backups with the least residual.

        v <- sum_i w_i T v_i,    w = argmin |sum_i w_i (T v_i - v_i)|_2,  sum_i w_i = 1

    A mixture with a larger residual than the values before it is dropped for their plain backup, whose residual is smaller,
    and the memory starts anew: two rounds are worth a backup of value iteration, or more.

    Zhang, O'Donoghue & Boyd (2020); Geist & Scherrer (2018).
    """
    checks.integer("depth", depth, 1)

    def memory(mdp: TabularMDP) -> Any:
        empty = jnp.zeros((depth, mdp.num_states), mdp.dtype)
        return empty, empty, jnp.int32(0), jnp.asarray(jnp.inf, mdp.dtype), empty[0]

    def improve(mdp: TabularMDP, state: PlanState) -> tuple[Array, Any]:
        values, residuals, count, last, backup = state.memory
        value, residual = state.value, state.value - state.v
        now = jnp.max(jnp.abs(residual))
        worse = now > last
        values, residuals = values.at[count % depth].set(value), residuals.at[count % depth].set(residual)
        known = jnp.arange(depth, dtype=jnp.int32) <= count
        gram = jnp.where(known[:, None] & known[None, :], residuals @ residuals.T, 0.0)
        scale = jnp.trace(gram) + jnp.finfo(gram.dtype).tiny
        ridge = jnp.finfo(gram.dtype).eps * 100.0 * scale
        gram = gram + jnp.diag(jnp.where(known, ridge, scale))
        weight = jnp.where(known, jnp.linalg.solve(gram, known.astype(gram.dtype)), 0.0)
        mixed = (weight / weight.sum()) @ values
        mixed = jnp.where(jnp.isfinite(mixed).all(), mixed, value)
        # What follows a dropped mixture is not judged: near the end rounding alone can make a residual larger.
        count, last, backup = (
            jnp.where(worse, 0, count + 1),
            jnp.where(worse, jnp.inf, now),
            jnp.where(worse, backup, value),
        )
        following = jnp.where(worse, backup, mixed)
        return jnp.where(mdp.terminal, 0.0, following), (values, residuals, count, last, backup)

    return Planner("Anderson acceleration", improve, memory)


def gauss_seidel(levels: Levels | None = None, fraction: float | Array = 0.03, max_sweeps: int = 50) -> Planner:
    """Backups in place: each block of states sees what the blocks before it have just become.

        v(s) <- max_a (r(s, a) + gamma sum_{s' /= s} P(s' | s, a) v(s')) / (1 - gamma P(s | s, a))

    Self-loops are solved exactly, not waited for. Every round starts from below, at T v + low <= V*: in the order of
    `mdp.outwards` one sweep then carries the values of the goals through the whole problem.

    Args:
      levels: the order, from `mdp.outwards`; default: the states' own, one by one up to 1024 states, else in 256 blocks.
      fraction: of the outer residual to which the change of a sweep falls before the next full backup.
      max_sweeps: of one round.

    Puterman (1994), sec. 6.3.3.
    """
    if not (levels is None or isinstance(levels, Levels)):
        raise TypeError(f"levels is {levels!r}; expected what mdp.outwards makes of a problem, or None.")
    checks.real("fraction", fraction, 0, 1, above=True)
    checks.integer("max_sweeps", max_sweeps, 1)

    def memory(mdp: TabularMDP) -> Any:
        _stored(mdp, "Gauss-Seidel")
        order = levels or in_blocks(mdp.num_states, mdp.num_states if mdp.num_states <= 1024 else 256)
        if order.states is not None and order.place is not None:
            checks.same_shape(levels=order.states, states=mdp.terminal)
            mdp = mdp.renumbered(order.states, order.place)
        transitions = _stored(mdp, "Gauss-Seidel")
        loops = jnp.minimum(mdp.gamma * transitions.stay(), 1.0 - jnp.finfo(mdp.dtype).eps)
        visits = jnp.where(mdp.terminal[None], 0.0, 1.0 / (1.0 - loops))  # [A, S] discounted, before one leaves
        reward = jnp.where(mdp.mask.T, visits * mdp.expected_reward, -jnp.inf)
        return order, reward.T, transitions.rows(mdp.gamma * visits)

    def improve(mdp: TabularMDP, state: PlanState) -> tuple[Array, Any]:
        order, *table = state.memory

        def back_up(v: Array, first: Array) -> tuple[Array, None]:
            reward, rows = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, first, order.width), table)
            best = functools.reduce(jnp.maximum, (reward + rows.expect(v)).T)
            return lax.dynamic_update_slice_in_dim(v, best, first, 0), None

        def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            v, _, i = carry
            better, _ = lax.scan(back_up, v, order.first)
            return better, jnp.max(jnp.abs(better - v)), i + 1

        enough = fraction * jnp.max(jnp.abs(state.value - state.v))
        going = lambda carry: (carry[1] > enough) & (carry[2] < max_sweeps)
        below = jnp.where(jnp.abs(state.low) > 2.0 * state.slack, state.low, 0.0)  # else it is the noise of rounding
        v = jnp.where(mdp.terminal, 0.0, state.value + jnp.where(jnp.isfinite(below), below, 0.0))
        v = v if order.states is None else gather(v, order.states)
        v, *_ = lax.while_loop(going, sweep, (v, jnp.asarray(jnp.inf, v.dtype), jnp.int32(0)))
        return v if order.place is None else gather(v, order.place), state.memory

    return Planner("Gauss-Seidel", improve, memory)


def prioritised_sweeping(updates: int | None = None) -> Planner:
    """Single backups where they matter most, between one full backup and the next.

        s = argmax |(T v)(s) - v(s)|;   v(s) <- (T v)(s);   q(., .) changes by gamma P(s | ., .) times as much

    Args:
      updates: single backups in one round; default: as many as there are states.

    Moore & Atkeson (1993); Sutton & Barto (2018), sec. 8.4.
    """
    if updates is not None:
        checks.integer("updates", updates, 1)

    def improve(mdp: TabularMDP, state: PlanState) -> tuple[Array, Any]:
        transitions = _stored(mdp, "prioritised sweeping")
        best = lambda q: jnp.where(mdp.terminal, 0.0, jnp.max(jnp.where(mdp.mask.T, q, -jnp.inf), axis=0))

        def update(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            v, q = carry
            change = best(q) - v
            s = jnp.argmax(jnp.abs(change)).astype(jnp.int32)
            return v.at[s].add(change[s]), q + mdp.gamma * transitions.into(s) * change[s]

        return lax.fori_loop(0, updates or mdp.num_states, update, (state.v, action_values(mdp, state.v)))[
            0
        ], state.memory

    return Planner("prioritised sweeping", improve)


METHODS: dict[str, Callable[[], Planner]] = {
    planner.__name__: planner
    for planner in (
        value_iteration,
        q_value_iteration,
        modified_policy_iteration,
        policy_iteration,
        krylov_policy_iteration,
        gauss_seidel,
        prioritised_sweeping,
        anderson,
    )
}


def _span(d: Array) -> Array:
    # Terminal states have d = 0, as the certificate wants.
    return jnp.max(d) - jnp.min(d)


def _settle(ahead: Callable[[Array], Array], residual: Array, enough: Array, max_sweeps: int) -> tuple[Array, Array]:
    """Backups under a policy until the span of their residual is small enough: what they add, and the last residual.

    A backup adds its residual, T_pi (v + x) = v + x + residual, and leaves gamma P_pi residual: rewards are not read again.
    """

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        gained, residual, i = carry
        return gained + residual, ahead(residual), i + 1

    def going(carry: tuple[Array, Array, Array]) -> Array:
        _, residual, i = carry
        return (i == 0) | ((_span(residual) > enough) & (i < max_sweeps))

    gained, residual, _ = lax.while_loop(going, step, (jnp.zeros_like(residual), residual, jnp.int32(0)))
    return gained, residual


def _stored(mdp: TabularMDP, planner: str) -> Dense | Sparse:
    if isinstance(mdp.transitions, Generated):
        raise TypeError(
            f"{planner} reads single states of stored transitions, and these are Generated. "
            "Store them (transitions.stored()), or take value iteration or modified policy iteration."
        )
    return mdp.transitions
