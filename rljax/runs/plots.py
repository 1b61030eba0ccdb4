"""Figures of runs, for people: titled, labelled, readable at a glance. Written without a display."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def learning_curves(
    path: str | Path,
    curves: Mapping[str, np.ndarray],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    best_possible: float | None = None,
) -> None:
    """One line per name: the interquartile mean over seeds, in a band from the 5th to the 95th percentile.

    A seed that stops early is marked by a dot where it stood; the line goes on, with that value, until half have stopped.

    Args:
      path: of the PNG.
      curves: name -> [steps, seeds]; NaN where a seed had stopped.
      title, xlabel, ylabel: of the figure, with units.
      best_possible: a dashed line, if given.
    """
    with figure(path, title=title, xlabel=xlabel, ylabel=ylabel) as axis:
        for colour, (name, values) in zip(itertools.cycle(COLOURS), curves.items(), strict=False):
            values = np.asarray(values, float)
            running = np.isfinite(values)
            shown = running.mean(axis=1) >= 0.5
            filled = _carry_forward(values)[shown]
            steps = 1 + np.flatnonzero(shown)
            low, high = np.quantile(filled, [0.05, 0.95], axis=1)
            axis.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(steps, interquartile_mean(filled, axis=1), color=colour, linewidth=2, label=name)
            ends = running.sum(axis=0)
            early = ends < len(values)
            if early.any():
                axis.plot(
                    ends[early], last(values)[early], "o", color=colour, markersize=5, label=f"{name}: a seed stops"
                )
        if best_possible is not None:
            axis.axhline(best_possible, color="0.4", linestyle="--", linewidth=1)
            axis.annotate(
                "best possible", (1, best_possible), (0, 3), textcoords="offset points", color="0.4", fontsize=8
            )
        seeds = next(iter(curves.values())).shape[1]
        note = f"line: interquartile mean of {seeds} seeds; band: 5th to 95th percentile" if seeds > 1 else "one seed"
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, loc="lower right", fontsize=9, title=note, title_fontsize=8, alignment="left")


def episode_returns(path: str | Path, returns: np.ndarray, *, title: str) -> None:
    """Return of each episode in order, with the mean across: the chapter's figure."""
    with figure(path, title=title, xlabel="episode", ylabel="return (steps survived)") as axis:
        axis.plot(np.arange(1, len(returns) + 1), returns, ".", color=COLOURS[0], markersize=4)
        axis.axhline(returns.mean(), color=COLOURS[1], linewidth=2, label=f"mean {returns.mean():.3f}")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False)


def last(values: np.ndarray) -> np.ndarray:
    """[seeds] the last number of each column of [steps, seeds]: NaN marks steps after a seed had stopped."""
    return _carry_forward(values)[-1]


def _carry_forward(values: np.ndarray) -> np.ndarray:
    """[steps, seeds] with each NaN replaced by the last number above it."""
    rows = np.where(np.isfinite(values), np.arange(len(values))[:, None], 0)
    return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
