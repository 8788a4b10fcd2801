"""The relay's arithmetic: order, delay, rate, loss and jitter, whatever comes in."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.platforms.emulated.links.relay_core import (
    FULL_FRAME,
    MSS,
    Line,
    Schedule,
    generator,
    keyed,
    lines,
    stream_wire_size,
    wire_size,
)
from estran.spec.model import LinkSpec

SPECS = st.builds(
    LinkSpec,
    delay=st.floats(0, 0.2),
    jitter=st.floats(0, 0.05),
    rate=st.one_of(st.none(), st.floats(1e4, 1e9)),
    loss=st.one_of(st.just(0.0), st.floats(0.001, 0.9)),
)
PACKETS = st.lists(st.tuples(st.floats(0, 0.05), st.integers(84, 60_000)), min_size=1, max_size=200)


def departures(line: Line, packets: list[tuple[float, int]]) -> list[tuple[float, int, float]]:
    """Arrival, size and departure of what was not lost."""
    now, out = 100.0, []
    for gap, size in packets:
        now += gap
        leaves = line.depart(now, size)
        if leaves is not None:
            out.append((now, size, leaves))
    return out


@settings(max_examples=50)
@given(SPECS, PACKETS, st.integers(0, 2**32))
def test_packets_leave_in_order_and_never_before_they_came(link: LinkSpec, packets: list[tuple[float, int]], seed: int) -> None:
    out = departures(Line(link, np.random.default_rng(seed)), packets)
    assert all(leaves >= came for came, _, leaves in out)
    assert all(a[2] <= b[2] for a, b in itertools.pairwise(out))


@settings(max_examples=50)
@given(SPECS, PACKETS)
def test_without_jitter_nothing_is_faster_than_the_line(link: LinkSpec, packets: list[tuple[float, int]]) -> None:
    link = LinkSpec(link.delay, 0.0, link.rate, link.loss)
    for came, size, leaves in departures(Line(link, np.random.default_rng(0)), packets):
        least = link.delay + (size * 8 / link.rate if link.rate else 0.0)
        assert leaves - came >= least - 1e-9
        if link.rate is None:
            assert leaves - came <= link.delay + 1e-9


@settings(max_examples=50)
@given(SPECS.filter(lambda link: link.rate is not None), PACKETS)
def test_the_rate_holds_over_every_window_whatever_the_jitter(link: LinkSpec, packets: list[tuple[float, int]]) -> None:
    assert link.rate is not None
    out = departures(Line(link, np.random.default_rng(1)), packets)
    sizes = np.cumsum([0, *(size for _, size, _ in out)])
    times = np.array([leaves for _, _, leaves in out])
    # Between the departures of packets i and j, all of i+1 … j went over the line: no burst allowance at all.
    for i in range(len(out)):
        bits = (sizes[i + 1 :] - sizes[i + 1]) * 8
        assert np.all(bits <= link.rate * (times[i:] - times[i]) * (1 + 1e-6) + 1.0)


@settings(max_examples=50)
@given(SPECS, PACKETS, st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_departures(link: LinkSpec, packets: list[tuple[float, int]], seed: int) -> None:
    first, second = (departures(Line(link, generator(seed, "a", "b")), packets) for _ in range(2))
    assert first == second


def test_a_pair_draws_the_same_whatever_other_pairs_exist() -> None:
    link = LinkSpec(0.01, 0.001, None, 0.1)
    alone = lines({("a", "b"): link}, 7)["a>b"]
    among = lines({("c", "d"): link, ("a", "b"): link, ("b", "a"): link}, 7)
    packets = [(0.01, 100)] * 300
    expected = departures(alone, packets)
    assert departures(among["a>b"], packets) == expected
    assert departures(among["b>a"], packets) != expected


@pytest.mark.parametrize("loss", [0.001, 0.05, 0.5])
def test_losses_come_as_often_as_asked(loss: float) -> None:
    line, count = Line(LinkSpec(loss=loss), np.random.default_rng(3)), 40_000
    lost = sum(line.depart(float(i), 84) is None for i in range(count))
    assert lost == line.lost
    assert abs(lost - count * loss) <= 3 * math.sqrt(count * loss * (1 - loss))


def test_a_super_packet_is_lost_if_any_of_its_frames_is() -> None:
    loss, frames, count = 0.01, 20, 5000
    line = Line(LinkSpec(loss=loss), np.random.default_rng(4))
    lost = sum(line.depart(float(i), 84, frames) is None for i in range(count))
    expected = 1 - (1 - loss) ** frames
    assert abs(lost - count * expected) <= 3 * math.sqrt(count * expected * (1 - expected))


def test_certain_loss_cuts_the_link() -> None:
    line = Line(LinkSpec(loss=1.0), np.random.default_rng(0))
    assert all(line.depart(float(i), 84) is None for i in range(1000))


def test_jitter_has_the_deviation_and_mean_asked_for() -> None:
    line = Line(LinkSpec(0.05, 0.005), np.random.default_rng(5))
    delays = [leaves - came for came, _, leaves in departures(line, [(0.05, 100)] * 5000)]
    assert np.std(delays) == pytest.approx(0.005, rel=0.05)
    assert np.mean(delays) == pytest.approx(0.05, abs=3 * 0.005 / math.sqrt(5000))


def test_a_full_queue_drops_and_says_so_but_a_stream_waits() -> None:
    link = LinkSpec(rate=10e6)
    packets = [(0.0, FULL_FRAME)] * 200
    line = Line(link, np.random.default_rng(0))
    out = departures(line, packets)
    assert line.overflowed == 200 - len(out) > 0
    assert max(leaves - came for came, _, leaves in out) <= 0.05 + 2 * FULL_FRAME * 8 / 10e6
    assert len(departures(Line(LinkSpec(rate=10e6, loss=0.5), np.random.default_rng(0), lossless=True), packets)) == 200


@settings(max_examples=30)
@given(SPECS, SPECS, PACKETS)
def test_a_change_keeps_the_order(before: LinkSpec, after: LinkSpec, packets: list[tuple[float, int]]) -> None:
    line = Line(before, np.random.default_rng(0))
    first = departures(line, packets)
    line.change(after)
    now = 100.0 + sum(gap for gap, _ in packets)
    later = [leaves for _ in packets if (leaves := line.depart(now, 84)) is not None]
    assert [leaves for _, _, leaves in first] + later == sorted([leaves for _, _, leaves in first] + later)


def header(protocol: int, offset: int = 8) -> bytes:
    packet = bytearray(40)
    packet[0], packet[9], packet[32] = 0x45, protocol, offset << 4
    return bytes(packet)


def test_sizes_on_the_wire_are_those_of_ethernet() -> None:
    assert wire_size(header(6), 1500) == (1538, 1)
    assert wire_size(header(17), 28) == (84, 1)
    # Three full segments in one super-packet: 52 bytes of headers once, 3 x 1448 of payload.
    assert wire_size(header(6), 52 + 3 * MSS) == (3 * 1538, 3)
    assert wire_size(header(6), 52 + 2 * MSS + 1) == (2 * 1538 + 52 + 1 + 38, 3)
    assert wire_size(header(17), 28 + 2 * 1472) == (2 * 1538, 2)
    assert stream_wire_size(2 * MSS) == (2 * 1538, 2)
    assert stream_wire_size(1) == (91, 1)


def test_the_schedule_gives_out_what_is_due_in_order() -> None:
    links = {("a", "b"): LinkSpec(0.01), ("b", "a"): LinkSpec(0.002)}
    by_key = keyed(links, {"a": "10.0.0.1", "b": "10.0.0.2"}, lines(links, 0))
    forth, back = bytes([10, 0, 0, 1, 10, 0, 0, 2]), bytes([10, 0, 0, 2, 10, 0, 0, 1])
    schedule: Schedule[str] = Schedule(by_key)
    for item, key in (("slow 1", forth), ("slow 2", forth), ("fast", back), ("unknown", b"12345678")):
        assert schedule.offer(1.0, key, 84, 1, item)
    assert schedule.next() == 1.0
    assert schedule.due(1.0) == ["unknown"]
    assert schedule.undeclared == 1
    assert schedule.due(1.005) == ["fast"]
    assert schedule.next() == pytest.approx(1.01)
    assert schedule.due(1.02) == ["slow 1", "slow 2"]
    assert schedule.next() is None
    assert len(schedule) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["packet", "cut", "mend"]), st.sampled_from([b"ab", b"ba"]), st.floats(0, 0.1)), max_size=60
    ),
    st.booleans(),
)
def test_a_cut_pair_loses_or_keeps_all_and_the_other_none(steps: list[tuple[str, bytes, float]], lossless: bool) -> None:
    both = {b"ab": Line(LinkSpec(0.01), generator(1, "a", "b"), lossless=lossless), b"ba": Line(LinkSpec(), generator(1, "b", "a"))}
    schedule: Schedule[tuple[bytes, int]] = Schedule(both, lossless=lossless)
    now, sent, lost, down = 0.0, [], 0, set[bytes]()
    for number, (step, key, passed) in enumerate(steps):
        now += passed
        if step == "cut":
            schedule.cut([key])
            down.add(key)
        elif step == "mend":
            schedule.mend([key], now)
            down.discard(key)
        elif schedule.offer(now, key, 100, 1, (key, number)):
            sent.append((key, number))
        else:
            assert key in down
            assert not lossless
            lost += 1
    schedule.mend([b"ab", b"ba"], now)
    came = schedule.due(now + 10)
    for key in (b"ab", b"ba"):
        assert [item for item in came if item[0] == key] == [item for item in sent if item[0] == key]
    assert schedule.severed == lost
