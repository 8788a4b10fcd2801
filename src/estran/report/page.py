"""The report of a run as one self-contained HTML file: no request leaves it, and no script runs in it but its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from estran.errors import EstranError
from estran.report import records, sections
from estran.report.data import Report, gather
from estran.report.frame import CHARTS, document, write_page
from estran.report.markup import data_block, tag, text
from estran.report.verdict import cause, figures, sentences

NAME = "report.html"
_PARTS = (
    ("topology", "Topology", sections.topology),
    ("accuracy", "Accuracy", sections.accuracy),
    ("latency", "Latency", sections.latency),
    ("hosts", "Hosts", sections.hosts),
    ("staleness", "Staleness", sections.staleness),
    ("recorded", "Metrics", sections.recorded),
    ("network", "Network", records.network),
    ("responses", "Responses", records.responses),
    ("services", "Services", records.services),
    ("warnings", "Warnings", records.warnings),
    ("reproducibility", "Reproduce", records.reproducibility),
)


def render(folder: Path) -> str:
    """The report of a run folder as one HTML document.

    Raises
    ------
    RequestError
        If there is no run in ``folder``.
    DataError
        If one of its files is damaged.
    """
    return page(gather(folder))


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder, whole or not at all, and return its path.

    Raises
    ------
    RequestError
        If there is no run in ``folder``.
    DataError
        If one of its files is damaged.
    """
    return write_page(render(folder), folder / NAME, "`estran report`")


def reported(folder: Path) -> EstranError | None:
    """Write the report; return what prevents it, to be told after the run's own figures, which matter more."""
    try:
        write_report(folder)
    except EstranError as error:
        return error
    return None


def page(report: Report) -> str:
    """The document of gathered data."""
    body = "".join(build(report) for _, _, build in _parts(report))
    return document(
        f"{report.run.name} · {report.run.run.get('id', '')}",
        report.run.name,
        [(identity, short) for identity, short, _ in _parts(report)],
        _header(report) + body,
        _footer(report),
        data=data_block("estran-data", {"charts": sections.chart_data(report)}),
        scripts=CHARTS,
    )


def _parts(report: Report) -> tuple[tuple[str, str, Callable[[Report], str]], ...]:
    """Cost models alone leave no messages, hosts or links to show, but histograms."""
    if not report.run.by_costs:
        return _PARTS
    kept = tuple(part for part in _PARTS if part[0] in ("responses", "warnings", "reproducibility"))
    return (("latency", "Latency", sections.latency_by_costs), *kept)


def _header(report: Report) -> str:
    run = report.run
    facts = [
        str(run.run.get("id", "")),
        f"platform {run.run.get('platform', '?')}",
        f"seed {run.run.get('seed', '?')}",
        _moment(run.run.get("started")),
    ]
    status = tag(
        "span", text(run.status), class_=f"status {run.status if run.status in ('done', 'failed', 'running') else 'interrupted'}"
    )
    tiles = [
        tag("div", tag("dt", text(figure.name)), tag("dd", tag("b", text(figure.value)), tag("small", text(figure.beside))))
        for figure in figures(report.outcome)
    ]
    return tag(
        "header",
        tag("p", status, text(" · ".join(fact for fact in facts if fact)), class_="meta"),
        tag("h1", text(run.name)),
        _failure(report),
        tag("p", text(" ".join(sentences(run, report.outcome))), class_="verdict"),
        tag("dl", *tiles, class_="tiles") if tiles else "",
        records.notice(report),
    )


def _moment(stamp: object) -> str:
    """An ISO 8601 time of the record as people write it."""
    try:
        return datetime.fromisoformat(str(stamp)).strftime("%-d %B %Y, %H:%M:%S %Z")
    except ValueError:
        return ""


def _failure(report: Report) -> str:
    """What went wrong, before anything else."""
    failure = report.run.failure
    if failure is None:
        return ""
    names = [(name, failure.get(name)) for name in ("phase", "host", "service")]
    where = " · ".join(f"{name} {value}" for name, value in names if value)
    tail = failure.get("log_tail") or []
    lines = "\n".join(map(str, tail)) if isinstance(tail, list) else str(tail)
    said, points = cause(str(failure.get("what") or "no cause was recorded"))
    return tag(
        "section",
        tag("h2", text(f"Failed in {where}" if where else "Failed")),
        tag("p", text(said), class_="cause"),
        tag("ul", *(tag("li", text(point)) for point in points)) if points else "",
        tag("p", tag("strong", "What to do: "), text(failure["remedy"]), class_="remedy") if failure.get("remedy") else "",
        tag("h3", "End of its log") + tag("pre", tag("code", text(lines)), tabindex="0") if lines else "",
        class_="failure",
        id="failure",
        role="alert",
    )


def _footer(report: Report) -> str:
    version = report.run.manifest.get("estran")
    said = f"Written by Estran{f' {version}' if isinstance(version, str) else ''}. This file is whole in itself and loads nothing."
    return tag("p", text(said)) + tag("p", text("Charts: uPlot, MIT licence, © Leon Sorokin."))
