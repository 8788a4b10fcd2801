"""The charts' data: plain series with roles; the page's script gives them their colours."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from estran.report.answers import Accuracy, Publications, Staleness
from estran.report.stages import Distribution
from estran.report.usage import Line, Usage

Chart = dict[str, Any]


def accuracy_chart(found: Accuracy, published: Publications, warmup: float) -> Chart:
    """Windowed accuracy with both baselines."""
    series = [
        _series("accuracy", "role-main", found.accuracy, width=2.2),
        _series("no-change baseline", "role-first", found.no_change, dash=[7, 4]),
        _series("majority baseline", "role-second", found.majority, dash=[2, 3]),
    ]
    marks = [{"label": "published", "role": "role-mark", "at": _round(published.published)}]
    marks.append({"label": "in service", "role": "role-main", "at": _round(published.swapped)})
    return _timed("accuracy", "fraction", found.time, series, warmup) | {
        "range": [-0.08, 1.03],
        "marks": [mark for mark in marks if mark["at"]],
    }


def staleness_chart(found: Staleness, warmup: float) -> Chart:
    """Age of the answering model: mean and the 5 to 95 % band."""
    series = [_series("mean age", "role-main", found.mean, width=2, low=found.low, high=found.high)]
    return _timed("staleness", "s", found.time, series, warmup) | {"zero": True}


def ecdf_chart(found: list[Distribution]) -> Chart:
    """Share of messages within a latency, one step line per service and stream."""
    xs = sorted({_significant(value) for entry in found for value in entry.quantiles if value > 0})
    series = []
    for i, entry in enumerate(found):
        steps = dict(zip((_significant(value) for value in entry.quantiles), entry.levels, strict=True))
        name = f"{entry.service} ← {entry.stream}"
        series.append(
            _series(
                name,
                f"layer-{i % 6}",
                _filled(xs, steps),
                width=2.2 if entry.answers else 1.4,
                dash=[] if entry.answers else [5, 3],
            )
        )
    return {"id": "ecdf", "unit": "fraction", "xunit": "s", "log": True, "x": xs, "series": series, "range": [0, 1.03]}


def usage_charts(found: Usage, layers: list[str], warmup: float) -> list[Chart]:
    """CPU, traffic and memory over time, a line per host or a band per layer."""
    units = {"cpu": "cores", "received": "B/s", "sent": "B/s", "memory": "B"}
    return [
        _timed(name, units[name], found.time, [_line(line, lines, layers) for line in lines], warmup) | {"zero": True}
        for name, lines in found.series.items()
    ]


def lines_chart(identity: str, time: list[float], lines: dict[str, list[float | None]], warmup: float) -> Chart:
    """A line for each name, of what has no unit that is known."""
    series = [_series(name, f"layer-{i % 6}", values, width=1.6) for i, (name, values) in enumerate(lines.items())]
    return _timed(identity, "", time, series, warmup) | {"zero": True}


def _line(line: Line, lines: list[Line], layers: list[str]) -> dict[str, Any]:
    """Colour by layer; hosts of one layer differ by their dashes."""
    dashes = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 2, 4, 6], [1, 3], [10, 2]]
    among = [other for other in lines if other.layer == line.layer]
    role = f"layer-{layers.index(line.layer) % 6}"
    label = f"{line.name} (mean of {line.hosts})" if line.hosts > 1 else line.name
    return _series(label, role, line.values, dash=dashes[among.index(line) % len(dashes)], low=line.low, high=line.high)


def _series(label: str, role: str, values: Iterable[float | None], **style: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"label": label, "role": role, "y": _round(values)}
    for bound in ("low", "high"):
        if style.get(bound) is not None:
            style[bound] = _round(style[bound])
    return shown | {key: value for key, value in style.items() if value not in (None, [])}


def _timed(identity: str, unit: str, time: list[float], series: list[dict[str, Any]], warmup: float) -> Chart:
    return {"id": identity, "unit": unit, "xunit": "s", "x": [round(t, 4) for t in time], "series": series, "warmup": warmup}


def _filled(xs: list[float], steps: dict[float, float]) -> list[float | None]:
    """The distribution at every point of the shared axis: the last level reached; nothing before the first or after the last."""
    ordered = sorted(steps.items())
    filled: list[float | None] = []
    i, end = -1, len(ordered) - 1
    for x in xs:
        while i < end and ordered[i + 1][0] <= x:
            i += 1
        filled.append(None if i < 0 or (i == end and x > ordered[end][0]) else ordered[i][1])
    return filled


def _round(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None or not math.isfinite(value) else _significant(value) for value in values]


def _significant(value: float) -> float:
    return float(f"{value:.4g}")
