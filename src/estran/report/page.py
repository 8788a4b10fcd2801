"""The report of a run as one self-contained HTML file: no request leaves it, and no script runs in it but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from estran.errors import DataError
from estran.report import records, sections
from estran.report.data import Report, gather
from estran.report.markup import data_block, tag, text
from estran.report.verdict import cause, figures, sentences

NAME = "report.html"
_PARTS = (
    ("topology", "Topology", sections.topology),
    ("accuracy", "Accuracy", sections.accuracy),
    ("latency", "Latency", sections.latency),
    ("hosts", "Hosts", sections.hosts),
    ("staleness", "Staleness", sections.staleness),
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
    document, path = render(folder), folder / NAME
    part = path.with_name(NAME + ".part")
    try:
        part.write_text(document, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        what = f"the report cannot be written: {error.strerror}"
        raise DataError(what, where=str(path), remedy="free some space or check permissions, then `estran report`") from error
    return path


def page(report: Report) -> str:
    """The document of gathered data."""
    body = "".join(build(report) for _, _, build in _parts(report))
    main = tag("main", _header(report), body, id="top")
    data = data_block("estran-data", {"charts": sections.chart_data(report)})
    scripts = "".join(f"<script>{_asset(name)}</script>" for name in ("vendor/uPlot.iife.min.js", "assets/charts.js"))
    whole = tag("body", _bar(report), main, _footer(report), data, scripts)
    return f'<!doctype html>\n<html lang="en">{_head(report)}{whole}</html>\n'


def _parts(report: Report) -> tuple[tuple[str, str, Callable[[Report], str]], ...]:
    """Cost models alone leave no messages, hosts or links to show, but histograms."""
    if not report.run.by_costs:
        return _PARTS
    kept = tuple(part for part in _PARTS if part[0] in ("responses", "warnings", "reproducibility"))
    return (("latency", "Latency", sections.latency_by_costs), *kept)


def _head(report: Report) -> str:
    title = f"{report.run.name} · {report.run.run.get('id', '')}"
    return (
        '<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        '<meta name="referrer" content="no-referrer"><meta name="generator" content="Estran"><link rel="icon" href="data:,">'
        f"{tag('title', text(title))}<style>{_asset('vendor/uPlot.min.css')}</style>"
        f"<style>{_asset('assets/style.css')}</style></head>"
    )


@cache
def _asset(name: str) -> str:
    return files("estran.report").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _policy() -> str:
    """Nothing may be loaded, and only the page's own scripts and styles, known by their hashes, take effect."""

    def hashed(*names: str) -> str:
        digests = (hashlib.sha256(_asset(name).encode()).digest() for name in names)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    scripts = hashed("vendor/uPlot.iife.min.js", "assets/charts.js")
    styles = hashed("vendor/uPlot.min.css", "assets/style.css")
    return f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; base-uri 'none'; form-action 'none'"


def _bar(report: Report) -> str:
    anchors = "".join(tag("a", text(short), href=f"#{identity}") for identity, short, _ in _parts(report))
    toggle = '<button id="theme" type="button" hidden aria-label="Switch between light and dark"></button>'
    skip = tag("a", "Skip to the report", href="#top", class_="skip")
    brand = tag("a", text(report.run.name), href="#top", class_="brand")
    return skip + tag("nav", brand, tag("div", anchors, class_="anchors"), toggle, aria_label="Sections")


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
    return tag("footer", tag("p", text(said)), tag("p", text("Charts: uPlot, MIT licence, © Leon Sorokin.")))
