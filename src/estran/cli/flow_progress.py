"""How a simulation by costs alone goes: a bar with the time left, on a terminal; phases, elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from estran.cli.progress import PlainProgress, QuietProgress
from estran.run.record import Progress


class FlowProgress(QuietProgress):
    """Moves a bar as simulated time goes on."""

    def __init__(self, bar: Bar, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None, phase="compile")

    def phase(self, name: str, expected: float | None) -> None:
        self._bar.update(self._task, phase=name)

    def live(self, figures: dict[str, float]) -> None:
        self._bar.update(self._task, total=figures["of"], completed=figures["simulated"])


@contextmanager
def flow_progress_on(console: Console, title: str, *, quiet: bool) -> Iterator[Progress]:
    """Show progress as well as the console can: a bar with the time left, lines, or nothing."""
    if quiet:
        yield QuietProgress()
    elif not console.is_terminal:
        yield PlainProgress(console)
    else:
        columns = (
            TextColumn("[bold]{task.description}"), TextColumn("{task.fields[phase]}"), BarColumn(), TaskProgressColumn(),
            TimeElapsedColumn(), TextColumn("[dim]left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Bar(*columns, console=console, transient=True) as bar:
            yield FlowProgress(bar, title)
