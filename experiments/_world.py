"""Where a learner of an experiment lives: CartPole on the device, or any environment of Gymnasium on the host."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from experiments import _console, _play
from rljax import checks, envs, host, structs, train
from rljax.envs.host import HostEnvironment
from rljax.runs import drawing, gif

PREFIX = "gymnasium:"


class World(NamedTuple):
    """A task, and how a learner is trained, judged and filmed in it."""

    name: str  # for people
    about: dict[str, Any]  # from which it can be made again: see `again`
    env: envs.Environment  # what the makers of `rljax.agents` take
    observations: int  # numbers in each
    actions: int
    max_steps: int  # of an episode
    solved: float | None  # a mean return that is called a solution
    best: float | None  # no return is higher
    begin: Callable[
        [structs.Algorithm, Array], Any
    ]  # (algorithm, key of a member) -> the parameters that it begins with
    train: Callable[..., train.Result]  # (algorithm, keys, num_steps, **options of `train.train`)
    judge: Callable[
        [Array, _play.Act, Any, int], np.ndarray
    ]  # (keys [B], act, parameters [B], episodes) -> returns [B, E]
    film: Callable[
        [Sequence[Path], Array, _play.Act, Any, Sequence[str]], None
    ]  # (GIFs [B], key, act, parameters [B], captions [B]): the same episode under each

    def sizes(self, hidden: Sequence[int]) -> list[int]:
        """Of a network from observations to action values, by the widths between."""
        if not hidden:
            raise ValueError("hidden is given without a width; expected one at least, such as --hidden 64 64.")
        for width in hidden:
            checks.integer("hidden", width, 1)
        return [self.observations, *hidden, self.actions]


def of(name: str, num_envs: int = 1, max_steps: int | None = None, bounds: bool = True) -> World:
    """The world of that name: CartPole, or gymnasium:ID.

    Args:
      name: what the user says.
      num_envs: environments side by side that the learner was, or will be, made for; on the host alone.
      max_steps: of an episode; default: 500 on CartPole, Gymnasium's own elsewhere.
      bounds: on the host, refuse an observation outside the bounds that the environment itself declares.

    Errors:
      ValueError: another name; an environment that does not say when it ends, without max_steps.
    """
    if max_steps is not None:
        checks.integer("max_steps", max_steps, 1)
    if name == "CartPole":
        return cartpole(500 if max_steps is None else max_steps)
    if name.startswith(PREFIX):
        return gymnasium(name.removeprefix(PREFIX), num_envs, max_steps, bounds)
    raise ValueError(f"env is {name!r}; expected CartPole, or an id of Gymnasium's such as {PREFIX}Acrobot-v1.")


def again(about: dict[str, Any], max_steps: int | None = None) -> World:
    """The world of a saved policy."""
    return of(about["env"], 1, about["max_steps"] if max_steps is None else max_steps, about.get("bounds", True))


def cartpole(max_steps: int) -> World:
    """Ours, on the device."""
    env = envs.TimeLimit(envs.CartPole(), max_steps)

    def film(paths: Sequence[Path], key: Array, act: _play.Act, parameters: Any, captions: Sequence[str]) -> None:
        recorded = _play.record(key, env, act, parameters, max_steps)
        for path, caption, played in zip(paths, captions, recorded, strict=True):
            _play.film(path, env, played, caption)

    return World(
        "CartPole",
        {"env": "CartPole", "max_steps": max_steps},
        env,
        4,
        2,
        max_steps,
        0.95 * max_steps,
        max_steps,
        lambda algorithm, key: train.begin(algorithm, key).best,
        train.train,
        lambda keys, act, parameters, episodes: _play.judge(keys, env, act, parameters, episodes, max_steps),
        film,
    )


def gymnasium(env_id: str, num_envs: int, max_steps: int | None, bounds: bool) -> World:
    """Any of Gymnasium's, on the host."""
    import gymnasium

    limit: dict[str, Any] = {} if max_steps is None else {"max_episode_steps": max_steps}
    try:
        spec = gymnasium.spec(env_id)
        gymnasium.make(env_id, **limit).close()
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"Gymnasium cannot make {env_id!r}: {error}") from error
    longest = spec.max_episode_steps if max_steps is None else max_steps
    if longest is None:
        raise ValueError(f"{env_id} has no time limit of its own; expected one. Give --max-steps.")

    def make(number: int) -> HostEnvironment:
        if number == 1:
            return HostEnvironment(gymnasium.make(env_id, **limit), bounds=bounds)
        same_step = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
        several = gymnasium.make_vec(env_id, number, vectorization_mode="sync", vector_kwargs=same_step, **limit)
        return HostEnvironment(several, env_id=env_id, bounds=bounds)

    try:
        outline = make(1)
    except TypeError as error:  # a space that the learners here cannot use
        raise ValueError(f"{env_id}: {error}") from error
    task = host.task(outline)
    outline.close()

    def trained(
        algorithm: structs.Algorithm,
        keys: Array,
        num_steps: int,
        *,
        chunk: int,
        on_chunk: Callable[[train.Progress], None],
        **options: Any,
    ) -> train.Result:
        del chunk  # the host looks after every round

        def show(progress: train.Progress) -> None:  # one after the other: what is done of all
            under_way = progress.steps if progress.finished < len(keys) and progress.steps < num_steps else 0
            steps = (progress.finished * num_steps + under_way) // len(keys)
            on_chunk(dataclasses.replace(progress, steps=steps))

        return host.train(algorithm, functools.partial(make, num_envs), keys, num_steps, on_chunk=show, **options)

    def judge(keys: Array, act: _play.Act, parameters: Any, episodes: int) -> np.ndarray:
        side_by_side = min(episodes, 10)
        env = make(side_by_side)
        acts = jax.jit(jax.vmap(act, (None, None, 0)))
        returns = []
        for member, key in enumerate(keys):
            mine = jax.tree.map(lambda leaf, member=member: leaf[member], parameters)
            choose = lambda t, o, mine=mine: np.asarray(acts(mine, jax.random.key(0), o))  # greedy: the key is not used
            seed = int(jax.random.bits(jax.random.clone(key)))
            returns.append(host.episodes(env, choose, episodes, seed=seed)[:episodes])
        env.close()
        return np.stack(returns)

    def film(paths: Sequence[Path], key: Array, act: _play.Act, parameters: Any, captions: Sequence[str]) -> None:
        seed, acts = int(jax.random.bits(key)), jax.jit(lambda mine, o: act(mine, jax.random.key(0), o[0])[None])
        for i, (path, caption) in enumerate(zip(paths, captions, strict=True)):
            mine = jax.tree.map(lambda leaf, i=i: leaf[i], parameters)
            film_one(path, seed, lambda o, mine=mine: np.asarray(acts(mine, o)), caption)

    def film_one(path: Path, seed: int, choose: Callable[[Any], np.ndarray], caption: str) -> None:
        ours = env_id.startswith("CartPole")  # which is drawn without pygame
        try:
            drawn = gymnasium.make(env_id, render_mode=None if ours else "rgb_array", **limit)
            env = HostEnvironment(drawn, bounds=bounds)
            observation, over, seen = env.reset(seed), False, []
            while not over and len(seen) < _play.LONGEST:
                seen.append(observation[0] if ours else env.env.render())
                step = env.step(choose(observation))
                observation, over = step.observation, bool(step.terminated[0] or step.truncated[0])
            env.close()
        except (gymnasium.error.Error, ImportError) as error:
            reason = f"{path.name} is not made: Gymnasium cannot draw {env_id} here ({error})."
            _console.console.print(reason, markup=False)
            return
        frames = drawing.render(np.stack(seen), caption=caption) if ours else np.stack(seen).astype(np.uint8)
        gif.save_gif(path, frames, fps=50 if ours else 30, hold=1.0)

    def begin(algorithm: structs.Algorithm, key: Array) -> Any:
        assert algorithm.learner is not None
        return algorithm.learner.parameters(host.first(algorithm, task.size, key))

    threshold = spec.reward_threshold if max_steps in (None, spec.max_episode_steps) else None
    about = {"env": f"{PREFIX}{env_id}", "max_steps": longest, "bounds": bounds}
    return World(env_id, about, task, task.size, task.actions, longest, threshold, None, begin, trained, judge, film)
