"""Caps that are taken off while services get ready, and put on again, whatever the rung."""

from __future__ import annotations

import time

import pytest

from estran.platforms.emulated.limits.ladder import RUNGS, make_limiter
from estran.platforms.emulated.limits.limiter import ServiceGroup
from estran.platforms.emulated.limits.shares import burner


def obtained(group: ServiceGroup, seconds: float = 0.8) -> float:
    """Local cores that a group's process gets now, in shares of what a free one would."""
    time.sleep(0.1)
    before, begun = group.usage().cpu, time.monotonic()
    time.sleep(seconds)
    return (group.usage().cpu - before) / (time.monotonic() - begun)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_lifted_cap_holds_nobody_and_an_enforced_one_does(rung: str) -> None:
    trial = make_limiter(rung, "lifting-trial").trial()
    if not trial.works:
        pytest.skip(trial.why)
    with make_limiter(rung, "lifting") as limiter, burner() as pid:
        host = limiter.host("edge-0", 0.4, None)
        service = host.service("camera-0", 0.1)
        service.attach(pid)
        assert obtained(service) < 0.16
        host.lift()
        assert obtained(service) > 0.25
        host.enforce()
        assert obtained(service) < 0.16
