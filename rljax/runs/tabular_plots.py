"""Figures of what tabular learners learn: values against exact ones, how learners differ, where they have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rljax.runs import plots


def learned_values(
    path: str | Path,
    steps: np.ndarray,
    values: np.ndarray,
    exact: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    ylabel: str,
) -> None:
    """The values of the first seed, the 5-95 % band of all, and the exact values, dashed.

    Args:
      path: of the PNG.
      steps: [T] at which values were kept.
      values: [B, T, K] of B seeds.
      exact: [K].
      names: K of them, written at the right end of their lines.
      title, ylabel: of the figure, with units.
    """
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    with plots.figure(path, title=title, xlabel="steps in the world", ylabel=ylabel, size=(9, 5.5)) as axis:
        for k in range(len(names)):
            colour = plots.COLOURS[k % len(plots.COLOURS)]
            axis.fill_between(steps, low[:, k], high[:, k], color=colour, alpha=0.18, linewidth=0)
            axis.plot(steps, values[0, :, k], color=colour, linewidth=1.6)
            axis.axhline(exact[k], color=colour, linestyle="--", linewidth=1)
        bottom, top = min(low.min(), exact.min(), values[0].min()), max(high.max(), exact.max(), values[0].max())
        axis.set_ylim(bottom - 0.04 * (top - bottom), top + 0.04 * (top - bottom))
        for k, height in enumerate(_apart(exact, 0.05 * (top - bottom))):
            axis.annotate(
                f"{names[k]} = {exact[k]:.2f}",
                (1.0, exact[k]),
                (1.035, height),
                xycoords=axis.get_yaxis_transform(),
                textcoords=axis.get_yaxis_transform(),
                color=plots.COLOURS[k % len(plots.COLOURS)],
                fontsize=10,
                va="center",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": plots.COLOURS[k % len(plots.COLOURS)], "linewidth": 0.7},
            )
        axis.set_xlim(0, steps[-1])
        handles = [
            axis.plot([], [], color="0.3", linewidth=1.6, label="one seed")[0],
            axis.fill_between([], [], [], color="0.3", alpha=0.18, label=f"5-95 % of {len(values)} seeds"),
            axis.plot([], [], color="0.3", linestyle="--", linewidth=1, label="exact")[0],
        ]
        axis.figure.legend(handles=handles, frameon=False, fontsize=9, ncols=3, loc="outside lower center")


def learned_action_values(
    path: str | Path, steps: np.ndarray, values: np.ndarray, exact: np.ndarray, mask: np.ndarray, *, title: str
) -> None:
    """A panel for every action value, a row for each state: one seed, the 5-95 % band of all, the exact value dashed.

    Args:
      path: of the PNG.
      steps: [T] at which tables were kept.
      values: [B, T, S, A] of B seeds.
      exact: [S, A].
      mask: [S, A] bool; a panel where it is False says so, and shows nothing.
      title: of the figure.
    """
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    colour, (num_states, num_actions) = plots.COLOURS[0], mask.shape
    size = (3.2 * num_actions, 0.9 + 2.0 * num_states)
    with plots.panels(path, num_states, num_actions, title=title, size=size, sharex=True, sharey="row") as axes:
        for s, a in np.ndindex(mask.shape):
            axis = axes[s, a]
            if not mask[s, a]:
                axis.set_title(f"Q({s}, {a})", loc="left", fontsize=10, color="0.5")
                axis.set_facecolor("0.95")
                axis.grid(visible=False)
                axis.text(
                    0.5, 0.5, "not available:\nnever chosen, in no maximum",
                    transform=axis.transAxes, ha="center", va="center", color="0.45", fontsize=9,
                )  # fmt: skip
                continue
            axis.set_title(f"Q*({s}, {a}) = {exact[s, a]:.2f}", loc="left", fontsize=10)
            label = f"5-95 % of {len(values)} seeds"
            axis.fill_between(steps, low[:, s, a], high[:, s, a], color=colour, alpha=0.25, linewidth=0, label=label)
            axis.plot(steps, values[0, :, s, a], color=colour, linewidth=1.4, label="one seed")
            axis.axhline(exact[s, a], color="0.2", linestyle="--", linewidth=1, label="exact")
        for s in range(num_states):
            axes[s, 0].set_ylabel(f"state {s}")
        for a in range(num_actions):
            axes[-1, a].set_xlabel("steps in the world")
        axes[0, 0].set_xlim(0, steps[-1])
        handles, labels = axes.flat[np.argmax(mask)].get_legend_handles_labels()
        axes[0, 0].figure.legend(handles, labels, frameon=False, fontsize=9, ncols=3, loc="outside lower center")


def final_values(
    path: str | Path,
    values: np.ndarray,
    exact: np.ndarray,
    reported: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    xlabel: str,
) -> None:
    """How the values of all seeds scatter at the end, [B, K]; with what is exact, and what one run reported, [K] each."""
    columns = 3
    rows = -(-len(names) // columns)
    with plots.panels(path, rows, columns, title=title, size=(10, 0.8 + 2.3 * rows)) as axes:
        for k, axis in enumerate(axes.flat):
            if k >= len(names):
                axis.set_axis_off()
                continue
            axis.hist(values[:, k], bins=40, color=plots.COLOURS[5], alpha=0.7, label=f"{len(values)} seeds")
            axis.axvline(exact[k], color="0.2", linestyle="--", linewidth=1.5, label="exact")
            axis.axvline(reported[k], color=plots.COLOURS[1], linewidth=2, label="the chapter's run")
            axis.set_title(names[k], loc="left", fontsize=10)
            axis.set_xlabel(xlabel)
            axis.set_yticks([])
            axis.grid(visible=False)
        axes[0, 0].set_ylabel("number of seeds")
        axes.flat[0].figure.legend(
            *axes[0, 0].get_legend_handles_labels(), frameon=False, fontsize=9, ncols=3, loc="upper right"
        )


def compared(
    path: str | Path,
    steps: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    title: str,
    ylabel: str,
    percent: bool = False,
) -> None:
    """One line per learner: its mean over seeds [T, B] at `steps` [T], in a band of 95 % confidence for that mean."""
    with plots.figure(path, title=title, xlabel="steps in the world", ylabel=ylabel) as axis:
        scale = 100.0 if percent else 1.0
        seeds = next(iter(curves.values())).shape[1]
        for colour, (name, values) in zip(plots.COLOURS, curves.items(), strict=False):
            mean = scale * values.mean(axis=1)
            if seeds > 1:
                error = 1.96 * scale * values.std(axis=1, ddof=1) / seeds**0.5
                least, most = scale * values.min(axis=1), scale * values.max(axis=1)  # a share is never above 100 %
                low, high = np.maximum(mean - error, least), np.minimum(mean + error, most)
                axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(steps, mean, color=colour, linewidth=2, label=name)
        axis.set_xlim(0, steps[-1])
        axis.set_ylim(0, 104 if percent else None)
        note = f"line: mean of {seeds} seeds; band: its 95 % confidence interval" if seeds > 1 else "one seed"
        axis.figure.legend(
            frameon=False, fontsize=9, title=note, title_fontsize=8, ncols=len(curves), loc="outside lower center"
        )


def step_sizes(
    path: str | Path,
    sizes: np.ndarray,
    curves: Mapping[str, np.ndarray],
    *,
    title: str,
    ylabel: str,
    ceiling: float,
) -> None:
    """Error [N] against step size [N], one line per setting in the colours of a scale; drawn up to `ceiling`."""
    from matplotlib import colormaps  # `figure` says how to install it

    with plots.figure(path, title=title, xlabel="step size alpha", ylabel=ylabel, size=(9, 5)) as axis:
        for i, (name, errors) in enumerate(curves.items()):
            colour = colormaps["viridis"](0.92 * i / max(1, len(curves) - 1))
            axis.plot(sizes, errors, "-o", color=colour, linewidth=1.8, markersize=3, label=name)
        axis.set_xlim(0, sizes[-1])
        axis.set_ylim(0.9 * min(np.nanmin(errors) for errors in curves.values()), ceiling)
        axis.figure.legend(frameon=False, fontsize=9, loc="outside right center")


def visited_pairs(path: str | Path, counts: Mapping[str, np.ndarray], actions: Sequence[str], *, title: str) -> None:
    """One panel per learner: its share of visits [S, A] to each state, by action, as bars."""
    with plots.panels(path, 1, len(counts), title=title, size=(3.6 * len(counts), 3.6), sharey=True) as axes:
        for axis, (name, visits) in zip(axes.flat, counts.items(), strict=True):
            share = 100.0 * visits / visits.sum()
            below = np.zeros(len(share))
            for colour, action, column in zip(plots.COLOURS, actions, share.T, strict=False):
                axis.bar(range(len(share)), column, bottom=below, color=colour, label=action, width=0.8)
                below += column
            axis.set_title(name, loc="left", fontsize=10)
            axis.set_xlabel("state")
            axis.set_xticks(range(len(share)))
            axis.grid(visible=False, axis="x")
        axes[0, 0].set_ylabel("share of all steps (%)")
        axes[0, -1].legend(frameon=False, fontsize=9)


def visited_cells(
    path: str | Path, counts: Mapping[str, np.ndarray], marks: Mapping[str, tuple[int, int]], *, title: str, label: str
) -> None:
    """One picture per learner: visits to each cell of a maze, [rows, columns], NaN for walls, on one scale of colours.

    Args:
      path: of the PNG.
      counts: name -> visits.
      marks: letter -> the cell (row, column) where it is written.
      title, label: of the figure and of the colours, with units.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    highest = max(np.nanmax(visits) for visits in counts.values())
    lowest = min(np.nanmin(visits) for visits in counts.values())
    rows, columns = next(iter(counts.values())).shape
    size = (3.7 * len(counts) + 1, 3.4 * rows / columns + 1.1)
    with plots.panels(path, 1, len(counts), title=title, size=size) as axes:
        for axis, (name, visits) in zip(axes.flat, counts.items(), strict=True):
            picture = axis.imshow(np.ma.masked_invalid(visits), cmap="viridis", norm=LogNorm(max(lowest, 0.1), highest))
            axis.set_facecolor("0.3")
            axis.spines[:].set_visible(False)
            for letter, (row, column) in marks.items():
                if np.isnan(visits[row, column]):  # an end: nothing is done there
                    axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color="white"))
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
                axis.text(column, row, letter, ha="center", va="center", fontsize=9, fontweight="bold", bbox=box)
            if axis is axes[0, -1]:
                axis.figure.colorbar(picture, ax=list(axes.flat), label=label, shrink=0.85)
            axis.set_title(name, loc="left", fontsize=10)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(visible=False)


def _apart(heights: np.ndarray, distance: float) -> np.ndarray:
    """Heights of labels, moved just so far that none lies within `distance` of another."""
    order, placed = np.argsort(heights), np.sort(np.asarray(heights, float))
    for _ in range(100):
        gaps = distance - np.diff(placed)
        if (gaps <= 1e-9).all():
            break
        push = 0.5 * np.maximum(gaps, 0.0)
        placed[:-1] -= push
        placed[1:] += push
    result = np.empty_like(placed)
    result[order] = placed
    return result
