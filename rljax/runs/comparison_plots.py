"""Figures that compare learners: lines in the intervals of their statistics, and who beats whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rljax.runs import plots

STYLES = ("-", "--", ":", "-.")  # once the colours are used up


class Band(NamedTuple):
    """A line and the interval around each of its points."""

    x: np.ndarray  # [T]
    middle: np.ndarray  # [T]
    low: np.ndarray  # [T]
    high: np.ndarray  # [T]
    until: float = np.inf  # x up to which at least half of what it is of went on: dotted beyond


def bands(
    path: str | Path,
    lines: Mapping[str, Band],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    note: str,
    stairs: bool = False,
    best_possible: float | None = None,
) -> None:
    """All lines on one axis, each in its band, named beside it in the order given.

    Args:
      path: of the PNG.
      lines: name -> line and band.
      title, xlabel, ylabel: with units.
      note: what line and band are, below.
      stairs: what is drawn stays as it is until the next point; else points are joined.
      best_possible: a dashed line, if given.
    """
    with plots.figure(path, title=title, xlabel="", ylabel=ylabel, size=(9.5, 4.8)) as axis:
        for i, (name, band) in enumerate(lines.items()):
            colour = plots.COLOURS[i % len(plots.COLOURS)]
            style = STYLES[i // len(plots.COLOURS) % len(STYLES)]
            step, drawstyle = ("post", "steps-post") if stairs else (None, "default")
            axis.fill_between(band.x, band.low, band.high, color=colour, alpha=0.18, linewidth=0, step=step)
            line = {"color": colour, "linewidth": 2, "drawstyle": drawstyle}
            half = int(np.searchsorted(band.x, band.until, side="right"))
            axis.plot(band.x[:half], band.middle[:half], linestyle=style, label=name, **line)
            axis.plot(band.x[max(half - 1, 0) :], band.middle[max(half - 1, 0) :], linestyle=(0, (1, 1)), **line)
        if best_possible is not None:
            axis.axhline(best_possible, color="0.4", linestyle="--", linewidth=1, zorder=1)
        lowest = min(float(np.nanmin(band.low)) for band in lines.values())
        axis.set_ylim(bottom=min(0.0, 1.05 * lowest))
        axis.margins(x=0.01)  # a last jump is not lost in the frame
        axis.figure.supxlabel(f"{xlabel}\n{note}", fontsize=9)
        axis.figure.legend(loc="outside right upper", frameon=False, fontsize=9)


def improvement(path: str | Path, rows: Mapping[str, tuple[float, float, float]], *, title: str, note: str) -> None:
    """Who beats whom: for each pair, from the top, the probability in its interval; the line at one half is no difference.

    Args:
      path: of the PNG.
      rows: "X\\nover Y" -> probability, low, high; from 0 to 1.
      title: of the figure.
      note: what is drawn, below.
    """
    names = list(rows)[::-1]
    with plots.figure(path, title=title, xlabel="", ylabel="", size=(9, 1.5 + 0.5 * len(rows))) as axis:
        axis.axvline(0.5, color="0.4", linestyle="--", linewidth=1)
        for y, name in enumerate(names):
            middle, low, high = rows[name]
            colour = plots.COLOURS[0] if low > 0.5 or high < 0.5 else "0.5"
            axis.plot([low, high], [y, y], color=colour, linewidth=6, alpha=0.35, solid_capstyle="butt")
            axis.plot(middle, y, "o", color=colour)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.set_xlim(-0.02, 1.02)
        axis.figure.supxlabel(f"P(a run of the first scores higher than one of the second)\n{note}", fontsize=9)
