"""How a run goes, on a terminal while it goes: phases, services by state, newest figures, time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from estran.run.prepare import Prepared
from estran.run.record import Progress, QuietProgress

OVERHEAD = 6.0
"""Seconds that everything but the measurement is expected to take, until this run has shown better."""

CLOSING = 1.0
"""Seconds that stopping, collecting and reporting are expected to take."""

_COLOURS: Mapping[str, str] = {
    "starting": "yellow", "ready": "cyan", "running": "green", "restarting": "magenta", "ended": "dim", "failed": "bold red",
}  # fmt: skip
_SHOWN = ("accuracy", "latency_p50", "latency_p99", "throughput", "staleness", "samples")


class PlainProgress(QuietProgress):
    """One line per phase, for logs and pipes. Where nobody reads them any more (``| head``), the run goes on."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def phase(self, name: str, expected: float | None) -> None:
        suffix = "" if expected is None else f" ({expected:g}s)"
        self._say(f"{name}{suffix} …")

    def waits(self, text: str) -> None:
        self._say(f"  {text}")

    def service(self, replica: str, state: str) -> None:
        if state in ("failed", "restarting"):
            self._say(f"  {replica}: {state}")

    def _say(self, text: str) -> None:
        with suppress(OSError, SystemExit):  # the latter is what Rich makes of a broken pipe
            self._console.print(text, highlight=False, markup=False)


class LiveProgress:
    """A panel that is redrawn in place."""

    def __init__(self, prepared: Prepared) -> None:
        measure = prepared.experiment.measure
        self._title = f"{prepared.experiment.name} on {prepared.platform.name}"
        self._measured = measure.warmup + measure.duration
        self._total = OVERHEAD + self._measured
        self._begun = time.monotonic()
        self._phases: list[tuple[str, float, float | None]] = []
        self._services = {name: replica.service.name for name, replica in prepared.plan.replicas.items()}
        self._states = dict.fromkeys(self._services, "starting")
        self._figures: dict[str, float] = {}
        self._virtual = prepared.platform.virtual
        self._moment: float | None = None
        self._awaited = ""

    def phase(self, name: str, expected: float | None) -> None:
        self._phases.append((name, time.monotonic(), expected))
        self._awaited = ""

    def waits(self, text: str) -> None:
        self._awaited = text

    def service(self, replica: str, state: str) -> None:
        self._states[replica] = state

    def live(self, figures: dict[str, float]) -> None:
        self._figures = figures

    def moment(self, seconds: float) -> None:
        self._moment = seconds

    def __rich__(self) -> RenderableType:
        elapsed = time.monotonic() - self._begun
        left = self._left(elapsed)
        ends = "" if left is None else f", about {left:.0f}s left"
        head = Text.assemble((self._title, "bold"), f"   {elapsed:.0f}s elapsed{ends}")
        head.no_wrap, head.overflow = True, "ellipsis"
        return Group(head, self._phase_line(), self._service_table(), self._figure_line())

    def _left(self, elapsed: float) -> float | None:
        """Seconds that the run will still take: guessed before the measurement's length is all that is left, then known.

        Simulated time goes at a pace of its own: None until that is known.
        """
        if self._virtual:
            return None if not self._moment else elapsed / self._moment * max(self._measured - self._moment, 0.0)
        names = [name for name, _, _ in self._phases]
        if "warm up" not in names:
            return max(self._total - elapsed, self._measured + CLOSING)
        since = time.monotonic() - self._phases[names.index("warm up")][1]
        return max(self._measured + CLOSING - since, 0.0)

    def _phase_line(self) -> RenderableType:
        line = Text()
        if self._awaited:
            return Group(Text(self._awaited, style="yellow"), self._phases_by_time(line))
        return self._phases_by_time(line)

    def _phases_by_time(self, line: Text) -> RenderableType:
        for index, (name, begun, _) in enumerate(self._phases):
            last = index == len(self._phases) - 1
            end = time.monotonic() if last else self._phases[index + 1][1]
            line.append(f"{name} {end - begun:.1f}s", style="bold cyan" if last else "green")
            line.append("" if last else " · ", style="dim")
        if self._phases and (expected := self._phases[-1][2]):
            bar = Table.grid()  # a bar by itself ends without a new line
            bar.add_row(ProgressBar(total=expected, completed=self._completed(), width=50))
            return Group(line, bar)
        return line

    def _completed(self) -> float:
        """Seconds of the current phase, by the clock that it is measured by."""
        if self._virtual:
            passed = sum(expected or 0.0 for _, _, expected in self._phases[:-1])
            return max((self._moment or 0.0) - passed, 0.0)
        return time.monotonic() - self._phases[-1][1]

    def _service_table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for service in dict.fromkeys(self._services.values()):
            states = Counter(self._states[name] for name, owner in self._services.items() if owner == service)
            cells = Text("  ").join(Text(f"{count} {state}", style=_COLOURS.get(state, "")) for state, count in states.items())
            table.add_row(Text(service, style="bold"), cells)
        return table

    def _figure_line(self) -> Text:
        shown = [f"{name} {_figure(name, self._figures[name])}" for name in _SHOWN if name in self._figures]
        return Text("   ".join(shown), style="dim")


def _figure(name: str, value: float) -> str:
    if name.startswith(("latency", "staleness")):
        return f"{value * 1e3:.1f}ms"
    return f"{value:.3g}" if name == "accuracy" else f"{value:,.0f}"


@contextmanager
def progress_on(console: Console, prepared: Prepared, *, quiet: bool) -> Iterator[Progress]:
    """Show progress as well as the console can: a live panel, lines, or nothing."""
    if quiet:
        yield QuietProgress()
    elif console.is_terminal:
        progress = LiveProgress(prepared)
        with Live(progress, console=console, refresh_per_second=8, transient=True):
            yield progress
    else:
        yield PlainProgress(console)
