"""Planners as algorithms: the one loop runs them, and shows the certified error fall, round by round.

A step is one round of `mdp.planning.solve`: the planner's next values, their full backup, and what it proves; or one of
`mdp.horizons.relative_value_iteration`. Rounds of value iteration are the steps of `mdp.horizons.backward_induction`.

Departures from a planner's own loop:

1. Nothing stops by itself but by `target`: a score is minus the certified bound, so `target=-1e-6` ends at a bound of 1e-6.
2. Nothing is random: every key gives the same run.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from rljax import checks
from rljax.mdp import horizons, planning
from rljax.mdp.model import TabularMDP, one_problem
from rljax.structs import Algorithm


def planner(mdp: TabularMDP, planner: planning.Planner, *, v_star: Array | None = None) -> Algorithm:
    """The algorithm of this file.

    Args:
      mdp: the problem.
      planner: one of `rljax.mdp.planners`.
      v_star: [S] the optimal values, if they are known: their distance is then shown beside the bound.

    Returns:
      `Algorithm`; its metrics are the certified `bound`, the usual `residual` max |T v - v| and, with `v_star`, the true
      `error` max |v - V*| of the values proposed.

    Errors:
      TypeError: no problem, no planner. ValueError: a stack of problems, values of another shape.

    Example:
      >>> import jax
      >>> from rljax.mdp import planners, problems
      >>> algorithm = planner(problems.chapter_mdp(gamma=0.9), planners.value_iteration())
      >>> _, metrics = algorithm.step(jax.random.key(0), algorithm.init(jax.random.key(0)))
      >>> sorted(metrics)
      ['bound', 'residual']
    """
    one_problem(mdp)
    planning.made(planner)
    if v_star is not None:
        checks.same_shape(v_star=v_star, states=mdp.terminal)
    known = planning.facts(mdp)
    mdp = mdp.with_parts(reward=mdp.expected_reward.T)

    def init(key: Array) -> planning.PlanState:
        del key
        return planning.begin(mdp, planner, known)

    def step(key: Array, state: planning.PlanState) -> tuple[planning.PlanState, dict[str, Array]]:
        del key
        state = planning.advance(mdp, planner, state)
        metrics = {"bound": state.bound, "residual": jnp.max(jnp.abs(state.value - state.v))}
        if v_star is not None:
            metrics["error"] = jnp.max(jnp.abs(planning.conclude(mdp, planner, state, 0.0).v - v_star))
        return state, metrics

    def act(state: planning.PlanState, key: Array, observation: Any) -> Array:
        del key
        return state.policy[observation]

    def parameters(state: planning.PlanState) -> planning.PlanState:
        return state._replace(memory=())  # tables of the problem; they may hold infinities

    return Algorithm(init, step, parameters, act, lambda key, state: -state.bound)


def average_planner(mdp: TabularMDP) -> Algorithm:
    """Relative value iteration, for the best average reward of a step.

    Args:
      mdp: the problem, unichain; its gamma is not looked at.

    Returns:
      `Algorithm`; its metrics are the `gain` and its certified `bound`.

    Errors:
      TypeError: no problem. ValueError: a stack of problems.

    Example:
      >>> import jax
      >>> from rljax.mdp import problems
      >>> algorithm = average_planner(problems.river_swim(gamma=0.9))
      >>> _, metrics = algorithm.step(jax.random.key(0), algorithm.init(jax.random.key(0)))
      >>> sorted(metrics)
      ['bound', 'gain']

    White (1963).
    """
    one_problem(mdp)
    start, back_up = horizons.relative_start(mdp), horizons.relative_backup(mdp)

    def step(key: Array, state: horizons.Relative) -> tuple[horizons.Relative, dict[str, Array]]:
        del key
        state = back_up(state)
        return state, {"gain": state.gain, "bound": state.bound}

    def act(state: horizons.Relative, key: Array, observation: Any) -> Array:
        del key
        return state.policy[observation]

    return Algorithm(lambda key: back_up(start), step, lambda state: state, act, lambda key, state: -state.bound)
