"""Figures of runs, for people: titled, labelled, readable at a glance. Written without a display."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rljax.runs import folder
from rljax.runs.statistics import interquartile_mean

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by the colour-blind too


@contextmanager
def figure(
    path: str | Path, *, title: str, xlabel: str, ylabel: str, size: tuple[float, float] = (8, 4.5)
) -> Iterator[Any]:
    """A matplotlib axis to draw on, saved as PNG (150 dots per inch) when the block ends.

    Errors:
      ModuleNotFoundError: matplotlib is missing; says how to install it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("figures need matplotlib: pip install 'rljax-functional[experiments]'") from error
    canvas = FigureCanvasAgg(Figure(figsize=size, layout="constrained"))
    axis = canvas.figure.add_subplot()
    axis.set_title(title, loc="left", fontweight="bold")
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    yield axis
    folder.write_atomically(path, lambda file: canvas.figure.savefig(file, format="png", dpi=150))


@contextmanager
def panels(
    path: str | Path, rows: int, columns: int, *, title: str, size: tuple[float, float], **options: Any
) -> Iterator[Any]:
    """[rows, columns] axes below one title, saved as `figure` saves; `options` are those of `Figure.subplots`."""
    with figure(path, title="", xlabel="", ylabel="", size=size) as axis:
        canvas = axis.figure
        axis.remove()
        canvas.suptitle(title, x=0.01, ha="left", fontweight="bold")
        axes = canvas.subplots(rows, columns, squeeze=False, **options)
        for axis in axes.flat:
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.25)
        yield axes


def learning_curves(
    path: str | Path,
    curves: Mapping[str, np.ndarray],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    best_possible: float | None = None,
    tests: Mapping[str, float] | None = None,
) -> None:
    """A panel per name, on common axes: the interquartile mean over seeds, in the bands of the middle half and nine tenths.

    A seed that stops early counts with its last value, and a tick at the foot marks where; the line is dotted once half
    have stopped, and ends with the last. The lines of the other names stand faintly behind.

    Args:
      path: of the PNG.
      curves: name -> [steps, seeds]; NaN where a seed had stopped.
      title, xlabel, ylabel: of the figure, with units.
      best_possible: a dashed line, if given.
      tests: name -> the test of what was learned, told in its panel: curves of the policy that explores do not show it.
    """
    longest = max(map(len, curves.values()))
    drawn = {name: _curve(np.asarray(values, float), longest) for name, values in curves.items()}
    columns = min(len(drawn), 4)
    rows = -(-len(drawn) // columns)
    size = (max(6.0, 3.7 * columns), 1.2 + 3.0 * rows)
    with panels(path, rows, columns, title=title, size=size, sharex=True, sharey=True) as axes:
        for axis in list(axes.flat)[len(drawn) :]:
            axis.remove()
        for axis, colour, (name, curve) in zip(axes.flat, itertools.cycle(COLOURS), drawn.items(), strict=False):
            axis.set_title(name, loc="left", fontsize=10, color=colour, fontweight="bold")
            for other in drawn.values():
                if other is not curve:
                    axis.plot(other.steps, other.middle, color="0.65", linewidth=0.8, zorder=1.5)
            for outer, alpha in ((0.05, 0.15), (0.25, 0.25)):
                low, high = np.quantile(curve.filled, [outer, 1 - outer], axis=1)
                axis.fill_between(curve.steps, low, high, color=colour, alpha=alpha, linewidth=0)
            line = {"color": colour, "linewidth": 2, "marker": _marker(curve)}
            axis.plot(curve.steps[: curve.half], curve.middle[: curve.half], label=name, **line)
            rest = slice(max(curve.half - 1, 0), None)
            axis.plot(curve.steps[rest], curve.middle[rest], linestyle=(0, (1, 1)), **line)
            told = [f"greedy test: {tests[name]:.1f}"] if tests else []
            if len(curve.stops):
                told.append(f"{len(curve.stops)} of {curve.filled.shape[1]} seeds stop early")
                foot = axis.get_xaxis_transform()
                axis.plot(curve.stops, np.full(len(curve.stops), 0.03), "|", color=colour, markersize=9, transform=foot)
            plain = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # a low curve may pass here
            place = {"ha": "right", "va": "bottom", "fontsize": 8, "transform": axis.transAxes, "bbox": plain}
            axis.text(0.98, 0.08, "\n".join(told), color=colour, **place)
            if best_possible is not None:
                axis.axhline(best_possible, color="0.4", linestyle="--", linewidth=1)
        if best_possible is not None:
            place = {"textcoords": "offset points", "color": "0.4", "fontsize": 8}
            axes[0, 0].annotate("best possible", (1, best_possible), (0, 3), **place)
        axes[0, 0].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        lowest = min(float(curve.filled.min()) for curve in drawn.values())
        axes[0, 0].set_ylim(bottom=min(0.0, 1.05 * lowest))  # a return may be negative
        if best_possible is not None:  # room for what is written on it
            bottom, top = axes[0, 0].get_ylim()
            axes[0, 0].set_ylim(top=max(top, best_possible + 0.06 * (best_possible - bottom)))
        seeds = next(iter(drawn.values())).filled.shape[1]
        note = f"line: interquartile mean of {seeds} seeds; bands: middle half, 5th to 95th percentile"
        if len(drawn) > 1:
            note += "; grey: other panels"
        if any(len(curve.stops) for curve in drawn.values()):
            note += "; ticks: seeds that stop, dotted once half have"
        _foot(axes, f"{xlabel}\n{note if seeds > 1 else 'one seed'}")
        axes[0, 0].figure.supylabel(ylabel, fontsize=9)


def episode_returns(path: str | Path, returns: np.ndarray, *, title: str) -> None:
    """Return of each episode in order, with the mean across: the chapter's figure."""
    with figure(path, title=title, xlabel="episode", ylabel="return (steps survived)") as axis:
        axis.plot(np.arange(1, len(returns) + 1), returns, ".", color=COLOURS[0], markersize=4)
        axis.axhline(returns.mean(), color=COLOURS[1], linewidth=2, label=f"mean {returns.mean():.3f}")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False)


def intervals(
    path: str | Path,
    rows: Mapping[str, tuple[float, float, float]],
    *,
    title: str,
    xlabel: str,
    best_possible: float | None = None,
) -> None:
    """One line for each name, the best on top: a point in its interval.

    Args:
      path: of the PNG.
      rows: name -> middle, low, high.
      title, xlabel: with units.
      best_possible: a dashed line, if given.
    """
    names = sorted(rows, key=lambda name: rows[name][0])
    with figure(path, title=title, xlabel=xlabel, ylabel="", size=(8, 1.2 + 0.35 * len(rows))) as axis:
        for y, name in enumerate(names):
            middle, low, high = rows[name]
            axis.plot([low, high], [y, y], color=COLOURS[0], linewidth=5, alpha=0.35, solid_capstyle="butt")
            axis.plot(middle, y, "o", color=COLOURS[0])
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(-0.6, len(names) - 0.4)
        if best_possible is not None:
            axis.axvline(best_possible, color="0.4", linestyle="--", linewidth=1)
            place = {"textcoords": "offset points", "color": "0.4", "fontsize": 8, "rotation": 90, "ha": "right"}
            axis.annotate("best possible", (best_possible, 0), (-3, 0), **place)
        axis.set_xlim(left=min(0.0, *(low for _, low, _ in rows.values())))


def search_curves(
    path: str | Path,
    searches: Mapping[str, Mapping[str, np.ndarray]],
    *,
    title: str,
    best_possible: float | None = None,
) -> None:
    """A column per search: how well its candidates do, best, mean and worst, and below how far they lie apart.

    Args:
      path: of the PNG.
      searches: name -> {"best", "mean", "worst", "spread"} -> [generations, seeds], NaN where a seed had stopped.
      title: of the figure.
      best_possible: a dashed line, if given.
    """
    size = (max(6.0, 3.7 * len(searches)), 5.6)
    with panels(
        path, 2, len(searches), title=title, size=size, sharex="col", sharey="row", height_ratios=(2, 1)
    ) as axes:
        for (upper, lower), (name, search) in zip(axes.T, searches.items(), strict=True):
            upper.set_title(name.replace("_", " "), loc="left", fontsize=10, fontweight="bold")
            longest = max(len(values) for values in search.values())
            for axis, kind, colour in (
                (upper, "best", COLOURS[2]),
                (upper, "mean", COLOURS[0]),
                (upper, "worst", COLOURS[1]),
                (lower, "spread", COLOURS[3]),
            ):
                curve = _curve(np.asarray(search[kind], float), longest)
                low, high = np.quantile(curve.filled, [0.25, 0.75], axis=1)
                axis.fill_between(curve.steps, low, high, color=colour, alpha=0.25, linewidth=0)
                axis.plot(curve.steps, curve.middle, color=colour, linewidth=2, label=kind, marker=_marker(curve))
            if best_possible is not None:
                upper.axhline(best_possible, color="0.4", linestyle="--", linewidth=1)
            lower.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        seeds = next(iter(next(iter(searches.values())).values())).shape[1]
        for axis in axes[:, 0]:  # shared along the row, and final only once all are drawn
            axis.set_ylim(bottom=0)
        axes[0, 0].set_ylabel("fitness of candidates (mean return)")
        axes[1, 0].set_ylabel("spread of candidates")
        axes[0, 0].legend(frameon=False, fontsize=8)
        note = (
            f"line: interquartile mean of {seeds} seeds, with its last value once a seed has stopped; band: middle half"
        )
        if best_possible is not None:
            note += "; dashed: the best possible"
        _foot(axes, f"generation\n{note if seeds > 1 else 'one seed'}")


def last(values: np.ndarray) -> np.ndarray:
    """[seeds] the last number of each column of [steps, seeds]: NaN marks steps after a seed had stopped."""
    return _carry_forward(values)[-1]


class _Curve(NamedTuple):
    """What is drawn of [steps, seeds], until the last seed has stopped."""

    steps: np.ndarray  # [T] counted from 1
    filled: np.ndarray  # [T, seeds]
    middle: np.ndarray  # [T]
    half: int  # steps that at least half of the seeds took
    stops: np.ndarray  # the last steps of those that stopped before the longest curve ends


def _foot(axes: Any, text: str) -> None:
    """The lines of a text below all panels, none wider than the figure."""
    figure, size = axes[0, 0].figure, 9
    wide = int(figure.get_figwidth() * 72 / (0.55 * size))  # letters: some half as wide as high
    lines = [line for whole in text.splitlines() for line in textwrap.wrap(whole, wide)]
    figure.supxlabel("\n".join(lines), fontsize=size)


def _marker(curve: _Curve) -> str | None:
    return "o" if len(curve.steps) == 1 else None  # a line through one point would not be seen


def _curve(values: np.ndarray, longest: int) -> _Curve:
    running = np.isfinite(values)
    ends = running.sum(axis=0)
    filled = _carry_forward(values)[: ends.max()]
    half = int((running.mean(axis=1) >= 0.5).sum())
    stops = ends[ends < longest]
    return _Curve(1 + np.arange(len(filled)), filled, interquartile_mean(filled, axis=1), half, stops)


def _carry_forward(values: np.ndarray) -> np.ndarray:
    """[steps, seeds] with each NaN replaced by the last number above it."""
    rows = np.where(np.isfinite(values), np.arange(len(values))[:, None], 0)
    return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
