"""Trained policies at work: judged over fresh episodes, filmed in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from rljax import envs, rollout
from rljax.runs import drawing, gif

LONGEST = 1000  # steps of a film: 20 seconds
Act = Callable[[Any, Array, Any], Array]  # (parameters, key, observation) -> action


def judge(keys: Array, env: envs.Environment, act: Act, parameters: Any, episodes: int, max_steps: int) -> np.ndarray:
    """[B, episodes] lengths of fresh episodes under each of B parameter sets (leading axis of every leaf)."""

    def one(key: Array, parameters: Any) -> Array:
        policy = lambda key, observation: act(parameters, key, observation)
        return rollout.episodes(key, env, policy, episodes, max_steps).lengths

    # Cloned: the same fresh episodes may judge several candidates.
    return np.asarray(jax.jit(jax.vmap(one))(jax.random.clone(keys), parameters))


def record(
    key: Array, env: envs.Environment, act: Act, parameters: Any, steps: int, *, once: bool = True
) -> list[rollout.Transition]:
    """One environment under each of B parameter sets, all from the same key: one episode, or with `once=False` `steps` steps
    with resets. At most `LONGEST` steps; leaves are NumPy arrays [steps, ...]."""

    def one(parameters: Any) -> rollout.Transition:
        policy = lambda key, observation: act(parameters, key, observation)
        cursor = rollout.start(jax.random.fold_in(key, 0), env, 1)
        autoreset = "none" if once else "same_step"
        played = rollout.unroll(
            jax.random.fold_in(key, 1), env, policy, cursor, min(steps, LONGEST), autoreset=autoreset
        )[1]
        return jax.tree.map(lambda leaf: leaf[:, 0], played)

    played = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(parameters))
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], played) for i in range(len(played.valid))]
    return [jax.tree.map(lambda leaf, valid=one.valid: leaf[valid], one) for one in each]


def film(path: Path, env: envs.Environment, played: rollout.Transition, caption: str) -> None:
    """Write one of `record`'s as a GIF. What the font cannot draw of the caption (the name of a folder) becomes "?"."""
    caption = "".join(c if c in drawing.GLYPHS else "?" for c in caption)
    frames = drawing.render(
        played.next_state,
        env=env,
        actions=played.action,
        terminated=played.terminated,
        truncated=played.truncated,
        caption=caption,
    )
    gif.save_gif(path, frames, hold=1.0)  # how it ended
