"""The order in which a run's replicas are stopped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from estran.run.conductor import _stopping
from estran.spec import load_text
from estran.spec.plan import Channel, Plan
from estran.spec.resolve import plan as make_plan

NAMES = [f"a-{index}" for index in range(6)]
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12)
SIX = make_plan(
    load_text('{experiment: six, layers: {l: {hosts: 6, device: cloud-vm-2}}, services: {a: {on: l, command: ["true"]}}}')
)


def plan(edges: list[tuple[str, str]]) -> Plan:
    channels = [Channel(f"{a}/{b}", "a.out", a, "out", b, "in", "acknowledged", "all", 8) for a, b in edges]
    return Plan(SIX.experiment, SIX.hosts, SIX.replicas, tuple(channels), SIX.links)


@given(EDGES)
def test_every_replica_is_stopped_once_and_producers_before_consumers(edges: list[tuple[str, str]]) -> None:
    groups = list(_stopping(plan(edges)))
    assert sorted(name for group in groups for name in group) == NAMES
    turn = {name: number for number, group in enumerate(groups) for name in group}
    together = set(groups[-1])
    for producer, consumer in edges:
        assert producer == consumer or turn[producer] < turn[consumer] or {producer, consumer} <= together


def test_a_chain_is_stopped_link_by_link() -> None:
    edges = [("a-0", "a-1"), ("a-1", "a-2"), ("a-0", "a-2"), ("a-3", "a-3")]
    assert list(_stopping(plan(edges))) == [["a-0", "a-3"], ["a-1"], ["a-2"], ["a-4", "a-5"]]
