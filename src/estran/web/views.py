"""The page's documents: frames that scripts fill. Everything that a run says reaches them as data, and is shown as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from hashlib import blake2s
from importlib.resources import files
from typing import Final

from estran.report.markup import tag, text
from estran.web.drawing import Drawing
from estran.web.picture import picture

ASSETS: Final = {
    "uPlot.js": ("estran.report", "vendor/uPlot.iife.min.js", "text/javascript"),
    "uPlot.css": ("estran.report", "vendor/uPlot.min.css", "text/css"),
    "style.css": ("estran.report", "assets/style.css", "text/css"),
    "frame.js": ("estran.report", "assets/frame.js", "text/javascript"),
    "plot.js": ("estran.report", "assets/plot.js", "text/javascript"),
    "web.css": ("estran.web", "assets/web.css", "text/css"),
    "page.js": ("estran.web", "assets/page.js", "text/javascript"),
    "list.js": ("estran.web", "assets/list.js", "text/javascript"),
    "run.js": ("estran.web", "assets/run.js", "text/javascript"),
    "tables.js": ("estran.web", "assets/tables.js", "text/javascript"),
    "topology.js": ("estran.web", "assets/topology.js", "text/javascript"),
    "logs.js": ("estran.web", "assets/logs.js", "text/javascript"),
    "keys.js": ("estran.web", "assets/keys.js", "text/javascript"),
    "replay.js": ("estran.web", "assets/replay.js", "text/javascript"),
    "fault.js": ("estran.web", "assets/fault.js", "text/javascript"),
    "study.js": ("estran.web", "assets/study.js", "text/javascript"),
    "compare.js": ("estran.web", "assets/compare.js", "text/javascript"),
}
"""All files that are served, by name: package, place, type. Nothing else can be asked for."""
_DRAWING: Final = "<!-- the drawing -->"


@cache
def asset(name: str) -> tuple[bytes, str]:
    """Content and type of a file.

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    package, place, kind = ASSETS[name]
    return files(package).joinpath(place).read_bytes(), kind


@cache
def _address(name: str) -> str:
    return f"/static/{name}?v={blake2s(asset(name)[0], digest_size=6).hexdigest()}"


def document(
    title: str,
    main: str,
    scripts: Sequence[str],
    csrf: str,
    anchors: Sequence[tuple[str, str]] = (),
    wanted: Sequence[str] = (),
    **data: str,
) -> str:
    """A whole page.

    Parameters
    ----------
    main
        Markup.
    csrf
        What scripts show when they ask for a change.
    anchors
        Identities of sections, and what the bar calls them.
    wanted
        What scripts will ask the server for first; the browser asks while they are loaded.
    data
        What scripts are told of this page, as attributes of the body.
    """
    styles = "".join(f'<link rel="stylesheet" href="{_address(name)}">' for name in ("uPlot.css", "style.css", "web.css"))
    styles += "".join(f'<link rel="preload" as="fetch" crossorigin="anonymous" href="{text(path)}">' for path in wanted)
    run = "".join(
        f'<script src="{_address(name)}" defer></script>'
        for name in ("plot.js", "page.js", "keys.js", "tables.js", *scripts, "frame.js")
    )
    head = (
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><meta name="estran-csrf" content="{text(csrf)}">'
        f'<link rel="icon" href="data:,">{tag("title", text(title))}{styles}{run}</head>'
    )
    links = "".join(tag("a", text(short), href=f"#{identity}") for identity, short in anchors)
    bar = (
        '<a href="#top" class="skip">Skip to the content</a>'
        f'<nav aria-label="Sections"><a href="/" class="brand">Estran</a><div class="anchors">{links}</div>'
        '<span id="link" role="status" class="muted small"></span>'
        '<button id="keys" type="button" aria-label="Keys" title="Keys (?)">?</button>'
        '<button id="theme" type="button" hidden aria-label="Switch between light and dark"></button></nav>'
    )
    attributes = {f"data_{name}": value for name, value in data.items()} | {"class_": "wide" if "list.js" in scripts else None}
    body = tag(
        "body",
        bar,
        tag("main", main, id="top"),
        '<noscript><p class="absent">This page needs JavaScript.</p></noscript>',
        **attributes,
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def entered(to: str) -> str:
    """What the one-time link shows: it leads on by itself, so that the cookie counts as asked for by our own page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={text(to)}">'
        '<link rel="icon" href="data:,"><title>Estran</title></head>'
        f'<body><p><a href="{text(to)}">To the page</a></p></body></html>\n'
    )


def list_page(csrf: str) -> str:
    """Runs and studies."""
    anchors = [("studies", "Studies"), ("runs", "Runs"), ("elsewhere", "Elsewhere")]
    return document("Estran: runs and studies", _markup("list"), ["list.js"], csrf, anchors, ["/api/list?known="])


def run_page(key: str, csrf: str, drawing: Drawing | None, *, awaited: bool, report: bool) -> str:
    """One run.

    Parameters
    ----------
    drawing
        Its topology, so that it is there at the first look; None where nothing is planned yet.
    awaited
        Whether the server was started for this run: it may not have begun yet, and the server ends with it.
    report
        Whether there is a report to link to.
    """
    sections = ("topology", "charts", "hosts", "services", "models", "network", "events", "logs")
    scripts = ["uPlot.js", "topology.js", "logs.js", "replay.js", "fault.js", "run.js"]
    told = {"key": key, "awaited": "yes" if awaited else "", "report": "yes" if report else ""}
    if drawing is not None:
        told["edges"] = json.dumps(drawing.plain()["edges"])
    main = _markup("run").replace(_DRAWING, picture(drawing) if drawing else "")
    return document("Estran: a run", main, scripts, csrf, [(name, name.title()) for name in sections], **told)


def study_page(key: str, csrf: str) -> str:
    """One study."""
    return document(
        "Estran: a study", _markup("study"), ["study.js"], csrf, [("rows", "Runs")], [f"/api/study/{key}?known="], key=key
    )


def compare_page(csrf: str) -> str:
    """Some runs, or studies, side by side."""
    anchors = [("sides", "What they are"), ("responses", "Responses"), ("charts", "Over time")]
    return document("Estran: side by side", _markup("compare"), ["uPlot.js", "compare.js"], csrf, anchors)


@cache
def _markup(name: str) -> str:
    return files("estran.web").joinpath(f"assets/{name}.html").read_text(encoding="utf-8")


def problem_page(what: str, remedy: str | None, csrf: str) -> str:
    """What is shown when something cannot be."""
    main = tag("header", tag("h1", "This cannot be shown"), tag("p", text(what), class_="verdict"), tag("p", text(remedy or "")))
    return document("Estran", main, [], csrf)
