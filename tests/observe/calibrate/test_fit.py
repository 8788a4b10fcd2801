"""What was planted in a run is found again by calibrating from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.observe.calibrate.batches import pause
from estran.observe.calibrate.fit import calibrate
from estran.observe.calibrate.transfer import ENVELOPE, line_bytes
from estran.platforms.emulated.limits.limiter import quota_and_period
from estran.platforms.emulated.links.relay_core import stream_wire_size
from estran.spec.calibration import Calibration, Handling, read_calibration

from .planted import Truth, plant

TRUTH = Truth()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return calibrate([plant(tmp_path_factory.mktemp("runs") / "one")])


def handling(found: Calibration, service: str) -> Handling:
    (one,) = [one for one in found.handling if one.service == service]
    return one


def test_an_operations_cost_is_found_with_its_spread(found: Calibration) -> None:
    (fit,) = found.operations
    assert (fit.service, fit.component, fit.operation, fit.device) == ("detector", "predictor", "predict", "board")
    assert fit.cost.time == pytest.approx(TRUTH.operation[0], rel=0.03)
    assert fit.cost.each == pytest.approx(TRUTH.operation[1], rel=0.05)
    drawn = [fit.cost.spread.factor(u) for u in (np.arange(4000) + 0.5) / 4000]
    assert np.mean(drawn) == pytest.approx(1, abs=1e-3)
    assert np.std(drawn) == pytest.approx(0.1, abs=0.01)
    assert fit.n == sum(one["n"] for one in fit.observed.values())
    assert fit.observed["1"]["cpu_mean"] == pytest.approx(sum(TRUTH.operation), rel=0.02)


def test_only_messages_that_found_the_line_idle_tell_what_a_transfer_takes(found: Calibration) -> None:
    """A fifth of them queued for up to milliseconds; half a millisecond of handling is found nevertheless."""
    (fit,) = found.streams
    assert (fit.stream, fit.consumer, fit.delivery) == ("camera.samples", "detector", "acknowledged")
    assert fit.extra.time == pytest.approx(TRUTH.extra, rel=0.05)
    assert fit.extra.draw(1, 0.99) == pytest.approx(
        np.quantile(np.random.default_rng(0).gamma(4, TRUTH.extra / 4, 10**5), 0.99), rel=0.1
    )
    assert fit.size.bytes == pytest.approx(TRUTH.size * np.exp(0.3**2 / 2), rel=0.02)


def test_the_links_own_jitter_is_no_spread_of_handling(tmp_path: Path) -> None:
    truth = replace(TRUTH, jitter=0.5e-3, rate=20.0, duration=200.0, cameras=1)
    (fit,) = calibrate([plant(tmp_path / "jittery", truth)]).streams
    values = [fit.extra.draw(1, u) for u in (np.arange(2000) + 0.5) / 2000]
    assert np.mean(values) == pytest.approx(TRUTH.extra, rel=0.08)
    assert np.std(values) == pytest.approx(TRUTH.extra / 2, rel=0.25)  # with the jitter it would be 0.56 ms


def sending(found: Handling) -> float:
    """Processor time of a message that is sent alone to one consumer, and of its acknowledgement."""
    return 2 * found.send_cpu.time + found.send_cpu.each


def test_waking_taking_and_processor_time_are_told_apart(found: Calibration) -> None:
    detector, camera = handling(found, "detector"), handling(found, "camera")
    assert detector.wake.time == pytest.approx(TRUTH.wake, rel=0.06)
    assert detector.take.time == pytest.approx(TRUTH.take[0], rel=0.06)
    assert detector.take.each == pytest.approx(TRUTH.take[1], rel=0.06)
    assert detector.receive_cpu.mean() == pytest.approx(TRUTH.receive_cpu, rel=0.05)
    assert detector.idle_cpu == pytest.approx(TRUTH.idle_cpu, rel=0.25)
    assert sending(camera) == pytest.approx(TRUTH.send_cpu, rel=0.02)
    assert camera.idle_cpu == pytest.approx(TRUTH.idle_cpu, rel=0.1)
    assert camera.late.time == pytest.approx(TRUTH.late)
    assert camera.late.draw(1, 0.9) == pytest.approx(1.8 * TRUTH.late, rel=0.01)


def test_a_single_constant_rate_is_put_down_to_messages_and_said(tmp_path: Path) -> None:
    truth = replace(TRUTH, poisson=False, rate=100.0)
    found = calibrate([plant(tmp_path / "constant", truth)])
    camera = handling(found, "camera")
    assert camera.idle_cpu == 0
    assert sending(camera) == pytest.approx(truth.send_cpu + truth.idle_cpu / truth.rate, rel=0.02)
    assert any("camera" in warning and "one rate" in warning for warning in found.warnings)


def test_two_constant_rates_together_tell_messages_from_time(tmp_path: Path) -> None:
    folders = [plant(tmp_path / f"r{rate}", replace(TRUTH, poisson=False, rate=rate)) for rate in (20.0, 100.0)]
    camera = handling(calibrate(folders), "camera")
    assert sending(camera) == pytest.approx(TRUTH.send_cpu, rel=0.03)
    assert camera.idle_cpu == pytest.approx(TRUTH.idle_cpu, rel=0.05)


def test_a_stream_that_never_found_its_link_idle_is_warned_of(tmp_path: Path) -> None:
    """Not even the first one after the warm-up counts, for others may have been before it."""
    found = calibrate([plant(tmp_path / "full", replace(TRUTH, line=1.5e6), warmup=5.0, duration=10.0)])
    assert any("found the link idle" in warning for warning in found.warnings)
    assert found.streams[0].extra.mean() == 0


def test_links_are_kept_as_asked_and_measured(found: Calibration) -> None:
    assert {(link.source, link.target) for link in found.links} >= {("edge-0", "fog-0"), ("fog-0", "edge-1")}
    assert found.links[0].asked["delay"] == TRUTH.delay
    assert found.links[0].measured["delay"] == pytest.approx(TRUTH.delay + 2e-4)


def test_the_same_runs_give_the_same_file_and_it_reads_back(found: Calibration, tmp_path: Path) -> None:
    folder = plant(tmp_path / "one")
    for name in ("a", "b"):
        calibrate([folder]).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_calibration(tmp_path / "a").operations[0].cost == found.operations[0].cost


@pytest.mark.parametrize(
    ("change", "told"),
    [({"status": "failed"}, "failed"), ({"platform": "simulate"}, "simulated"), ({"duration": 0.0}, "no message")],
)
def test_runs_of_no_use_are_refused_by_name(change: dict[str, object], told: str, tmp_path: Path) -> None:
    folder = plant(tmp_path / "bad", replace(TRUTH, duration=1.0), **change)
    with pytest.raises(RequestError, match=told) as caught:
        calibrate([folder])
    assert str(folder) in str(caught.value)
    assert caught.value.exit_code == 2


def test_runs_of_two_experiments_are_not_mixed(tmp_path: Path) -> None:
    one, other = (plant(tmp_path / name, replace(TRUTH, duration=1.0), experiment=name) for name in ("one", "other"))
    with pytest.raises(RequestError, match="experiment is other"):
        calibrate([one, other])


@given(st.integers(1, 200_000))
def test_a_line_is_taken_up_for_as_long_as_the_relays_take_it_up(frame: int) -> None:
    payload = frame + -frame % 8 + ENVELOPE
    assert line_bytes(np.array([frame]))[0] == stream_wire_size(payload)[0]


@pytest.mark.parametrize("speed", [0.02, 0.1, 0.2, 0.25, 0.54, 0.9])
def test_a_held_back_device_pauses_as_long_as_the_emulated_one(speed: float) -> None:
    quota, period = quota_and_period(speed)
    assert pause(speed) == pytest.approx((period - quota) * 1e-6, abs=2e-6)


def test_pauses_of_a_held_back_device_are_no_part_of_taking(tmp_path: Path) -> None:
    """One batch in a hundred contains a pause of 5 ms (half speed), which the simulator adds by itself."""
    detector = handling(calibrate([plant(tmp_path / "held", replace(TRUTH, pauses=0.01))]), "detector")
    assert detector.take.time == pytest.approx(TRUTH.take[0], rel=0.1)


def test_a_restart_does_no_harm(tmp_path: Path) -> None:
    camera = handling(calibrate([plant(tmp_path / "restarted", replace(TRUTH, restarted=True))]), "camera")
    assert sending(camera) == pytest.approx(TRUTH.send_cpu, rel=0.03)


def test_round_trips_of_a_cold_connection_are_no_handling(tmp_path: Path) -> None:
    truth = replace(TRUTH, cold=0.3, size=40_000.0, rate=5.0, duration=100.0, line=100e6)
    found = calibrate([plant(tmp_path / "cold", truth)])
    assert found.streams[0].extra.time == pytest.approx(TRUTH.extra, rel=0.1)
    assert any("round trip more" in warning for warning in found.warnings)
