"""Any environment of Gymnasium as a learner wants it: rows of float32 in, numbered actions out, resets out of the way.

Single or vector, and whichever way a vector resets, one step is one step:

| resets                                    | `observation`, to act on       | `successor`, to learn from    | `valid` |
|-------------------------------------------|--------------------------------|-------------------------------|---------|
| single; vector, "disabled": by this class | of the new episode, at once    | the last of the old episode   | always  |
| vector, "same step": by itself            | of the new episode, at once    | the same, `info["final_obs"]` | always  |
| vector, "next step": by itself            | the last of the old episode,   | the same                      | not in  |
|                                           | a step later that of the new   |                               | between |

So `(the observation before, action, reward, successor, terminated, truncated)` is a transition of the environment wherever
`valid`: values may bootstrap from `successor` where an episode was truncated, and none leads from one episode into the next.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode

from rljax import checks
from rljax.envs import guard, host_spaces


class HostStep(NamedTuple):
    """What N environments answer to N actions; arrays of the host, none of which is written to again."""

    observation: np.ndarray  # [N, D] float32, to act on next
    reward: np.ndarray  # [N] float32
    terminated: np.ndarray  # [N] bool
    truncated: np.ndarray  # [N] bool
    successor: np.ndarray  # [N, D] float32, where the action led: before any reset
    valid: np.ndarray  # [N] bool, False where the action was ignored, since the environment was reset


class HostEnvironment:
    """N environments of Gymnasium under guard.

    Args:
      env: a `gymnasium.Env` (N = 1) or a `gymnasium.vector.VectorEnv`.
      env_id, max_episode_steps, bounds: of `guard.guarded`.

    Attributes:
      env: the guarded environment.
      num_envs: N.
      observations: `HostSpace`: D, the names of the D numbers.
      actions: `HostActions`: how many there are.

    Errors:
      TypeError, ValueError: what `guard.guarded`, `host_spaces.observations` and `host_spaces.actions` refuse.
      BadEnvironment: from then on, at the step where something goes wrong.

    Example:
      >>> import gymnasium
      >>> host = HostEnvironment(gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"))
      >>> host.reset(seed=0).shape, host.actions.number
      ((2, 4), 2)
      >>> step = host.step(np.array([0, 1]))
      >>> step.reward, step.valid
      (array([1., 1.], dtype=float32), array([ True,  True]))
    """

    def __init__(
        self, env: Any, *, env_id: str | None = None, max_episode_steps: int | None = None, bounds: bool = True
    ) -> None:
        self.env = guard.guarded(env, env_id=env_id, max_episode_steps=max_episode_steps, bounds=bounds)
        if isinstance(self.env, guard.GuardedVectorEnv):
            self.num_envs, self._mode = self.env.num_envs, self.env.autoreset_mode
            space, action_space, vector = self.env.single_observation_space, self.env.single_action_space, self.num_envs
        else:
            self.num_envs, self._mode = 1, None
            space, action_space, vector = self.env.observation_space, self.env.action_space, None
        self.actions = host_spaces.actions(action_space, vector)
        self.observations = host_spaces.observations(space, self.num_envs)
        self._one = host_spaces.observations(space)
        self._resetting = np.zeros(self.num_envs, bool)  # by themselves, in the next step

    def reset(self, seed: int | None = None) -> np.ndarray:
        """All anew.

        Args:
          seed: of the first of these resets; None: each goes on with the random numbers that it has.

        Returns:
          [N, D] float32.
        """
        if seed is not None:
            checks.seed(seed)
        self._resetting = np.zeros(self.num_envs, bool)
        return self.observations.flatten(self.env.reset(seed=seed)[0])

    def step(self, actions: Any) -> HostStep:
        """One action in each.

        Args:
          actions: [N] integers in 0 ... A - 1.

        Errors:
          ValueError: other numbers.
        """
        answer = self.env.step(self.actions.decode(actions))
        observation = successor = self.observations.flatten(answer[0])
        reward = np.array(answer[1], np.float32).reshape(self.num_envs)
        terminated, truncated = (np.array(flag).reshape(self.num_envs) for flag in answer[2:4])
        ended, valid = terminated | truncated, ~self._resetting
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = ended
        elif ended.any():
            if self._mode is AutoresetMode.SAME_STEP:
                successor = self._with_final(observation, ended, answer[4]["final_obs"])
            else:
                options = None if self._mode is None else {"reset_mask": ended.copy()}
                fresh = self.observations.flatten(self.env.reset(options=options)[0])
                observation = np.where(ended[:, None], fresh, observation)
        return HostStep(observation, reward, terminated, truncated, successor, valid)

    def close(self) -> None:
        """Once and for all."""
        self.env.close()

    def _with_final(self, observation: np.ndarray, ended: np.ndarray, final: Any) -> np.ndarray:
        """[N, D] the last observations of the episodes that ended, the others as they are."""
        if isinstance(final, np.ndarray) and final.dtype == object:
            successor = observation.copy()
            for lane in np.flatnonzero(ended).tolist():
                successor[lane] = self._one.flatten(final[lane])
            return successor
        return np.where(ended[:, None], self.observations.flatten(final), observation)
