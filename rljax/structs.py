"""Records that travel between the floors: what one step of an environment says, and what a learner remembers of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array


class Step(NamedTuple):
    """What an environment answers to an action. It never resets itself: `observation` is that of the arrival state.

    Both ends of an episode may be reported at once; `terminated` (the task ended: the future is worth nothing) and
    `truncated` (the clock ended: the future is worth what it is worth) are different facts.
    """

    observation: Array  # [...] of the state that the action led to
    reward: Array  # [] for arriving there
    terminated: Array  # [] bool
    truncated: Array  # [] bool


class Transition(NamedTuple):
    """One step of interaction. In a rollout every leaf is time-major, [T, N, ...].

    `next_observation` and `next_state` are the true successors, before any reset: value estimates may bootstrap from them.
    """

    observation: Array  # o_{t-1}: what the policy saw
    action: Array  # a_{t-1}
    reward: Array  # r_t
    next_observation: Array  # o_t
    terminated: Array  # bool: no future after this step
    truncated: Array  # bool: the episode was cut here, the future goes on
    valid: Array  # bool: False where the environment did not act on the action (dead, or resetting)
    state: Any  # environment state at the source
    next_state: Any  # environment state on arrival


class Algorithm(NamedTuple):
    """A learner, a search or a planner as pure functions; the one loop (`rljax.train`) runs them all.

    `state` is one pytree with everything the next step needs; `metrics` is a dict of scalars for people to see.
    """

    init: Callable[[Array], Any]  # key -> state
    step: Callable[[Array, Any], tuple[Any, dict[str, Array]]]  # (key, state) -> (state, metrics)
    parameters: Callable[[Any], Any]  # state -> what is worth keeping of it
    act: Callable[[Any, Array, Any], Array]  # (parameters, key, observation) -> action, as it is used once learned
    score: Callable[[Array, Any], Array]  # (key, parameters) -> [] how good they are; more is better
