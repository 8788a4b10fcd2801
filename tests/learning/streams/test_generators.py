"""Generators: the same rows however they are cut, and the concepts of their papers."""

from __future__ import annotations

import doctest
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.learning.mistakes import SettingsError
from estran.learning.streams import agrawal, changing, classic, hedge, rbf, splits, stream
from estran.learning.streams.agrawal import COLUMNS, Agrawal, agrawal_label
from estran.learning.streams.changing import Changing
from estran.learning.streams.classic import DIGITS, Friedman, Hyperplane, Led, Sea, friedman, hyperplane_label, sea_label
from estran.learning.streams.hedge import CD1, SYN8, Networks
from estran.learning.streams.rbf import Rbf
from estran.learning.streams.stream import BLOCK, Stream

STREAMS: dict[str, Stream] = {
    "sea": Sea(block=700),
    "hyperplane": Hyperplane(turning=3, change=0.5, period=300),
    "led": Led(period=500),
    "led-plain": Led(irrelevant=0),
    "friedman": Friedman(),
    "friedman-local": Friedman("local", (300, 900, 1500)),
    "friedman-gradual": Friedman("gradual", (300, 1500), over=400),
    "agrawal": Agrawal((1, 5, 10), block=600),
    "rbf": Rbf(classes=4),
    "rbf-moving": Rbf(features=3, speed=0.01, moving=10),
    "networks": Networks(depths=(2, 1), sequence=(0, 1, 0), rows=1500, features=5, width=8),
    "changing": Changing(Sea(), Sea((3.0,)), at=800, width=300),
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("module", [agrawal, changing, classic, hedge, rbf, splits, stream], ids=lambda module: module.__name__)
def test_examples(module: Any) -> None:
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("name", STREAMS)
@given(size=st.integers(1, 2600), seed=st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_however_it_is_cut_it_is_the_same_stream(name: str, size: int, seed: int) -> None:
    rows = 2500
    x, y = STREAMS[name].take(rows, rng(seed))
    chunks = list(STREAMS[name].chunks(rng(seed), max(size, 20), rows))
    assert [len(labels) for _, labels in chunks[:-1]] == [max(size, 20)] * (len(chunks) - 1)
    assert np.array_equal(np.vstack([part for part, _ in chunks]), x)
    assert np.array_equal(np.concatenate([labels for _, labels in chunks]), y)


@pytest.mark.parametrize("name", STREAMS)
def test_rows_are_of_the_shape_and_classes_promised(name: str) -> None:
    wanted = STREAMS[name]
    x, y = wanted.take(2000, rng())
    assert x.shape == (2000, wanted.features)
    assert x.dtype == np.float64
    assert np.isfinite(x).all()
    assert y.dtype == (np.int64 if wanted.classes else np.float64)
    if wanted.classes:
        assert sorted(set(y.tolist())) == list(range(wanted.classes))


@pytest.mark.parametrize("name", STREAMS)
def test_seeds_tell_streams_apart(name: str) -> None:
    assert not np.array_equal(STREAMS[name].take(50, rng(1))[0], STREAMS[name].take(50, rng(2))[0])


def test_chunks_may_be_written_to() -> None:
    cut = Sea(noise=0).chunks(rng(), 10)
    next(cut)[0][:] = -1
    assert (next(cut)[0] >= 0).all()


def test_no_rows() -> None:
    x, y = Sea().take(0, rng())
    assert x.shape == (0, 3)
    assert y.shape == (0,)


def test_sea_follows_its_thresholds() -> None:
    x, y = Sea((8.0, 5.0), block=1500, noise=0).take(4000, rng())
    for first, last, threshold in ((0, 1500, 8.0), (1500, 3000, 5.0), (3000, 4000, 8.0)):
        assert np.array_equal(y[first:last], x[first:last, 0] + x[first:last, 1] <= threshold)
    noisy = Sea((8.0,), noise=0.1).take(20_000, rng())
    assert abs((noisy[1] != sea_label(noisy[0], 8.0)).mean() - 0.1) < 0.01


def river_rows(dataset: Any, rows: int) -> tuple[Any, Any]:
    taken = list(dataset.take(rows))
    return np.array([list(x.values()) for x, _ in taken], dtype=float), np.array([y for _, y in taken])


@pytest.mark.parametrize("variant", range(4))
def test_sea_agrees_with_river_but_for_the_names_of_classes(variant: int) -> None:
    synth = pytest.importorskip("river.datasets.synth")
    x, y = river_rows(synth.SEA(variant=variant, seed=1), 500)
    assert np.array_equal(sea_label(x, Sea().thresholds[variant]), 1 - y)


def test_hyperplane_agrees_with_river() -> None:
    synth = pytest.importorskip("river.datasets.synth")
    dataset = synth.Hyperplane(seed=1, noise_percentage=0)
    x, y = river_rows(dataset, 500)
    assert np.array_equal(hyperplane_label(x, np.array(dataset._weights)), y)


def test_hyperplane_turns_as_fast_as_it_is_told() -> None:
    still = Hyperplane(turning=0, noise=0)
    x, y = still.take(5000, rng())
    turning = Hyperplane(turning=1, change=1.0, period=5000, noise=0, reversal=0)
    moved_x, moved_y = turning.take(5000, rng())
    start = rng().random(10)
    assert np.array_equal(y, hyperplane_label(x, start))
    direction = next(sign for sign in (-1, 1) if agreeing(moved_x, moved_y, start, sign) == 1)
    assert agreeing(moved_x, moved_y, start, -direction) < 1


def agreeing(x: Any, y: Any, start: Any, sign: int) -> float:
    weights = np.tile(start, (len(y), 1))
    weights[:, 0] += sign * np.arange(len(y)) / 5000
    return float((hyperplane_label(x, weights) == y).mean())


def test_hyperplane_reverses_at_the_end_of_each_period() -> None:
    # With certain reversal, a weight is back where it was after every second period.
    x, y = Hyperplane(turning=10, change=0.5, period=100, reversal=1, noise=0).take(3000, rng())
    start = rng().random(10)
    for row in (0, 200, 400, 2000, 2800):
        assert hyperplane_label(x[row : row + 1], start)[0] == y[row]
    assert (hyperplane_label(x, start) != y).any()


def test_led_segments_are_those_of_river() -> None:
    synth = pytest.importorskip("river.datasets.synth")
    x, y = river_rows(synth.LED(seed=1), 200)
    assert np.array_equal(DIGITS[y], x)


def test_led_errs_as_often_as_told_and_74_percent_is_the_best() -> None:
    x, y = Led(irrelevant=0).take(20_000, rng())
    assert abs((x != DIGITS[y]).mean() - 0.1) < 0.005
    nearest = np.abs(x[:, None] - DIGITS[None]).sum(axis=2).argmin(axis=1)
    assert abs((nearest == y).mean() - 0.74) < 0.015


def test_led_attributes_change_places_at_each_drift() -> None:
    x, y = Led(noise=0, swapped=2, period=1500).take(3000, rng())
    assert np.array_equal(x[:1500, :7], DIGITS[y[:1500]])
    kept = (x[1500:, :7] == DIGITS[y[1500:]]).mean(axis=0) == 1
    assert kept.sum() == 5
    found = {s for s in range(7) for c in range(24) if np.array_equal(x[1500:, c], DIGITS[y[1500:], s])}
    assert found == set(range(7))


def test_friedman_agrees_with_river() -> None:
    synth = pytest.importorskip("river.datasets.synth")
    x, y = river_rows(synth.Friedman(seed=1), 4000)
    residual = y - friedman(x, 0)
    assert abs(residual.mean()) < 0.06
    assert abs(residual.std() - 1) < 0.04


@pytest.mark.parametrize("kind", ["lea", "gsg"])
def test_friedman_drifts_agree_with_river(kind: str) -> None:
    synth = pytest.importorskip("river.datasets.synth")
    positions = (1000, 2000, 3000) if kind == "lea" else (1000, 2500)
    x, y = river_rows(synth.FriedmanDrift(kind, positions, transition_window=0, seed=1), 4000)
    ours = Friedman("local" if kind == "lea" else "gradual", positions, over=0)
    residual = y - ours._target(x, np.arange(4000), np.zeros(4000, dtype=bool))
    assert abs(residual.std() - 1) < 0.04


def test_friedman_recurs() -> None:
    x, y = Friedman("recurring", (500, 1000), noise=0).take(1500, rng())
    phases = np.repeat([0, 1, 0], 500)
    expected = np.where(phases == 1, friedman(x, 1), friedman(x, 0))
    assert np.allclose(y, expected)


def test_friedman_mixes_half_and_half_while_it_changes() -> None:
    x, y = Friedman("gradual", (1000, 6000), over=4000, noise=0).take(11_000, rng())
    concept = np.array([np.isclose(y, friedman(x, number)) for number in range(3)])
    assert concept.any(axis=0).all()
    assert [round(float(concept[0, 1000:5000].mean()), 1), float(concept[1, 5000:6000].mean())] == [0.5, 1.0]
    assert [round(float(concept[1, 6000:10_000].mean()), 1), float(concept[2, 10_000:].mean())] == [0.5, 1.0]


# River's function 5 reads the salary for the loan, and its others have 2/3 for 0.67.
@pytest.mark.parametrize("function", [1, 2, 3, 4, 6])
def test_agrawal_agrees_with_river(function: int) -> None:
    synth = pytest.importorskip("river.datasets.synth")
    x, y = river_rows(synth.Agrawal(classification_function=function - 1, seed=1), 2000)
    assert np.array_equal(agrawal_label(x, function), 1 - y)


@pytest.mark.parametrize("function", [7, 8, 9, 10])
def test_agrawal_disposable_incomes_agree_with_river_but_for_a_rounded_factor(function: int) -> None:
    synth = pytest.importorskip("river.datasets.synth")
    x, y = river_rows(synth.Agrawal(classification_function=function - 1, seed=1), 2000)
    assert (agrawal_label(x, function) == y).mean() > 0.99


def test_agrawal_function_5_by_hand() -> None:
    applicant = dict.fromkeys(COLUMNS, 0.0)
    for age, salary, loan, group in (
        (30, 60e3, 200e3, 0),
        (30, 60e3, 350e3, 1),
        (30, 30e3, 350e3, 0),
        (50, 80e3, 350e3, 0),
        (50, 50e3, 250e3, 1),
        (70, 50e3, 400e3, 0),
        (70, 90e3, 400e3, 1),
        (70, 90e3, 200e3, 0),
    ):
        row = np.array([list((applicant | {"age": age, "salary": salary, "loan": loan}).values())])
        assert agrawal_label(row, 5)[0] == group


@pytest.mark.parametrize("perturbation", [0.0, 0.3, 1.0])
def test_agrawal_stays_in_range(perturbation: float) -> None:
    x, _ = Agrawal(perturbation=perturbation).take(5000, rng())
    row = dict(zip(COLUMNS, x.T, strict=True))
    for name, low, high in (("salary", 20e3, 150e3), ("age", 20, 80), ("hyears", 1, 30), ("loan", 0, 500e3), ("car", 1, 20)):
        assert row[name].min() >= low
        assert row[name].max() <= high
    assert row["commission"].max() <= 75e3
    assert ((row["commission"] == 0) | (row["commission"] >= 10e3)).all()
    assert row["hvalue"].min() > 0


def test_rbf_points_lie_around_their_centres() -> None:
    x, y = Rbf(features=2, centres=1, classes=3).take(5000, rng())
    assert len(set(y.tolist())) == 1
    centre = rng().random((1, 2))
    distance = np.sqrt(((x - centre) ** 2).sum(axis=1))
    spread = np.sqrt((distance**2).mean())
    assert abs((distance < spread).mean() - 0.683) < 0.03


def test_rbf_centres_move_and_stay_inside() -> None:
    moving = Rbf(features=2, centres=1, speed=0.002)
    x, _ = moving.take(BLOCK * 4, rng())
    means = x.reshape(-1, 256, 2).mean(axis=1)
    assert np.ptp(means, axis=0).min() > 0.3
    assert means.min() > -0.3
    assert means.max() < 1.3


def test_hbp_labels_are_learnable_but_not_certain() -> None:
    assert (SYN8.features, SYN8.width, SYN8.depths, SYN8.rows) == (50, 100, (8,), 300_000)
    x, y = SYN8.take(8000, rng())
    assert abs(y.mean() - 0.5) < 0.03
    assert abs(x.std() - 1) < 0.01


def test_hbp_concepts_come_in_thirds() -> None:
    small = Networks(depths=(1, 1), sequence=CD1.sequence, rows=9000, features=2, width=4)
    x, y = small.take(9000, rng())
    # With two features, the share of class 1 in each quarter of the plane tells networks apart.
    quarter = (x[:, 0] > 0) * 2 + (x[:, 1] > 0)
    shares = [np.array([y[t : t + 3000][quarter[t : t + 3000] == q].mean() for q in range(4)]) for t in (0, 3000, 6000)]
    assert np.abs(shares[0] - shares[2]).max() < 0.06 < np.abs(shares[0] - shares[1]).max()


def test_changing_passes_gradually() -> None:
    joined = Changing(Sea((-1.0,), noise=0), Sea((30.0,), noise=0), at=5000, width=2000)
    _, y = joined.take(10_000, rng())
    for row in (3000, 4500, 5000, 5500, 7000):
        expected = 1 / (1 + np.exp(-4 * (row - 5000) / 2000))
        assert abs(y[row - 200 : row + 200].mean() - expected) < 0.09


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sea(thresholds=()),
        lambda: Sea(noise=1.5),
        lambda: Sea(block=0),
        lambda: Hyperplane(turning=11),
        lambda: Hyperplane(change=float("nan")),
        lambda: Led(irrelevant=2, swapped=3, period=10),
        lambda: Friedman("sideways"),  # type: ignore[arg-type]
        lambda: Friedman("local", (1, 2)),
        lambda: Friedman("recurring", (5, 5)),
        lambda: Friedman("gradual", (10, 20), over=11),
        lambda: Agrawal(functions=(0,)),
        lambda: Agrawal(functions=()),
        lambda: Rbf(moving=51),
        lambda: Rbf(classes=1),
        lambda: Networks(sequence=(1,)),
        lambda: Networks(depths=(0,)),
        lambda: Changing(Sea(), Led(), at=5),
        lambda: Sea().chunks(rng(), 0),
        lambda: Sea().chunks(rng(), 5, -1),
    ],
)
def test_wrong_settings_are_refused_with_a_remedy(make: Any) -> None:
    with pytest.raises(SettingsError) as raised:
        make()
    assert raised.value.remedy
    assert str(raised.value.where).startswith("stream ")


def test_generators_do_not_end() -> None:
    assert sum(len(y) for _, y in islice(Sea().chunks(rng(), 5000), 3)) == 15_000
