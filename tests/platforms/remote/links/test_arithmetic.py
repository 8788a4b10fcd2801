"""What is added to a path, and which paths are probed together."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import PlatformError
from estran.platforms.emulated.probes.verdict import Samples
from estran.platforms.remote.links.arithmetic import Base, added, ahead, bases, expected, shortfalls
from estran.platforms.remote.links.probing import MOST_AT_ONCE, MOST_RATE_AT_ONCE, rounds
from estran.spec.model import LinkSpec

SHARES = st.floats(0, 0.5)
SECONDS = st.floats(0, 1)


def base(delay: float, jitter: float = 0.0, loss: float = 0.0, rate: float | None = None) -> Base:
    return Base(delay, jitter, loss, rate)


def test_asking_40_ms_of_a_12_ms_path_adds_28() -> None:
    rule = added(LinkSpec(0.040, 0.005, 1e6, 0.1), base(0.012, 0.003, 0.05))
    assert rule.delay == pytest.approx(0.028)
    assert rule.jitter == pytest.approx(0.004)
    assert (1 - rule.loss) * 0.95 == pytest.approx(0.9)
    assert rule.rate == 1e6


@given(SECONDS, SECONDS, SHARES, SECONDS, SECONDS, SHARES)
def test_path_and_rule_together_do_as_asked_or_the_path_alone_does_more(
    delay: float, jitter: float, loss: float, d: float, j: float, p: float
) -> None:
    rule = added(LinkSpec(delay, jitter, None, loss), base(d, j, p))
    assert rule.delay >= 0
    assert rule.jitter >= 0
    assert 0 <= rule.loss <= 1
    if delay:
        assert d + rule.delay == pytest.approx(max(delay, d))
    if jitter:
        assert math.hypot(j, rule.jitter) == pytest.approx(max(jitter, j), abs=1e-9)
    if loss:
        assert 1 - (1 - p) * (1 - rule.loss) == pytest.approx(max(loss, p))


def test_what_is_not_asked_is_left_as_it_is() -> None:
    assert added(LinkSpec(rate=5e6), base(0.02, 0.001, 0.01)) == LinkSpec(rate=5e6)
    assert expected(LinkSpec(rate=5e6), base(0.02, 0.001, 0.01)) == LinkSpec(0.02, 0.0, 5e6, 0.01)


def test_a_path_that_is_worse_than_asked_is_told_by_how_much() -> None:
    assert shortfalls(LinkSpec(0.005), base(0.012)) == ["delay: asked 5ms, but the path alone takes 12ms, 7ms more"]
    assert shortfalls(LinkSpec(0.012), base(0.0123)) == []
    assert shortfalls(LinkSpec(0.012, 0.002), base(0.012)) == [
        "jitter: asked 2ms around 12ms, but no packet can be quicker than the path alone, which takes 12ms"
    ]
    assert shortfalls(LinkSpec(0.020, 0.002), base(0.012)) == []
    assert shortfalls(LinkSpec(rate=100e6), base(0.0, rate=50e6)) == [
        "rate: asked 100mbit, but the path alone carries 50mbit, 50mbit less"
    ]


def test_clocks_that_are_apart_do_not_matter() -> None:
    there = Samples({"delay": 3}, {"delay": 3}, [100.010, 100.012, 100.011])
    back = Samples({"delay": 3}, {"delay": 3}, [-99.989, -99.987, -99.988])
    probed = {("a", "b"): there, ("b", "a"): back}
    assert ahead(("a", "b"), probed) == pytest.approx(99.9995) == -ahead(("b", "a"), probed)
    assert bases({("a", "b"): LinkSpec(0.02)}, probed)["a", "b"].delay == pytest.approx(0.0115)
    with pytest.raises(PlatformError, match="no probe came through"):
        bases({("a", "b"): LinkSpec(0.02)}, {("a", "b"): there, ("b", "a"): Samples()})


@given(st.integers(1, 40), st.sampled_from([None, 10e6, 90e6, 400e6]))
def test_rounds_cover_every_direction_once_and_overload_no_host(count: int, rate: float | None) -> None:
    edges = [f"edge-{number}" for number in range(count)]
    links = {pair: LinkSpec(0.01, rate=rate) for edge in edges for pair in ((edge, "fog"), ("fog", edge))}
    seen: Counter[tuple[str, str]] = Counter()
    for group in rounds(links):
        seen.update(group.keys())
        sends = Counter(source for source, _ in group)
        assert max(sends.values()) <= MOST_AT_ONCE
        assert sends["fog"] == 1 or sends["fog"] * (rate or 0) <= MOST_RATE_AT_ONCE
        assert all((target, source) in group for source, target in group)
    assert seen == dict.fromkeys(links, 1)
