"""Held-out rows, trials of newcomers, and shares over versions that come and go."""

from __future__ import annotations

import numpy as np
import pytest

from estran.learning import registry
from estran.learning.holdout import Holdout
from estran.learning.mistakes import SettingsError
from estran.learning.mixing import Mixture
from estran.learning.trials import DOUBT, Trial, scores


def test_held_out_rows_are_not_learned_and_judge() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=2000)
    x = rng.normal(size=(2000, 3)) + 4 * y[:, None]
    holdout = Holdout(0.25, 100, np.random.default_rng(1))
    kept_x, kept_y = holdout.split(x, y)
    assert 1400 < len(kept_x) < 1600
    held = {tuple(row) for row, _ in holdout._rows}
    assert len(held) == 100
    assert not held & {tuple(row) for row in kept_x}
    learner = registry.create("softmax", 3, 2, np.random.default_rng(0))
    before = holdout.accuracy(learner)
    learner.learn_many(kept_x, kept_y)
    assert holdout.accuracy(learner) > max(0.95, before)


def test_a_trial_ends_by_the_mean_scores() -> None:
    for newcomer, tolerance, verdict in (
        (0.80, 0.0, "worse"),
        (0.80, 0.1, "not worse"),
        (0.9, 0.0, "not worse"),
        (0.95, 0.0, "not worse"),
    ):
        trial = Trial(100, tolerance)
        trial.add(np.full(100, newcomer), np.full(100, 0.9))
        assert trial.verdict() == verdict
        assert trial.means == pytest.approx((newcomer, 0.9))


def test_a_trial_goes_on_until_it_has_its_rows_or_its_time_is_up() -> None:
    trial = Trial(100, 0.0)
    assert trial.verdict(over=True) is None
    trial.add(np.array([0.0]), np.array([1.0]))
    assert trial.verdict() is None
    assert trial.verdict(over=True) == "worse"


def test_a_trial_ends_early_against_what_is_clearly_worse_and_hardly_ever_against_an_equal() -> None:
    rng = np.random.default_rng(5)

    def early(newcomer: float) -> int | None:
        trial = Trial(200, 0.0)
        for row in range(200):
            trial.add(rng.random(1) < newcomer, rng.random(1) < 0.9)
            if trial.rows < 200 and trial.verdict() is not None:
                return row
        return None

    assert sum(early(0.9) is not None for _ in range(400)) / 400 < 2 * DOUBT
    rows = [early(0.1) for _ in range(50)]
    assert all(row is not None and row < 40 for row in rows)


def test_scores_are_what_they_say() -> None:
    odds, y = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]), np.array([1, 0])
    assert scores(odds, y, "accuracy").tolist() == [1.0, 0.0]
    assert scores(odds, y, "likelihood").tolist() == [0.5, 0.1]
    assert scores(odds, y, "confidence").tolist() == [0.5, 0.8]


def test_hedge_gives_the_say_to_the_better_version_and_lets_the_worst_go() -> None:
    mixture = Mixture({"hedge": {"eta": 0.5}}, 3, np.random.default_rng(0))
    assert [mixture.join() for _ in range(3)] == [None, None, None]
    mixture.learn_losses(np.array([[0.5, 1.0, 0.0]] * 20))
    assert mixture.shares().argmax() == 2
    assert mixture.join() == 1
    shares = mixture.shares()
    assert shares[1] == pytest.approx(shares[2])
    assert shares[0] < 0.01
    assert shares.sum() == pytest.approx(1)
    mixture.leave(0)
    assert mixture.shares().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("by", ["exp3", {"exp3": {"gamma": 0.1}}])
def test_exp3_finds_the_better_version_from_what_it_draws(by: registry.Choice) -> None:
    mixture, rng = Mixture(by, 3, np.random.default_rng(0)), np.random.default_rng(1)
    for _ in range(3):
        mixture.join()
    drawn = []
    for _ in range(1500):
        index, probability = mixture.choose()
        drawn.append(index)
        mixture.learn_reward(index, float(rng.random() < (0.9 if index == 1 else 0.4)), probability)
    assert np.mean(np.array(drawn[-500:]) == 1) > 0.6
    assert mixture.join() in (0, 2)
    shares = mixture.shares()
    assert shares[-1] == pytest.approx(shares.max())


def test_versions_are_mixed_by_hedge_or_exp3_only() -> None:
    with pytest.raises(SettingsError, match="hedge or exp3"):
        Mixture("ucb1", 2, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="did you mean eta"):
        Mixture({"hedge": {"etta": 1.0}}, 2, np.random.default_rng(0))
