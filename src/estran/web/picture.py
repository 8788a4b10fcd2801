"""The page's drawing of a deployment as SVG, as it is planned; the page's script says in it what goes on."""

from __future__ import annotations

from typing import Any

from estran.report.markup import tag, text
from estran.web.drawing import Drawing
from estran.web.placing import APART, BOX, LANE, Placing, Route, Spot

_MARGIN, _TITLE = 6.0, 42.0
MOST_LETTERS = 26
"""Of a name in a box; the whole one is told when it is chosen."""


def picture(drawing: Drawing) -> str:
    """The whole drawing; what the script finds again has its identity in ``data-id``, and its parts classes."""
    placing = Placing(drawing)
    plain = drawing.plain()
    top = placing.top - _TITLE
    tall = placing.bottom + 12.0 - top
    width, height = placing.width + 2 * _MARGIN, tall + 2 * _MARGIN
    kinds = {kind: [node for node in plain["nodes"] if node["kind"] == kind] for kind in ("lane", "box", "chip")}
    lanes = "".join(_lane(lane, node["label"], top, tall) for lane, node in enumerate(kinds["lane"]))
    lines = "".join(_line(edge, placing.routes[edge["id"]]) for edge in plain["edges"])
    labels = "".join(_label(edge, placing.routes[edge["id"]]) for edge in plain["edges"] if edge["told"])
    nodes = "".join(_node(node, placing.spots[node["id"]]) for kind in ("box", "chip") for node in kinds[kind])
    return tag(
        "svg",
        lanes,
        tag("g", lines, class_="lines"),
        nodes,
        tag("g", labels, class_="labels"),
        class_="deployment",
        viewBox=f"{-LANE / 2 - _MARGIN:.0f} {top - _MARGIN:.0f} {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
    )


def _lane(lane: int, label: str, top: float, tall: float) -> str:
    middle = lane * APART
    return _rect("drawn-lane", middle - LANE / 2, top, LANE, tall, 10) + _text("title", middle, top + 26, label)


def _node(node: dict[str, Any], spot: Spot) -> str:
    """A box or a chip: its name, and a line for what goes on."""
    box = node["kind"] == "box"
    width = BOX if box else BOX - 24.0
    first = spot.top + (22.0 if box else 20.0)
    label = node["label"] if len(node["label"]) <= MOST_LETTERS else node["label"][: MOST_LETTERS - 1] + "…"
    return tag(
        "g",
        _rect("", spot.x - width / 2, spot.top, width, spot.height, 8 if box else 6),
        _text("name", spot.x, first, label),
        _text("said", spot.x, first + 19.0, node["about"]),
        class_=f"drawn-{node['kind']} layer-{node['layer']}",
        data_id=node["id"],
        data_label=node["label"],
        data_about=node["about"],
    )


def _line(edge: dict[str, Any], route: Route) -> str:
    style = "arrow latest" if edge["delivery"] == "latest" else "arrow"
    parts = (tag("path", d=route.line), tag("path", d=route.head, class_="head"), tag("path", d=route.line, class_="near"))
    return tag("g", *parts, class_=style, data_id=edge["id"])


def _label(edge: dict[str, Any], route: Route) -> str:
    lines = _text("name", route.x, route.y - 7.0, edge["stream"], route.anchor)
    return tag("g", lines + _text("said", route.x, route.y + 16.0, "", route.anchor), class_="label", data_of=edge["id"])


def _rect(style: str, x: float, y: float, width: float, height: float, round_: float) -> str:
    return tag(
        "rect", class_=style or None, x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}", rx=f"{round_:.0f}"
    )


def _text(style: str, x: float, y: float, shown: str, anchor: str = "middle") -> str:
    return tag("text", text(shown), class_=style, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)
