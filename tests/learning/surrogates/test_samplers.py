"""Samplers: weighted means are those over the box, whatever is preferred; designs fill it; steering goes where it should."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from estran.learning.mistakes import SettingsError
from estran.learning.surrogates.committee import Committee
from estran.learning.surrogates.samplers import Regime, Sampler, draws
from estran.learning.surrogates.space import Space
from estran.learning.surrogates.steering import LossRecord, inputs, most_telling

SPACE = Space.of({"a": (0.0, 10.0), "b": (-1.0, 1.0)})
RARE = Sampler("rare-event", share=0.5, region={"a": (9.0, 10.0), "b": (0.5, 1.0)})
BIASED = [
    RARE,
    Sampler("unbalanced", regimes=(Regime(0.9, {"a": (0.0, 5.0)}), Regime(0.1, {"a": (5.0, 10.0)}))),
    Sampler("importance", share=0.6, centre={"a": 9.5}, spread=0.1),
]


def drawn(sampler: Sampler, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(islice(draws(sampler, SPACE, np.random.default_rng(seed), count=n), n))
    return np.array([position for position, _ in pairs]), np.array([weight for _, weight in pairs])


@pytest.mark.parametrize("sampler", BIASED, ids=lambda sampler: sampler.kind)
def test_weighted_means_are_means_over_the_box(sampler: Sampler) -> None:
    positions, weights = drawn(sampler, 20_000)
    assert ((positions >= 0) & (positions <= 1)).all()
    for value, wanted in (
        (np.ones(len(weights)), 1.0),
        (positions[:, 0], 0.5),
        (positions[:, 0] ** 2, 1 / 3),
        (positions[:, 1], 0.5),
    ):
        error = (weights * value).std() / np.sqrt(len(weights))
        assert (weights * value).mean() == pytest.approx(wanted, abs=4 * error + 1e-9)


def test_rare_events_come_as_often_as_asked() -> None:
    positions, weights = drawn(RARE, 10_000)
    inside = (positions[:, 0] >= 0.9) & (positions[:, 1] >= 0.75)
    assert inside.mean() == pytest.approx(0.5 + 0.5 * 0.025, abs=0.02)
    assert weights.max() <= 2
    assert weights[inside] == pytest.approx(1 / (0.5 + 0.5 / 0.025))


def test_a_regime_has_its_share() -> None:
    positions, _ = drawn(BIASED[1], 10_000)
    assert (positions[:, 0] < 0.5).mean() == pytest.approx(0.9, abs=0.02)


def test_a_latin_hypercube_has_one_point_in_every_slab() -> None:
    positions, weights = drawn(Sampler("latin-hypercube"), 40)
    for column in positions.T:
        assert sorted((column * 40).astype(int).tolist()) == list(range(40))
    assert (weights == 1).all()


def test_sobols_points_fill_the_box_more_evenly_than_chance() -> None:
    from scipy.stats import qmc

    discrepancy = {kind: qmc.discrepancy(drawn(Sampler(kind), 128)[0]) for kind in ("uniform", "sobol")}
    assert discrepancy["sobol"] < discrepancy["uniform"] / 4


@pytest.mark.parametrize(
    ("sampler", "text"),
    [
        (Sampler("rare-event"), "needs region"),
        (Sampler("uniform", centre={"a": 1.0}), "has no centre"),
        (Sampler("rare-event", region={"c": (0, 1)}), "no parameter 'c'"),
        (Sampler("rare-event", region={"a": (5, 11)}), "reaches beyond"),
        (Sampler("rare-event", region={"a": (5, 5)}), "a is .5, 5."),
        (Sampler("rare-event", region={"a": (5, 6)}, share=1.0), "share is 1"),
        (Sampler("unbalanced", regimes=(Regime(0.5),)), "do not add up"),
        (Sampler("importance", centre={"a": 11.0}), "outside its range"),
        (Sampler("importance", centre={"a": 1.0}, spread=0.0), "spread is 0"),
    ],
)
def test_what_does_not_fit_the_box_is_named(sampler: Sampler, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        sampler.check(SPACE)


def test_a_box_has_sides() -> None:
    with pytest.raises(SettingsError, match="there is none"):
        Space.of({})
    with pytest.raises(SettingsError, match="a is"):
        Space.of({"a": (1.0, 0.0)})


def test_a_committee_asks_for_what_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    known = np.concatenate([inputs(position, np.linspace(0, 1, 5)) for position in rng.random((40, 2)) * [0.5, 1.0]])
    y = np.sin(3 * known[:, :1])
    committee = Committee(3, 1, rng, centre=np.zeros(1), scale=1.0, members=3, hidden=(32,), learning_rate=0.01)
    for _ in range(300):
        committee.learn(known, y)
    committee.serve()
    chosen = [most_telling(committee, rng.random((32, 2)))[0] for _ in range(20)]
    assert np.mean(chosen) > 0.6


class Planted(Committee):
    """Disagrees where it is told to, by the place in the unit cube."""

    def __init__(self, where: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(3, 1, np.random.default_rng(0), centre=np.zeros(1), scale=1.0, hidden=(1,))
        self.where = where

    def disagreement(self, x: np.ndarray) -> np.ndarray:
        return self.where((x[:, :-1] + 1) / 2)


def test_a_wide_region_of_doubt_tells_more_than_a_corner_of_more_doubt() -> None:
    def doubt(at: np.ndarray) -> np.ndarray:
        corner = np.exp(-((at - 1) ** 2).sum(axis=1) / 0.002)
        return np.where(np.abs(at - [0.3, 0.5]).max(axis=1) < 0.2, 1.0, 0.0) + 3 * corner

    candidates = np.vstack([np.random.default_rng(2).random((400, 2)), [[1.0, 1.0]]])
    assert doubt(candidates).argmax() == 400
    assert np.abs(most_telling(Planted(doubt), candidates) - [0.3, 0.5]).max() < 0.1


def test_what_will_be_known_soon_is_not_asked_for_again() -> None:
    committee = Planted(lambda at: np.ones(len(at)))
    candidates = np.random.default_rng(3).random((300, 2))
    pending: list[np.ndarray] = []
    for _ in range(4):
        pending.append(most_telling(committee, candidates, pending))
    apart = [np.linalg.norm(one - other) for k, one in enumerate(pending) for other in pending[:k]]
    assert min(apart) > 0.3
    assert np.abs(pending[0] - 0.5).max() < 0.2


def test_losses_lead_to_where_they_are_high() -> None:
    rng, record = np.random.default_rng(0), LossRecord()
    assert record.propose(rng, 0.05) is None
    for number in range(20):
        record.begun(number, np.array([number / 20, 0.5]))
    for _ in range(30):
        owners = rng.integers(20, size=32)
        record.learned(owners, np.where(owners >= 16, 1.0, 0.1) + 0.01 * rng.random(32))
    proposed = np.array([record.propose(rng, 0.05) for _ in range(200)])
    assert ((proposed >= 0) & (proposed <= 1)).all()
    assert (proposed[:, 0] > 0.7).mean() > 0.9
