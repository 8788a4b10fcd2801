"""A placed topology as SVG: boxes over arrows, every label with its full text as a tooltip."""

from __future__ import annotations

from collections.abc import Iterable

from estran.report.markup import tag, text
from estran.report.topology import BOX_WIDTH, CHIP, GAP, HEAD, MARGIN, Box, Bundle, Chip, Topology
from estran.report.wording import count

LABEL = 172.0


def draw(topology: Topology, *, failed: frozenset[str] = frozenset()) -> str:
    """The topology as one SVG element; replicas and services in ``failed`` are marked."""
    lanes = "".join(_lane(topology, i) for i in range(len(topology.lanes)))
    arrows = "".join(_bundle(topology, bundle) for bundle in topology.bundles)
    boxes = "".join(_box(box, failed) for _, inside in topology.lanes for box in inside)
    width, height = f"{topology.width:.0f}", f"{topology.height:.0f}"
    return tag(
        "svg",
        lanes + arrows + boxes,
        class_="topology",
        role="img",
        aria_label=describe(topology),
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )


def describe(topology: Topology) -> str:
    """The topology in words, for those who cannot see it."""
    lanes = [
        f"{layer}: {count(sum(len(box.hosts) for box in boxes) + topology.hidden.get(layer, 0), 'host')}"
        for layer, boxes in topology.lanes
    ]
    streams = [
        f"{bundle.stream} from {topology.lanes[bundle.start][0]} to {topology.lanes[bundle.end][0]}" for bundle in topology.bundles
    ]
    return f"Topology. Layers: {', '.join(lanes)}. Streams: {', '.join(streams) or 'none'}."


def layer_class(index: int) -> str:
    """The CSS class that gives a layer its colour, here and in the charts."""
    return f"layer-{index % 6}"


def _lane(topology: Topology, lane: int) -> str:
    layer, boxes = topology.lanes[lane]
    left = topology.lane_left(lane)
    hosts = sum(len(box.hosts) for box in boxes) + topology.hidden.get(layer, 0)
    hidden = topology.hidden.get(layer, 0)
    more = (
        _text(left + BOX_WIDTH / 2, topology.height - 6, f"and {count(hidden, 'more host')}", "t-small", "middle") if hidden else ""
    )
    return tag(
        "g",
        _rect("lane", left - MARGIN + 2, 2, BOX_WIDTH + 2 * MARGIN - 4, topology.height - 4, 10),
        f'<circle class="dot" cx="{left + 6:.1f}" cy="23" r="5"/>',
        _text(left + 18, 27, _cut(layer, 16), "t-lane"),
        _text(left + BOX_WIDTH, 27, count(hosts, "host"), "t-small", "end"),
        more,
        class_=layer_class(lane),
    )


def _box(box: Box, failed: frozenset[str]) -> str:
    many = len(box.hosts) > 1
    name = f"{box.hosts[0]}…{box.hosts[-1]}" if many else box.hosts[0]
    device = f"{len(box.hosts)} × {box.device}" if many else box.device
    behind = "".join(_rect("behind", box.left + d, box.top + d, BOX_WIDTH, box.height, 8) for d in (8, 4)) if many else ""
    chips = "".join(_chip(box, i, chip, failed) for i, chip in enumerate(box.chips))
    listed = ", ".join(box.hosts[:40]) + (" …" if len(box.hosts) > 40 else "")
    return tag(
        "g",
        tag("title", text(f"{listed}: {box.device}")),
        behind,
        _rect("box", box.left, box.top, BOX_WIDTH, box.height, 8),
        _text(box.left + 12, box.top + 20, _cut(name, 24), "t-host"),
        _text(box.left + 12, box.top + 36, _cut(device, 28), "t-small"),
        chips,
    )


def _chip(box: Box, index: int, chip: Chip, failed: frozenset[str]) -> str:
    top = box.top + HEAD + index * CHIP
    bad = bool(failed & {chip.service, *chip.replicas})
    kind = "failed" if bad else _cut(chip.kind, 12)
    return tag(
        "g",
        tag("title", text(f"{chip.label} ({chip.kind})")),
        _rect("chip bad" if bad else "chip", box.left + 8, top, BOX_WIDTH - 16, CHIP - 6, 5),
        _text(box.left + 17, top + 17.5, _cut(chip.label, 14), "t-chip"),
        _text(box.left + BOX_WIDTH - 17, top + 17, kind, "t-kind", "end"),
    )


def _bundle(topology: Topology, bundle: Bundle) -> str:
    """Roots from every source to the label's line, the line, and roots to every target, with an arrowhead at each."""
    middle = topology.lane_left(bundle.gap) + BOX_WIDTH + GAP / 2
    near, far = middle - LABEL / 2, middle + LABEL / 2
    forward, loop = bundle.start <= bundle.end, bundle.start == bundle.end
    path = [f"M{near:.1f} {bundle.slot:.1f}H{far:.1f}"] if not loop else [f"M{near:.1f} {bundle.slot:.1f}h14"]
    heads: list[str] = []
    for is_source, box, service in _roots(bundle):
        on_left = loop or (is_source == forward)
        y = box.chip_middle(service) + (5 if is_source else -5)
        edge = box.left + (BOX_WIDTH if on_left else 0.0)
        path.append(_way(topology, bundle, edge, y, near if on_left else far, on_left=on_left))
        if not is_source:
            heads.append(_head(edge, y, to_left=on_left))
    style = "flow latest" if bundle.delivery == "latest" else "flow"
    lines = f'<path d="{"".join(path)}"/>{"".join(heads)}'
    return tag("g", tag("title", text(_tip(bundle))), lines, _label(bundle, middle), class_=style)


def _roots(bundle: Bundle) -> Iterable[tuple[bool, Box, str]]:
    """Each end once: whether it is a source, its box and its service."""
    seen: dict[tuple[bool, int, str], Box] = {}
    for source, producer, target, consumer in bundle.ends:
        seen.setdefault((True, id(source), producer), source)
        seen.setdefault((False, id(target), consumer), target)
    return [(is_source, box, service) for (is_source, _, service), box in seen.items()]


def _way(topology: Topology, bundle: Bundle, edge: float, y: float, end: float, *, on_left: bool) -> str:
    """A root from a box's edge to the label, round the lanes between them where there are any."""
    if on_left or bundle.bypass is None:
        return _curve(edge, y, end, bundle.slot)
    first = topology.lane_left(bundle.gap + 1) - 8
    last = topology.lane_left(max(bundle.start, bundle.end)) - 60
    return _curve(end, bundle.slot, first, bundle.bypass) + f"H{last:.1f}" + _curve(last, bundle.bypass, edge, y)


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = (x2 - x1) * 0.55
    return f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"


def _head(x: float, y: float, *, to_left: bool) -> str:
    back = x + (9 if to_left else -9)
    return f'<path class="head" d="M{x:.1f} {y:.1f}L{back:.1f} {y - 4.5:.1f}V{y + 4.5:.1f}Z"/>'


def _label(bundle: Bundle, middle: float) -> str:
    name = bundle.stream if bundle.start <= bundle.end else f"← {bundle.stream}"
    asked, measured = _figures(bundle)
    lines = [(-8.0, "t-stream", _cut(name, 25)), (15.0, "t-small", _cut(asked, 32)), (29.0, "t-small strong", _cut(measured, 32))]
    return "".join(_text(middle, bundle.slot + dy, shown, style, "middle") for dy, style, shown in lines if shown)


def _figures(bundle: Bundle) -> tuple[str, str]:
    """What was asked and measured on the way, each in a line."""
    if bundle.link is None:
        return ("same host" if _one_host(bundle) else "no link asked", "")
    asked = " · ".join(figure for figure in (bundle.link.asked("delay"), bundle.link.asked("rate")) if figure != "–")
    measured = [_short(bundle.link.measured(name)) for name in ("delay", "rate")]
    found = " · ".join(figure for figure in measured if figure != "–")
    unknown = "not measured" if bundle.link.probed else ""  # where nothing is probed, nothing is missing
    return (f"asked {asked}" if asked else "nothing asked", f"got {found}" if found else unknown)


def _short(figure: str) -> str:
    return figure.split(" (")[0]


def _one_host(bundle: Bundle) -> bool:
    return all(source is target for source, _, target, _ in bundle.ends)


def _tip(bundle: Bundle) -> str:
    asked, measured = _figures(bundle)
    return f"{bundle.stream} ({bundle.delivery}), {count(bundle.channels, 'channel')}: {asked}{f'; {measured}' if measured else ''}"


def _rect(style: str, x: float, y: float, width: float, height: float, radius: float) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"/>'


def _text(x: float, y: float, shown: str, style: str, anchor: str | None = None) -> str:
    return tag("text", text(shown), x=f"{x:.1f}", y=f"{y:.1f}", class_=style, text_anchor=anchor)


def _cut(shown: str, most: int) -> str:
    return shown if len(shown) <= most else shown[: most - 1] + "…"
