"""Drift detectors on planted drifts and on none, against River's, and through snapshots."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.learning import detectors, reacting, windowed
from estran.learning.detectors import Ddm, Eddm, PageHinkley
from estran.learning.learner import StateError
from estran.learning.mistakes import SettingsError
from estran.learning.reacting import create_detector
from estran.learning.windowed import Adwin, Kswin

CHOICES: dict[str, Any] = {
    "adwin": "adwin",
    "ddm": "ddm",
    "eddm": "eddm",
    "page-hinkley": "page-hinkley",
    "kswin": {"kswin": {"alpha": 1e-4, "window": 300, "latest": 100}},
}
DELAY = {"adwin": 100, "ddm": 150, "eddm": 150, "page-hinkley": 250, "kswin": 100}
"""Errors rise from 10 to 50 percent: rows until most of the alarms."""


def errors(seed: int, *parts: tuple[int, float]) -> Any:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random(n) < rate for n, rate in parts]).astype(float)


def alarms(detector: Any, values: Any) -> list[int]:
    return [i for i, value in enumerate(values.tolist()) if detector.update(value)]


@pytest.mark.parametrize("module", [detectors, windowed, reacting], ids=lambda module: module.__name__)
def test_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", CHOICES)
def test_a_planted_drift_is_found_soon(name: str) -> None:
    delays = []
    for seed in range(10):
        found = [i - 1000 for i in alarms(create_detector(CHOICES[name]), errors(seed, (1000, 0.1), (500, 0.5))) if i >= 1000]
        delays.append(found[0] if found else 1000)
    assert np.median(delays) < DELAY[name]
    assert max(delays) < 500


@pytest.mark.parametrize(("name", "most"), [("adwin", 1), ("ddm", 6), ("page-hinkley", 0), ("kswin", 1)])
def test_false_alarms_are_rare(name: str, most: int) -> None:
    # 20 000 rows without drift in all. EDDM is not among them: with 30 errors it is known to be nervous.
    assert sum(len(alarms(create_detector(CHOICES[name]), errors(seed, (2000, 0.2)))) for seed in range(10)) <= most


@pytest.mark.parametrize("name", ["adwin", "page-hinkley", "kswin", "ddm"])
def test_learning_is_no_drift(name: str) -> None:
    for seed in range(5):
        assert alarms(create_detector(CHOICES[name]), errors(seed, (300, 0.6), (1000, 0.1))) == []


@pytest.mark.parametrize("kind", [Adwin, PageHinkley, Kswin])
def test_falls_count_where_asked_for(kind: Any) -> None:
    settings = {"threshold": 20.0} if kind is PageHinkley else {}
    assert alarms(kind(side="both", **settings), errors(1, (1000, 0.9), (400, 0.1)))


@pytest.mark.parametrize("name", CHOICES)
@given(seed=st.integers(0, 100), cut=st.integers(0, 900))
@settings(max_examples=6, deadline=None)
def test_a_snapshot_goes_on_alike(name: str, seed: int, cut: int) -> None:
    values = errors(seed, (500, 0.1), (400, 0.6))
    whole, first, second = (create_detector(CHOICES[name]) for _ in range(3))
    expected = alarms(whole, values)
    before = alarms(first, values[:cut])
    second.load(first.state())
    assert before + [cut + i for i in alarms(second, values[cut:])] == expected
    for part, array in whole.state().items():
        assert np.array_equal(array, second.state()[part])


@pytest.mark.parametrize("name", CHOICES)
def test_foreign_snapshots_are_refused_and_change_nothing(name: str) -> None:
    detector = create_detector(CHOICES[name])
    alarms(detector, errors(0, (80, 0.3)))
    before = detector.state()
    part = next(iter(before))
    for wrong in (
        {},
        {**before, "more": np.zeros(1)},
        {**before, part: np.zeros((2, 7))},
        {**before, part: np.full(np.shape(before[part]), np.nan)},
    ):
        with pytest.raises(StateError):
            detector.load(wrong)
    assert all(np.array_equal(before[key], array) for key, array in detector.state().items())


# River's drift detectors, on the same errors.
@pytest.mark.parametrize("seed", range(5))
def test_ddm_and_eddm_agree_with_river(seed: int) -> None:
    binary = pytest.importorskip("river.drift.binary")
    values = errors(seed, (600, 0.2), (600, 0.5), (600, 0.1), (600, 0.6))
    for ours, theirs in ((Ddm(), binary.DDM()), (Eddm(), binary.EDDM())):
        assert alarms(ours, values) == alarms(detectors.RiverDetector(theirs), values)


@pytest.mark.parametrize("seed", range(5))
def test_page_hinkley_agrees_with_river(seed: int) -> None:
    drift = pytest.importorskip("river.drift")
    values = errors(seed, (600, 0.2), (600, 0.7), (600, 0.1))
    for side, mode in (("up", "up"), ("both", "both")):
        ours = PageHinkley(threshold=20, side=side)  # type: ignore[arg-type]
        found = alarms(ours, values)
        assert found == alarms(detectors.RiverDetector(drift.PageHinkley(threshold=20, mode=mode)), values)
        assert found


@pytest.mark.parametrize("seed", range(5))
def test_adwin_finds_what_river_finds_within_a_look_or_two(seed: int) -> None:
    drift = pytest.importorskip("river.drift")
    values = errors(seed, (1000, 0.1), (500, 0.6))
    ours, theirs = alarms(Adwin(), values), alarms(detectors.RiverDetector(drift.ADWIN()), values)
    assert abs(ours[0] - theirs[0]) <= 64


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=400), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_adwins_buckets_hold_its_window(values: list[float], buckets: int) -> None:
    adwin = Adwin(buckets=buckets, clock=7, side="both")
    for value in values:
        adwin.update(value)
    kept, (_, width, total, squares) = adwin.state()["buckets"], adwin.state()["totals"]
    window = np.array(values[len(values) - adwin.width :])
    assert np.isclose(total, window.sum())
    assert np.isclose(squares, ((window - window.mean()) ** 2).sum(), atol=1e-6)
    assert (2 ** kept[:, 0]).sum() == width == adwin.width
    assert np.isclose(kept[:, 1].sum(), window.sum(), atol=1e-9)
    assert np.bincount(kept[:, 0].astype(int)).max() <= buckets
    assert (np.diff(kept[:, 0]) <= 0).all()


def test_adwin_grows_without_drift_in_logarithmic_memory() -> None:
    adwin = Adwin()
    assert alarms(adwin, errors(0, (20_000, 0.3))) == []
    assert adwin.width == 20_000
    assert len(adwin.state()["buckets"]) < 5 * 15


def test_adwin_keeps_the_newer_part() -> None:
    adwin = Adwin()
    alarms(adwin, errors(0, (1000, 0.1), (1000, 0.6)))
    assert 950 <= adwin.width <= 1050


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kolmogorov_smirnov_distance_is_scipys(one: Any, other: Any) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = windowed._distance(np.array(one), np.array(other))
    assert np.isclose(found, stats.ks_2samp(one, other, method="asymp").statistic)


def test_ddm_warns_before_the_alarm() -> None:
    ddm, warned = Ddm(), []
    for i, value in enumerate(errors(3, (1000, 0.1), (300, 0.5)).tolist()):
        if ddm.update(value) and i >= 1000:
            break
        if ddm.warning and i >= 1000:
            warned.append(i)
    assert warned
    assert not ddm.warning


def test_rivers_detectors_come_in_by_their_path() -> None:
    pytest.importorskip("river")
    detector = create_detector({"river.drift:ADWIN": {"delta": 0.01}})
    assert alarms(detector, errors(0, (1000, 0.1), (500, 0.6)))
    with pytest.raises(StateError) as raised:
        detector.state()
    assert "adwin" in str(raised.value.remedy)


@pytest.mark.parametrize(
    "choice",
    [
        "adwinn",
        "river.drift:NoSuch",
        "collections:Counter",
        {"ddm": {"alarmm": 3}},
        {"ddm": {"alarm": 1}},
        {"eddm": {"beta": 0.99}},
        {"page-hinkley": {"threshold": 0}},
        {"page-hinkley": {"side": "down"}},
        {"adwin": {"delta": 0}},
        {"adwin": {"clock": 0}},
        {"kswin": {"latest": 60}},
        {"kswin": {"alpha": 1}},
        {"river.drift:PageHinkley": {"mode": "sideways"}},
    ],
)
def test_wrong_choices_are_refused_with_a_remedy(choice: Any) -> None:
    if "river" in str(choice):
        pytest.importorskip("river")
    with pytest.raises(SettingsError) as raised:
        create_detector(choice)
    assert raised.value.remedy
