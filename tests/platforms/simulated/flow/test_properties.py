"""What holds of every experiment: nothing appears or vanishes, nothing comes before it was sent, threads change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.platforms.simulated.flow import engine
from estran.platforms.simulated.flow import tables as t
from estran.platforms.simulated.flow.bins import edges
from estran.run.flow_figures import Figures
from tests.platforms.simulated.flow.experiments import FREE, document, figures, relay, responses, sink, source

CHECKED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """Cameras, relays, detectors and a trainer with any routing and delivery, links with jitter and loss."""
    link = {"delay": "5ms", "jitter": draw(st.sampled_from(["0", "2ms"])), "loss": draw(st.sampled_from([0.0, 0.2]))}
    network = [
        {"between": ["edge", "fog"], **link, "rate": draw(st.sampled_from(["2mbit", "200kbit"]))},
        {"between": ["fog", "cloud"], "delay": "10ms", "rate": "5mbit"},
    ]
    kind = draw(st.sampled_from(["fixed", "poisson", {"kind": "bursty"}, {"kind": "diurnal", "period": "10s"}]))
    batch = {"max_size": draw(st.integers(1, 8)), "max_delay": draw(st.sampled_from(["0s", "30ms"]))}
    costs = {"predict": {"time": "2ms", "distribution": "exponential"}, "load": "10ms", "learn": "1ms", "snapshot": "1ms", **FREE}
    services = {
        "camera": source(draw(st.floats(1, 8)), arrivals=kind, batch=draw(st.integers(1, 2))),
        "relay": relay("fog", draw(st.integers(1, 3)), time="1ms", distribution="exponential"),
        "detector": {"on": "fog", "component": "predictor", "with": {"batch": batch}, "costs": costs},
        "trainer": {"on": "cloud", "component": "trainer", "costs": costs,
                    "with": {"publish": {"updates": draw(st.integers(1, 50))}, "learner": "softmax"}},
        "end": sink("cloud"),
    }  # fmt: skip
    routing = st.sampled_from(["paired", "all", "rotate"])
    ways = st.fixed_dictionaries({"routing": routing, "delivery": st.sampled_from(["acknowledged", "latest"])})
    streams = [
        {"from": "camera.samples", "to": ["relay.samples", "trainer.samples"]} | draw(ways),
        {"from": "relay.forwarded", "to": "detector.samples"} | draw(ways),
        {"from": "trainer.models", "to": "detector.models", "delivery": "latest"},
        {"from": "detector.predictions", "to": "end.messages", "routing": draw(routing)},
    ]
    hosts = {"edge": draw(st.integers(1, 9)), "fog": draw(st.integers(1, 5)), "cloud": 1}
    return document(services, streams, duration="20s", hosts=hosts, network=network, seed=draw(st.integers(0, 99)))


def in_groups(found: Figures, hop: int) -> int:
    """Messages of a hop that wait for a shared link or at their sender."""
    wires, first = found.program.wires, [h.first for h in found.program.hops]
    waiting = 0
    for node, parts in zip(found.program.nodes, found._engine.parts, strict=True):
        if node.kind == "links":
            for part in parts:
                channels = part.queue.inbox["channel"][: part.queue.n]
                waiting += int((np.searchsorted(first, channels, side="right") - 1 == hop).sum())
    about = found.program.hops[hop]
    if about.latest:
        begin = int(wires.hops["held_first"][hop])
        waiting += int((~np.isnan(wires.held["sent"][begin : begin + len(found.program.link_of(about))])).sum())
    return waiting


@CHECKED
@given(described=workflows())
def test_what_goes_in_comes_out_or_is_lost_or_under_way(tmp_path: Path, described: dict[str, Any]) -> None:
    found = figures(tmp_path, described)
    for hop in found.program.hops:
        sent, delivered, lost, superseded, _ = found.hop_counts[hop.number].tolist()
        assert sent == delivered + lost + superseded + in_groups(found, hop.number), hop.name
        assert hop.latest or lost + superseded == 0
    for service in found.stations:
        entered, left, superseded, _, loads = found.counts(service).tolist()
        waiting = sum(part.queue.n for part in found._parts[service])
        delivered = sum(found.hop_counts[hop.number][t.HOP_DELIVERED] for hop in found.program.hops if hop.consumer == service)
        assert entered == left + superseded + loads, service
        assert delivered == entered + waiting, service


@CHECKED
@given(described=workflows())
def test_nothing_arrives_before_it_was_sent(tmp_path: Path, described: dict[str, Any]) -> None:
    found = figures(tmp_path, described)
    low = edges()[:-1]
    for hop in found.program.hops:
        times = low[found.transfer(hop) > 0]
        link = found.program.link_of(hop)
        figure = found.program.wires.links[link[link >= 0]]
        if len(times) and (link >= 0).all() and not (figure["jitter"] > 0).any():
            assert times.min() * (1 + 1 / 64) >= figure["delay"].min(), hop.name
        assert (times > 0).all()


@settings(CHECKED, max_examples=6)
@given(described=workflows())
def test_threads_change_nothing(tmp_path: Path, described: dict[str, Any]) -> None:
    first = json.dumps(responses(tmp_path, described, threads=1))
    before = engine.SMALL
    try:
        engine.SMALL = 0
        assert json.dumps(responses(tmp_path, described, threads=3)) == first
    finally:
        engine.SMALL = before


def test_shorter_windows_lead_to_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = {"camera": source(30), "relay": relay("fog", time="10ms"), "end": sink("fog")}
    streams = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]
    network = [{"between": ["edge", "fog"], "delay": "5ms", "jitter": "2ms", "rate": "1mbit"}]
    described = document(services, streams, duration="60s", hosts={"edge": 3, "fog": 1}, network=network)
    first = responses(tmp_path, described)
    monkeypatch.setattr(engine, "WINDOWS", 1777)
    second = responses(tmp_path, described)
    for name, response in first.items():
        assert second[name]["value"] == pytest.approx(response["value"], rel=1e-9), name


def test_latency_grows_with_load(tmp_path: Path) -> None:
    def latency(rate: float) -> float:
        services = {"camera": source(rate), "relay": relay("fog", time="10ms", distribution="exponential"), "end": sink("fog")}
        streams = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]
        return float(
            responses(tmp_path, document(services, streams, duration="500s", hosts={"edge": 1, "fog": 1}))["latency"]["value"]
        )

    seen = [latency(rate) for rate in (10, 30, 50, 70, 90)]
    assert seen == sorted(seen)
    assert seen[-1] > 3 * seen[0]


def test_messages_that_come_back_are_simulated_in_windows_shorter_than_the_way(tmp_path: Path) -> None:
    services = {
        "camera": source(5, limit=50),
        "out": relay("fog", time="1ms"),
        "back": relay("edge", time="1ms"),
        "end": sink("edge"),
    }
    streams = [
        {"from": "camera.samples", "to": "out.samples"},
        {"from": "out.forwarded", "to": "back.samples"},
        {"from": "back.forwarded", "to": ["end.messages", "out.samples"]},
    ]
    network = [{"between": ["edge", "fog"], "delay": "100ms"}]
    found = figures(tmp_path, document(services, streams, duration="5s", hosts={"edge": 1, "fog": 1}, network=network))
    assert 0.1 <= found.program.lookahead < 0.2
    assert found.counts("back")[t.LEFT] > 5 * 20  # each message goes round every 0.2 s
