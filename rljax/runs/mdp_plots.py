"""Figures of small worlds: paths of chains, laws, errors of planners, mazes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rljax.runs import plots

STYLES = ("-", "--", ":", "-.")


def chain_paths(path: str | Path, paths: Sequence[np.ndarray], *, title: str) -> None:
    """One row a path, one cell a step, with the number and in the colour of the state.

    Args:
      path: of the PNG.
      paths: the states of each path, from the start on; rows end where their paths end.
      title: of the figure.
    """
    longest = max(map(len, paths))
    size = (min(16.0, max(8.0, 1.2 + 0.22 * longest)), 1.2 + 0.3 * len(paths))
    with plots.figure(path, title=title, xlabel="step", ylabel="path", size=size) as axis:
        for row, states in enumerate(paths, 1):
            colours = [plots.COLOURS[state % len(plots.COLOURS)] for state in states]
            axis.bar(range(len(states)), 0.8, bottom=row - 0.4, width=0.96, color=colours, alpha=0.45)
            for step, state in enumerate(states):
                axis.text(step, row, str(state), ha="center", va="center_baseline", fontsize=8)
        axis.set_yticks(range(1, len(paths) + 1))
        axis.set_ylim(len(paths) + 0.6, 0.4)
        axis.set_xlim(-0.6, longest - 0.4)
        axis.grid(visible=False)


def chain_laws(path: str | Path, laws: np.ndarray, absorbs: np.ndarray, *, title: str) -> None:
    """The law of the state after n steps, [T + 1, S]: one line a state; dashed where it absorbs, [S]."""
    with plots.figure(path, title=title, xlabel="step n", ylabel="probability of the state after n steps") as axis:
        for state, (colour, law) in enumerate(zip(itertools.cycle(plots.COLOURS), laws.T, strict=False)):
            style, note = ("--", " (absorbs)") if absorbs[state] else ("-", "")
            axis.plot(law, style, color=colour, linewidth=2, label=f"state {state}{note}")
        axis.set_ylim(0, 1.02)
        axis.set_xlim(0, len(laws) - 1)
        axis.legend(frameon=False)


def waiting_times(path: str | Path, times: np.ndarray, law: np.ndarray, mean: float, *, title: str) -> None:
    """How often each waiting time came up, against its exact law.

    Args:
      path: of the PNG.
      times: [N] simulated, in steps.
      law: [T + 1] exact probabilities of 0 ... T steps; longer times are not shown.
      mean: exact.
      title: of the figure.
    """
    with plots.figure(path, title=title, xlabel="steps until absorption", ylabel="probability") as axis:
        counts = np.bincount(times, minlength=len(law))[: len(law)] / len(times)
        axis.bar(
            range(len(law)), counts, width=0.8, color=plots.COLOURS[5], label=f"{len(times)} simulated paths", zorder=1
        )
        axis.plot(law, "o", color=plots.COLOURS[0], markersize=3, label="exact law")
        axis.axvline(times.mean(), color=plots.COLOURS[1], linewidth=2, label=f"simulated mean {times.mean():.2f}")
        axis.axvline(mean, color="0.2", linestyle="--", linewidth=1.5, label=f"exact mean {mean:.2f}")
        axis.grid(visible=False, axis="x")
        axis.set_xlim(-0.7, len(law) - 0.3)
        axis.legend(frameon=False)


def errors(
    path: str | Path,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    pairs: int = 1,
    target: float | None = None,
    until: float | None = None,
    mark: tuple[float, str] | None = None,
    floor: float = 1e-13,
) -> None:
    """Errors on a log scale.

    Args:
      path: of the PNG.
      curves: name -> (x, y), drawn in this order; what is below `floor` is rounding, and not drawn.
      title, xlabel, ylabel: of the figure, with units.
      pairs: so many curves in a row share a colour; the first of them is pale and wide, the others lie on it, dashed.
      target: a thin line at the error that was asked for.
      until: end of the horizontal axis; default: that of the curves.
      mark: a vertical line, and what it stands for.
      floor: end of the vertical axis.
    """
    with plots.figure(path, title=title, xlabel=xlabel, ylabel=ylabel) as axis:
        axis.set_yscale("log")
        for i, (name, (x, y)) in enumerate(curves.items()):
            colour = plots.COLOURS[i // pairs % len(plots.COLOURS)]
            style = STYLES[i % pairs if pairs > 1 else i // len(plots.COLOURS)]
            later = len(curves) - 1 - i  # what later lines hide shows at their sides, and where they begin
            wide = {"linewidth": 2 + 0.5 * later, "marker": "o", "markevery": [0], "markersize": 5 + 1.6 * later}
            pale = {"linewidth": 2 if i % pairs else 6, "alpha": 1 if i % pairs else 0.35}
            shown = np.where(y >= floor, y, np.nan)
            axis.plot(x, shown, style, color=colour, label=name, **(wide if pairs == 1 else pale))
        if target is not None:
            axis.axhline(target, color="0.4", linewidth=1, linestyle=(0, (1, 2)), label=f"asked for: {target:g}")
        if mark is not None:
            axis.axvline(mark[0], color="0.4", linewidth=1, linestyle="--", label=mark[1])
        axis.set_ylim(bottom=floor)
        axis.set_xlim(left=0, right=until)
        axis.legend(frameon=False, fontsize=9)


def maze(
    path: str | Path,
    values: np.ndarray,
    steps: np.ndarray,
    route: Sequence[tuple[int, int]],
    *,
    title: str,
    marks: Mapping[tuple[int, int], str] | None = None,
    label: str = "value: expected discounted return",
) -> None:
    """A grid of cells seen from above: values as colours, a policy as arrows, one walk as a line.

    Args:
      path: of the PNG.
      values: [rows, columns]; NaN where a wall is.
      steps: [rows, columns, 2] down and right, where the policy heads; 0, 0 draws no arrow.
      route: cells (row, column) of the walk, in order; empty for none.
      title: of the figure.
      marks: cell -> a short text written there, instead of an arrow.
      label: of the colours, with units.
    """
    rows, columns = values.shape
    cell = min(0.5, 9 / max(rows, columns))
    size = (max(5.0, cell * columns + 2), max(3.0, cell * rows + 1))
    with plots.figure(path, title=title, xlabel="column", ylabel="row", size=size) as axis:
        axis.set_facecolor("0.15")  # walls
        picture = axis.imshow(np.ma.masked_invalid(values), cmap="viridis")
        axis.figure.colorbar(picture, label=label, shrink=0.9)
        axis.grid(visible=False)
        marks = marks or {}
        if len(route) > 1:
            down, right = np.array(route).T
            axis.plot(right, down, color=plots.COLOURS[1], linewidth=14 * cell, alpha=0.8, solid_capstyle="round")
        heads = [
            cell for cell in np.argwhere(np.isfinite(values) & (steps != 0).any(axis=2)) if tuple(cell) not in marks
        ]
        if heads:
            down, right = np.array(heads).T
            axis.quiver(
                right,
                down,
                steps[down, right, 1],
                steps[down, right, 0],
                angles="xy",
                scale_units="xy",
                scale=1.6,
                pivot="mid",
                color="white",
                edgecolor="0.2",  # on bright cells too
                linewidth=0.5,
                width=0.06,
                zorder=3,
                units="xy",
                headwidth=4,
                headlength=4,
                headaxislength=3.5,
            )
        for (row, column), text in marks.items():
            axis.text(
                column,
                row,
                text,
                ha="center",
                va="center_baseline",
                color="black",
                fontsize=22 * cell,
                fontweight="bold",
                bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9},
            )
        axis.set_xticks(range(0, columns, 1 + columns // 16))
        axis.set_yticks(range(0, rows, 1 + rows // 16))
