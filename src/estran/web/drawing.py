"""The deployment as nodes and edges for the page.

The arrangement is the report's: layers from left to right, like hosts in one box, like channels in one arrow. Where they lie is
`estran.web.placing`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from estran.report.folder import RunFolder
from estran.report.network import LinkGroup, group, links
from estran.report.topology import Box, Topology, arrange
from estran.web.traffic import Key

MOST_LABELS: Final = 5
"""Arrows between two layers that have a label each; where there are more, each stream has one."""


@dataclass(frozen=True)
class Arrow:
    """One edge: channels of a stream between two boxes, and the links under them."""

    identity: str
    source: str
    target: str
    stream: str
    delivery: str
    channels: tuple[Key, ...]
    told: tuple[Key, ...]
    """Those that its label tells of; of none, where another arrow of the stream tells of all."""
    link: LinkGroup | None
    lanes: tuple[int, int]
    """Those of its source and target."""


@dataclass(frozen=True)
class Drawing:
    """Boxes (identity, box), and edges between their chips."""

    topology: Topology
    boxes: tuple[tuple[str, Box], ...]
    arrows: tuple[Arrow, ...]

    def plain(self) -> dict[str, Any]:
        """Nodes and edges as the page tells them; lanes, boxes and chips lie within each other."""
        return {"nodes": [*self._lanes(), *self._boxes()], "edges": [_edge(arrow) for arrow in self.arrows]}

    def places(self) -> dict[str, str]:
        """The node of each replica, and of each host: its only service or, where it has others or none, its box."""
        found: dict[str, str] = {}
        for identity, box in self.boxes:
            found |= dict.fromkeys(box.hosts, f"{identity}.0" if len(box.chips) == 1 else identity)
            for index, chip in enumerate(box.chips):
                found |= dict.fromkeys(chip.replicas, f"{identity}.{index}")
        return found

    def _lanes(self) -> Iterator[dict[str, Any]]:
        for lane, (layer, boxes) in enumerate(self.topology.lanes):
            hidden = self.topology.hidden.get(layer, 0)
            hosts = sum(len(box.hosts) for box in boxes) + hidden
            label = f"{layer} · {hosts} host{'s' if hosts != 1 else ''}" + (f", {hidden} not drawn" if hidden else "")
            yield {"id": f"lane{lane}", "kind": "lane", "label": label, "layer": lane % 6}

    def _boxes(self) -> Iterator[dict[str, Any]]:
        lanes = {id(box): lane for lane, (_, boxes) in enumerate(self.topology.lanes) for box in boxes}
        for identity, box in self.boxes:
            lane = lanes[id(box)]
            name = box.hosts[0] if len(box.hosts) == 1 else f"{box.layer} ×{len(box.hosts)}"
            yield {"id": identity, "kind": "box", "label": name, "about": box.device, "parent": f"lane{lane}", "layer": lane % 6}
            for index, chip in enumerate(box.chips):
                yield {
                    "id": f"{identity}.{index}", "kind": "chip", "label": chip.label, "about": chip.kind.rpartition(":")[2],
                    "parent": identity, "layer": lane % 6,
                }  # fmt: skip


def draw(run: RunFolder) -> Drawing:
    """Arrange a run's deployment."""
    topology = arrange(run)
    boxes = [box for _, inside in topology.lanes for box in inside]
    named = tuple((f"box{number}", box) for number, box in enumerate(boxes))
    return Drawing(topology, named, tuple(_arrows(run, named)))


def _arrows(run: RunFolder, boxes: tuple[tuple[str, Box], ...]) -> Iterator[Arrow]:
    chips = {
        replica: f"{identity}.{index}"
        for identity, box in boxes
        for index, chip in enumerate(box.chips)
        for replica in chip.replicas
    }
    layers = {layer: lane for lane, layer in enumerate(dict.fromkeys(box.layer for _, box in boxes))}
    lanes = {replica: layers[box.layer] for _, box in boxes for chip in box.chips for replica in chip.replicas}
    found: dict[tuple[str, str, str], list[Key]] = {}
    deliveries: dict[str, str] = {}
    for channel in run.channels:
        source, target = chips.get(channel.producer), chips.get(channel.consumer)
        if source is not None and target is not None:
            found.setdefault((source, target, channel.stream), []).append((channel.stream, channel.producer, channel.consumer))
            deliveries[channel.stream] = channel.delivery
    known = {(link.source, link.target): link for link in links(run)}
    ends = {key: (lanes[channels[0][1]], lanes[channels[0][2]]) for key, channels in found.items()}
    told = _told(found, ends)
    for number, (key, channels) in enumerate(found.items()):
        source, target, stream = key
        ways = dict.fromkeys((run.replicas[a].host, run.replicas[b].host) for _, a, b in channels)
        under = group([known[way] for way in ways if way in known], run.hosts)
        link = under[0] if under else None
        yield Arrow(f"edge{number}", source, target, stream, deliveries[stream], tuple(channels), told[key], link, ends[key])


Ends = tuple[str, str, str]
"""Source and target of an arrow, and its stream."""


def _told(found: Mapping[Ends, list[Key]], lanes: Mapping[Ends, tuple[int, int]]) -> dict[Ends, tuple[Key, ...]]:
    """The channels that each arrow's label tells of: its own or, where there are many, once those of all of its stream's arrows."""
    told: dict[Ends, tuple[Key, ...]] = {}
    for pair in {tuple(sorted(ends)) for ends in lanes.values()}:
        here = [key for key in found if tuple(sorted(lanes[key])) == pair]
        if len(here) <= MOST_LABELS:
            told |= {key: tuple(found[key]) for key in here}
            continue
        streams: dict[tuple[str, tuple[int, int]], list[Ends]] = {}
        for key in here:
            streams.setdefault((key[2], lanes[key]), []).append(key)
        for like in streams.values():
            told |= dict.fromkeys(like, ())
            told[like[len(like) // 2]] = tuple(channel for key in like for channel in found[key])
    return told


def _edge(arrow: Arrow) -> dict[str, Any]:
    return {
        "id": arrow.identity, "source": arrow.source, "target": arrow.target, "stream": arrow.stream, "delivery": arrow.delivery,
        "from": _ends(arrow, 1), "to": _ends(arrow, 2), "channels": len(arrow.channels), "told": len(arrow.told),
    }  # fmt: skip


def _ends(arrow: Arrow, which: int) -> str:
    names = list(dict.fromkeys(channel[which] for channel in arrow.channels))
    return names[0] if len(names) == 1 else f"{names[0].rpartition('-')[0]} ×{len(names)}"
