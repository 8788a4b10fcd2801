"""Who cannot keep up, and by how much, against queues whose load is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.platforms.simulated.processor import Cores, SlowProcessor
from estran.platforms.simulated.stability import Gauge
from estran.runtime.rows import MessageRow
from estran.spec.model import Service
from estran.spec.plan import Replica

LOOK = 1.0


def gauge_of(load: float, *, seconds: float = 40.0, service: float = 0.02, held_back: bool = False, aside: float = 0.0) -> Gauge:
    """A server that takes ``service`` seconds a message, is offered ``load``, and is looked at each second."""
    processor = SlowProcessor(Cores(1), 1.0)
    replica = Replica("server-0", 0, Service("server", ("cloud",), component="x"), "cloud-0")
    gauge = Gauge(replica, "cloud", processor, lambda: 7, frozenset({"s.out"}))
    looked, number = LOOK, 0
    while True:
        created = number * service / load
        number += 1
        ended = processor.charge(max(created, processor._free - (2 if held_back else 1e9)), service)
        processor.charge_aside(created, aside)
        while looked < ended and looked <= seconds:
            gauge.look(looked)
            looked += LOOK
        if looked > seconds:
            return gauge
        row = MessageRow("t", "s.out", "s-0", number, "server-0", created, created, created, ended - service, ended, 10)
        gauge.take([row, row._replace(stream="models", created=0.0)])


@given(st.floats(1.05, 20), st.booleans())
def test_overload_is_measured_wherever_it_waits(load: float, held_back: bool) -> None:
    gauge = gauge_of(load, held_back=held_back)
    offered = gauge.offered(0.0, 40.0)
    assert offered == pytest.approx(load, rel=0.05)
    assert "at cloud/server (server-0 on cloud-0 cannot keep up: 7 messages wait" in gauge.told(offered)


@given(st.floats(0.05, 0.96))
def test_a_server_that_rests_now_and_then_keeps_up(load: float) -> None:
    assert gauge_of(load, aside=0.05).offered(0.0, 40.0) is None


def test_a_busy_server_whose_messages_do_not_age_keeps_up() -> None:
    assert gauge_of(1.0).offered(0.0, 40.0) is None


def test_two_looks_are_not_enough_to_tell() -> None:
    gauge = gauge_of(3.0)
    assert gauge.offered(0.0, 2.5) is None
    assert gauge.offered(41.0, 50.0) is None


def test_streams_on_which_the_newest_wins_tell_nothing() -> None:
    gauge = gauge_of(3.0)
    fresh = Gauge(gauge.replica, "cloud", gauge.processor, lambda: 0, frozenset())
    fresh.take([MessageRow("t", "models", "s-0", 1, "server-0", 0, 0, 0, 0, 9.0, 10)])
    fresh.look(1.0)
    assert fresh.offered(0.0, 40.0) is None
    assert "cannot keep up" in fresh.told(None)
