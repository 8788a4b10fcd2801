"""The deployment as lanes, boxes and bundles: like hosts share a box, like channels an arrow. Placed, not yet drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from estran.report.folder import RunFolder
from estran.report.network import Link, LinkGroup, group, links

ALIKE = 4
MOST_BOXES = 10

BOX_WIDTH, GAP, MARGIN = 196.0, 232.0, 10.0
HEAD, CHIP, PAD, BETWEEN, LANE_HEAD, SLOT = 46.0, 32.0, 10.0, 18.0, 38.0, 70.0


@dataclass(frozen=True, slots=True)
class Chip:
    """A service on a box: one replica, or several alike."""

    service: str
    kind: str
    replicas: tuple[str, ...]

    @property
    def label(self) -> str:
        """``camera-2``, or ``camera ×98``."""
        return self.replicas[0] if len(self.replicas) == 1 else f"{self.service} ×{len(self.replicas)}"


@dataclass(slots=True)
class Box:
    """One host, or several alike, with its place in the drawing."""

    hosts: tuple[str, ...]
    layer: str
    device: str
    chips: tuple[Chip, ...]
    left: float = 0.0
    top: float = 0.0

    @property
    def height(self) -> float:
        """Height with all its chips."""
        return HEAD + (len(self.chips) * CHIP + PAD / 2 if self.chips else 0.0)

    def chip_middle(self, service: str) -> float:
        """Vertical middle of a service's chip."""
        index = next((i for i, chip in enumerate(self.chips) if chip.service == service), 0)
        return self.top + HEAD + (index + 0.5) * CHIP - 2


@dataclass(slots=True)
class Bundle:
    """Channels of one stream between two lanes, drawn as one labelled arrow with a root at each end for every box."""

    stream: str
    delivery: str
    start: int
    end: int
    ends: list[tuple[Box, str, Box, str]] = field(default_factory=list)
    channels: int = 0
    link: LinkGroup | None = None
    gap: int = 0
    slot: float = 0.0
    bypass: float | None = None


@dataclass(slots=True)
class Topology:
    """The whole drawing: lanes from left to right in the order of the experiment's layers."""

    lanes: list[tuple[str, list[Box]]]
    bundles: list[Bundle]
    hidden: Mapping[str, int]
    width: float = 0.0
    height: float = 0.0

    def lane_left(self, lane: int) -> float:
        """Left edge of a lane's boxes."""
        return MARGIN + lane * (BOX_WIDTH + GAP)


def arrange(run: RunFolder) -> Topology:
    """Lay out a run's deployment."""
    lanes = [(layer, _boxes(run, layer)) for layer in dict.fromkeys(host.layer for host in run.hosts.values())]
    hidden = {layer: sum(len(box.hosts) for box in boxes[MOST_BOXES:]) for layer, boxes in lanes}
    lanes = [(layer, boxes[:MOST_BOXES]) for layer, boxes in lanes]
    topology = Topology(lanes, _bundles(run, lanes), hidden)
    _place(topology)
    return topology


def _boxes(run: RunFolder, layer: str) -> list[Box]:
    """One box per host, but one for all that are alike where more than a few are."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for host in (host for host in run.hosts.values() if host.layer == layer):
        services = Counter(replica.service for replica in run.replicas.values() if replica.host == host.name)
        alike.setdefault((host.device, tuple(sorted(services.items()))), []).append(host.name)
    parts = [part for hosts in alike.values() for part in ([hosts] if len(hosts) > ALIKE else [[host] for host in hosts])]
    return [Box(tuple(part), layer, run.hosts[part[0]].device, _chips(run, part)) for part in parts]


def _chips(run: RunFolder, hosts: list[str]) -> tuple[Chip, ...]:
    inside = [replica for replica in run.replicas.values() if replica.host in hosts]
    services = dict.fromkeys((replica.service, replica.kind) for replica in inside)
    return tuple(
        Chip(service, kind, tuple(replica.name for replica in inside if replica.service == service)) for service, kind in services
    )


def _bundles(run: RunFolder, lanes: list[tuple[str, list[Box]]]) -> list[Bundle]:
    place = {host: (i, box) for i, (_, boxes) in enumerate(lanes) for box in boxes for host in box.hosts}
    measured = {(link.source, link.target): link for link in links(run)}
    bundles: dict[tuple[str, int, int], Bundle] = {}
    used: dict[tuple[str, int, int], list[Link]] = {}
    for channel in run.channels:
        producer, consumer = run.replicas.get(channel.producer), run.replicas.get(channel.consumer)
        if producer is None or consumer is None or producer.host not in place or consumer.host not in place:
            continue
        (start, source), (end, target) = place[producer.host], place[consumer.host]
        key = (channel.stream, start, end)
        bundle = bundles.setdefault(key, Bundle(channel.stream, channel.delivery, start, end))
        bundle.channels += 1
        ways = (source, producer.service, target, consumer.service)
        if ways not in bundle.ends:
            bundle.ends.append(ways)
        link = measured.get((producer.host, consumer.host))
        if link is not None and link not in used.setdefault(key, []):
            used[key].append(link)
    for key, bundle in bundles.items():
        groups = group(used.get(key, []), run.hosts)
        bundle.link = groups[0] if groups else None
    return list(bundles.values())


def _place(topology: Topology) -> None:
    tallest = max((_lane_height(boxes) for _, boxes in topology.lanes), default=0.0)
    bundles = topology.bundles
    for bundle in bundles:
        bundle.gap = min(bundle.start, bundle.end) if bundle.start != bundle.end else bundle.start
    slots = max((sum(bundle.gap == gap for bundle in bundles) for gap in range(len(topology.lanes))), default=0)
    tallest = max(tallest, slots * SLOT)
    for lane, (_, boxes) in enumerate(topology.lanes):
        top = LANE_HEAD + MARGIN + (tallest - _lane_height(boxes)) / 2
        for box in boxes:
            box.left, box.top = topology.lane_left(lane), top
            top += box.height + BETWEEN
    _place_bundles(topology, LANE_HEAD + MARGIN, tallest)
    last = len(topology.lanes) - 1
    loops = GAP if any(bundle.gap == last for bundle in bundles) else 0.0
    topology.width = topology.lane_left(last) + BOX_WIDTH + MARGIN + loops


def _place_bundles(topology: Topology, top: float, tallest: float) -> None:
    """Give each bundle the height of its label, and those that pass a lane a way below its boxes."""
    bottom = top + tallest
    below = bottom
    for bundle in topology.bundles:
        if abs(bundle.end - bundle.start) > 1:
            between = topology.lanes[min(bundle.start, bundle.end) + 1 : max(bundle.start, bundle.end)]
            floor = max((box.top + box.height for _, boxes in between for box in boxes), default=top)
            taken = [other.bypass for other in topology.bundles if other.bypass is not None]
            bundle.bypass = max([floor + 26, *(way + 22 for way in taken)])
            below = max(below, bundle.bypass + 12)
    for gap in range(len(topology.lanes)):
        inside = sorted((bundle for bundle in topology.bundles if bundle.gap == gap), key=_wanted)
        height = SLOT * len(inside)
        first = top + (tallest - height) / 2 + SLOT / 2
        for i, bundle in enumerate(inside):
            bundle.slot = first + i * SLOT
    topology.height = below + MARGIN


def _wanted(bundle: Bundle) -> tuple[bool, float]:
    heights = [source.chip_middle(a) + target.chip_middle(b) for source, a, target, b in bundle.ends]
    return (bundle.bypass is not None, median(heights) if heights else 0.0)


def _lane_height(boxes: list[Box]) -> float:
    return sum(box.height for box in boxes) + BETWEEN * max(0, len(boxes) - 1)
