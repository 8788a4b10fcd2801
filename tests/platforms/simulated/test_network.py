"""The simulated network: when bytes are there, against what can be calculated."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.platforms.emulated.links.relay_core import stream_wire_size
from estran.platforms.simulated.network import ENVELOPE, HEADERS, MSS, Network, UniformDraws, on_wire
from estran.platforms.simulated.tcp import Connection
from estran.spec.model import LinkSpec
from tests.platforms.simulated.lines import play

MESSAGES = st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 200_000)), min_size=1, max_size=25)
"""Gaps, seconds, and sizes."""


def landings(link: LinkSpec, messages: list[tuple[float, int]], *, seed: int = 1, back: float | None = None) -> list[float]:
    """When each message is there that is sent over one connection, in the order of sending."""
    return both_landings(link, [messages], seed=seed, back=back)[0]


def both_landings(
    link: LinkSpec, flows: list[list[tuple[float, int]]], *, seed: int = 1, back: float | None = None
) -> list[list[float]]:
    """The same for several connections on one line."""

    async def flow(connection: Connection, messages: list[tuple[float, int]], found: list[float]) -> None:
        for gap, size in messages:
            await asyncio.sleep(gap)
            connection.send(size, found.append)
        while len(found) < len(messages):
            await asyncio.sleep(10)

    async def scene() -> list[list[float]]:
        network = Network([("near", "far", link), ("far", "near", LinkSpec(link.delay if back is None else back))], seed)
        loop = asyncio.get_running_loop()
        found: list[list[float]] = [[] for _ in flows]
        async with asyncio.TaskGroup() as group:
            for messages, own in zip(flows, found, strict=True):
                connection = Connection(loop, network.pair("near", "far"), network.pair("far", "near"))
                group.create_task(flow(connection, messages, own))
        return found

    return play(scene())


def sending_times(messages: list[tuple[float, int]]) -> list[float]:
    now, found = 0.0, []
    for gap, _ in messages:
        now += gap
        found.append(now)
    return found


@given(st.integers(1, 10 * MSS), st.floats(0, 0.5), st.floats(1e5, 1e9))
def test_one_small_message_takes_delay_and_serialisation_exactly(size: int, delay: float, rate: float) -> None:
    (there,) = landings(LinkSpec(delay=delay, rate=rate), [(0.0, size)])
    assert there == pytest.approx(delay + 8 * stream_wire_size(size)[0] / rate)


@given(st.floats(0, 0.5), st.integers(1, 8 * MSS))
def test_a_line_without_rate_takes_its_delay(delay: float, size: int) -> None:
    assert landings(LinkSpec(delay=delay), [(0.0, size)]) == pytest.approx([delay])


@given(st.lists(st.integers(1, MSS), min_size=2, max_size=5))
def test_what_is_sent_at_once_waits_for_the_first_and_then_goes_together(sizes: list[int]) -> None:
    first, rest = stream_wire_size(sizes[0])[0], stream_wire_size(sum(sizes[1:]))[0]
    expected = [0.02 + 8 * first / 2e6, *[0.02 + 8 * (first + rest) / 2e6] * (len(sizes) - 1)]
    assert landings(LinkSpec(delay=0.02, rate=2e6), [(0.0, size) for size in sizes]) == pytest.approx(expected)


@settings(max_examples=60)
@given(
    MESSAGES, st.floats(0, 0.1), st.floats(0, 0.03), st.sampled_from([None, 1e6, 20e6]), st.sampled_from([0.0, 0.01, 0.3]),
    st.integers(0, 99),
)  # fmt: skip
def test_messages_stay_in_order_and_none_is_early(
    messages: list[tuple[float, int]], delay: float, jitter: float, rate: float | None, loss: float, seed: int
) -> None:
    found = landings(LinkSpec(delay=delay, jitter=jitter, rate=rate, loss=loss), messages, seed=seed)
    assert len(found) == len(messages)
    assert all(second >= first for first, second in pairwise(found))
    for there, sent, (_, size) in zip(found, sending_times(messages), messages, strict=True):
        serialisation = 0.0 if rate is None else 8 * size / rate
        assert there >= sent + max(serialisation, 0.0 if jitter else delay) - 1e-9


@settings(max_examples=40)
@given(MESSAGES, st.floats(0.001, 0.1), st.integers(0, 999))
def test_a_loss_never_makes_anything_earlier(messages: list[tuple[float, int]], delay: float, seed: int) -> None:
    whole = landings(LinkSpec(delay=delay, rate=50e6), messages, seed=seed)
    lossy = landings(LinkSpec(delay=delay, rate=50e6, loss=0.02), messages, seed=seed)
    assert all(late >= early - 1e-9 for early, late in zip(whole, lossy, strict=True))


def test_what_is_lost_comes_a_recovery_later_and_holds_up_what_follows() -> None:
    link = LinkSpec(delay=0.05, loss=0.02)
    found = landings(link, [(0.02, 200)] * 2000)
    late = [there - sent for there, sent in zip(found, sending_times([(0.02, 200)] * 2000), strict=True)]
    assert min(late) == pytest.approx(0.05)
    assert 0.15 - 1e-9 <= max(late) < 0.6  # a round trip at least: word of the loss, and the repair
    assert sum(one > 0.06 for one in late) > 60  # two in a hundred are lost; others wait behind them


@pytest.mark.parametrize("link", [LinkSpec(delay=0.001, rate=100e6), LinkSpec(delay=0.01, rate=10e6)], ids=str)
def test_a_full_line_carries_its_rate(link: LinkSpec) -> None:
    found = landings(link, [(0.0, 1 << 20)] * 20)
    assert found[-1] == pytest.approx(link.delay + 8 * stream_wire_size(20 << 20)[0] / (link.rate or 1), rel=0.03)


def test_a_long_line_without_loss_opens_its_window() -> None:
    """Ten segments in the first round trip, and twice as many in each: 1 MB takes 7 more round trips than one segment."""
    (found,) = landings(LinkSpec(delay=0.1), [(0.0, 724 * MSS)])
    assert 0.1 + 4 * 0.2 <= found <= 0.1 + 8 * 0.2


def test_small_messages_share_the_line_with_large_ones() -> None:
    link = LinkSpec(delay=0.005, rate=10e6)
    alone = both_landings(link, [[(0.1, 100)] * 20])[0]
    bulk, small = both_landings(link, [[(0.0, 4 << 20)], [(0.1, 100)] * 20])
    waits = [shared - own for shared, own in zip(small, alone, strict=True)]
    assert min(waits) >= -1e-9
    assert max(waits) > 0.005  # they queue behind what the line has of the large one
    assert max(waits) < 0.3  # and not behind all of it, which takes 3.4 s
    assert max(waits) < bulk[0] / 5


def test_streams_between_other_hosts_do_not_disturb() -> None:
    async def scene() -> list[float]:
        link = LinkSpec(delay=0.005, rate=1e6)
        network = Network([("a", "b", link), ("b", "a", link), ("a", "c", link)], 1)
        loop = asyncio.get_running_loop()
        found: list[float] = []
        Connection(loop, network.pair("b", "a"), network.pair("a", "b")).send(1 << 20, lambda there: None)
        Connection(loop, network.pair("a", "c"), network.pair("c", "a")).send(1 << 20, lambda there: None)
        Connection(loop, network.pair("a", "b"), network.pair("b", "a")).send(100, found.append)
        await asyncio.sleep(1)
        return found

    assert play(scene()) == pytest.approx([0.005 + 8 * stream_wire_size(100)[0] / 1e6])


@given(st.integers(0, 200_000))
def test_bytes_on_the_wire_are_payload_envelope_and_headers(frame: int) -> None:
    payload = frame + (-frame) % 8 + ENVELOPE
    assert on_wire(frame) == payload + HEADERS * max(1, (payload + MSS - 1) // MSS)


@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_line_and_others_do_not_matter(seed: int) -> None:
    link = LinkSpec(delay=0.01, jitter=0.003, loss=0.1)
    messages = [(0.01, 500)] * 30
    assert landings(link, messages, seed=seed) == landings(link, messages, seed=seed)
    assert landings(link, messages, seed=seed) != landings(link, messages, seed=seed + 1)


def test_uniform_draws_are_within_the_open_interval() -> None:
    draw = UniformDraws(np.random.default_rng(1))
    values = [draw() for _ in range(10_000)]
    assert all(0 < value < 1 for value in values)
    assert abs(sum(values) / len(values) - 0.5) < 0.02
