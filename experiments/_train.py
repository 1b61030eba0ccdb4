"""Training as experiments do it: several variants, one after the other, each over the same seeds, under a live bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments import _console, _results
from experiments._world import World
from rljax import checks, structs, train
from rljax.runs import checkpoint, folder, plots
from rljax.runs.statistics import bootstrap_interval, interquartile_mean, share_interval

Variants = Mapping[
    str, tuple[structs.Algorithm, Mapping[str, Any]]
]  # name -> algorithm, its own options of `train.train`


def each(
    variants: Variants,
    keys: Array,
    num_steps: int,
    *,
    eval_every: int,
    chunk: int,
    watched: str,
    how: Callable[..., train.Result] = train.train,
    **options: Any,
) -> tuple[dict[str, train.Result], dict[str, str]]:
    """The result of every variant, and what went wrong with those that failed: what there is of them is kept.

    Args:
      variants: see `Variants`.
      keys: [seeds], the same for all.
      num_steps, eval_every, chunk, options: of `train.train`.
      watched: the metric that the bar shows, or "score".
      how: `train.train`, or what trains in another world (`_world.World.train`).
    """
    results: dict[str, train.Result] = {}
    failures: dict[str, str] = {}
    for name, (algorithm, own) in variants.items():
        with _console.bar(name, num_steps) as bar:

            def show(progress: train.Progress, bar: _console.Bar = bar) -> None:
                row = (progress.scores if watched == "score" else progress.metrics[watched])[-1]
                now = row[np.isfinite(row)]
                seen = f"{watched.replace('_', ' ')} {interquartile_mean(now):.1f}" if len(now) else "all have stopped"
                bar.update(progress.steps, seen + " (this seed)" * (len(row) == 1 < len(keys)))  # one after the other

            settings = {"eval_every": eval_every, "chunk": chunk, "on_chunk": show, **options, **own}
            try:
                result = how(algorithm, jax.random.clone(keys), num_steps, **settings)
            except train.Diverged as error:  # what there is is kept, and the other variants are tried
                result, failures[name] = error.result, str(error)
            if len(result.elapsed) < num_steps or name in failures:
                bar.finish(len(result.elapsed), "not finite" if name in failures else "all have stopped")
        results[name] = result
    return results, failures


def before_and_after(
    path: Path, key: Array, world: World, algorithm: structs.Algorithm, member: Array, learned: Any
) -> None:
    """`before.gif` and `after.gif` in `path`: the same episode under the parameters that a member began with, and `learned`."""
    first = jax.jit(lambda key: world.begin(algorithm, key))(member)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), first, learned)
    paths, captions = [path / "before.gif", path / "after.gif"], ["before training", "after training"]
    with _console.busy("filming one episode, before training and after"):
        world.film(paths, key, algorithm.act, both, captions)


def stopping(target: float | None, patience: int, best: float | None) -> dict[str, Any]:
    """The options of `train.train` that stop a run early, none without a target.

    Errors:
      ValueError: a target that no episode can reach, a patience without a target.
    """
    checks.integer("patience", patience, 1)
    if target is None:
        if patience > 1:
            raise ValueError(
                f"patience is {patience}; expected a target beside it. Give --target, or leave patience out."
            )
        return {}
    checks.real(
        "target", target, *((-np.inf, np.inf) if best is None else (0, best)), above=best is None, below=best is None
    )
    return {"target": target, "patience": patience}


def solve(
    path: Path,
    name: str,
    algorithm: structs.Algorithm,
    world: World,
    *,
    seed: int,
    seeds: int,
    rounds: int,
    round_steps: int,
    eval_every: int,
    before: int = 0,
    test_episodes: int,
    about: Mapping[str, Any],
    **early: Any,
) -> None:
    """Train one learner over several seeds, keep the best parameters of each and judge them; write and say it all.

    Args:
      path: of the run: scores.csv, tests.csv, learning_curve.png, summary.json, policy.npz, before.gif, after.gif.
      name: of the learner, for people.
      algorithm, world: the learner, and where it lives.
      seed, seeds: of everything random; how many runs.
      rounds: of training, each followed by an evaluation.
      round_steps: environment steps of a round.
      eval_every: steps of the algorithm in a round.
      before: environment steps before the first round.
      test_episodes: fresh ones, whose mean return is a solution or not.
      about: what must be known to make the policy again: see `_saved`.
      early: of `train.train`: see `stopping`.
    """
    key_train, key_test, key_film = jax.random.split(jax.random.key(seed), 3)
    keys, keys_test = jax.random.split(key_train, seeds), jax.random.split(key_test, seeds)
    contest = {name: (algorithm, early)}
    results, failures = each(
        contest,
        keys,
        rounds * eval_every,
        eval_every=eval_every,
        chunk=2,
        watched="score",
        how=world.train,
        score=True,
    )
    result = results[name]
    # A run that was broken off may have fewer members than seeds.
    with _console.busy(f"testing: {test_episodes} fresh episodes of each seed"):
        returns = world.judge(keys_test[: len(result.members.steps)], algorithm.act, result.parameters, test_episodes)
    returns = returns.mean(axis=1)
    ends = before + round_steps * (1 + np.arange(len(result.scores)))
    folder.write_csv(
        path / "scores.csv",
        (
            {"seed": member, "environment_steps": int(end), "greedy_return": float(score)}
            for end, scores in zip(ends, result.scores, strict=True)
            for member, score in enumerate(scores)
            if np.isfinite(score)
        ),
    )
    _results.write_tests(path, {"": returns})
    plots.learning_curves(
        path / "learning_curve.png",
        {name: result.scores},
        title=f"{world.name}: what the greedy policy returns",
        xlabel=f"evaluation, one every {round_steps} environment steps",
        ylabel="mean return of 20 episodes",
        best_possible=world.best,
    )
    low_high, solved = bootstrap_interval(returns), world.solved
    share = {}
    if solved is not None:
        share["test_share_of_seeds_that_solve"] = float((returns >= solved).mean())
        share["test_share_of_seeds_that_solve_interval"] = share_interval(returns >= solved)
    summary = {
        "name": name,
        "seeds": seeds,
        "environment_steps": int(ends[-1]),
        "test_mean_return_iqm": interquartile_mean(returns),
        "test_mean_return_iqm_interval": low_high,
        "test_mean_return_min": float(returns.min()),
        **share,
        "last_score_iqm": interquartile_mean(plots.last(result.scores)),
        "compile_seconds": result.compile_seconds,
        "run_seconds": result.run_seconds,
        **({"failure": failures[name]} if failures else {}),
    }
    folder.write_json(path / "summary.json", summary)
    best = int(np.argmax(returns))
    learned = jax.tree.map(lambda leaf: leaf[best], result.parameters)
    checkpoint.save(path / "policy.npz", learned, {**world.about, **about})
    before_and_after(path, key_film, world, algorithm, keys[best], learned)
    _console.table(
        f"{world.name}, {_console.many(seeds, 'seed')} of {ends[-1]} steps "
        f"(interquartile means; test: {test_episodes} fresh greedy episodes)",
        [
            {
                "learner": name,
                "last score": f"{summary['last_score_iqm']:.1f}",
                "test of the best": f"{summary['test_mean_return_iqm']:.1f} \\[{low_high[0]:.1f}, {low_high[1]:.1f}]",
                **({} if solved is None else {f">= {solved:g}": f"{summary['test_share_of_seeds_that_solve']:.0%}"}),
                "compile": f"{result.compile_seconds:.1f} s",
                "run": f"{result.run_seconds:.1f} s",
            }
        ],
    )
    _console.console.print(
        "last score: 20 greedy episodes of the last parameters; the best: those of the highest score on the way, in "
        f"brackets the 95 % bootstrap interval. {kept(path)} the best seed of the test ({best})."
    )
    _console.files(path)
    complain(failures, 1)
    _console.console.print(f"watch it again: python -m experiments play {path}", markup=False)


def kept(path: Path) -> str:
    """What holds the policy that was kept: what cannot be drawn has no film."""
    return "policy.npz and after.gif hold" if (path / "after.gif").exists() else "policy.npz holds"


def complain(failures: Mapping[str, str], variants: int) -> None:
    """Once everything is saved: an experiment with a failure has failed."""
    if failures:
        name, reason = next(iter(failures.items()))
        said = reason if variants == 1 else f"{len(failures)} of {variants} variants failed; {name}: {reason}"
        raise ArithmeticError(f"{said} What there is by then is in the folder; summary.json says the same.")
