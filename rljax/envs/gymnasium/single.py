"""One rljax environment as a `gymnasium.Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from rljax.envs.base import Environment
from rljax.envs.gymnasium import common


class RljaxEnv(gymnasium.Env[Any, Any]):
    """An rljax environment behind `reset` and `step`, in NumPy: each a compiled program, equal to a rollout to the bit.

    With `key` made of two words of `np_random` (see `common`), the answers from the first reset on are those of
    `rollout.unroll(key, env, policy, cursor, T, autoreset="next_step")` for one environment, if it is reset whenever an
    episode ends. A reset with a seed begins anew; one without goes on.

    Time limits: `RljaxEnv(TimeLimit(env, 500))` truncates by itself; what `gymnasium.make` makes has Gymnasium's own wrapper.

    Args:
      world: an rljax environment.
      render_mode: None or "rgb_array".
      draw: from a state to a picture, [height, width, 3] uint8; default: ours, which knows CartPole.

    Errors:
      TypeError, ValueError: an environment that has no place in Gymnasium, options that reset does not know.
      gymnasium.error.UnsupportedMode: another render mode.
      gymnasium.error.ResetNeeded: a step before the first reset, or after the end of an episode.
      gymnasium.error.InvalidAction: an action outside of the action space.

    Example:
      >>> from rljax.envs import CartPole
      >>> env = RljaxEnv(CartPole())
      >>> observation, info = env.reset(seed=0)
      >>> observation, reward, terminated, truncated, info = env.step(1)
      >>> observation.shape, observation.dtype.name, reward, terminated, truncated
      ((4,), 'float32', 1.0, False, False)
    """

    metadata = common.METADATA

    def __init__(self, world: Environment, *, render_mode: str | None = None, draw: common.Draw | None = None) -> None:
        self.observation_space, self.action_space = common.spaces_of(world)
        self.world, self.render_mode, self._draw = world, render_mode, draw or common.drawing_of(world)
        common.render_mode(render_mode, self._draw)
        self.metadata = common.METADATA | ({} if self._draw else {"render_modes": []})
        self._programs = common.single(world)
        self._source: np.random.Generator | None = None  # where the lane of keys comes from
        self._state: Any = None
        self._over = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A fresh start; `options` must be empty."""
        common.options(options)
        super().reset(seed=seed)
        if self.np_random is not self._source:
            self._source, self._clock = self.np_random, common.BEGINNING
            self._lane = common.lanes(common.words(self._source)[None], np.zeros(1, np.uint32))[0]
        self._clock, self._state, observation = self._programs.start(self._lane, self._clock)
        self._over = False
        return common.to_numpy(self.observation_space, observation), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One tick of the clock."""
        if self._state is None:
            raise common.not_reset("step")
        if self._over:
            raise gymnasium.error.ResetNeeded("the episode has ended with the step before. Call reset() first.")
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(f"action is {action!r}; expected an element of {self.action_space}.")
        action = common.to_numpy(self.action_space, action)
        after = self._programs.step(self._lane, self._clock, self._state, action)
        self._clock, self._state, observation, numbers = after
        reward, terminated, truncated = np.asarray(numbers).tolist()
        self._over = bool(terminated or truncated)
        observation = common.to_numpy(self.observation_space, observation)
        return observation, float(reward), bool(terminated), bool(truncated), {}

    def render(self) -> np.ndarray | None:
        """The state as a picture, [height, width, 3] uint8."""
        if self.render_mode is None or self._draw is None:
            return common.undrawn(self.spec)
        if self._state is None:
            raise common.not_reset("render")
        return self._draw(self._state)
