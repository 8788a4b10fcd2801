"""Running an experiment by cost models alone: what `estran run --on simulate --detail flow` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from estran.cli.progress import PlainProgress
from estran.run.record import QuietProgress, Status


class BarProgress(QuietProgress):
    """One bar: how much of the simulated time has come, and how long the rest will take."""

    def __init__(self, bar: Progress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None, doing="")

    def phase(self, name: str, expected: float | None) -> None:
        self._bar.update(self._task, doing=name)

    def live(self, figures: dict[str, float]) -> None:
        if "simulated" in figures:
            self._bar.update(self._task, completed=figures["simulated"], total=figures["of"])


@contextmanager
def _progress(console: Console, title: str, *, quiet: bool) -> Iterator[QuietProgress]:
    if quiet:
        yield QuietProgress()
    elif not console.is_terminal:
        yield PlainProgress(console)
    else:
        columns = (
            TextColumn("[bold]{task.description}[/bold] {task.fields[doing]}"), BarColumn(), TaskProgressColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=True) as bar:
            yield BarProgress(bar, title)


def run_flow(
    file: str, overrides: Sequence[str], *, seed: int | None, out: Path, calibration: str | None, quiet: bool
) -> tuple[Path, Status]:
    """Load an experiment and simulate it by costs alone.

    Raises
    ------
    SpecErrors, RequestError
        If the file is wrong, or holds what costs alone cannot describe.
    """
    from estran.run.flow import prepare_by_costs

    prepared = prepare_by_costs(file, overrides=overrides, seed=seed, calibration=calibration)
    with _progress(Console(stderr=True, emoji=False), f"{prepared.experiment.name} by costs alone", quiet=quiet) as progress:
        return prepared.execute(out=out, progress=progress)
