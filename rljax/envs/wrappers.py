"""Environments made of environments."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from rljax import checks
from rljax.envs.base import Environment
from rljax.structs import Step, pytree_dataclass


class TimeLimitState(NamedTuple):
    """A state with a clock."""

    inner: Any  # state of the wrapped environment
    elapsed: Array  # [] int32, steps since reset


@pytree_dataclass
class TimeLimit:
    """`truncated` becomes true on step `max_steps` of an episode, whether or not that very step also terminates.

    Example:
      >>> import jax
      >>> from rljax.envs import CartPole
      >>> env = TimeLimit(CartPole(), max_steps=1)
      >>> state, _ = env.reset(jax.random.key(0))
      >>> bool(env.step(jax.random.key(1), state, jnp.int32(0))[1].truncated)
      True
    """

    inner: Environment
    max_steps: int | Array

    def __post_init__(self) -> None:
        checks.environment("inner", self.inner)
        checks.integer("max_steps", self.max_steps, 1, batch=True)

    @property
    def observation_space(self) -> Any:
        """That of the wrapped environment."""
        return self.inner.observation_space

    @property
    def action_space(self) -> Any:
        """That of the wrapped environment."""
        return self.inner.action_space

    def reset(self, key: Array) -> tuple[TimeLimitState, Any]:
        """The clock starts at zero."""
        inner, observation = self.inner.reset(key)
        return TimeLimitState(inner, jnp.int32(0)), observation

    def observe(self, state: TimeLimitState) -> Any:
        """That of the wrapped environment: the clock is not shown."""
        return self.inner.observe(state.inner)

    def step(self, key: Array, state: TimeLimitState, action: Array) -> tuple[TimeLimitState, Step]:
        """The wrapped step, and one more on the clock."""
        inner, step = self.inner.step(key, state.inner, action)
        elapsed = state.elapsed + 1
        return TimeLimitState(inner, elapsed), step._replace(truncated=step.truncated | (elapsed >= self.max_steps))


class EpisodeStatisticsState(NamedTuple):
    """A state that remembers its episode."""

    inner: Any  # state of the wrapped environment
    total: Array  # [] sum of the rewards since reset
    elapsed: Array  # [] int32, steps since reset


@pytree_dataclass
class EpisodeStatistics:
    """The return and the length of the episode so far, in the state: of a whole episode in its last `next_state`.

    Example:
      >>> import jax
      >>> from rljax.envs import CartPole
      >>> env = EpisodeStatistics(CartPole())
      >>> state, _ = env.reset(jax.random.key(0))
      >>> state, _ = env.step(jax.random.key(1), state, jnp.int32(0))
      >>> float(state.total), int(state.elapsed)
      (1.0, 1)
    """

    inner: Environment

    def __post_init__(self) -> None:
        checks.environment("inner", self.inner)

    @property
    def observation_space(self) -> Any:
        """That of the wrapped environment."""
        return self.inner.observation_space

    @property
    def action_space(self) -> Any:
        """That of the wrapped environment."""
        return self.inner.action_space

    def reset(self, key: Array) -> tuple[EpisodeStatisticsState, Any]:
        """Both start at zero."""
        inner, observation = self.inner.reset(key)
        return EpisodeStatisticsState(inner, jnp.zeros((), jnp.result_type(float)), jnp.int32(0)), observation

    def observe(self, state: EpisodeStatisticsState) -> Any:
        """That of the wrapped environment."""
        return self.inner.observe(state.inner)

    def step(self, key: Array, state: EpisodeStatisticsState, action: Array) -> tuple[EpisodeStatisticsState, Step]:
        """The wrapped step, counted."""
        inner, step = self.inner.step(key, state.inner, action)
        total = state.total + step.reward.astype(state.total.dtype)
        return EpisodeStatisticsState(inner, total, state.elapsed + 1), step
