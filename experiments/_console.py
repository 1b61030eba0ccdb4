"""What experiments say on the terminal: a live bar while they work, a short table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table

console = Console(highlight=False)


class Bar:
    """One line of progress: `done` of `total`, and a note."""

    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress, self._task = progress, progress.add_task(title, total=total, note="compiling ...")

    def update(self, done: int, note: str) -> None:
        """Show that `done` are done."""
        self._progress.update(self._task, completed=done, note=note)

    def finish(self, done: int, note: str) -> None:
        """Show that nothing is left to do after `done`: a bar that stands still before its end looks broken off."""
        self._progress.update(self._task, completed=done, total=done, note=note)


@contextmanager
def bar(title: str, total: int) -> Iterator[Bar]:
    """A `Bar` for the time of the block."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, title, total)


def table(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Rows of texts under their names."""
    grid = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    longest = max(len(next(iter(row.values()))) for row in rows)
    for i, name in enumerate(rows[0]):  # what the row is about stays in one line at 80 columns, if others have room
        grid.add_column(name, no_wrap=not i and 2 * longest <= console.width, overflow="fold")
    for row in rows:
        grid.add_row(*row.values())
    console.print(grid)


def many(number: int, what: str) -> str:
    """1 seed, 2 seeds."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def busy(what: str) -> Status:
    """A line that moves while the block goes on, for work that has no bar."""
    return console.status(f"{what} ...")


def files(folder: Path) -> None:
    """Where things are."""
    console.print(
        f"results in [bold]{escape(str(folder))}[/]: " + ", ".join(sorted(path.name for path in folder.iterdir()))
    )
