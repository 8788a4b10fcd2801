"""Markup from untrusted text: every string that comes from a run goes through `text` or `attribute`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def text(value: object) -> str:
    """Escape text for content and quoted attributes; terminal colours are dropped, other control characters shown as �."""
    return html.escape(_CONTROLS.sub("\ufffd", _ESCAPES.sub("", str(value))), quote=True)


def tag(name: str, *children: str, **attributes: object) -> str:
    """An element of already escaped children. In attribute names a last ``_`` is dropped, others become ``-``; None omits one.

    Examples
    --------
    >>> tag("p", text("a < b"), class_="note", hidden=None)
    '<p class="note">a &lt; b</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items() if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"


def wrapped(value: object) -> str:
    """Text for a cell that may run over several lines, whatever its column does."""
    return tag("span", text(value), class_="wrap")


def table(heads: list[str], rows: list[list[str]], *, numeric: frozenset[int] = frozenset(), caption: str = "") -> str:
    """A table of already escaped cells inside a frame that scrolls on narrow screens; ``numeric`` columns are right-aligned."""
    head = "".join(tag("th", text(name), scope="col", class_="n" if i in numeric else None) for i, name in enumerate(heads))
    body = "".join(
        tag("tr", *(tag("td", cell, class_="n" if i in numeric else None) for i, cell in enumerate(row))) for row in rows
    )
    titled = tag("caption", text(caption)) if caption else ""
    inner = tag("table", titled, tag("thead", tag("tr", head)), tag("tbody", body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption or "table")


def data_block(identity: str, document: Mapping[str, Any]) -> str:
    """Compact JSON that cannot leave its script element, whatever strings it holds."""
    dumped = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        dumped = dumped.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{text(identity)}">{_CONTROLS.sub("", dumped)}</script>'
