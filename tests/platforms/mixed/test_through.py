"""Links through the gateway: what their two parts do together, and when that is not what was asked."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.platforms.base import LinkMeasure
from estran.platforms.mixed.through import adds_up, passing, put_together
from estran.spec.model import LinkSpec
from estran.spec.plan import PlannedLink

delays = st.floats(0.0, 0.5)
shares = st.floats(0.0, 0.3)


def measure(source: str, target: str, **measured: float | None) -> LinkMeasure:
    return LinkMeasure(source, target, {}, {"delay": 0.0, "jitter": 0.0, "rate": None, "loss": 0.0, **measured}, True)


def whole(link: LinkSpec, near: LinkMeasure, far: LinkMeasure) -> LinkMeasure:
    (found,) = put_together([PlannedLink("edge-0", "cloud-0", link)], "fog-0", [near, far])
    return found


@given(delays, delays, shares, shares)
def test_delays_add_and_losses_are_of_what_is_left(first: float, second: float, lost: float, more: float) -> None:
    near = measure("edge-0", "fog-0", delay=first, jitter=first / 10, loss=lost, rate=100e6)
    far = measure("fog-0", "cloud-0", delay=second, jitter=second / 10, loss=more, rate=50e6)
    got = whole(LinkSpec(delay=first + second, rate=50e6), near, far)
    assert got.ok, got.complaint
    assert got.measured["delay"] == first + second
    assert got.measured["rate"] == 50e6
    assert got.measured["jitter"] == pytest.approx(math.hypot(first, second) / 10)
    assert 1 - (got.measured["loss"] or 0.0) == pytest.approx((1 - lost) * (1 - more))


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (LinkSpec(delay=0.045), "delay: asked 45ms, but by fog-0 it is 25ms"),
        (LinkSpec(rate=10e6), "rate: asked 10mbit, but by fog-0 it is 50mbit"),
        (LinkSpec(jitter=0.01), "jitter: asked 10ms, but by fog-0 it is 5ms"),
        (LinkSpec(loss=0.5), "loss: asked 50%, but by fog-0 it is 19%"),
        (LinkSpec(delay=0.025, jitter=0.005, rate=50e6, loss=0.19), None),
    ],
)
def test_what_is_asked_is_judged(asked: LinkSpec, complaint: str | None) -> None:
    near = measure("edge-0", "fog-0", delay=0.005, jitter=0.003, loss=0.1, rate=100e6)
    far = measure("fog-0", "cloud-0", delay=0.02, jitter=0.004, loss=0.1, rate=50e6)
    assert (whole(asked, near, far).complaint, whole(asked, near, far).ok) == (complaint, complaint is None)


def test_what_was_not_measured_is_not_said() -> None:
    asked = PlannedLink("edge-0", "cloud-0", LinkSpec(delay=0.045))
    assert not list(put_together([asked], "fog-0", [measure("edge-0", "fog-0")]))


def test_only_links_from_one_side_to_the_other_pass_the_gateway() -> None:
    asked = LinkSpec(rate=1e6)
    ends = [("edge-0", "cloud-0"), ("cloud-0", "edge-0"), ("edge-0", "edge-1"), ("edge-0", "fog-0"), ("fog-0", "cloud-0")]
    links = [PlannedLink(*pair, asked) for pair in ends] + [PlannedLink("edge-1", "cloud-0", LinkSpec())]
    assert [(one.source, one.target) for one in passing(links, ["edge-0", "edge-1"], "fog-0")] == ends[:2]


@given(delays, delays)
def test_asked_delays_that_add_up_are_known_before(first: float, second: float) -> None:
    parts = [PlannedLink("edge-0", "fog-0", LinkSpec(first, rate=2e6)), PlannedLink("fog-0", "cloud-0", LinkSpec(second, rate=1e6))]
    both = PlannedLink("edge-0", "cloud-0", LinkSpec(first + second, rate=1e6))
    assert adds_up(both, "fog-0", parts)
    assert not adds_up(PlannedLink("edge-0", "cloud-0", LinkSpec(first + second + 0.1, rate=1e6)), "fog-0", parts)
    assert not adds_up(both, "fog-0", parts[:1])
