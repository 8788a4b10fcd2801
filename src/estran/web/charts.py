"""The charts of a run: series as long as the screen is wide, least and greatest values kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from estran.report.folder import Host
from estran.web.answers import LEVELS, N
from estran.web.following import Shown
from estran.web.series import Bins, Floats, Grid, Latencies, envelope, trailing

MOST_LINES: Final = 8
"""Hosts that have a line each; where there are more, each layer has one, with its range."""
MOST_RECORDED: Final = 6
MOST_MARKS: Final = 300
_TITLES: Final = (
    ("cpu_seconds", "cpu", "Processor in use (cores of speed 1.0)", "cores"),
    ("memory", "memory", "Memory in use", "B"),
    ("energy", "power", "Power", "W"),
    ("rx_bytes", "received", "Bytes received per second", "B/s"),
)
_DASHES: Final[tuple[Sequence[int], ...]] = ([], [7, 4], [2, 3], [9, 3, 2, 3], [5, 2], [12, 5])
_ROLES: Final = ("main", "first", "second", "layer-3", "layer-2", "layer-4", "layer-5")


@dataclass(frozen=True)
class View:
    """What part of the run's clock is shown, in seconds, and how wide, in pixels."""

    start: float
    end: float
    width: int


@dataclass(frozen=True)
class _Line:
    label: str
    role: str
    times: Floats
    values: Floats
    low: Floats | None = None
    high: Floats | None = None
    dash: Sequence[int] = ()


def charts(run: Shown, start: float | None = None, end: float | None = None, width: int = 600) -> list[dict[str, Any]]:
    """All charts that a run has something to show in.

    Parameters
    ----------
    start, end
        Seconds of the run's clock; the whole run if not given.
    width
        Pixels: of each column of them the least and the greatest value are kept.
    """
    view = View(max(start or 0.0, 0.0), run.facts.newest if end is None else end, min(max(width, 50), 4000))
    found = [*_answers(run), *_exchanges(run), *_streams(run), *_hosts(run), *_recorded(run)]
    return [_plain(chart, lines, run, view) for chart, lines in found if any(len(line.times) for line in lines)]


def beside(runs: Sequence[tuple[str, Shown]], width: int = 600) -> list[dict[str, Any]]:
    """The charts of what runs answer, those of several over each other; each run has a line.

    Parameters
    ----------
    runs
        Names and runs.
    width
        Pixels, as for `charts`.
    """
    end = max((run.facts.newest for _, run in runs), default=0.0)
    view = View(0.0, end, min(max(width, 50), 4000))
    found: dict[str, tuple[dict[str, Any], list[_Line]]] = {}
    for number, (name, run) in enumerate(runs):
        for chart, lines in [*_answers(run), *_exchanges(run)]:
            if len(lines[0].times):
                line = replace(lines[0], label=name, role=_ROLES[number % len(_ROLES)], dash=_DASHES[number % len(_DASHES)])
                plain = {key: value for key, value in chart.items() if key != "marks"}
                title = f"{chart['title']}, {lines[0].label}" if len(lines) > 1 else chart["title"]
                found.setdefault(chart["id"], (plain | {"title": title}, []))[1].append(line)
    return [_drawn(chart, lines, view) for chart, lines in found.values()]


def _chart(identity: str, title: str, unit: str, **more: Any) -> dict[str, Any]:
    return {"id": identity, "title": title, "unit": unit, "xunit": "s", "log": False, "zero": True, **more}


Drawn = tuple[dict[str, Any], list[_Line]]


def _answers(run: Shown) -> Iterator[Drawn]:
    answers = run.facts.answers
    times, counts = answers.counts.times, answers.counts.sums
    models = run.facts.models
    if len(counts) and counts[:, 1:].any():
        marks = [
            ("first", "published", sorted(time for (origin, _), time in models.published.items() if origin in models.publishers)),
            ("second", "taken into service", models.swapped),
        ]
        line = _Line("accuracy of the last 500 answers", "main", times, answers.accuracy())
        yield _chart("accuracy", "Accuracy", "fraction", range=[0, 1], marks=_marks(marks)), [line]
    yield _chart("latency", "Latency, end to end", "s"), _quantiles(answers.latencies)
    if len(counts) and counts[:, N].any():
        yield _chart("throughput", "Answers per second", "/s"), [_Line("answers", "main", *_rate(answers.counts, N, run))]
    aged = answers.ages.sums
    if len(aged):
        with np.errstate(invalid="ignore", divide="ignore"):
            ages = np.asarray(aged[:, 1] / aged[:, 0])
        yield _chart("staleness", "Age of the model that answered", "s"), [_Line("mean age", "main", answers.ages.times, ages)]


def _exchanges(run: Shown) -> Iterator[Drawn]:
    answers = run.facts.answers
    yield _chart("exchanges", "Exchanges of commands: from request to answer", "s"), _quantiles(answers.exchanged)


def _quantiles(latencies: Latencies) -> list[_Line]:
    times, values = latencies.quantiles(LEVELS, 1000)
    looks = (("p50", "main"), ("p95", "first"), ("p99", "second"))
    return [_Line(label, role, times, values[:, i], dash=_DASHES[i]) for i, (label, role) in enumerate(looks)]


def _streams(run: Shown) -> Iterator[Drawn]:
    lines = [
        _Line(stream, _ROLES[i % len(_ROLES)], *_rate(bins, 0, run), dash=_DASHES[i % len(_DASHES)])
        for i, (stream, bins) in enumerate(sorted(run.facts.traffic.streams.items())[:MOST_LINES])
    ]
    yield _chart("streams", "Messages per second", "/s"), lines


def _rate(bins: Bins, column: int, run: Shown) -> tuple[Floats, Floats]:
    """Times, and how much there was a second, over the last second; of bins that are over."""
    over = min(len(bins.sums), int(run.facts.newest / bins.width))
    return bins.times[:over], trailing(np.full(over, bins.width), bins.sums[:over, column], 1.0)


def _hosts(run: Shown) -> Iterator[Drawn]:
    for metric, identity, title, unit in _TITLES:
        grids = run.facts.machines.grids[metric]
        known = [host for host in run.folder.hosts.values() if host.name in grids]
        yield _chart(identity, title, unit), _lines(known, grids, list(run.folder.hosts.values()), run.facts.newest)


def _lines(known: list[Host], grids: dict[str, Grid], hosts: list[Host], newest: float) -> list[_Line]:
    layers = {layer: f"layer-{number % 6}" for number, layer in enumerate(dict.fromkeys(host.layer for host in hosts))}
    values = {host.name: grids[host.name].until(newest) for host in known}
    if len(known) <= MOST_LINES:
        seen: dict[str, int] = {}
        lines = []
        for host in known:
            number = seen[host.layer] = seen.get(host.layer, -1) + 1
            times = (np.arange(len(values[host.name])) + 0.5) * grids[host.name].width
            dash = _DASHES[number % len(_DASHES)]
            lines.append(_Line(host.name, layers[host.layer], times, values[host.name], dash=dash))
        return lines
    return [
        _band(layer, role, [(grids[h.name].width, values[h.name]) for h in known if h.layer == layer])
        for layer, role in layers.items()
    ]


def _band(layer: str, role: str, like: list[tuple[float, Floats]]) -> _Line:
    """Mean and range over the hosts of a layer."""
    width = max((width for width, _ in like), default=1.0)
    cells = [values if own == width else values[: len(values) // 2 * 2].reshape(-1, 2).mean(axis=1) for own, values in like]
    length = min((len(values) for values in cells), default=0)
    if not length:
        return _Line(layer, role, np.zeros(0), np.zeros(0))
    stacked = np.stack([values[:length] for values in cells])
    times = (np.arange(length) + 0.5) * width
    return _Line(f"{layer} ×{len(like)}", role, times, stacked.mean(axis=0), stacked.min(axis=0), stacked.max(axis=0))


def _recorded(run: Shown) -> Iterator[Drawn]:
    for number, (metric, bins) in enumerate(sorted(run.facts.happenings.recorded.items())[:MOST_RECORDED]):
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.asarray(bins.sums[:, 1] / bins.sums[:, 0])
        known = np.isfinite(means)
        yield (
            _chart(f"recorded-{number}", metric, "", zero=False),
            [_Line("mean over replicas", "main", bins.times[known], means[known])],
        )


def _marks(kinds: list[tuple[str, str, list[float]]]) -> list[dict[str, Any]]:
    return [
        {"role": role, "label": label, "at": [round(time, 3) for time in times[:: -(-len(times) // MOST_MARKS) or 1]]}
        for role, label, times in kinds
        if times
    ]


def _plain(chart: dict[str, Any], lines: list[_Line], run: Shown, view: View) -> dict[str, Any]:
    """A chart of one run."""
    return _drawn(chart, lines, view) | {"warmup": run.folder.warmup, "spans": _spans(run)}


def _drawn(chart: dict[str, Any], lines: list[_Line], view: View) -> dict[str, Any]:
    """A chart with all its lines at common times; a line that has nothing there has a gap."""
    columns = max(25, view.width // 2)
    drawn = [(line, *_seen(line, view, columns)) for line in lines]
    every = np.unique(np.concatenate([times for _, times, _ in drawn]))
    series = [
        {"label": line.label, "role": line.role, "dash": list(line.dash)}
        | {name: _spread(every, times, values) for name, values in shown.items()}
        for line, times, shown in drawn
    ]
    return chart | {
        "x": [round(float(time), 4) for time in every],
        "series": series,
    }


def _spans(run: Shown) -> list[dict[str, Any]]:
    """When something was broken on purpose."""
    faults = list(run.facts.happenings.faults.values())[:MOST_MARKS]
    return [{"label": fault.kind, "from": fault.begun, "to": fault.ended} for fault in faults]


def _seen(line: _Line, view: View, columns: int) -> tuple[Floats, dict[str, Floats]]:
    parts = {"y": line.values, "low": line.low, "high": line.high}
    times = line.times
    shown = {}
    for name, values in parts.items():
        if values is not None:
            times, shown[name] = envelope(line.times, values, view.start, view.end, columns)
    return times, shown


def _spread(every: Floats, times: Floats, values: Floats) -> list[float | None]:
    placed = np.full(len(every), np.nan)
    placed[np.searchsorted(every, times)] = values
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in placed]
