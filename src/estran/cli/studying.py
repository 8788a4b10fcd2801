"""How a study goes, on a terminal: runs done, failed and going on, time left; and its table at the end."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shlex import quote
from statistics import mean, stdev
from typing import TypeVar

from rich.console import Console, Group, RenderableType, RichCast
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from estran.explain.table import SHOWN
from estran.report.claimed import print_claims
from estran.study.execution import Watcher
from estran.study.folder import Folder, Outcome
from estran.study.rows import Row, cell

W = TypeVar("W")
MOST_GOING = 16
"""Runs that go on which a terminal shows at the most."""
MOST_LINES = 40
"""Points that a terminal shows at the most."""


class _Watching:
    """Counts, for whoever shows it."""

    def __init__(self, folder: Folder) -> None:
        found = folder.outcomes()
        self.folder = folder
        self.finished = {run: outcome for run, outcome in found.items() if outcome.status in ("done", "failed")}
        self.going: dict[int, tuple[Row, float]] = {}
        self.engine = ""
        self.begun, self.before, self.latest = time.monotonic(), len(self.finished), Outcome("todo")

    def began(self, row: Row) -> None:
        self.going[row.run] = (row, time.monotonic())

    def ended(self, row: Row, outcome: Outcome) -> None:
        self.going.pop(row.run, None)
        if outcome.status in ("done", "failed"):
            self.finished[row.run] = outcome
        self.latest = outcome

    def told(self, text: str) -> None:
        self.engine = text

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take, judged by those made in this session."""
        made = len(self.finished) - self.before
        todo = len(self.folder.rows) - len(self.finished)
        return (time.monotonic() - self.begun) / made * todo if made else None

    def head(self) -> str:
        """How far it is."""
        failed = sum(outcome.status == "failed" for outcome in self.finished.values())
        lost = f", {failed} failed" if failed else ""
        left = "" if self.left is None else f", about {span(self.left)} left"
        return f"{len(self.finished)} of {len(self.folder.rows)} runs{lost}   {span(time.monotonic() - self.begun)} elapsed{left}"


class _Lines(_Watching):
    """A line for each run that ends."""

    def __init__(self, console: Console, folder: Folder) -> None:
        super().__init__(folder)
        self._console = console

    def ended(self, row: Row, outcome: Outcome) -> None:
        super().ended(row, outcome)
        why = f": {outcome.failure}" if outcome.failure else ""
        again = " (again later)" if outcome.status == "todo" else ""
        told = "failed" if outcome.status == "todo" else outcome.status
        line = f"run {row.run} {_levels(row)} seed {row.seed}: {told}{again}{why} — {self.head()}"
        self._console.print(line, highlight=False, soft_wrap=True)

    def told(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


class _Panel(_Watching):
    """A panel that is redrawn in place."""

    def __rich__(self) -> RenderableType:
        asked = self.folder.asked
        title = Text.assemble((f"{asked.experiment}: {asked.design} on {asked.on}", "bold"), f"   {self.head()}")
        title.no_wrap, title.overflow = True, "ellipsis"
        bar = Table.grid()
        bar.add_row(ProgressBar(total=len(self.folder.rows), completed=len(self.finished), width=60))
        going = Table.grid(padding=(0, 2))
        for row, since in list(self.going.values())[:MOST_GOING]:
            going.add_row(
                Text(f"run {row.run}", style="cyan"), Text(_levels(row)), Text(f"{time.monotonic() - since:.0f}s", style="dim")
            )
        if len(self.going) > MOST_GOING:
            going.add_row(Text(f"and {len(self.going) - MOST_GOING} more", style="dim"))
        figures = self.latest.responses or {}
        shown = [f"{name} {figures[name]['value']:.4g}" for name in SHOWN if name in figures]
        latest = Text(f"latest: {'   '.join(shown)}" if shown else (self.latest.failure or ""), style="dim")
        latest.no_wrap, latest.overflow = True, "ellipsis"
        engine = Text(self.engine, style="dim", no_wrap=True, overflow="ellipsis")
        return Group(title, bar, *([engine] if self.engine else []), going, latest)


def watching(console: Console, folder: Folder, *, quiet: bool) -> AbstractContextManager[Watcher]:
    """Show a study as well as the console can."""
    return shown(console, _Watching(folder) if quiet else _Panel(folder) if console.is_terminal else _Lines(console, folder))


@contextmanager
def shown(console: Console, watcher: W) -> Iterator[W]:
    """Redraw in place what can be drawn, while it is told how things go; whatever else says it by itself, or nothing."""
    if not isinstance(watcher, RichCast):
        yield watcher
        return
    with Live(watcher, console=console, refresh_per_second=4, transient=True):
        yield watcher


def print_interrupted(console: Console, folder: Path) -> None:
    """Say how to go on with what was interrupted."""
    console.print(f"interrupted; to go on: estran resume {quote(str(folder))}", style="yellow", highlight=False, soft_wrap=True)


def print_plain(folder: Folder, outcomes: Mapping[int, Outcome]) -> None:
    """How many runs were done, what failed, and which claims hold, as one JSON object; ``todo`` if runs are still to be made."""
    import msgspec

    from estran.reproduce.claims import judge_all
    from estran.reproduce.observed import evidence

    todo = sum(outcomes[row.run].status == "todo" for row in folder.rows)
    failed = [row for row in folder.rows if outcomes[row.run].status not in ("done", "todo")]
    counts = {"runs": len(folder.rows), "done": len(folder.rows) - len(failed) - todo, "failed": len(failed)}
    failures = [{"run": row.run, "levels": row.levels, "what": outcomes[row.run].failure} for row in failed]
    data = {"study": str(folder.path), "experiment": folder.asked.experiment, **counts, "failures": failures}
    if todo:
        data["todo"] = todo
    data["claims"] = judge_all(evidence(folder.path)) if counts["done"] else ()
    sys.stdout.write(msgspec.json.encode(data).decode() + "\n")


def print_study(console: Console, folder: Folder, outcomes: Mapping[int, Outcome]) -> None:
    """The means of the best-known responses at each point, with their standard deviation over replicates; and what failed."""
    names = list(folder.asked.factors)
    points: dict[tuple[str, ...], list[Outcome]] = defaultdict(list)
    for row in sorted(folder.rows, key=lambda row: _place(row, folder)):
        points[tuple(cell(row.levels[name]) for name in names)].append(outcomes[row.run])
    measured = {name for outcome in outcomes.values() for name in outcome.responses or ()}
    # Levels must be readable; of the responses there are as many as the terminal has room for.
    room = console.width - sum(max(len(name), *(len(point[i]) for point in points)) + 3 for i, name in enumerate(names)) - 8
    shown = [name for name in SHOWN if name in measured][: max(1, min(4, room // 20))]
    milli = {name for outcome in outcomes.values() for name, one in (outcome.responses or {}).items() if one["unit"] == "s"}
    table = Table(box=None, pad_edge=False)
    for name in (*names, "runs"):
        table.add_column(name, no_wrap=True)
    for name in shown:
        table.add_column(f"{name} (ms)" if name in milli else name, justify="right", no_wrap=True)
    for point, found in list(points.items())[:MOST_LINES]:
        done = [outcome for outcome in found if outcome.status == "done"]
        table.add_row(*point, f"{len(done)}/{len(found)}", *(_spread(name, done, name in milli) for name in shown))
    console.print(table)
    if len(points) > MOST_LINES:
        console.print(f"… and {len(points) - MOST_LINES} points more", style="dim")
    todo = sum(outcomes[row.run].status == "todo" for row in folder.rows)
    for row in folder.rows:
        if outcomes[row.run].status not in ("done", "todo"):
            why = outcomes[row.run].failure or outcomes[row.run].status
            console.print(
                f"run {row.run} ({_levels(row)}, seed {row.seed}) failed: {why}", style="red", highlight=False, soft_wrap=True
            )
    if todo:
        go_on = f"{todo} of {len(folder.rows)} runs are still to be made: estran resume {quote(str(folder.path))}"
        console.print(go_on, style="yellow", highlight=False, soft_wrap=True)
    if todo < len(folder.rows):
        print_claims(console, folder.path)
    console.print(f"→ {folder.path / 'responses.csv'}", highlight=False, soft_wrap=True)


def _place(row: Row, folder: Folder) -> list[tuple[int, str]]:
    """Where a row belongs in a table: levels in the order of the file; others, of designs that draw, as they are."""
    return [
        (levels.index(row.levels[name]) if row.levels[name] in levels else len(levels), cell(row.levels[name]))
        for name, levels in folder.asked.factors.items()
    ]


def _spread(name: str, outcomes: list[Outcome], milli: bool) -> str:
    values = [float(one.responses[name]["value"]) for one in outcomes if one.responses and name in one.responses]
    if not values:
        return "–"
    scale = 1e3 if milli else 1.0
    spread = f" ± {stdev(values) * scale:.2g}" if len(values) > 1 else ""
    return f"{mean(values) * scale:.4g}{spread}"


def _levels(row: Row) -> str:
    return " ".join(f"{name}={cell(value)}" for name, value in row.levels.items())


def span(seconds: float) -> str:
    """A time as one says it."""
    if seconds < 100:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}min" if seconds < 6000 else f"{seconds / 3600:.1f}h"
