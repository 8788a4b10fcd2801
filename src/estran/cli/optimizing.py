"""How an optimisation goes, on a terminal: trials done, the best so far, time left; and its answer at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from estran.cli.studying import MOST_GOING, shown, span
from estran.optimize.folder import Folder
from estran.optimize.loop import Watcher
from estran.optimize.pareto import on_front
from estran.optimize.strategy import Ask, Told
from estran.study.rows import cell


class _Watching:
    """Counts, for whoever shows it."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.ended_ones: dict[int, tuple[Ask, Told]] = {
            trial.ask.number: (trial.ask, trial.told) for trial in folder.trials() if trial.told is not None
        }
        self.going: dict[int, tuple[Ask, float]] = {}
        self.notes: list[str] = []
        self.begun, self.before = time.monotonic(), self._at_target()

    def began(self, ask: Ask) -> None:
        self.going[ask.number] = (ask, time.monotonic())

    def ended(self, ask: Ask, told: Told) -> None:
        self.going.pop(ask.number, None)
        self.ended_ones[ask.number] = (ask, told)

    def mind(self, text: str) -> None:
        self.notes.append(text)

    def _at_target(self) -> int:
        return sum(ask.fidelity == self.folder.target.name for ask, _ in self.ended_ones.values())

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take, judged by those made in this session."""
        made = self._at_target() - self.before
        return (time.monotonic() - self.begun) / made * (self.folder.asked.trials - self._at_target()) if made else None

    def head(self) -> str:
        """How far it is."""
        lost = sum(told.status != "done" for _, told in self.ended_ones.values())
        failed = f", {lost} not done" if lost else ""
        left = "" if self.left is None else f", about {span(self.left)} left"
        elapsed = span(time.monotonic() - self.begun)
        return f"{self._at_target()} of {self.folder.asked.trials} trials{failed}   {elapsed} elapsed{left}"

    def best(self) -> str:
        """The best of single runs so far, or how many of them none beats."""
        import numpy as np

        goals, target = self.folder.goals, self.folder.target.name
        runs = [told.costs for ask, told in self.ended_ones.values() if ask.fidelity == target and told.costs and told.feasible]
        if not runs:
            return "none that keeps all limits yet" if goals.limits else "none yet"
        costs = np.array(runs)
        if goals.single:
            return f"{goals.goals[0].response} {goals.goals[0].cost(float(costs.min())):.4g}"
        best = ", ".join(f"{goal.response} {goal.cost(float(costs[:, k].min())):.4g}" for k, goal in enumerate(goals.goals))
        return f"{best}; {int(on_front(costs).sum())} runs on the front"


class _Lines(_Watching):
    """A line for each run that ends."""

    def __init__(self, console: Console, folder: Folder) -> None:
        super().__init__(folder)
        self._console = console

    def ended(self, ask: Ask, told: Told) -> None:
        super().ended(ask, told)
        figures = " ".join(f"{name} {told.responses[name]:.4g}" for name in self.folder.goals.responses if name in told.responses)
        why = f": {told.failure}" if told.failure else ""
        line = f"trial {ask.number} on {ask.fidelity} ({ask.why.get('what', '')}) {_levels(ask)}: {told.status}{why} {figures}"
        self._console.print(f"{line.rstrip()} — {self.head()}", highlight=False, soft_wrap=True)

    def mind(self, text: str) -> None:
        self._console.print(f"mind: {text}", style="yellow", highlight=False, soft_wrap=True)


class _Panel(_Watching):
    """A panel that is redrawn in place."""

    def __rich__(self) -> RenderableType:
        asked = self.folder.asked
        title = Text.assemble((f"{asked.experiment}: optimise on {self.folder.target.name}", "bold"), f"   {self.head()}")
        title.no_wrap, title.overflow = True, "ellipsis"
        bar = Table.grid()
        bar.add_row(ProgressBar(total=asked.trials, completed=self._at_target(), width=60))
        going = Table.grid(padding=(0, 2))
        for ask, since in list(self.going.values())[:MOST_GOING]:
            what = f"trial {ask.number} {ask.why.get('what', '')}"
            going.add_row(Text(what, style="cyan"), Text(_levels(ask)), Text(f"{time.monotonic() - since:.0f}s", style="dim"))
        best = Text(f"best so far: {self.best()}", style="dim", no_wrap=True, overflow="ellipsis")
        notes = [Text(f"mind: {text}", style="yellow") for text in self.notes]
        return Group(title, bar, going, best, *notes)


def watching(console: Console, folder: Folder, *, quiet: bool) -> AbstractContextManager[Watcher]:
    """Show an optimisation as well as the console can."""
    return shown(console, _Watching(folder) if quiet else _Panel(folder) if console.is_terminal else _Lines(console, folder))


def _levels(ask: Ask) -> str:
    levels: Mapping[str, Any] = ask.levels
    return " ".join(f"{name}={cell(level)}" for name, level in levels.items())
