"""Figures of sweeps: how good every combination of settings is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rljax.runs import plots


def heat_map(
    path: str | Path, settings: Sequence[Mapping[str, Any]], values: np.ndarray, *, title: str, label: str
) -> None:
    """One cell a setting, its value written in it: the first two names that vary are the axes, the others make panels.

    Of settings that are no grid, drawn at random or one of them twice, one row a setting, the best on top.

    Args:
      path: of the PNG.
      settings: S of them, all with the same names.
      values: [S].
      title, label: of the figure and of what a value is.
    """
    names = [name for name in settings[0] if len({setting[name] for setting in settings}) > 1] or list(settings[0])
    levels = {name: sorted({setting[name] for setting in settings}) for name in names}
    cells = {tuple(setting[name] for name in names) for setting in settings}
    if not len(cells) == len(settings) == np.prod([len(levels[name]) for name in names]):  # no grid
        rows = sorted(zip(values, settings, strict=True), key=lambda row: -row[0])
        with plots.figure(path, title=title, xlabel=label, ylabel="", size=(8, 1.4 + 0.28 * len(rows))) as axis:
            axis.barh(range(len(rows)), [value for value, _ in rows], color=plots.COLOURS[0])
            axis.set_yticks(range(len(rows)), [told(setting) for _, setting in rows], fontsize=8)
            axis.invert_yaxis()
        return
    down, across, others = names[0], (*names[1:2], ""), names[2:]
    levels[""] = [""]  # one name alone: one column
    axes_of = lambda setting: (levels[down].index(setting[down]), levels[across[0]].index(setting.get(across[0], "")))
    shape = (len(levels[down]), len(levels[across[0]]))
    tables: dict[str, np.ndarray] = {}
    for value, setting in zip(values, settings, strict=True):
        panel = told({name: setting[name] for name in others})
        tables.setdefault(panel, np.full(shape, np.nan))[axes_of(setting)] = value
    size = (max(5.5, 1.6 + (1.2 + 0.9 * shape[1]) * len(tables)), 2.3 + 0.6 * shape[0])
    low, high = min(0.0, float(values.min())), float(values.max())
    with plots.panels(path, 1, len(tables), title=title, size=size, sharey=True) as axes:
        images = []
        for axis, (panel, table) in zip(axes[0], tables.items(), strict=True):
            images.append(axis.imshow(table, cmap="viridis", vmin=low, vmax=high, aspect="auto"))
            axis.set_title(panel, loc="left", fontsize=10)
            axis.grid(visible=False)
            for (i, j), value in np.ndenumerate(table):
                colour = "white" if value < low + 0.6 * (high - low) else "black"
                axis.text(j, i, f"{value:.1f}", ha="center", va="center", color=colour)
            axis.set_yticks(range(shape[0]), list(map(_level, levels[down])))
            axis.set_xticks(range(shape[1]), list(map(_level, levels[across[0]])))
            axis.set_xlabel(across[0].replace("_", " "))
        axes[0, 0].set_ylabel(down.replace("_", " "))
        axes[0, 0].figure.colorbar(images[0], ax=axes[0].tolist())
        axes[0, 0].figure.supxlabel(label, fontsize=9)


def told(setting: Mapping[str, Any]) -> str:
    """A setting in words, others for any other one."""
    return ", ".join(f"{name.replace('_', ' ')} {_level(value)}" for name, value in setting.items())


def _level(value: Any) -> str:
    """A number as short as it can be told without being another."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return short if float(short := f"{value:g}") == value else repr(value)
