"""Compiles an experiment into a program: arrays per layer, service, hop and link, none per host that is not needed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from estran.components.index import Components
from estran.learning.arrivals import Arrivals, arrival_process
from estran.platforms.simulated.costs import Costs
from estran.platforms.simulated.flow import ground as places
from estran.platforms.simulated.flow.graph import schedule
from estran.platforms.simulated.flow.ground import Ground, Links, Numbers
from estran.platforms.simulated.flow.laws import LawTable
from estran.platforms.simulated.flow.program import Hop, Node, Program
from estran.platforms.simulated.flow.roles import Role, roles
from estran.platforms.simulated.flow.sending import LEAST_NORMAL
from estran.platforms.simulated.flow.stations import make_source, make_station
from estran.platforms.simulated.flow.tables import ALL, CHANNEL, HELD, HOP, LINK, PAIRED, ROTATE, Wires
from estran.platforms.simulated.flow.traffic import wire_bits
from estran.spec.calibration import Calibration
from estran.spec.model import Experiment

_ROUTINGS = {"paired": PAIRED, "all": ALL, "rotate": ROTATE}


def build(experiment: Experiment, index: Components, calibration: Calibration | None) -> Program:
    """Compile an experiment.

    Raises
    ------
    RequestError
        If it holds something that costs alone do not describe.
    ServiceError
        If the cost of an operation is not known.
    """
    return _Builder(experiment, index, calibration).build()


class _Builder:
    def __init__(self, experiment: Experiment, index: Components, calibration: Calibration | None) -> None:
        self._experiment = experiment
        self._costs = Costs(calibration)
        self._laws = LawTable()
        self._ground = Ground(experiment.layers)
        self._roles = roles(experiment, index, calibration)
        self._hosts = {name: places.place(role.service, self._ground) for name, role in self._roles.items()}
        self._hops = self._make_hops()

    def build(self) -> Program:
        ends, targets = self._channels()
        links = places.links(ends, self._experiment.network, self._ground)
        shared = self._shared(links)
        groups = self._groups(links, shared)
        nodes = {name: self._node(role) for name, role in self._roles.items()}
        nodes |= {name: self._group(name, members, hops) for name, (members, hops) in groups.items()}
        share = np.full(len(links), -1, np.int32)
        for members, _ in groups.values():
            share[members] = np.arange(len(members))
        wires = self._wires(links, share, targets)
        order, lookahead = schedule(list(nodes), self._delays(links, shared, groups))
        ordered = [nodes[name] for name in order]
        self._connect(ordered, wires, groups)
        classes, handling = {}, {}
        for name, role in self._roles.items():
            classes[name], devices = self._classes(name)
            handling[name] = [self._costs.handling(role.service, device) for device in devices]
        rates = {name: self._rate(role) for name, role in self._roles.items() if role.kind == "source"}
        return Program(
            self._experiment, self._ground, self._roles, self._hosts, self._hops, links, wires, ordered, lookahead, rates,
            handling, classes, sorted(self._costs.estimated),
        )  # fmt: skip

    def _make_hops(self) -> list[Hop]:
        found: list[Hop] = []
        for stream in self._experiment.streams:
            sent = self._roles[stream.source.service].sends[stream.source.port]
            observed = self._costs.size(str(stream.source))
            if observed is not None:
                sent = sent.resized(observed.bytes)
            bits, packets, size = wire_bits(sent.bytes)
            for target in stream.targets:
                found.append(Hop(len(found), stream, target, stream.routing, sent, bits, packets, size))
        return found

    def _channels(self) -> tuple[list[tuple[Numbers, Numbers]], list[Numbers]]:
        """Hosts at both ends, and consumer replica, of every channel by hop; numbers the channels through."""
        ends, targets, first = [], [], 0
        for hop in self._hops:
            producers, consumers = self._hosts[hop.producer], self._hosts[hop.consumer]
            target, hop.fan = places.channels(str(hop.stream.source), hop.routing, producers, consumers)
            hop.first = first
            first += len(target)
            ends.append((np.repeat(producers, hop.fan) if hop.fan > 1 else producers, consumers[target]))
            targets.append(target)
        return ends, targets

    def _span(self, hop: Hop) -> slice:
        return slice(hop.first, hop.first + len(self._hosts[hop.producer]) * hop.fan)

    def _shared(self, links: Links) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Links that more than one replica sends over, or one whose messages may leave out of order."""
        low, high = np.full(len(links), np.iinfo(np.int64).max), np.full(len(links), -1)
        several = np.zeros(len(links), np.bool_)
        offset = dict(zip(self._roles, np.cumsum([0, *map(len, self._hosts.values())]).tolist(), strict=False))
        for hop in self._hops:
            link = links.of_channel[self._span(hop)]
            sender = offset[hop.producer] + np.repeat(np.arange(len(self._hosts[hop.producer])), hop.fan)
            used = link >= 0
            np.minimum.at(low, link[used], sender[used])
            np.maximum.at(high, link[used], sender[used])
            if self._servers(hop.producer) > 1:
                several[link[used]] = True
        shared: np.ndarray[Any, np.dtype[np.bool_]] = ((low != high) | several) & self._queues(links)
        return shared

    def _queues(self, links: Links) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Links on which messages can wait for each other: those with a rate, or where something varies."""
        figures = places.figures(self._experiment.network)[links.rule]
        queues: np.ndarray[Any, np.dtype[np.bool_]] = np.asarray((figures[:, 1:] > 0).any(axis=1))
        for hop in self._hops:
            if self._size_law(hop) > 0 or self._costs.transfer(str(hop.stream.source), hop.consumer).spread.kind != "fixed":
                link = links.of_channel[self._span(hop)]
                queues[link[link >= 0]] = True
        return queues

    def _servers(self, name: str) -> int:
        role = self._roles[name]
        return role.service.cores if role.kind == "pass" else 1

    def _groups(self, links: Links, shared: Any) -> dict[str, tuple[Numbers, list[Hop]]]:
        """Shared links in groups that have hops in common: members, and the hops."""
        of_hop: dict[int, Numbers] = {
            hop.number: np.unique(links.of_channel[self._span(hop)]).astype(np.int64) for hop in self._hops
        }
        of_hop = {number: used[used >= 0] for number, used in of_hop.items()}
        of_hop = {number: used[shared[used]] for number, used in of_hop.items()}
        groups: list[tuple[Numbers, list[Hop]]] = []
        for hop in self._hops:
            members, hops = of_hop[hop.number], [hop]
            if not len(members):
                continue
            apart = []
            for other, theirs in groups:
                if np.intersect1d(other, members).size:
                    members, hops = np.union1d(members, other), theirs + hops
                else:
                    apart.append((other, theirs))
            groups = [*apart, (members, hops)]
        return {f"links of {', '.join(hop.name for hop in hops)}": (members, hops) for members, hops in groups}

    def _seed(self, name: str) -> np.uint64:
        return np.uint64(np.random.SeedSequence([self._experiment.seed, *name.encode()]).generate_state(1, np.uint64)[0])

    def _classes(self, name: str) -> tuple[Numbers, list[Any]]:
        """Device class of each replica, and the devices."""
        layers, inverse = np.unique(self._ground.layer_of(self._hosts[name]), return_inverse=True)
        return inverse, [self._ground.device_of(int(layer)) for layer in layers]

    def _rate(self, role: Role) -> float:
        """Messages per second of all replicas of a source."""
        rate = role.settings.rate
        if rate is None:
            trace = self._trace(arrival_process(role.settings.arrivals))
            rate = len(trace) / max(float(trace[-1]), 1e-9)
        return float(rate / role.settings.batch) * len(self._hosts[role.service.name])

    def _trace(self, wanted: Arrivals) -> np.ndarray[Any, np.dtype[np.float64]]:
        from estran.learning.arrivals import gaps

        if wanted.kind != "replay":
            return np.empty(0)
        return np.cumsum(list(gaps(wanted, None, np.random.default_rng(0), self._experiment.folder)))

    def _node(self, role: Role) -> Node:
        name = role.service.name
        count = len(self._hosts[name])
        mine = [hop for hop in self._hops if hop.producer == name]
        kind: Any = {"source": "source", "predictor": "batch", "trainer": "batch"}.get(role.kind, "serve")
        node = Node(name, kind, count, self._seed(name), _numbers(mine, models=False), _numbers(mine, models=True))
        node.fan, node.models_fan = _fan(mine, models=False), _fan(mine, models=True)
        if kind == "source":
            trace = self._trace(arrival_process(role.settings.arrivals))
            node.source = make_source(role, count, trace, self._experiment.folder)
        else:
            device, devices = self._classes(name)
            parameters = next((h.traffic.parameters for h in self._hops if h.carries_models and h.consumer == name), 0)
            node.station = make_station(
                role, devices, device, self._hops, parameters, self._costs, self._laws, self._servers(name), self._previous(name)
            )  # fmt: skip
        return node

    def _group(self, name: str, members: Numbers, hops: list[Hop]) -> Node:
        return Node(name, "links", len(members), self._seed(name), np.array([hop.number for hop in hops]), np.empty(0, np.int64))

    def _previous(self, name: str) -> int:
        """Channels for which the previous message must be remembered: all, if data comes by latest streams."""
        latest = any(hop.latest and not hop.carries_models and hop.consumer == name for hop in self._hops)
        return sum(len(self._hosts[hop.producer]) * hop.fan for hop in self._hops) if latest else 0

    def _wires(self, links: Links, share: Any, targets: list[Numbers]) -> Wires:
        held, turns = self._places(self._hops)
        table = np.zeros(len(self._hops), HOP)
        for row, hop, h, t in zip(table, self._hops, held, turns, strict=False):
            row["routing"], row["first"], row["fan"], row["latest"] = _ROUTINGS[hop.routing], hop.first, hop.fan, hop.latest
            row["size_law"] = self._size_law(hop)
            extra = self._costs.transfer(str(hop.stream.source), hop.consumer)
            fixed = extra.spread.kind == "fixed"
            row["extra"], row["extra_law"] = (extra.mean(), -1) if fixed else (0.0, self._laws.add(hop.name, extra))
            row["random"] = row["size_law"] > 0 or not fixed
            row["held_first"], row["turn_first"] = h, t
            row["rows"], row["models"] = hop.traffic.rows, hop.carries_models
            row["bits"], row["packets"] = hop.bits, hop.packets
        channels = np.zeros(len(links.of_channel), CHANNEL)
        channels["link"] = links.of_channel
        if targets:
            channels["target"] = np.concatenate(targets)
        lines = self._lines(links, share)
        waiting = np.full(held[-1], math.nan, HELD)
        order = np.zeros(len(channels) if (lines["loss"] > 0).any() else 0)
        seed = np.array([self._seed("links")], np.uint64)
        return Wires(
            table, channels, lines, self._laws.table(), self._laws.quantiles(), seed, waiting, np.zeros(turns[-1], np.int64), order
        )  # fmt: skip

    def _lines(self, links: Links, share: Any) -> Any:
        """The links' figures and state; a rule's number of -1 finds the figures of links without one."""
        lines = np.zeros(len(links), LINK)
        lines["delay"], lines["jitter"], lines["per_bit"], lines["loss"] = places.figures(self._experiment.network)[links.rule].T
        lines["share"] = share
        return lines

    def _size_law(self, hop: Hop) -> int:
        from estran.spec.costs import Cost

        observed = self._costs.size(str(hop.stream.source))
        return 0 if observed is None else self._laws.add(hop.name, Cost(1.0, spread=observed.spread))

    def _places(self, hops: list[Hop]) -> tuple[list[int], list[int]]:
        """Where each hop's held messages and turns begin (-1 for none held); last, how many there are in all."""
        held, turns, h, t = [], [], 0, 0
        for hop in hops:
            held.append(h if hop.latest else -1)
            h += len(self._hosts[hop.producer]) * hop.fan if hop.latest else 0
            turns.append(t)
            t += len(self._hosts[hop.producer]) if hop.routing == "rotate" else 0
        return [*held, h], [*turns, t]

    def _delays(self, links: Links, shared: Any, groups: dict[str, tuple[Numbers, list[Hop]]]) -> dict[tuple[str, str], float]:
        figures = places.figures(self._experiment.network)
        delays: dict[tuple[str, str], float] = {}

        def least(a: str, b: str, delay: float) -> None:
            delays[a, b] = min(delays.get((a, b), math.inf), delay)

        group_of = {hop.number: name for name, (_, hops) in groups.items() for hop in hops}
        for hop in self._hops:
            used = np.unique(links.of_channel[self._span(hop)])
            over = used[used >= 0]
            delay = np.maximum(figures[links.rule[over], 0] + LEAST_NORMAL * figures[links.rule[over], 1], 0.0)
            delay = delay + hop.bits * figures[links.rule[over], 2]
            alone = ~shared[over]
            if (used < 0).any():
                least(hop.producer, hop.consumer, 0.0)
            if alone.any():
                least(hop.producer, hop.consumer, float(delay[alone].min()))
            if not alone.all():
                least(hop.producer, group_of[hop.number], 0.0)
                least(group_of[hop.number], hop.consumer, float(delay[~alone].min()))
        return delays

    def _connect(self, nodes: list[Node], wires: Wires, groups: dict[str, tuple[Numbers, list[Hop]]]) -> None:
        """Give every node's outbox its rows, and tell the wires."""
        number = {node.name: place for place, node in enumerate(nodes)}
        group_of = {hop.number: name for name, (_, hops) in groups.items() for hop in hops}
        for node in nodes:
            begins: dict[str, int] = {}

            def row(target: str, node: Node = node, begins: dict[str, int] = begins) -> int:
                if target not in begins:
                    begins[target] = len(node.rows)
                    node.rows += [(number[target], part) for part in range(len(nodes[number[target]].parts))]
                return begins[target]

            for hop in node.outputs:
                consumer = self._hops[hop].consumer
                wires.hops["direct_shift"][hop] = nodes[number[consumer]].shift
                if node.kind == "links":
                    wires.hops["onward"][hop] = row(consumer)
                else:
                    wires.hops["direct"][hop] = row(consumer)
                    if hop in group_of:
                        wires.hops["shared"][hop] = row(group_of[hop])
                        wires.hops["shared_shift"][hop] = nodes[number[group_of[hop]]].shift


def _numbers(hops: list[Hop], *, models: bool) -> Numbers:
    return np.array([hop.number for hop in hops if hop.publishes == models], np.int64)


def _fan(hops: list[Hop], *, models: bool) -> int:
    return max(1, sum(hop.fan if hop.routing == "all" else 1 for hop in hops if hop.publishes == models))
