"""The rules that need no kernel: quota, correction, what is granted, how a measurement is judged."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import PlatformError
from estran.platforms.emulated.limits import shares
from estran.platforms.emulated.limits.ladder import choose_limiter, make_limiter
from estran.platforms.emulated.limits.limiter import Corrector, HostGroup, ServiceGroup, Usage, grant, quota_and_period
from estran.platforms.emulated.limits.shares import Probe, batches, judge


@given(st.floats(0.001, 128), st.booleans())
def test_quota_over_period_is_the_share_to_a_microsecond(share: float, up: bool) -> None:
    quota, period = quota_and_period(share, up=up)
    assert quota >= 1000
    assert 1000 <= period <= 1_000_000
    assert quota / (period + 1) <= share * (1 + 1e-9)
    assert share <= quota / (period - 1) * (1 + 1e-9)
    if period < 1_000_000:
        assert quota / period >= share * (1 - 1e-9) if up else quota / period <= share * (1 + 1e-9)


@pytest.mark.parametrize(("share", "longest"), [(0.02, 0.05), (0.1, 0.01), (0.25, 0.008), (0.5, 0.01), (1.0, 0.005), (4.0, 0.005)])
def test_periods_are_short_enough_to_stretch_short_jobs(share: float, longest: float) -> None:
    assert quota_and_period(share)[1] <= longest * 1e6


def test_grant_caps_at_the_machine_and_says_so() -> None:
    cores = len(os.sched_getaffinity(0))
    assert grant("edge-0", 0.25) == (0.25, ())
    cpu, notes = grant("cloud-0", cores * 4)
    assert cpu == cores
    assert "cloud-0" in notes[0]
    assert str(cores) in notes[0]


@pytest.mark.parametrize("share", [0.0, -1.0, 0.0001, float("nan")])
def test_a_share_that_cannot_be_enforced_is_refused(share: float) -> None:
    with pytest.raises(PlatformError, match="edge-0: a CPU share"):
        grant("edge-0", share)


@dataclass
class Kernel:
    """A group whose kernel gives a fixed fraction of its cap, in periods of 10 ms."""

    efficiency: float
    held: float = 1.0
    cpu: float = 0.0
    periods: int = 0

    @property
    def now(self) -> float:
        return self.periods * 0.01

    def run(self, cap: float, periods: int) -> Usage:
        self.cpu += cap * self.efficiency * periods * 0.01
        self.periods += periods
        return Usage(cpu=self.cpu, periods=self.periods, held=round(self.periods * self.held))


@given(st.floats(0.65, 1.5), st.floats(0.01, 2))
def test_corrector_brings_what_is_obtained_to_what_was_asked(efficiency: float, asked: float) -> None:
    corrector, kernel = Corrector(asked), Kernel(efficiency)
    for _ in range(25):
        corrector.step(kernel.run(asked * corrector.factor, 50), kernel.now, 0.01)
    assert corrector.factor * efficiency == pytest.approx(1, abs=0.02)


def test_corrector_leaves_a_starved_or_idle_group_alone() -> None:
    starved, corrector = Kernel(0.5, held=0.1), Corrector(0.2)
    assert not any(corrector.step(starved.run(0.2, 50), starved.now, 0.01) for _ in range(10))
    idle = Usage()
    assert not any(corrector.step(idle, now, 0.01) for now in range(10))
    assert corrector.factor == 1.0


def test_corrector_counts_only_the_time_in_which_the_group_wanted_to_run() -> None:
    kernel, corrector = Kernel(1.0), Corrector(0.1)
    for _ in range(5):
        assert not corrector.step(kernel.run(0.1, 50), 3 * kernel.now, 0.01)


def test_corrector_waits_for_enough_periods() -> None:
    kernel, corrector = Kernel(0.5), Corrector(0.02)
    assert not any(corrector.step(kernel.run(0.02, 13), kernel.now, 0.01) for _ in range(4))
    assert corrector.step(kernel.run(0.02, 13), kernel.now, 0.01)


def probe(share: float, processes: int = 1) -> Probe:
    return Probe(cast("HostGroup", SimpleNamespace(name="edge-0")), share, processes)


def test_judgement_tells_loose_tight_and_starved_apart() -> None:
    asked = probe(0.2)
    assert judge(asked, 0.21, True).ok
    for measured, capped, complaint in (
        (0.25, True, "not throttled enough"),
        (0.15, True, "throttled too much"),
        (0.15, False, "starved"),
    ):
        measure = judge(asked, measured, capped)
        assert not measure.ok
        assert complaint in (measure.complaint or "")


def test_processes_that_no_cap_could_hold_back_are_told_to_be_starved_but_pass() -> None:
    measure = judge(probe(2.0, 2), 1.0, False)
    assert measure.ok
    assert "starved" in (measure.complaint or "")


class Idle:
    """A group of which nothing is known."""

    def usage(self) -> Usage:
        return Usage()


def test_a_probe_that_is_looked_at_late_measures_all_the_same() -> None:
    meter = shares._Meter(probe(0.5), cast(ServiceGroup, Idle()), [os.getpid()], seconds=0.4)
    began = time.monotonic() + 60  # the verifier itself was starved
    assert not meter.look(began)
    assert not meter.look(began + 0.1)
    assert not meter.look(began + 0.5)
    assert meter.look(began + 0.6)
    assert 0 <= meter.share() < 0.5


@given(st.lists(st.floats(0.01, 8), max_size=30), st.floats(0.5, 8))
def test_batches_keep_every_probe_and_do_not_overload(shares: list[float], cores: float) -> None:
    probes = [probe(share) for share in shares]
    groups = batches(probes, cores)
    assert [one for group in groups for one in group] == probes
    assert all(len(group) == 1 or sum(one.share for one in group) <= cores + 1e-6 for group in groups)


def test_unknown_rung_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PlatformError, match="cgroup2, cgroup1, throttle"):
        make_limiter("docker", "run")


def test_an_impossible_wish_gives_the_rungs_own_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estran.platforms.emulated.limits.cgroup2.mounts", list)
    with pytest.raises(PlatformError, match="cgroup2: no cgroup v2 hierarchy is mounted"):
        choose_limiter("run", want="cgroup2")
