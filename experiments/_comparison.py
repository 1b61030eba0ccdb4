"""What `compare` computes and draws of learners, once they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments._results import Curve, Learner
from rljax.runs import comparison_plots
from rljax.runs.comparison_plots import Band
from rljax.runs.statistics import (
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from rljax.runs.survival import Survival, kaplan_meier, median_time, restricted_mean

POINTS = 301  # of a curve and of a profile, at most
MOST_PAIRS = 15  # drawn; of more learners each is drawn against the first


class Common(NamedTuple):
    """What all learners have, and so can be compared by."""

    scores: dict[str, np.ndarray]  # name -> [R]
    scores_of: str
    curves_of: str  # "" if their curves are of or over different things
    budget: str  # what their curves are over


def common(learners: Sequence[Learner]) -> Common:
    """What the learners have in common.

    Errors:
      ValueError: fewer than two learners or seeds, several tasks, nothing in common.
    """
    if len(learners) < 2:
        given = learners[0].name if learners else "no run"
        raise ValueError(
            f"{given} is given; expected two learners at least: name two run folders, or one with variants."
        )
    first = learners[0]
    for learner in learners:
        if learner.task != first.task:
            raise ValueError(
                f"{first.name} learned {first.task}, {learner.name} {learner.task}; expected one task. Scores of different "
                "tasks are no match for each other."
            )
    of_curves = {(learner.curves_of if learner.curves else "", learner.budget) for learner in learners}
    of_tests = {learner.tests_of for learner in learners}
    curves_of, budget = of_curves.pop() if len(of_curves) == 1 else ("", "")
    if len(of_tests) == 1 and "" not in of_tests:
        found = Common({learner.name: learner.tests for learner in learners}, of_tests.pop(), curves_of, budget)
    elif curves_of:
        last = {learner.name: np.array([curve.scores[-1] for curve in learner.curves]) for learner in learners}
        found = Common(last, f"last {curves_of}", curves_of, budget)
    else:
        has = (f"{one.name} has {one.tests_of or 'no tests'} and {one.curves_of or 'no curves'}" for one in learners)
        raise ValueError(
            f"the runs have nothing in common: {'; '.join(has)}. Expected one kind of test or of curve in all."
        )
    for name, scores in found.scores.items():
        if len(scores) < 2:
            raise ValueError(f"{name} is of {len(scores)} seed; expected two at least. Run it again with more --seeds.")
    return found


def profiles(scores: Mapping[str, np.ndarray], again: Mapping[str, Any]) -> dict[str, Band]:
    """The share of seeds above each score; `again` says how to resample."""
    every = np.unique(np.concatenate([*scores.values()]))  # at no other score does a share change
    margin = 0.02 * (every[-1] - every[0]) or 1.0
    thresholds = np.concatenate([[every[0] - margin], every, [every[-1] + margin]])
    if len(thresholds) > POINTS:
        thresholds = np.linspace(thresholds[0], thresholds[-1], POINTS)
    profile = lambda x: performance_profile(x, thresholds)
    return {name: Band(thresholds, profile(x), *bootstrap_interval(x, profile, **again)) for name, x in scores.items()}


def improvements(scores: Mapping[str, np.ndarray], level: float) -> list[dict[str, Any]]:
    """Each pair once, x named after y: how likely a run of x is to be better than one of y."""
    names, rows = list(scores), []
    for i, y in enumerate(names):
        for x in names[i + 1 :]:
            pair = scores[x], scores[y]
            low, high = improvement_interval(*pair, level=level)
            probability = float(probability_of_improvement(*pair))
            rows.append({"x": x, "y": y, "probability": probability, "low": low, "high": high})
    return rows


def scored(learner: Learner, x: np.ndarray, again: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a learner in a few numbers."""
    return {
        "seeds": len(x),
        "score_iqm": interquartile_mean(x),
        "score_interval": bootstrap_interval(x, **again),
        "score_mean": x.mean(),
        "score_min": x.min(),
        "score_max": x.max(),
        **({"failure": learner.failure} if learner.failure else {}),
    }


def middle(curves: Sequence[Curve], again: Mapping[str, Any]) -> Band:
    """The interquartile mean over seeds, each counting with the last score that it had by then."""
    grid = max((curve.steps for curve in curves), key=len)
    if len(grid) > POINTS or any(not np.array_equal(curve.steps, grid[: len(curve.steps)]) for curve in curves):
        # No two seeds were looked at after the same steps.
        start, stop = max(curve.steps[0] for curve in curves), max(curve.steps[-1] for curve in curves)
        grid = np.linspace(start, stop, POINTS)
    rows = [curve.scores[np.searchsorted(curve.steps, grid, side="right") - 1] for curve in curves]
    scores = np.stack(rows)[:, None]  # [R, 1, T]: of one task
    low, high = bootstrap_interval(scores, _over_seeds, **again)
    return Band(grid, _over_seeds(scores), low, high, until=float(np.median([curve.steps[-1] for curve in curves])))


def arrivals(curves: Sequence[Curve], threshold: float, level: float) -> Survival:
    """When the first score of each seed is good enough; a seed whose never is was watched until its last one."""
    there = [np.flatnonzero(curve.scores >= threshold) for curve in curves]
    times = [curve.steps[i[0] if len(i) else -1] for i, curve in zip(there, curves, strict=True)]
    return kaplan_meier(times, np.array([len(i) > 0 for i in there]), level=level)


def stopped(curves: Sequence[Curve], threshold: float) -> int:
    """Seeds that stopped before others and before they were good enough: of when they would have been nothing is known."""
    longest = max(len(curve.steps) for curve in curves)
    return sum(len(curve.steps) < longest and curve.scores.max() < threshold for curve in curves)


def horizon(found: Sequence[Survival]) -> float:
    """Up to which time it is known of all learners how many of their seeds are there."""
    unknown = [arrival.longest for arrival in found if not _all_there(arrival)]
    return min(unknown, default=max(arrival.longest for arrival in found))


def timed(arrival: Survival, horizon: float) -> dict[str, Any]:
    """How long it takes, in a few numbers."""
    median, *interval = median_time(arrival)
    mean, error = restricted_mean(arrival, horizon)
    return {
        "seeds_that_get_there": int(arrival.events.sum()),
        "median_time": median,
        "median_time_interval": interval,
        "mean_time_up_to_horizon": mean,
        "mean_time_standard_error": error,
    }


def reached(arrival: Survival, end: float) -> Band:
    """The share that is there, from the start to the end of what was watched; if all are, to that of the figure."""
    drawn = [np.concatenate([[0.0], 1.0 - ends]) for ends in (arrival.share, arrival.high, arrival.low)]
    x = np.concatenate([[0.0], arrival.times, [end if _all_there(arrival) else arrival.longest]])
    middle, low, high = (np.append(values, values[-1]) for values in drawn)
    return Band(x, middle, low, high)


def lines(bands: Mapping[str, Band], x: str, value: str) -> list[dict[str, Any]]:
    """As a tidy table."""
    return [
        {"learner": name, x: float(at), value: float(here), "low": float(low), "high": float(high)}
        for name, band in bands.items()
        for at, here, low, high in zip(band.x, band.middle, band.low, band.high, strict=True)
    ]


def draw_scores(
    path: Path, found: Mapping[str, Band], pairs: Sequence[Mapping[str, Any]], have: Common, level: float
) -> None:
    """`profiles.png` and `improvement.png`."""
    comparison_plots.bands(
        path / "profiles.png",
        found,
        title="Performance profiles: how many seeds score more than that",
        xlabel=f"score ({said(have.scores_of)})",
        ylabel="share of seeds",
        note=f"line: share of seeds above the score; band: {level:.0%} bootstrap interval at each point",
        stairs=True,
    )
    shown = pairs if len(pairs) <= MOST_PAIRS else [pair for pair in pairs if pair["y"] == pairs[0]["y"]]
    comparison_plots.improvement(
        path / "improvement.png",
        {f"{pair['x']}\nover {pair['y']}": (pair["probability"], pair["low"], pair["high"]) for pair in shown},
        title="Probability of improvement",
        note=f"score: {said(have.scores_of)}; bar: {level:.0%} interval (Newcombe), grey where it holds one half",
    )


def draw_curves(path: Path, found: Mapping[str, Band], have: Common, best: float | None, level: float) -> None:
    """`curves.png`."""
    comparison_plots.bands(
        path / "curves.png",
        found,
        title="Learning curves",
        xlabel=have.budget,
        ylabel=said(have.curves_of),
        note="line: interquartile mean of the seeds, one that stopped counting with its last value, dotted once half have; "
        f"band: {level:.0%} bootstrap interval",
        best_possible=best,
    )


def draw_reached(path: Path, found: Mapping[str, Band], have: Common, threshold: float, level: float) -> None:
    """`reached.png`."""
    comparison_plots.bands(
        path / "reached.png",
        found,
        title=f"How long until {said(have.curves_of)} is {threshold:g} for the first time",
        xlabel=have.budget,
        ylabel="share of seeds that are there",
        note=f"line: Kaplan and Meier's estimate; band: {level:.0%} interval by Greenwood's formula",
        stairs=True,
    )


def said(column: str) -> str:
    """The name of a column, for people."""
    return column.replace("_", " ")


def _all_there(arrival: Survival) -> bool:
    return len(arrival.share) > 0 and arrival.share[-1] == 0


def _over_seeds(x: Any) -> Any:
    return interquartile_mean(x[:, 0])
