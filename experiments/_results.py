"""What run folders hold, written and read again: the curve and the test of every seed of every variant."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rljax import checks
from rljax.runs import checkpoint, folder


class Source(NamedTuple):
    """Where an experiment writes what.

    Curves are over what a run has a budget of: over environment steps, a run of so many episodes is the sooner over the
    worse it does.
    """

    table: str | None = None  # of the curves
    column: str = ""  # of that table: what they are of
    budget: str = "environment_steps"  # column that counts what is spent
    each: str | None = None  # option that says how many episodes one of them is
    tested: bool = True  # there is a tests.csv


SOURCES = {
    "approximate_q": Source("scores.csv", "greedy_return"),
    "dqn": Source("scores.csv", "greedy_return"),
    "dqn_ablation": Source("scores.csv", "greedy_return", tested=False),
    "dqn_chapter": Source("episodes.csv", "length", "episode"),
    "policy_search": Source(),
    "pqn": Source("scores.csv", "greedy_return"),
    "q_learning": Source(),
    "reinforce": Source("metrics.csv", "mean_return", "iteration", "episodes"),
}


class Curve(NamedTuple):
    """What one seed was worth on the way."""

    steps: np.ndarray  # [T] of the budget, ascending
    scores: np.ndarray  # [T]


class Learner(NamedTuple):
    """One variant of one run, over its seeds."""

    name: str
    task: str
    best: float | None  # the highest score there is
    curves: tuple[Curve, ...]  # one for each seed, or none at all
    curves_of: str  # what the curves are of
    budget: str  # what they are over: environment steps or episodes
    tests: np.ndarray  # [R], or [0]
    tests_of: str  # what the tests are of
    failure: str | None  # why its training ended before its time


def write_tests(path: Path, tests: Mapping[str, np.ndarray]) -> None:
    """tests.csv of a run folder: each variant's mean test return, seed by seed; one learner alone goes by the name ""."""
    folder.write_csv(
        path / "tests.csv",
        (
            {**({"variant": name} if name else {}), "seed": member, "test_mean_return": float(mean)}
            for name, tested in tests.items()
            for member, mean in enumerate(tested)
        ),
    )


def read(paths: Sequence[Path]) -> list[Learner]:
    """The learners of several folders, each by a name of its own.

    Errors:
      FileNotFoundError, ValueError: a folder that is none, not of a finished run, or of an experiment that cannot be compared.
    """
    resolved = [path.resolve() for path in paths]
    for i, path in enumerate(paths):
        if resolved[i] in resolved[:i]:
            raise ValueError(f"{path} is given twice; expected each run once. Leave one out.")
    plain = [path.name for path in resolved]
    learners = []
    for path, name in zip(paths, plain, strict=True):
        shown = name if plain.count(name) == 1 else str(path)
        try:
            found = _variants(path)
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is not as an experiment leaves it ({type(error).__name__}: {error}). Run the experiment again."
            ) from error
        for learner in found:
            names = [shown] if len(paths) > 1 or not learner.name else []
            names += [learner.name] if len(found) > 1 else []
            learners.append(learner._replace(name=": ".join(names) or shown))
    return learners


def _variants(path: Path) -> list[Learner]:
    """The learners of one folder, by their variants' names; "" where there is one without."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder; expected that of a run, as experiments make them under runs/.")
    config = folder.read_json(path / "config.json")
    if not isinstance(config, dict):
        raise ValueError(f"{path / 'config.json'} is {config!r}; expected what a run was made with. Run it again.")
    experiment, used = config.get("experiment"), config.get("used", {})
    if experiment not in tuple(SOURCES):
        raise ValueError(f"{path} is of {experiment!r}; expected a run of one of {', '.join(SOURCES)}.")
    source = SOURCES[experiment]
    if not (path / "summary.json").is_file():
        raise FileNotFoundError(
            f"{path} has no summary.json, which is written at the end: the run has not finished. Wait for it, or leave it out."
        )
    summary, (task, best) = folder.read_json(path / "summary.json"), _task(path, used)
    curves: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    tests: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    tests_of = ""
    if source.table:
        curves, _ = _table(path / source.table, (source.budget, source.column))
    if source.tested:
        tests, tests_of = _table(path / "tests.csv", ())
    return [
        Learner(
            name=name,
            task=task,
            best=best,
            curves=tuple(
                Curve(steps * (used[source.each] if source.each else 1), scores)
                for _, rows in sorted(curves.get(name, {}).items())
                for steps, scores in [np.array(rows).T]
            ),
            curves_of=source.column,
            budget="environment steps" if source.budget == "environment_steps" else "episodes",
            tests=np.array([rows[0][0] for _, rows in sorted(tests.get(name, {}).items())]),
            tests_of=tests_of,
            failure=_failure(summary, name),
        )
        for name in (curves or tests)
    ]


def _task(path: Path, used: Mapping[str, Any]) -> tuple[str, float | None]:
    """What was learned, and the highest score, if it is known."""
    if (path / "policy.npz").is_file():  # who saves a policy says what for
        used = {**used, **checkpoint.about(path / "policy.npz")}
    if "max_steps" not in used:
        return f"the chapter's MDP (gamma {used.get('gamma')})", None
    env, limit = used.get("env", "CartPole"), used["max_steps"]
    checks.integer("max_steps", limit, 1)
    if env in ("gymnasium:CartPole-v0", "gymnasium:CartPole-v1"):  # ours, step for step, as the tests say
        env = "CartPole"
    return f"{env} (at most {limit} steps)", float(limit) if env == "CartPole" else None


def _table(path: Path, columns: tuple[str, ...]) -> tuple[dict[str, dict[int, list[tuple[float, ...]]]], str]:
    """variant -> seed -> rows of some columns, or of the last one, whose name is told too."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; expected it in the folder of a finished run. Run the experiment again."
        )
    found: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        head = list(reader.fieldnames or [""])
        columns = columns or (head[-1],)
        if missing := [name for name in ("seed", *columns) if name not in head]:
            raise ValueError(f"{path} has no column {missing[0]!r}; expected one. Run the experiment again.")
        for row in reader:
            try:
                values, seed = tuple(float(row[name]) for name in columns), int(row["seed"])
            except (TypeError, ValueError):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {', '.join(map(str, row.values()))}; expected numbers below "
                    f"seed, {', '.join(columns)}. The file is damaged: run the experiment again."
                ) from None
            found.setdefault(row.get("variant", ""), {}).setdefault(seed, []).append(values)
    if not found:
        raise ValueError(f"{path} has no rows; expected one for each seed. Run the experiment again.")
    return found, columns[-1]


def _failure(summary: dict[str, Any], name: str) -> str | None:
    """What the summary says went wrong: it is by variants, has a part that is, or is of one learner."""
    for place in (summary.get(name), summary.get("variants", {}).get(name), summary):
        if isinstance(place, dict) and "failure" in place:
            return str(place["failure"])
    return None
