"""Many copies of one rljax environment as a `gymnasium.vector.VectorEnv`: one compiled step for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, create_empty_array, iterate

from rljax import checks, rollout
from rljax.envs.base import Environment
from rljax.envs.gymnasium import common

Arrays = Literal["numpy", "jax"]
AUTORESETS: dict[AutoresetMode, rollout.AutoReset] = {
    AutoresetMode.NEXT_STEP: "next_step",
    AutoresetMode.SAME_STEP: "same_step",
    AutoresetMode.DISABLED: "none",
}


class RljaxVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` copies of an rljax environment, stepped by one call of one program.

    What follows the end of an episode is Gymnasium's `AutoresetMode`:

    * NEXT_STEP: the next step ignores the action and resets, for a reward of 0;
    * SAME_STEP: the observation is already that of the next episode; where the last one led is `infos["final_obs"]`;
    * DISABLED: nothing; `reset(options={"reset_mask": mask})` resets those where the mask, [N] bool, is True.

    With `key` made of two words of `np_random` (see `common`) the answers after a reset are those of
    `rollout.unroll(key, env, policy, cursor, T, autoreset=...)`. `reset(seed=5)` is one generator for all;
    `reset(seed=[5, 6, None])` gives the first two those that `RljaxEnv.reset` would, and the third goes on.

    On a CPU, JAX hands a program to another thread and NumPy waits for it, which is most of what a step of few environments
    costs: `jax.config.update("jax_cpu_enable_async_dispatch", False)`, said before anything runs, spares that.

    Args:
      world: an rljax environment; in a `TimeLimit`, if episodes are to be truncated.
      num_envs: N.
      autoreset_mode: see above.
      arrays: "numpy", whose arrays are the caller's own, or "jax": nothing is copied, checked but for shapes and types,
        or waited for. There, actions may be of either kind, `infos["final_obs"]` is an array with a row for every
        environment, to be read where `infos["_final_obs"]`, and what is dead in mode DISABLED rests, for a reward of 0.
      render_mode: None or "rgb_array".
      draw: from one state to a picture, [height, width, 3] uint8; default: ours, which knows CartPole.

    Errors:
      TypeError, ValueError: an environment that has no place in Gymnasium, bad arguments, options, masks or seeds.
      gymnasium.error.UnsupportedMode: another render mode.
      gymnasium.error.ResetNeeded: a step before the first reset; in mode DISABLED, of an environment whose episode is over.
      gymnasium.error.InvalidAction: naming the environment.

    Example:
      >>> from rljax.envs import CartPole, TimeLimit
      >>> envs = RljaxVectorEnv(TimeLimit(CartPole(), 500), num_envs=3)
      >>> observations, infos = envs.reset(seed=0)
      >>> observations, rewards, terminations, truncations, infos = envs.step(np.array([0, 1, 0]))
      >>> observations.shape, rewards.sum(), terminations.any()
      ((3, 4), np.float32(3.0), np.False_)
    """

    def __init__(
        self,
        world: Environment,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        arrays: Arrays = "numpy",
        render_mode: str | None = None,
        draw: common.Draw | None = None,
    ) -> None:
        checks.integer("num_envs", num_envs, 1)
        mode = autoreset_mode.value if isinstance(autoreset_mode, AutoresetMode) else autoreset_mode
        checks.choice("autoreset_mode", mode, tuple(known.value for known in AutoresetMode))
        checks.choice("arrays", arrays, ("numpy", "jax"))
        self.single_observation_space, self.single_action_space = common.spaces_of(world)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        empty = create_empty_array(self.single_action_space, num_envs)
        self._form = jax.tree.flatten(common.to_numpy(self.action_space, empty))  # what actions look like
        self.world, self.num_envs, self.render_mode, self.arrays = world, num_envs, render_mode, arrays
        self.autoreset_mode, self._draw = AutoresetMode(mode), draw or common.drawing_of(world)
        common.render_mode(render_mode, self._draw)
        self.metadata = common.METADATA | {"autoreset_mode": self.autoreset_mode, "jax": arrays == "jax"}
        if self._draw is None:
            self.metadata["render_modes"] = []
        self._programs = common.many(world, AUTORESETS[self.autoreset_mode])
        self._source: np.random.Generator | None = None  # where the lanes of keys come from
        self._cursor: Any = None
        self._over = np.zeros(num_envs, bool)  # to be reset before the next step; mode DISABLED, NumPy only

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Fresh starts: of all, or where `options["reset_mask"]` is True."""
        mask = self._mask(common.options(options, "reset_mask").get("reset_mask"))
        self._seed(seed, mask)
        if mask is None:
            self._clock, self._cursor, observation = self._programs.start(self._lane, self._clock)
            self._over = np.zeros(self.num_envs, bool)
        else:
            begun = self._programs.restart(self._lane, self._clock, self._cursor, mask)
            self._clock, self._cursor, observation = begun
            if self.arrays == "numpy":
                self._over = self._over & ~mask
        return self._given(observation), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One tick of every clock."""
        if self._cursor is None:
            raise common.not_reset("step")
        if self._over.any():
            raise gymnasium.error.ResetNeeded(
                f"the episode of environment {np.argmax(self._over)} is over, and autoreset is disabled. "
                "Call reset(options={'reset_mask': terminations | truncations}) first."
            )
        actions = self._formed(actions)
        after = self._programs.step(self._lane, self._clock, self._cursor, actions)
        if self.arrays == "numpy" and not self.action_space.contains(actions):  # looked at while the program runs
            raise gymnasium.error.InvalidAction(self._complaint(actions))
        self._clock, self._cursor, answer = after
        if self.arrays == "jax":
            infos = {} if answer.ended is None else _infos(answer.final_observation, answer.ended)
            return answer.observation, answer.reward, answer.terminated, answer.truncated, infos
        terminated, truncated, infos = np.array(answer.terminated), np.array(answer.truncated), {}
        if self.autoreset_mode == AutoresetMode.DISABLED:
            self._over = terminated | truncated
        elif answer.ended is not None and (ended := np.array(answer.ended)).any():
            infos = _infos(self._finals(answer.final_observation, ended), ended)
        return self._given(answer.observation), np.array(answer.reward), terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every state, [height, width, 3] uint8."""
        if self.render_mode is None or self._draw is None:
            return common.undrawn(self.spec)
        if self._cursor is None:
            raise common.not_reset("render")
        states = jax.device_get(self._cursor.state)
        leaves, structure = jax.tree.flatten(states)
        return tuple(self._draw(structure.unflatten(row)) for row in zip(*leaves, strict=True))

    def _given(self, observation: Any) -> Any:
        return observation if self.arrays == "jax" else common.to_numpy(self.observation_space, observation)

    def _finals(self, observation: Any, ended: np.ndarray) -> np.ndarray:
        """[N] objects, an observation where an episode ended and None elsewhere: Gymnasium's own form."""
        rows, finals = np.flatnonzero(ended), np.full(self.num_envs, None, object)
        last = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], observation)
        each = iterate(self.observation_space, common.to_numpy(self.observation_space, last))
        finals[rows] = np.fromiter(each, object, len(rows))
        return finals

    def _seed(self, seed: int | Sequence[int | None] | None, mask: Any) -> None:
        """New lanes for those environments of the mask that a seed, or a generator not seen before, speaks of."""
        seed = seed.tolist() if isinstance(seed, np.ndarray) else seed
        listed = isinstance(seed, Sequence)
        if listed and len(seed) != self.num_envs:
            raise ValueError(f"seed has {len(seed)} entries; expected {self.num_envs}, one for each environment.")
        each = {i: seeding.np_random(one)[0] for i, one in enumerate(seed if listed else ()) if one is not None}
        super().reset(seed=None if listed else seed)
        words = np.zeros((self.num_envs, 2), np.uint32)
        index, new = np.zeros(self.num_envs, np.uint32), np.zeros(self.num_envs, bool)
        if self.np_random is not self._source:
            self._source = self.np_random
            words[:], index[:], new[:] = common.words(self._source), np.arange(self.num_envs), True
        for i, generator in each.items():
            words[i], index[i], new[i] = common.words(generator), 0, True
        if not new.any():
            return
        if mask is not None:
            new &= np.asarray(mask)
        lane, clock = common.lanes(words, index), np.full(self.num_envs, common.BEGINNING)
        if new.all():
            self._lane, self._clock = lane, clock
        else:
            self._lane = jnp.where(new[:, None], lane, self._lane)
            self._clock = jnp.where(new, clock, self._clock)

    def _mask(self, mask: Any) -> Any:
        if mask is None:
            return None
        if self._cursor is None:
            raise common.not_reset("reset of a part")
        mask = mask if isinstance(mask, jax.Array) else np.asarray(mask)
        if mask.shape != (self.num_envs,):
            raise ValueError(
                f"reset_mask has shape {mask.shape}; expected ({self.num_envs},), one for each environment."
            )
        checks.boolean(reset_mask=mask)
        if self.arrays == "numpy" and not mask.any():
            raise ValueError("reset_mask is False everywhere; expected something to reset.")
        return mask

    def _formed(self, actions: Any) -> Any:
        """Actions whose structure, shapes and types are those of the action space; for NumPy also converted to them."""
        numpy = self.arrays == "numpy"
        if numpy and isinstance(actions, list):
            actions = np.asarray(actions)
        leaves, structure = jax.tree.flatten(actions)
        wanted, needed = self._form
        if structure != needed or not all(
            hasattr(leaf, "dtype") and leaf.shape == want.shape and np.can_cast(leaf.dtype, want.dtype)
            for leaf, want in zip(leaves, wanted, strict=True)
        ):
            raise gymnasium.error.InvalidAction(self._complaint(actions))
        return common.to_numpy(self.action_space, actions, copy=None) if numpy else actions

    def _complaint(self, actions: Any) -> str:
        single = self.single_action_space
        expected = f"expected {self.num_envs} actions, an element of {self.action_space}"
        if not isinstance(actions, np.ndarray | jax.Array):
            return f"actions are {actions!r}; {expected}."
        if self.arrays == "numpy" and len(actions) == self.num_envs:
            for i, action in enumerate(actions):
                if not single.contains(action):
                    return f"the action of environment {i} is {action!r}; expected an element of {single}."
        return f"actions are an array of type {actions.dtype} and shape {actions.shape}; {expected}."


def _infos(finals: Any, ended: Any) -> dict[str, Any]:
    # What Gymnasium's own vector environments say of final infos that are empty.
    return {"final_obs": finals, "_final_obs": ended, "final_info": {}, "_final_info": ended}
