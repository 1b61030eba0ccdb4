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


def film(
    path: Path,
    key: Array,
    env: envs.Environment,
    policy: rollout.Policy,
    steps: int,
    caption: str,
    *,
    once: bool = True,
) -> rollout.Transition:
    """Write a GIF of one environment under `policy`: one episode, or with `once=False` `steps` steps with resets.

    At most `LONGEST` steps. What the font cannot draw of the caption (the name of a folder) becomes "?".
    """
    steps = min(steps, LONGEST)
    caption = "".join(c if c in drawing.GLYPHS else "?" for c in caption)

    @jax.jit
    def play(key: Array) -> rollout.Transition:
        cursor = rollout.start(jax.random.fold_in(key, 0), env, 1)
        autoreset = "none" if once else "same_step"
        return rollout.unroll(jax.random.fold_in(key, 1), env, policy, cursor, steps, autoreset=autoreset)[1]

    played = jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], play(key))
    played = jax.tree.map(lambda leaf: leaf[played.valid], played)
    frames = drawing.render(
        played.next_state,
        env=env,
        actions=played.action,
        terminated=played.terminated,
        truncated=played.truncated,
        caption=caption,
    )
    gif.save_gif(path, frames)
    return played
