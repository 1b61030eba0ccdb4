"""What a learner must know of an environment that lives elsewhere: how large its observations are, and what it can do."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from gymnasium import spaces
from jax import Array

from rljax import checks
from rljax.structs import Step, pytree_dataclass


@pytree_dataclass
class Task:
    """The outline of an environment, for the makers of `rljax.agents`; `rljax.host` plays the environment itself.

    Played on the device it is nothing: every reward is NaN, so that the loop stops at once and says so.

    Args:
      size: of an observation, D numbers.
      actions: how many there are.

    Example:
      >>> Task(4, 2).action_space
      Discrete(2)
    """

    size: int = dataclasses.field(metadata={"static": True})
    actions: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        checks.integer("size", self.size, 1)
        checks.integer("actions", self.actions, 1)

    @property
    def action_space(self) -> spaces.Discrete:
        """Numbered from zero."""
        return spaces.Discrete(self.actions)

    @property
    def observation_space(self) -> spaces.Box:
        """[D] any numbers."""
        return spaces.Box(-float("inf"), float("inf"), (self.size,))

    def reset(self, key: Array) -> tuple[Array, Array]:
        """Zeros."""
        checks.key(key)
        return jnp.zeros(()), self.observe(jnp.zeros(()))

    def observe(self, state: Any) -> Array:
        """[D] zeros."""
        del state
        return jnp.zeros(self.size)

    def step(self, key: Array, state: Array, action: Array) -> tuple[Array, Step]:
        """Nothing that could be learned from."""
        del key, action
        return state, Step(self.observe(state), jnp.full((), jnp.nan), jnp.bool_(False), jnp.bool_(False))
