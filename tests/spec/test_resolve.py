from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from estran.spec import load_text, plan
from estran.spec.model import LinkSpec


def make(layers: str, services: str, streams: str = "[]", network: str = "[]") -> str:
    return f"experiment: x\nlayers: {{{layers}}}\nservices: {{{services}}}\nstreams: {streams}\nnetwork: {network}\n"


def test_the_example(example) -> None:
    result = plan(load_text(example))
    assert list(result.hosts) == ["edge-0", "edge-1", "edge-2", "edge-3", "fog-0", "cloud-0"]
    assert result.replicas["camera-2"].host == "edge-2"
    keys = {channel.key for channel in result.channels}
    assert "camera.samples/camera-2/detector-2.samples" in keys
    assert "camera.samples/camera-3/trainer-0.samples" in keys
    assert "trainer.models/trainer-0/detector-1.models" in keys
    assert len(keys) == len(result.channels) == 12
    links = {(link.source, link.target): link.link for link in result.links}
    assert links["edge-1", "fog-0"] == links["fog-0", "edge-1"] == LinkSpec(0.005, 0.0, 1e8, 0.001)
    assert links["edge-1", "fog-0"] is links["edge-2", "fog-0"]
    assert links["edge-0", "cloud-0"] == LinkSpec()
    assert result.warnings[0].startswith("no network rule covers cloud ↔ edge, which camera.samples crosses")


def test_replicas_are_spread_in_turn() -> None:
    result = plan(
        load_text(make("a: {hosts: 3, device: laptop}, b: {hosts: 1, device: laptop}", "s: {on: [b, a], command: ls, replicas: 6}"))
    )
    assert [replica.host for replica in result.replicas.values()] == ["b-0", "a-0", "a-1", "a-2", "b-0", "a-0"]


def test_routings() -> None:
    layers = "a: {hosts: 4, device: laptop}, b: {hosts: 2, device: laptop}"
    for routing, expected in (("paired", {(0, 0), (1, 1), (2, 0), (3, 1)}), ("all", {(i, j) for i in range(4) for j in range(2)})):
        text = make(layers, "p: {on: a, component: x}, c: {on: b, component: y}", f"[{{from: p.o, to: c.i, routing: {routing}}}]")
        channels = plan(load_text(text)).channels
        assert {(int(c.producer[2:]), int(c.consumer[2:])) for c in channels} == expected
    text = make(layers, "p: {on: a, component: x}, c: {on: [b, a-2], component: y}", "[{from: p.o, to: c.i}]")
    assert {(c.producer, c.consumer) for c in plan(load_text(text)).channels} >= {("p-2", "c-2")}


def test_consumers_that_get_nothing_are_warned_of() -> None:
    text = make("a: {hosts: 3, device: laptop}", "p: {on: a-0, component: x}, c: {on: a, component: y}", "[{from: p.o, to: c.i}]")
    assert any("c-1 to c-2 get nothing from p.o" in warning for warning in plan(load_text(text)).warnings)


def test_later_rules_win_and_overruled_ones_are_warned_of() -> None:
    rules = "[{between: [a, b], delay: 1ms}, {between: ['*', '*'], delay: 2ms}, {from: a-1, to: b-0, delay: 3ms}]"
    result = plan(
        load_text(make("a: {hosts: 2, device: laptop}, b: {hosts: 1, device: laptop}", "s: {on: a, command: ls}", "[]", rules))
    )
    links = {(link.source, link.target): link.link.delay for link in result.links}
    assert links["a-0", "b-0"] == links["b-0", "a-1"] == links["a-0", "a-1"] == 0.002
    assert links["a-1", "b-0"] == 0.003
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("the network rule a ↔ b has no effect")


def test_a_thousand_hosts_make_few_links() -> None:
    text = make(
        "a: {hosts: 1000, device: laptop}, b: {hosts: 1, device: laptop}",
        "p: {on: a, component: x}, c: {on: b, component: y}",
        "[{from: p.o, to: c.i}]",
        "[{between: [a, b], link: 4g}]",
    )
    result = plan(load_text(text))
    assert len(result.hosts) == 1001
    assert len(result.links) == 2000
    assert len({id(link.link) for link in result.links}) == 2


@settings(max_examples=40, deadline=None)
@given(
    a=st.integers(1, 5),
    b=st.integers(1, 5),
    p=st.integers(1, 8),
    c=st.integers(1, 8),
    routing=st.sampled_from(["paired", "all", "rotate"]),
)
def test_every_producer_reaches_someone_and_nothing_twice(a, b, p, c, routing) -> None:
    text = make(
        f"a: {{hosts: {a}, device: laptop}}, b: {{hosts: {b}, device: laptop}}",
        f"p: {{on: [a, b], component: x, replicas: {p}}}, c: {{on: b, component: y, replicas: {c}}}",
        f"[{{from: p.o, to: c.i, routing: {routing}}}]",
    )
    result = plan(load_text(text))
    assert len({channel.key for channel in result.channels}) == len(result.channels)
    assert {channel.producer for channel in result.channels} == {f"p-{i}" for i in range(p)}
    spread = Counter(replica.host for replica in result.replicas.values() if replica.service.name == "c")
    assert max(spread.values()) - min(spread.get(f"b-{i}", 0) for i in range(b)) <= 1
    hosts = {replica.name: replica.host for replica in result.replicas.values()}
    linked = {(link.source, link.target) for link in result.links}
    for channel in result.channels:
        ends = hosts[channel.producer], hosts[channel.consumer]
        assert ends[0] == ends[1] or (ends in linked and ends[::-1] in linked)
