"""Arrays of hosts, replicas, channels and links are those of the plan; costs vary as the description of spreads says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.platforms.simulated.flow.building import build
from estran.platforms.simulated.flow.chance import factor, normal, stream, uniform
from estran.platforms.simulated.flow.laws import LawTable
from estran.run.prepare import read_experiment
from estran.spec.costs import Cost, Spread
from estran.spec.resolve import plan
from tests.platforms.simulated.flow.experiments import document, relay, sink, source, write

CHECKED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLACES = ["edge", "fog", "edge-0", ["fog", "edge"], "e*", "fog-[0-1]"]


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    """Services on any hosts, with any number of replicas and any routing; rules that overlap."""
    places, replicas = st.sampled_from(PLACES), st.one_of(st.none(), st.integers(1, 7))

    def placed(service: dict[str, Any]) -> dict[str, Any]:
        count = draw(replicas)
        return service | {"on": draw(places)} | ({} if count is None else {"replicas": count})

    rules = []
    for _ in range(draw(st.integers(0, 4))):
        ends = [draw(st.sampled_from(["edge", "fog", "edge-0", "*"])), draw(st.sampled_from(["edge", "fog", "fog-1", "*"]))]
        both = draw(st.booleans())
        rule = {"between": ends} if both else {"from": ends[0], "to": ends[1]}
        rules.append(rule | {"delay": f"{draw(st.integers(0, 9))}ms", "rate": f"{draw(st.integers(1, 9))}mbit"})
    services = {"camera": placed(source(1)), "relay": placed(relay("fog")), "end": placed(sink("fog"))}
    routing = st.sampled_from(["paired", "all", "rotate"])
    streams = [
        {"from": "camera.samples", "to": ["relay.samples", "end.messages"], "routing": draw(routing)},
        {"from": "relay.forwarded", "to": "end.messages", "routing": draw(routing)},
    ]
    hosts = {"edge": draw(st.integers(1, 6)), "fog": draw(st.integers(2, 4))}
    return document(services, streams, duration="1s", hosts=hosts, network=rules)


@CHECKED
@given(described=layouts())
def test_channels_and_links_are_those_of_the_plan(tmp_path: Path, described: dict[str, Any]) -> None:
    experiment, index = read_experiment(write(tmp_path, described))
    program, planned = build(experiment, index, None), plan(experiment)
    expected = sorted((c.stream, c.producer, c.consumer) for c in planned.channels)
    found = []
    links = {(link.source, link.target): link.link for link in planned.links}
    for hop in program.hops:
        link = program.link_of(hop)
        for channel, target in enumerate(program.targets(hop).tolist()):
            producer, consumer = f"{hop.producer}-{channel // hop.fan}", f"{hop.consumer}-{target}"
            found.append((str(hop.stream.source), producer, consumer))
            ends = planned.replicas[producer].host, planned.replicas[consumer].host
            assert (link[channel] < 0) == (ends[0] == ends[1])
            if link[channel] >= 0:
                line, asked = program.wires.links[link[channel]], links[ends]
                assert (line["delay"], line["per_bit"]) == (asked.delay, 1 / asked.rate if asked.rate else 0.0)
    assert sorted(found) == expected


@pytest.mark.parametrize(
    "spread",
    [
        Spread(), Spread("exponential"), Spread("lognormal", 1.7), Spread("pareto", 2.5),
        Spread("observed", quantiles=(0.2, 0.7, 1.0, 1.1, 2.0)),
    ],
    ids=lambda spread: spread.kind,
)  # fmt: skip
@CHECKED
@given(u=st.floats(1e-12, 1 - 1e-12))
def test_compiled_spreads_are_those_of_the_description(spread: Spread, u: float) -> None:
    laws = LawTable()
    row = laws.add("test", Cost(1.0, spread=spread))
    assert factor(laws.table(), laws.quantiles(), row, u) == pytest.approx(spread.factor(u), rel=1e-9)


def test_random_numbers_are_uniform_and_unrelated_between_replicas() -> None:
    draws = np.array([[uniform(np.uint64(stream(np.uint64(5), place)), n) for n in range(400)] for place in range(50)])
    counts = np.histogram(draws, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees of freedom, 0.1 %
    between = np.corrcoef(draws)[np.triu_indices(50, 1)]
    assert abs(between).max() < 0.25
    lag = np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]
    assert abs(lag) < 0.03
    assert normal(0.975) == pytest.approx(1.959963984540054, rel=1e-12)
