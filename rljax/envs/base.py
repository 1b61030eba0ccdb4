"""The contract of an environment: an immutable pytree of physical parameters with pure methods.

    state, observation = env.reset(key)
    state, step        = env.step(key, state, action)         step: `rljax.structs.Step`

Rules: states and observations are pytrees of arrays with fixed shapes; `step` never resets and never knows a time limit
(`wrappers.TimeLimit` does); it consumes its key only if the dynamics are random; all of it runs under jit, vmap and scan.
One instance is one set of parameters; many environments are one instance under `vmap`.
"""

from __future__ import annotations

from typing import Any, Protocol

from jax import Array

from rljax.structs import Step


class Environment(Protocol):
    """What `rollout.unroll` asks of an environment. Any object that has these is one; there is nothing to inherit."""

    @property
    def observation_space(self) -> Any:
        """`gymnasium.spaces` description of one observation."""
        ...

    @property
    def action_space(self) -> Any:
        """`gymnasium.spaces` description of one action."""
        ...

    def reset(self, key: Array) -> tuple[Any, Any]:
        """A fresh `(state, observation)`."""
        ...

    def observe(self, state: Any) -> Any:
        """What the agent sees of a state; noise, if any, is part of the state."""
        ...

    def step(self, key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        """The arrival state and what is to be said of it."""
        ...
