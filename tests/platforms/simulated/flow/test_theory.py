"""Where queueing theory is exact the engine agrees, within its own confidence interval, and that is narrow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.platforms.simulated.flow.experiments import document, relay, responses, sink, source

LINK = {"from": "edge", "to": "fog", "delay": "10ms", "rate": "1mbit"}


def station(served: dict[str, Any], rate: float, duration: str = "20000s") -> dict[str, Any]:
    services = {"camera": source(rate), "relay": served, "end": sink("edge")}
    streams = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]
    return document(services, streams, duration=duration, hosts={"edge": 1}) | {"measure": {"warmup": "20s", "duration": duration}}


def agrees(found: dict[str, Any], theory: float, narrow: float = 0.05) -> None:
    low, high = found["ci95"]
    half = (high - low) / 2
    assert half <= narrow * theory, f"±{half / theory:.1%} says too little"
    assert abs(found["value"] - theory) <= 1.5 * half, f"{found['value']:.6g} instead of {theory:.6g} ± {half:.2g}"


def erlang_c(servers: int, offered: float) -> float:
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(
    ("cost", "second_moment"),
    [
        ({"distribution": "exponential"}, 2.0),
        ({"distribution": "fixed"}, 1.0),
        ({"distribution": "lognormal", "cv": 1.5}, 1 + 1.5**2),
        ({"distribution": "pareto", "shape": 5}, 16 / 15),
    ],
    ids=["M/M/1", "M/D/1", "M/G/1 lognormal", "M/G/1 Pareto"],
)
def test_one_server_follows_pollaczek_and_khinchine(tmp_path: Path, cost: dict[str, Any], second_moment: float) -> None:
    rate, time = 70.0, 0.01
    found = responses(tmp_path, station(relay("edge", time="10ms", **cost), rate))
    agrees(found["latency_queueing@relay"], rate * second_moment * time**2 / (2 * (1 - rate * time)), 0.08)
    agrees(found["utilisation@relay"], rate * time)
    agrees(found["latency_compute@relay"], time)
    wait = found["latency_queueing@relay"]["value"]
    assert found["queue_length@relay"]["value"] == pytest.approx(rate * wait, rel=0.01)  # Little


def test_several_servers_follow_erlang(tmp_path: Path) -> None:
    rate, time, servers = 240.0, 0.01, 3
    found = responses(tmp_path, station(relay("edge", servers, time="10ms", distribution="exponential"), rate, "6000s"))
    wait = erlang_c(servers, rate * time) * time / (servers - rate * time)
    agrees(found["latency_queueing@relay"], wait, 0.08)
    agrees(found["utilisation@relay"], rate * time / servers)


def test_the_second_of_two_queues_sees_poisson_arrivals_too(tmp_path: Path) -> None:
    services = {
        "camera": source(70),
        "first": relay("edge", time="10ms", distribution="exponential"),
        "second": relay("edge", time="12ms", distribution="exponential"),
        "end": sink("edge"),
    }
    streams = [
        {"from": "camera.samples", "to": "first.samples"},
        {"from": "first.forwarded", "to": "second.samples"},
        {"from": "second.forwarded", "to": "end.messages"},
    ]
    found = responses(tmp_path, document(services, streams, duration="20000s", hosts={"edge": 1}))
    for name, time in (("first", 0.01), ("second", 0.012)):
        agrees(found[f"latency_queueing@{name}"], 70 * time * time / (1 - 70 * time), 0.1)


def test_a_link_is_a_queue_with_fixed_service(tmp_path: Path) -> None:
    services = {"camera": source(100), "end": sink("fog")}
    streams = [{"from": "camera.samples", "to": "end.messages"}]
    described = document(services, streams, duration="3000s", hosts={"edge": 1, "fog": 1}, network=[LINK | {"rate": "400kbit"}])
    found = responses(tmp_path, described)
    load = found["utilisation@edge→fog"]["value"]
    assert 0.6 < load < 0.95
    agrees(found["queue_length@edge→fog"], load**2 / (2 * (1 - load)), 0.1)
    time = load / 100
    agrees(found["latency_transfer@end"], 0.01 + 300e-6 + time + time * load / (2 * (1 - load)), 0.1)


def test_a_full_link_carries_what_it_can_and_newest_messages_only(tmp_path: Path) -> None:
    services = {"camera": source(100), "end": sink("fog")}
    streams = [{"from": "camera.samples", "to": "end.messages", "delivery": "latest"}]
    described = document(services, streams, duration="500s", hosts={"edge": 1, "fog": 1}, network=[LINK | {"rate": "100kbit"}])
    found = responses(tmp_path, described)
    used = found["utilisation@edge→fog"]["value"]
    bits = used * 100_000 / found["throughput"]["value"]
    assert 0.95 < used <= 1
    assert 300 * 8 < bits < 500 * 8  # a frame of iris with its headers
    assert found["superseded"]["value"] == pytest.approx(1 - found["throughput"]["value"] / 100, abs=0.01)
    assert found["latency_transfer"]["value"] < 0.01 + 300e-6 + 2.5 * bits / 100_000  # never a queue


def test_shared_links_queue_what_all_their_senders_send(tmp_path: Path) -> None:
    services = {"camera": source(50) | {"replicas": 2}, "end": sink("fog")}
    streams = [{"from": "camera.samples", "to": "end.messages"}]
    described = document(services, streams, duration="3000s", hosts={"edge": 1, "fog": 1}, network=[LINK | {"rate": "400kbit"}])
    found = responses(tmp_path, described)
    load = found["utilisation@edge→fog"]["value"]
    assert 0.6 < load < 0.95
    agrees(found["queue_length@edge→fog"], load**2 / (2 * (1 - load)), 0.1)


def test_energy_is_idle_power_plus_use(tmp_path: Path) -> None:
    found = responses(tmp_path, station(relay("edge", time="10ms"), 70.0, "1000s"))
    assert found["cpu_seconds"]["value"] == pytest.approx(700, rel=0.03)
    assert found["energy@edge"]["value"] == pytest.approx(1000 * (10 + 20 * 0.7 / 8), rel=0.01)
