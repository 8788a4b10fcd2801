"""Bandits: regret within its bounds, the updates of the papers, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from estran.learning.bandits.bandit import Bandit, Randomized
from estran.learning.learner import LearnerError, NotFiniteError
from tests.learning.bandits.playing import ADVICE, ARMS, CHOICES, EACH, WEIGHED, context, make, played, rng

Array = NDArray[np.float64]


def tables(rounds: int, arms: int) -> dict[str, Array]:
    """Rewards of all arms, some of them made to mislead."""
    swap = np.full((rounds, arms), 0.2)
    swap[: rounds // 3, 0], swap[rounds // 3 :, 1] = 0.6, 1.0
    bernoulli = (rng(7).random((rounds, arms)) < np.linspace(0.3, 0.7, arms)).astype(float)
    return {"bernoulli": bernoulli, "swap": swap, "worthless": np.zeros((rounds, arms))}


@pytest.mark.parametrize("kind", ["bernoulli", "swap", "worthless"])
def test_exp3_keeps_its_bounds_in_expectation(kind: str) -> None:
    rounds, arms, seeds = 2000, 4, 12
    table = tables(rounds, arms)[kind]
    root = math.sqrt(rounds * arms * math.log(arms))
    tuned = min(1.0, math.sqrt(arms * math.log(arms) / ((math.e - 1) * rounds)))
    for choice, factor in (("exp3", 2.0), ({"exp3": {"gamma": tuned}}, 2 * math.sqrt(math.e - 1))):
        earned = [played(make(choice, arms, seed), rounds, lambda t, arm: table[t, arm])[1] for seed in range(seeds)]
        assert table.sum(axis=0).max() - np.mean(earned) <= factor * root


def test_exp4_keeps_its_bound_against_the_best_expert() -> None:
    rounds, arms, experts, seeds = 1500, 4, 6, 8
    table = tables(rounds, arms)["bernoulli"]
    advice = rng(3).dirichlet(np.ones(arms), size=(rounds, experts))
    # One expert mostly knows: no arm alone is as good.
    advice[:, 2] = 0.05 + 0.8 * np.eye(arms)[table.argmax(axis=1)]
    best = np.einsum("tek,tk->te", advice, table).sum(axis=0).max()
    bound = 2 * math.sqrt(rounds * arms * math.log(experts))
    earned = []
    for seed in range(seeds):
        bandit, total = make({"exp4": {"experts": experts}}, arms, seed), 0.0
        for t in range(rounds):
            arm = bandit.choose(advice[t])
            bandit.learn(advice[t], arm, table[t, arm])
            total += table[t, arm]
        earned.append(total)
    assert best - np.mean(earned) <= bound
    assert np.mean(earned) > table.sum(axis=0).max()


def test_ucb1_pulls_worse_arms_logarithmically_often() -> None:
    means, seeds = np.array([0.9, 0.6, 0.5]), 10
    gaps = 0.9 - means
    pulls: dict[int, list[Array]] = {1000: [], 4000: [], 16000: []}
    for seed in range(seeds):
        bandit, chance, done = make("ucb1", 3, seed), rng(seed + 100), np.zeros(3)
        at = 0
        for rounds, found in pulls.items():
            done = done + played(bandit, rounds - at, lambda t, arm: float(chance.random() < means[arm]))[0]  # noqa: B023
            found.append(done)
            at = rounds
    regrets = {rounds: np.mean(found, axis=0) @ gaps for rounds, found in pulls.items()}
    for rounds, regret in regrets.items():
        # Auer, Cesa-Bianchi, Fischer 2002, theorem 1.
        assert regret <= 8 * (math.log(rounds) / gaps[1:]).sum() + (1 + math.pi**2 / 3) * gaps.sum()
    # Of logarithmic order: four times the rounds add about as much as four times the rounds before did.
    first, second = regrets[4000] - regrets[1000], regrets[16000] - regrets[4000]
    assert 0.4 * first <= second <= 2.5 * first


@pytest.mark.parametrize("name", WEIGHED)
def test_estimates_are_right_on_average_over_all_arms(name: str) -> None:
    bandit, rewards, given = make(CHOICES[name]), np.array([0.0, 0.3, 1.0, 0.8]), context(CHOICES[name])
    for arm, reward in ((1, 0.2), (0, 1.0), (3, 0.0), (2, 0.4), (0, 0.1)):
        bandit.learn(given, arm, reward)
    before, chances = bandit.state(), bandit.probabilities(given)
    average = np.zeros_like(before["losses"])
    for arm, chance in enumerate(chances):
        if chance > 0:
            bandit.load(before)
            bandit.learn(given, arm, rewards[arm])
            average += chance * (bandit.state()["losses"] - before["losses"])
    wanted = -rewards if "gamma" in name else 1 - rewards
    assert np.allclose(average, wanted if given is None else ADVICE @ wanted, atol=1e-12)


plays = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1, width=32)), max_size=25)


@settings(max_examples=50, deadline=None)
@given(plays)
def test_exp3_and_exp4_update_as_the_papers_say(history: list[tuple[int, float]]) -> None:
    gamma = 0.2
    bandits = {name: make(CHOICES[name]) for name in WEIGHED}
    w, v = np.ones(ARMS), np.ones(3)
    losses, voiced = np.zeros(ARMS), np.zeros(3)
    for t, (arm, reward) in enumerate(history):
        # Auer et al. 2002, figure 1 and Exp4; Bubeck and Cesa-Bianchi 2012, sections 3.1 and 4.2.
        eta = np.sqrt(np.log([ARMS, 3]) / (ARMS * (t + 1)))
        q, s = np.exp(-eta[0] * losses), np.exp(-eta[1] * voiced)
        wanted = {
            "exp3-gamma": (1 - gamma) * w / w.sum() + gamma / ARMS,
            "exp4-gamma": (1 - gamma) * (v @ ADVICE) / v.sum() + gamma / ARMS,
            "exp3": q / q.sum(),
            "exp4": s @ ADVICE / s.sum(),
        }
        if min(wanted["exp3"][arm], wanted["exp4"][arm]) < 1e-9:
            return  # hardly to be drawn, and estimates beyond what may be compared
        for name, bandit in bandits.items():
            assert np.allclose(bandit.probabilities(context(CHOICES[name])), wanted[name], rtol=1e-8)
            bandit.learn(context(CHOICES[name]), arm, reward)
        w[arm] *= math.exp(gamma * reward / wanted["exp3-gamma"][arm] / ARMS)
        v *= np.exp(gamma / ARMS * ADVICE[:, arm] * reward / wanted["exp4-gamma"][arm])
        losses[arm] += (1 - reward) / wanted["exp3"][arm]
        voiced += ADVICE[:, arm] * (1 - reward) / wanted["exp4"][arm]


@settings(max_examples=50, deadline=None)
@given(plays, st.floats(0.1, 4))
def test_ucb1_chooses_as_the_paper_says(history: list[tuple[int, float]], exploration: float) -> None:
    bandit, seen = make({"ucb1": {"exploration": exploration}}), [[0.5] for _ in range(ARMS)]
    for arm in range(ARMS):
        assert bandit.choose() == arm
        bandit.learn(None, arm, 0.5)
    for arm, reward in history:
        bandit.learn(None, arm, reward)
        seen[arm].append(reward)
    n = sum(map(len, seen))
    bounds = [np.mean(each) + math.sqrt(exploration * math.log(n) / len(each)) for each in seen]
    assert bounds[bandit.choose()] == pytest.approx(max(bounds), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 5), st.sampled_from([1e-4, 1.0, 1e4]))
def test_linucb_regresses_as_the_paper_says(data: st.DataObject, features: int, scale: float) -> None:
    chance = rng(data.draw(st.integers(0, 10_000)))
    bandit = make({"linucb": {"features": features, "alpha": 0.7, "ridge": scale**2}}, 3)
    a, b = np.array([np.eye(features) * scale**2] * 3), np.zeros((3, features))
    for shared in (True, False) * 6:
        x = chance.normal(size=features if shared else (3, features)) * scale
        per_arm = np.broadcast_to(x, (3, features))
        inverse = np.linalg.inv(a)
        mean = np.einsum("kij,kj,ki->k", inverse, b, per_arm)
        bounds = mean + 0.7 * np.sqrt(np.einsum("ki,kij,kj->k", per_arm, inverse, per_arm))
        assert np.allclose(bandit.bounds(x), bounds, rtol=1e-7, atol=1e-9)
        assert bounds[bandit.choose(x)] == pytest.approx(bounds.max(), rel=1e-7)
        arm, reward = int(chance.integers(3)), float(chance.normal())
        bandit.learn(x, arm, reward)
        a[arm] += np.outer(per_arm[arm], per_arm[arm])
        b[arm] += reward * per_arm[arm]


def test_linucb_bears_badly_scaled_features() -> None:
    bandit, chance = make({"linucb": {"features": 4}}, 2), rng(1)
    scales = np.array([1e-6, 1.0, 1e6, 1e6])
    for _ in range(5000):
        x = chance.normal(size=4) * scales
        # Two features that are the same but for rounding.
        x[3] = x[2] * (1 + 1e-15 * chance.normal())
        bandit.learn(x, bandit.choose(x), float(chance.random()))
    factors = bandit.state()["factors"]
    assert (np.diagonal(factors, axis1=1, axis2=2) > 0).all()
    assert np.isfinite(bandit.bounds(np.ones(4))).all()


def test_linucb_learns_which_arm_is_best_for_which_context() -> None:
    truth = rng(4).normal(size=(3, 5))
    late = []
    for seed in range(5):
        bandit, chance = make({"linucb": {"features": 5, "alpha": 0.5}}, 3, seed), rng(seed)
        for t in range(1500):
            x = chance.normal(size=5)
            arm = bandit.choose(x)
            bandit.learn(x, arm, float(truth[arm] @ x + 0.1 * chance.normal()))
            if t >= 1000:
                late.append((truth @ x).max() - truth[arm] @ x)
    assert np.mean(late) < 0.02


def test_thompson_believes_what_bayes_says() -> None:
    draws = 20_000
    sure = make("thompson", 2)
    for arm, reward in ((0, 1.0), (0, 0.0), (0, 1.0), (1, 0.0)):
        sure.learn(None, arm, reward)
    # Beta(3, 2) against Beta(1, 2): P(second above) = E[(1 - x)^2] = Var + (1 - mean)^2.
    chance = 0.04 + 0.16
    found = np.mean([sure.choose() for _ in range(draws)])
    assert abs(found - chance) < 5 * math.sqrt(chance * (1 - chance) / draws)
    shy = make({"thompson": {"successes": 1e-3, "failures": 1e-3}}, 2)
    shy.learn(None, 0, 1.0)
    # Beta(1.001, .001) is near 1, Beta(.001, .001) near 0 or 1: the second is drawn a quarter of the time, ties by log odds.
    assert 0.2 < np.mean([shy.choose() for _ in range(2000)]) < 0.3
    known = make({"thompson": {"rewards": "gaussian", "mean": 1.0, "deviation": 2.0, "noise": 0.5}}, 2)
    for reward in (3.0, 2.0, -1.0):
        known.learn(None, 1, reward)
    precision = 1 / 4 + 3 / 0.25
    mean, spread = (1 / 4 + 4.0 / 0.25) / precision, math.sqrt(4 + 1 / precision)
    chance = 0.5 * (1 + math.erf((mean - 1) / spread / math.sqrt(2)))
    found = np.mean([known.choose() for _ in range(draws)])
    assert abs(found - chance) < 5 * math.sqrt(chance * (1 - chance) / draws)


def test_thompson_tosses_for_rewards_between() -> None:
    bandit = make("thompson", 1)
    for _ in range(4000):
        bandit.learn(None, 0, 0.3)
    assert abs(bandit.state()["sums"][0] - 1200) < 5 * math.sqrt(4000 * 0.21)


@pytest.mark.parametrize("choice", ["ucb1", "thompson", "epsilon-greedy", "exp3", {"thompson": {"rewards": "gaussian"}}])
def test_the_best_arm_is_found(choice: Any) -> None:
    for seed in range(3):
        chance = rng(seed)
        pulls, _ = played(make(choice, 3, seed), 3000, lambda t, arm: float(chance.random() < (0.3, 0.5, 0.8)[arm]))  # noqa: B023
        assert pulls.argmax() == 2
        assert pulls[2] > 1800


@pytest.mark.parametrize("name", [*WEIGHED, "epsilon-greedy"])
def test_arms_are_drawn_by_their_probabilities(name: str) -> None:
    bandit, given, draws = make(CHOICES[name]), context(CHOICES[name]), 20_000
    assert isinstance(bandit, Randomized)
    for arm in (0, 1, 1, 3):
        bandit.learn(given, arm, 0.25)
    chances = bandit.probabilities(given)
    assert chances.sum() == pytest.approx(1)
    counts = np.bincount([bandit.choose(given) for _ in range(draws)], minlength=ARMS)
    assert (abs(counts - draws * chances) <= 5 * np.sqrt(draws * chances * (1 - chances)) + 1e-9).all()


@pytest.mark.parametrize("name", WEIGHED)
def test_probabilities_stay_a_distribution_after_extreme_rewards(name: str) -> None:
    bandit, given = make(CHOICES[name]), context(CHOICES[name])
    played(bandit, 100_000, lambda t, arm: float(arm == 1), given)
    far = {**bandit.state(), "losses": np.linspace(-1e15, 1e15, bandit.state()["losses"].size)}
    for _ in range(2):
        chances = bandit.probabilities(given)
        assert np.isfinite(chances).all()
        assert (chances >= 0).all()
        assert chances.sum() == pytest.approx(1, abs=1e-12)
        assert chances[bandit.choose(given)] > 0
        bandit.load(far)


def test_late_rewards_are_weighed_by_the_probability_at_the_choice() -> None:
    late, prompt = make("exp3"), make("exp3")
    chance = late.probabilities()[2]
    for bandit in (late, prompt):
        bandit.learn(None, 0, 0.0)
    late.learn(None, 2, 0.5, probability=chance)
    assert late.state()["losses"][2] == pytest.approx(0.5 / chance)
    prompt.learn(None, 2, 0.5)
    assert prompt.state()["losses"][2] != late.state()["losses"][2]
    late.load({**late.state(), "losses": np.array([0.0, 0.0, 0.0, 1e9])})
    with pytest.raises(LearnerError, match="arm 3 has probability 0"):
        late.learn(None, 3, 0.5)
    late.learn(None, 3, 0.5, probability=0.25)
    for wrong in (0.0, -0.1, 1.5, math.nan):
        with pytest.raises(LearnerError, match="above 0 up to 1"):
            late.learn(None, 1, 0.5, probability=wrong)
    with pytest.raises(NotFiniteError, match="set gamma"):
        late.learn(None, 1, 0.0, probability=5e-324)
    assert late.rounds == 3


@EACH
def test_a_snapshot_goes_on_alike(choice: Any) -> None:
    bandit, other, twin, given = make(choice), make(choice, seed=9), make(choice), context(choice)
    assert isinstance(bandit, Bandit)
    for one in (bandit, twin):
        played(one, 50, lambda t, arm: (t * 7 + arm) % 10 / 10, given)
    assert all(np.array_equal(twin.state()[part], array) for part, array in bandit.state().items())
    kept = bandit.state()
    other.load(kept)
    found = [played(one, 60, lambda t, arm: (t * 3 + arm) % 10 / 10, given)[0].tolist() for one in (bandit, other)]
    assert found[0] == found[1]
    assert all(np.array_equal(other.state()[part], array) for part, array in bandit.state().items())
    assert kept["clock"][2] == 50, "a snapshot shares no memory"
