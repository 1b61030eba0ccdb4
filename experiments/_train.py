"""Training as experiments do it: several variants, one after the other, each over the same seeds, under a live bar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from experiments import _console, _play
from rljax import envs, structs, train
from rljax.runs.statistics import interquartile_mean

Variants = Mapping[
    str, tuple[structs.Algorithm, Mapping[str, Any]]
]  # name -> algorithm, its own options of `train.train`


def each(
    variants: Variants, keys: Array, num_steps: int, *, eval_every: int, chunk: int, watched: str, **options: Any
) -> tuple[dict[str, train.Result], dict[str, str]]:
    """The result of every variant, and what went wrong with those that failed: what there is of them is kept.

    Args:
      variants: see `Variants`.
      keys: [seeds], the same for all.
      num_steps, eval_every, chunk, options: of `train.train`.
      watched: the metric that the bar shows, or "score".
    """
    results: dict[str, train.Result] = {}
    failures: dict[str, str] = {}
    for name, (algorithm, own) in variants.items():
        with _console.bar(name, num_steps) as bar:

            def show(progress: train.Progress, bar: _console.Bar = bar) -> None:
                now = (progress.scores if watched == "score" else progress.metrics[watched])[-1]
                now = now[np.isfinite(now)]
                seen = f"{watched.replace('_', ' ')} {interquartile_mean(now):.1f}" if len(now) else "all have stopped"
                bar.update(progress.steps, seen)

            settings = {"eval_every": eval_every, "chunk": chunk, "on_chunk": show, **options, **own}
            try:
                result = train.train(algorithm, jax.random.clone(keys), num_steps, **settings)
            except train.Diverged as error:  # what there is is kept, and the other variants are tried
                result, failures[name] = error.result, str(error)
            if len(result.elapsed) < num_steps or name in failures:
                bar.finish(len(result.elapsed), "not finite" if name in failures else "all have stopped")
        results[name] = result
    return results, failures


def before_and_after(
    path: Path, key: Array, env: envs.Environment, algorithm: structs.Algorithm, member: Array, learned: Any, steps: int
) -> None:
    """`before.gif` and `after.gif` in `path`: the same episode under the parameters that a member began with, and `learned`."""
    first = train.begin(algorithm, member).best
    for name, parameters in (("before", first), ("after", learned)):
        policy = lambda key, observation, parameters=parameters: algorithm.act(parameters, key, observation)
        _play.film(path / f"{name}.gif", jax.random.clone(key), env, policy, steps, f"{name} training")


def complain(failures: Mapping[str, str], variants: int) -> None:
    """Once everything is saved: an experiment with a failure has failed."""
    if failures:
        name, reason = next(iter(failures.items()))
        raise ArithmeticError(f"{len(failures)} of {variants} variants failed, as summary.json says; {name}: {reason}")
