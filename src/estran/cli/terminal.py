"""A run as it goes, on a terminal: what the page shows, as far as 80 columns hold it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from estran.report.wording import quantity
from estran.web.drawing import draw
from estran.web.following import Following
from estran.web.snapshot import flow, snapshot
from estran.web.traffic import Key

PERIOD: Final = 1.0
"""Seconds from one look to the next."""
TOLD: Final = 5.0
"""Seconds from one line of figures to the next, where nothing can be drawn in place."""
_FIGURES: Final = (
    "accuracy", "latency_p50", "latency_p99", "exchange_latency_p50", "throughput", "staleness", "samples", "energy",
)  # fmt: skip
_STYLES: Final = {"done": "green", "failed": "bold red", "killed": "bold red", "running": "cyan", "interrupted": "yellow"}
_MARKS: Final = {"done": "✓", "failed": "✗", "interrupted": "✗", "running": "▶"}
FIXED: Final = 9
"""Lines that are not of hosts, streams and alerts."""


def follow(console: Console, folder: Path) -> None:
    """Show a run until it is over: drawn in place on a terminal, as lines anywhere else.

    Raises
    ------
    EstranError
        If a file of the run is damaged.
    """
    run = Following(folder)
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            for state in _states(run):
                live.update(View(state), refresh=True)
    else:
        _tell(console, _states(run))


def _states(run: Following) -> Iterator[dict[str, Any]]:
    while True:
        with run.lock:
            run.refresh()
            state = snapshot(run, draw(run.folder), datetime.now(UTC)) | {"streams": _streams(run)}
        yield state
        if state["run"]["over"]:
            return
        time.sleep(PERIOD)


def _streams(run: Following) -> dict[str, dict[str, Any]]:
    """What flows from each stream to each service."""
    found: dict[str, list[Key]] = {}
    for one in run.folder.channels:
        name = f"{one.stream} → {run.folder.replicas[one.consumer].service}"
        found.setdefault(name, []).append((one.stream, one.producer, one.consumer))
    return {name: flow(run, keys) for name, keys in found.items()}


def _tell(console: Console, states: Iterator[dict[str, Any]]) -> None:
    """A line for each phase and alert, and every few seconds one of figures."""
    known: set[str] = set()
    last = -TOLD
    for state in states:
        run = state["run"]
        news = [f"{phase['name']} …" for phase in run["phases"]]
        news += [f"! {alert['what']}" for alert in state["alerts"] if alert["kind"] not in ("overload", "silence")]
        for line in news:
            if line not in known:
                known.add(line)
                console.print(line, highlight=False, markup=False, soft_wrap=True)
        if run["over"] or run["clock"] - last >= TOLD:
            last = run["clock"]
            told = [f"{run['clock']:.0f}s", *(f"{one['name']} {quantity(one['value'], one['unit'])}" for one in _figures(state))]
            console.print("  ".join(told), highlight=False, markup=False, soft_wrap=True)
        if run["over"]:
            console.print(f"{_MARKS.get(run['status'], '■')} {run['status']}", highlight=False, markup=False)


def _figures(state: dict[str, Any]) -> list[dict[str, Any]]:
    known = {one["name"]: one for one in state["figures"]}
    return [known[name] for name in _FIGURES if name in known and known[name]["value"] is not None]


class View:
    """One look at a run, as tall as the terminal."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def __rich_console__(self, console: Console, options: Any) -> Iterator[RenderableType]:
        """All parts, cut to the terminal's height: alerts first, then streams, then hosts."""
        room = max(3, console.size.height - FIXED)
        alerts = self._state["alerts"][: max(1, room // 3)]
        streams = list(self._state["streams"])[: max(1, (room - len(alerts)) // 2 - 1)]
        hosts = self._state["hosts"][: max(1, room - len(alerts) - len(streams) - 2)]
        yield Group(self._head(), self._phases(), self._bar(), self._tiles(), self._host_table(hosts), self._stream_table(streams))
        for alert in alerts:
            bad = alert["level"] == "bad"
            line = Text(
                f"{'✗' if bad else '!'} {alert['what']}", style="red" if bad else "yellow", no_wrap=True, overflow="ellipsis"
            )
            yield line

    def _head(self) -> Text:
        run = self._state["run"]
        left = "" if run["left"] is None else f"   about {run['left']:.0f}s left"
        line = Text.assemble(
            (f"{_MARKS.get(run['status'], '■')} {run['status']}", _STYLES.get(run["status"], "")),
            ("  " + str(run["experiment"]), "bold"), f"  {run['id']} on {run['platform']}{left}",
        )  # fmt: skip
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _phases(self) -> Text:
        said = []
        for phase in self._state["run"]["phases"]:
            seconds = "" if phase["seconds"] is None else f" {phase['seconds']:.1f}s"
            style = "bold cyan" if phase["status"] == "running" else "dim"
            said.append(Text(f"{_MARKS.get(phase['status'], '…')} {phase['name']}{seconds}", style=style))
        return Text("  ").join(said)

    def _bar(self) -> RenderableType:
        for phase in self._state["run"]["phases"]:
            if phase["status"] == "running" and phase["expected"]:
                grid = Table.grid()  # a bar by itself ends without a new line
                grid.add_row(
                    ProgressBar(total=phase["expected"], completed=min(phase["seconds"] or 0.0, phase["expected"]), width=60)
                )
                return grid
        return Text("")

    def _tiles(self) -> Table:
        figures = _figures(self._state)
        grid = Table.grid(padding=(0, 3), expand=False)
        for start in (0, 4):
            cells = [
                Text.assemble((one["name"].replace("_", " ") + " ", "dim"), (quantity(one["value"], one["unit"]), "bold"))
                for one in figures[start : start + 4]
            ]
            grid.add_row(*cells, *[Text("")] * (4 - len(cells)))
        return grid

    def _host_table(self, hosts: list[dict[str, Any]]) -> Table:
        every = len(self._state["hosts"])
        title = "host" if every == len(hosts) else f"host ({len(hosts)} of {every})"
        table = _table(title, "processor", "", "memory", "power", "sent")
        for host in hosts:
            share = None if host["cpu"] is None or not host["capacity"] else host["cpu"] / host["capacity"]
            table.add_row(
                host["name"], _meter(share), "" if share is None else f"{share:.0%}", quantity(host["memory"], "B"),
                quantity(host["power"], "W"), quantity(host["sent"], "B/s"),
            )  # fmt: skip
        return table

    def _stream_table(self, names: list[str]) -> Table:
        table = _table("stream", "messages", "under way", "in the queue")
        for name in names:
            flows = self._state["streams"][name]
            table.add_row(name, quantity(flows["rate"], "/s"), quantity(flows["transfer"], "s"), quantity(flows["wait"], "s"))
        return table


def _meter(share: float | None) -> Text:
    if share is None:
        return Text("–")
    full = round(min(share, 1.0) * 10)
    return Text("#" * full + "·" * (10 - full), style="yellow" if share > 0.95 else "")


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
    return table
