"""What queues have to bear, found by arithmetic before anything runs: mean rates through the graph against mean costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.errors import EstranError, RequestError
from estran.platforms.simulated.flow import serving
from estran.platforms.simulated.flow.program import Node, Program

_PASSES = 20
"""Times that rates are led through the graph: once settles them where nothing goes in a circle."""

Rates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Load:
    """Offered load of the busiest replica of a service, or of the busiest link below a stream."""

    where: str
    utilisation: float
    remedy: str


def check(program: Program) -> list[Load]:
    """Refuse what grows without bound, and what windows of acknowledged streams would hold back.

    Returns
    -------
    list of Load
        Every queue's load.

    Raises
    ------
    EstranError
        ``unstable: utilisation 1.3 at fog/detector``.
    RequestError
        If a stream's sender would wait for room in its window.
    """
    entering = _rates(program)
    loads = [*_services(program, entering), *_links(program, entering)]
    worst = max(loads, key=lambda load: load.utilisation, default=None)
    if worst is not None and worst.utilisation >= 1:
        raise EstranError(f"unstable: utilisation {worst.utilisation:.3g} at {worst.where}", remedy=worst.remedy)
    _check_windows(program, entering)
    return loads


def _rates(program: Program) -> dict[int, Rates]:
    """Messages per second on every channel, by hop."""
    leaving: dict[int, Rates] = {hop.number: np.zeros(len(program.hosts[hop.producer])) for hop in program.hops}
    channels: dict[int, Rates] = {}
    for _ in range(_PASSES):
        before = {number: rates.sum() for number, rates in leaving.items()}
        for hop in program.hops:
            share = hop.fan if hop.routing == "rotate" else 1
            channels[hop.number] = np.repeat(leaving[hop.number] / share, hop.fan)
        for node in program.nodes:
            if node.kind != "links":
                _leave(program, node, channels, leaving)
        if all(np.isclose(rates.sum(), before[number]) for number, rates in leaving.items()):
            break
    return channels


def _leave(program: Program, node: Node, channels: dict[int, Rates], leaving: dict[int, Rates]) -> None:
    """What a service's replicas send, given what they are sent."""
    if node.source is not None:
        rate = np.full(node.places, program.rates[node.name] / node.places)
        if len(node.source.left):
            measure = program.experiment.measure
            rate = np.minimum(rate, node.source.left / (measure.warmup + measure.duration))
        for number in node.outputs:
            leaving[number] = rate
        return
    assert node.station is not None
    data = _entering(program, node, channels, lambda hop: not hop.carries_models)
    for number in node.answers.tolist():
        leaving[number] = data
    every, updates = node.station.numbers[serving.EVERY], node.station.numbers[serving.UPDATES]
    rows = _entering(program, node, channels, lambda hop: not hop.carries_models, rows=True)
    published = (1 / every if every > 0 else 0.0) + (rows / updates if updates > 0 else 0.0)
    for number in node.models.tolist():
        leaving[number] = np.minimum(published, data)


def _entering(program: Program, node: Node, channels: dict[int, Rates], wanted: Any, *, rows: bool = False) -> Rates:
    """Messages (or rows) per second that reach each replica by some of the hops."""
    found = np.zeros(node.places)
    for hop in program.hops:
        if hop.consumer == node.name and wanted(hop):
            weight = channels[hop.number] * (hop.traffic.rows if rows else 1)
            found += np.bincount(program.targets(hop), weight, node.places)
    return found


def _services(program: Program, channels: dict[int, Rates]) -> Iterator[Load]:
    """Loads of services. Messages of latest streams never queue, and load nothing beyond what is left."""
    laws = program.wires.laws
    for node in program.nodes:
        station = node.station
        if station is None:
            continue
        rows = station.laws[station.replicas["device"]]
        time = np.where(rows < 0, 0.0, laws["time"][rows])
        each = np.where(rows < 0, 0.0, laws["each"][rows])
        size = max(1.0, station.numbers[serving.MAX_SIZE])
        work = [serving.MAIN, serving.SECOND]
        data = _entering(program, node, channels, lambda hop: not hop.carries_models and not hop.latest)
        items = _entering(program, node, channels, lambda hop: not hop.carries_models and not hop.latest, rows=True)
        once = time[:, work].sum(1) + time[:, serving.TAKE]
        load = data * (once / size + each[:, serving.TAKE]) + items * each[:, work].sum(1)
        swaps = _entering(program, node, channels, lambda hop: hop.carries_models)
        if len(node.models):
            every, updates = station.numbers[serving.EVERY], station.numbers[serving.UPDATES]
            swaps = (1 / every if every > 0 else 0.0) + (items / updates if updates > 0 else 0.0 * items)
            swaps = np.minimum(swaps, data)
        load = (load + swaps * time[:, serving.LOAD]) / station.numbers[serving.SERVERS]
        remedy = "lower the rate, add replicas, take larger batches, or choose a faster device"
        yield Load(program.where(node.name), float(load.max(initial=0.0)), remedy)


def _links(program: Program, channels: dict[int, Rates]) -> Iterator[Load]:
    """Loads of links; a latest stream on a link of its own drops what the link does not take."""
    links, wires = program.links, program.wires
    busy = np.zeros(len(links))
    for hop in program.hops:
        link = program.link_of(hop)
        used = link >= 0
        load = channels[hop.number][used] * hop.bits * wires.links["per_bit"][link[used]]
        if hop.latest:
            load = np.where(wires.links["share"][link[used]] >= 0, load, 0.0)
        busy += np.bincount(link[used], load, len(links))
    for hop in program.hops:
        link = program.link_of(hop)
        if (link >= 0).any():
            where = f"{program.way(hop)} ({hop.stream.source})"
            yield Load(where, float(busy[link[link >= 0]].max()), "raise the link's rate, or send fewer or smaller messages")


def _check_windows(program: Program, channels: dict[int, Rates]) -> None:
    """By Little's law: messages under way and at work on a channel, against its window."""
    laws, wires = program.wires.laws, program.wires
    for hop in program.hops:
        node = next(node for node in program.nodes if node.name == hop.consumer)
        if hop.latest or node.station is None:
            continue
        link = program.link_of(hop)
        way = wires.links[link]
        once = np.where(link < 0, 0.0, 2 * way["delay"] + hop.bits * way["per_bit"])
        rows = node.station.laws[0]
        work = sum(
            laws["time"][row] + laws["each"][row] * hop.traffic.rows for row in rows[[serving.MAIN, serving.SECOND]] if row >= 0
        )
        under_way = float((channels[hop.number] * (once + work)).max(initial=0.0))
        if under_way > hop.stream.capacity:
            what = f"its window of {hop.stream.capacity} messages would hold the sender back: {under_way:.3g} are under way"
            raise RequestError(what, where=hop.name, remedy="raise capacity:, or simulate without --detail flow")
