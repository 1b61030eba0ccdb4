"""Which learner is better, and how sure is that? `python -m experiments compare RUN_A RUN_B ...`, from what runs have left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tyro.conf import Positional


def main(
    run_folders: Positional[tuple[Path, ...]],
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    threshold: float | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> None:
    """Compare the learners of run folders: curves, scores, who beats whom, how long until a threshold. Seeds are the unit.

    Args:
      run_folders: what `reinforce`, `policy_search`, `approximate_q`, `dqn_chapter`, `dqn`, `pqn`, `dqn_ablation` or
        `q_learning` made: two or more, or one with several variants.
      seed: of the resamples.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 200 resamples.
      threshold: score whose first time is compared; default: 95 % of the highest there is.
      level: of confidence.
      resamples: of each bootstrap.
    """
    import numpy as np
    from rich.markup import escape

    from experiments import _comparison, _console, _results
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(resamples=resamples)
    checks.real("level", level, 0, 1, above=True, below=True)
    if threshold is not None:
        checks.real("threshold", threshold, above=True, below=True)
    learners = _results.read(run_folders)
    have = _comparison.common(learners)
    scores, curves_of, budget = have.scores, have.curves_of, have.budget
    if threshold is not None and not curves_of:
        raise ValueError(
            f"threshold is {threshold:g}, and the runs have no curves in common that reach it. Leave it out."
        )
    names, best = list(scores), learners[0].best
    resamples = min(resamples, 200) if quick else resamples
    if threshold is None and best is not None and curves_of:
        threshold = 0.95 * best
    if threshold is not None and best is not None and threshold > best:
        raise ValueError(f"threshold is {threshold:g}; expected at most {best:g}, the highest score there is.")
    path = folder.create(out, "compare")
    folder.write_config(path, "compare", options, {"resamples": resamples, "threshold": threshold})

    again = {"level": level, "resamples": resamples, "seed": seed}
    profiles, pairs = _comparison.profiles(scores, again), _comparison.improvements(scores, level)
    rows = {learner.name: _comparison.scored(learner, scores[learner.name], again) for learner in learners}
    folder.write_csv(path / "improvement.csv", pairs)
    folder.write_csv(path / "profiles.csv", _comparison.lines(profiles, "score", "share_above"))
    _comparison.draw_scores(path, profiles, pairs, have, level)
    if curves_of:
        middles = {learner.name: _comparison.middle(learner.curves, again) for learner in learners}
        folder.write_csv(path / "curves.csv", _comparison.lines(middles, budget.replace(" ", "_"), "iqm"))
        _comparison.draw_curves(path, middles, have, best, level)
    horizon, early = None, {}
    if threshold is not None:
        arrivals = {learner.name: _comparison.arrivals(learner.curves, threshold, level) for learner in learners}
        horizon, end = _comparison.horizon([*arrivals.values()]), max(arrival.longest for arrival in arrivals.values())
        reached = {name: _comparison.reached(arrival, end) for name, arrival in arrivals.items()}
        early = {learner.name: _comparison.stopped(learner.curves, threshold) for learner in learners}
        for name, row in rows.items():
            row |= {"seeds_that_stop_before": early[name], **_comparison.timed(arrivals[name], horizon)}
        folder.write_csv(path / "reached.csv", _comparison.lines(reached, budget.replace(" ", "_"), "share_there"))
        _comparison.draw_reached(path, reached, have, threshold, level)
    summary = {
        "task": learners[0].task,
        "scores_are": have.scores_of,
        "curves_are": curves_of or None,
        "curves_are_over": budget or None,
        "threshold": threshold,
        "horizon": horizon,
        "learners": rows,
        "probability_of_improvement": pairs,
    }
    folder.write_json(path / "summary.json", summary)

    def interval(middle: float, ends: Sequence[float], form: str) -> str:
        return f"{form.format(middle)} \\[{form.format(ends[0])}, {form.format(ends[1])}]"

    form = "{:.1f}" if max(np.abs(x).max() for x in scores.values()) >= 10 else "{:.3f}"
    against = {pair["x"]: [pair[end] for end in ("probability", "low", "high")] for pair in pairs[: len(names) - 1]}
    shown = [
        {
            "learner": escape(name),
            "seeds": str(row["seeds"]),
            "score": interval(row["score_iqm"], row["score_interval"], form),
            "beats the first": interval(against[name][0], against[name][1:], "{:.2f}") if name in against else "",
        }
        for name, row in rows.items()
    ]
    if threshold is not None:
        for line, row in zip(shown, rows.values(), strict=True):
            line["there"] = f"{row['seeds_that_get_there']} of {line.pop('seeds')}"
            line[f"median {budget}"] = interval(row["median_time"], row["median_time_interval"], "{:.0f}")
    score = _comparison.said(have.scores_of)
    _console.table(f"{learners[0].task}: {score}, interquartile means \\[{level:.0%} intervals over seeds]", shown)
    _console.console.print(
        f"beats the first: the probability that a run scores higher than one of {escape(repr(names[0]))}."
    )
    if threshold is not None:
        _console.console.print(
            f"there: seeds whose {_comparison.said(curves_of)} reaches {threshold:g}; median: until half of all seeds do."
        )
    elif not curves_of:
        _console.console.print("no curves: those of these runs are of different things, or there are none.")
    for name, count in early.items():
        if count:
            _console.console.print(
                f"{count} of {rows[name]['seeds']} seeds of {escape(repr(name))} stopped before others, and before they were "
                "there: the median is as if that had nothing to do with how they did."
            )
    for name, row in rows.items():
        if "failure" in row:
            _console.console.print(f"{name} was cut short and counts as it was: {row['failure']}", markup=False)
    _console.files(path)
