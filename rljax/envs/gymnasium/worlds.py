"""The worlds that `gymnasium.make` and `gymnasium.make_vec` know once `rljax.envs.gymnasium` is imported.

| id                                             | world                                          | steps of an episode |
|------------------------------------------------|------------------------------------------------|---------------------|
| `rljax/CartPole-v0`, `-v1`                     | `envs.CartPole`, all its parameters as options | 200, 500            |
| `rljax/Chapter-v0`                             | the chapter's, `mdp.problems`                  | 100                 |
| `rljax/RiverSwim-v0`, `/Chain-v0`, `/Forest-v0`| those of `mdp.problems`                        | 100                 |
| `rljax/FrozenLake-v1` and its like             | `mdp.from_gymnasium` of Gymnasium's own        | Gymnasium's own     |

As everywhere in Gymnasium, the limit is a wrapper that `make` puts around one environment, and an argument of many:
both take `max_episode_steps`. In the chapter's world Gymnasium needs every action in every state: those that are not
available stay where they are, for nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from rljax import mdp
from rljax.envs import CartPole, TabularEnv, TimeLimit
from rljax.envs.base import Environment
from rljax.envs.gymnasium.single import RljaxEnv
from rljax.envs.gymnasium.vector import Arrays, RljaxVectorEnv
from rljax.mdp import problems


def _chapter() -> mdp.TabularMDP:
    probabilities, here = problems.TRANSITION_PROBABILITIES, np.eye(3).tolist()
    complete = [[row or here[s] for row in rows] for s, rows in enumerate(probabilities)]
    return mdp.from_nested(complete, problems.REWARDS, gamma=0.9)


MODELS = {"Chapter": _chapter, "RiverSwim": problems.river_swim, "Chain": problems.chain, "Forest": problems.forest}


def register() -> None:
    """Tell Gymnasium; called once, by the import of the package."""
    _register("CartPole-v0", "CartPole", 200, 195.0)
    _register("CartPole-v1", "CartPole", 500, 475.0)
    for name in MODELS:
        _register(f"{name}-v0", name, 100, None)
    for spec in list(gymnasium.registry.values()):
        if spec.namespace is None and spec.name.startswith(("FrozenLake", "CliffWalking", "Taxi")):
            _register(spec.id, spec.id, spec.max_episode_steps, spec.reward_threshold)


def _register(name: str, world: str, max_episode_steps: int | None, reward_threshold: float | None) -> None:
    gymnasium.register(
        f"rljax/{name}",
        entry_point=f"{__name__}:single",
        vector_entry_point=f"{__name__}:vector",
        max_episode_steps=max_episode_steps,
        reward_threshold=reward_threshold,
        kwargs={"world": world},
    )


def single(world: str, render_mode: str | None = None, **options: Any) -> RljaxEnv:
    """What `gymnasium.make` calls: `world` comes from the registry, `options` from its caller."""
    return RljaxEnv(_made(world, options), render_mode=render_mode)


single.__dict__["metadata"] = RljaxEnv.metadata  # there `gymnasium.make` looks for wrappers that rendering needs


def vector(
    world: str,
    num_envs: int = 1,
    max_episode_steps: int | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    arrays: Arrays = "numpy",
    render_mode: str | None = None,
    **options: Any,
) -> RljaxVectorEnv:
    """What `gymnasium.make_vec` calls: `world` and the usual `max_episode_steps` come from the registry."""
    env = _made(world, options)
    env = env if max_episode_steps is None else TimeLimit(env, max_episode_steps)
    return RljaxVectorEnv(env, num_envs, autoreset_mode=autoreset_mode, arrays=arrays, render_mode=render_mode)


def _made(world: str, options: dict[str, Any]) -> Environment:
    if world == "CartPole":
        return CartPole(**options)
    try:
        return _tabular(world, **options)
    except TypeError:  # options that are lists, such as FrozenLake's desc, cannot be looked up
        return _tabular.__wrapped__(world, **options)


@functools.lru_cache(maxsize=32)  # the same arrays each time: then programs are shared too
def _tabular(world: str, **options: Any) -> TabularEnv:
    if world in MODELS:
        return TabularEnv(MODELS[world](**options))
    model = mdp.from_gymnasium(gymnasium.make(gymnasium.spec(world), **options), gamma=0.99)
    return TabularEnv(model)
