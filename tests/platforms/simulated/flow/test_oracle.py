"""The same arrivals and services in SimPy lead to the same departures: a naive model of each station is the judge."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy

from estran.platforms.simulated.flow import tables as t
from estran.platforms.simulated.flow.chance import stream, uniform
from estran.run.flow_figures import Figures
from tests.platforms.simulated.flow.experiments import FREE, document, figures, relay, sink, source

EXTRA = 300e-6
DURATION = 200.0


def arrivals(found: Figures, service: str, replica: int, rate: float) -> Iterator[float]:
    """Creation times of a replica's messages, from the engine's own random numbers."""
    node = next(node for node in found.program.nodes if node.name == service)
    key, now, number = np.uint64(stream(node.seed, replica)), 0.0, 0
    while (now := now - math.log(uniform(key, number)) / rate) <= DURATION:
        yield now
        number += 1


def fifo(times: list[tuple[float, float]], service: float, servers: int = 1, after: float = 0.0) -> list[tuple[float, float]]:
    """(creation, departure + after) of (creation, arrival) through a SimPy resource."""
    environment = simpy.Environment()
    resource = simpy.Resource(environment, servers)
    out: list[tuple[float, float]] = []

    def message(created: float, came: float) -> Generator[Any, Any, None]:
        yield environment.timeout(came)
        with resource.request() as mine:
            yield mine
            yield environment.timeout(service)
        out.append((created, environment.now + after))

    for created, came in times:
        environment.process(message(created, came))
    environment.run(until=10 * DURATION)
    return out


def same(found: Figures, service: str, expected: list[tuple[float, float]]) -> None:
    """Count and sum of latencies of what was processed by the end."""
    done = [leaves - created for created, leaves in expected]
    assert found.station(service, t.MESSAGES).sum() == len(done)
    assert found.station(service, t.LATENCY).sum() == pytest.approx(math.fsum(done), rel=1e-9)


def test_sources_share_a_link_and_a_server(tmp_path: Path) -> None:
    services = {"camera": source(20), "relay": relay("fog", time="15ms"), "end": sink("fog")}
    streams = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]
    network = [{"from": "edge", "to": "fog", "delay": "10ms", "rate": "1mbit"}]
    found = figures(tmp_path, document(services, streams, duration="200s", hosts={"edge": 3, "fog": 1}, network=network))
    time = found.program.hops[0].bits / 1e6
    there = [pair for r in range(3) for pair in fifo([(a, a) for a in arrivals(found, "camera", r, 20)], time, after=0.01 + EXTRA)]
    there = [(created, came) for created, came in there if came <= DURATION]
    same(found, "relay", fifo(sorted(there, key=lambda pair: pair[1]), 0.015))


def test_three_servers_take_what_comes_first(tmp_path: Path) -> None:
    services = {"camera": source(25), "relay": relay("fog", 3, time="30ms"), "end": sink("fog")}
    streams = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]
    found = figures(tmp_path, document(services, streams, duration="200s", hosts={"edge": 4, "fog": 1}))
    came = sorted((a, a + EXTRA) for r in range(4) for a in arrivals(found, "camera", r, 25))
    same(found, "relay", fifo([pair for pair in came if pair[1] <= DURATION], 0.03, servers=3))


@pytest.mark.parametrize(("size", "delay"), [(4, 0.0), (4, 0.02), (16, 0.05)])
def test_batches_are_taken_as_components_take_them(tmp_path: Path, size: int, delay: float) -> None:
    settings = {"batch": {"max_size": size, "max_delay": f"{delay * 1e3:g}ms"}, "before_model": "answer_prior"}
    cost = {"predict": {"time": "20ms", "each": "2ms"}, "learn": 0, **FREE}
    trainer = {"on": "fog", "component": "trainer", "with": {"batch": settings["batch"]}, "costs": cost | {"snapshot": 0}}
    services = {"camera": source(70), "trainer": trainer}
    described = document(
        services, [{"from": "camera.samples", "to": "trainer.samples"}], duration="200s", hosts={"edge": 1, "fog": 1}
    )
    found = figures(tmp_path, described)
    came = [(a, a + EXTRA) for a in arrivals(found, "camera", 0, 70) if a + EXTRA <= DURATION]
    same(found, "trainer", batches(came, size, delay))


def batches(came: list[tuple[float, float]], size: int, delay: float) -> list[tuple[float, float]]:
    """What `Input.batches` does, in SimPy."""
    environment = simpy.Environment()
    waiting: list[float] = []
    arrived: list[simpy.Event] = [environment.event()]
    out: list[tuple[float, float]] = []

    def arrive() -> Generator[Any, Any, None]:
        for created, there in came:
            yield environment.timeout(there - environment.now)
            waiting.append(created)
            bell, arrived[0] = arrived[0], environment.event()
            bell.succeed()

    def serve() -> Generator[Any, Any, None]:
        while True:
            while not waiting:
                yield arrived[0]
            deadline = environment.now + delay
            while len(waiting) < size and environment.now < deadline:
                yield arrived[0] | environment.timeout(deadline - environment.now)
            if environment.now > DURATION:
                return
            taken = waiting[:size]
            del waiting[:size]
            yield environment.timeout(0.02 + 0.002 * len(taken))
            out.extend((created, environment.now) for created in taken)

    environment.process(arrive())
    environment.process(serve())
    environment.run(until=10 * DURATION)
    return out


def test_bins_hold_what_they_say() -> None:
    from estran.platforms.simulated.flow.bins import bin_of, edges

    bounds = edges()
    for value in np.geomspace(1e-8, 1e5, 500).tolist():
        place = bin_of(value)
        assert bounds[place] <= value < bounds[place + 1]
        assert bounds[place + 1] / bounds[place] <= 1.01
    assert bin_of(0.0) == 0
