"""What all pages have in common: one file that loads nothing, its policy, the bar, the look."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from estran.errors import DataError
from estran.report.markup import tag, text

CHARTS = ("vendor/uPlot.iife.min.js", "assets/plot.js", "assets/charts.js")
"""Scripts of pages with interactive charts; all pages have `_FRAME` behind them."""
_FRAME = "assets/frame.js"
_STYLES = ("vendor/uPlot.min.css", "assets/style.css")


def document(
    title: str, brand: str, anchors: list[tuple[str, str]], main: str, footer: str, *, data: str = "", scripts: tuple[str, ...] = ()
) -> str:
    """A whole page.

    Parameters
    ----------
    anchors
        Identities of sections, and what the bar calls them.
    main, footer, data
        Markup.
    scripts
        Besides that of the frame, as names of this package's files.
    """
    run = (*scripts, _FRAME)
    whole = tag(
        "body",
        _bar(brand, anchors),
        tag("main", main, id="top"),
        tag("footer", footer),
        data,
        "".join(f"<script>{_asset(name)}</script>" for name in run),
    )
    return f'<!doctype html>\n<html lang="en">{_head(title, run)}{whole}</html>\n'


def write_page(page: str, path: Path, remedy: str) -> Path:
    """Write a page whole or not at all, and return its path.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        what = f"the page cannot be written: {error.strerror}"
        raise DataError(what, where=str(path), remedy=f"free some space or check permissions, then {remedy}") from error
    return path


def _head(title: str, scripts: tuple[str, ...]) -> str:
    styles = "".join(f"<style>{_asset(name)}</style>" for name in _STYLES)
    return (
        '<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        '<meta name="referrer" content="no-referrer"><meta name="generator" content="Estran"><link rel="icon" href="data:,">'
        f"{tag('title', text(title))}{styles}</head>"
    )


@cache
def _asset(name: str) -> str:
    return files("estran.report").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _policy(scripts: tuple[str, ...]) -> str:
    """Nothing may be loaded, and only the page's own scripts and styles, known by their hashes, take effect."""

    def hashed(names: tuple[str, ...]) -> str:
        digests = (hashlib.sha256(_asset(name).encode()).digest() for name in names)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    allowed = f"script-src {hashed(scripts)}; style-src {hashed(_STYLES)}"
    return f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'"


def _bar(brand: str, anchors: list[tuple[str, str]]) -> str:
    links = "".join(tag("a", text(short), href=f"#{identity}") for identity, short in anchors)
    toggle = '<button id="theme" type="button" hidden aria-label="Switch between light and dark"></button>'
    skip = tag("a", "Skip to the report", href="#top", class_="skip")
    named = tag("a", text(brand), href="#top", class_="brand")
    return skip + tag("nav", named, tag("div", links, class_="anchors"), toggle, aria_label="Sections")
