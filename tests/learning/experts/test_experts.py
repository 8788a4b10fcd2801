"""Forecasters: regret within its bounds, the updates of the papers, and what is refused."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.experts.forecaster import Forecaster, create
from estran.learning.experts.methods import ExponentiatedGradient, FollowTheLeader, FollowThePerturbedLeader, Hedge
from estran.learning.learner import LearnerError, NotFiniteError, StateError
from estran.learning.mistakes import SettingsError

Array = NDArray[np.float64]
CHOICES: dict[str, Any] = {
    "hedge": "hedge",
    "hedge-fixed": {"hedge": {"eta": 0.3}},
    "hedge-share": {"hedge": {"eta": 0.3, "share": 0.05}},
    "eg": "eg",
    "ftl": "ftl",
    "ftpl": "ftpl",
    "ftpl-fixed": {"ftpl": {"epsilon": 0.3}},
}
EACH = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def make(choice: Any, experts: int = 4, seed: int = 0) -> Any:
    return create(choice, experts, rng(seed))


def sequences(rounds: int, experts: int) -> dict[str, Array]:
    """Losses that come about in several ways, some of them to the harm of whoever follows the leader."""
    turns = np.zeros((rounds, experts))
    turns[np.arange(rounds), np.arange(rounds) % experts] = 1.0
    turns[0] *= 0.5
    drift = (rng(2).random((rounds, experts)) < np.linspace(0.2, 0.8, rounds)[:, None] ** np.arange(1, experts + 1)).astype(float)
    blocks = np.repeat(rng(3).integers(0, 2, (rounds // 50 + 1, experts)), 50, axis=0)[:rounds].astype(float)
    return {"random": rng(1).random((rounds, experts)), "turns": turns, "drift": drift, "blocks": blocks}


def spiteful(forecaster: Any, rounds: int) -> tuple[float, Array]:
    """The expert with the greatest share always loses; what was lost, and by each expert."""
    lost, each = 0.0, np.zeros(forecaster.experts)
    for _ in range(rounds):
        shares = forecaster.shares()
        losses = np.zeros(forecaster.experts)
        losses[shares.argmax()] = 1.0
        lost, each = lost + float(shares @ losses), each + losses
        forecaster.learn(losses)
    return lost, each


def regret(forecaster: Any, losses: Array) -> float:
    return float((forecaster.share_then_learn(losses) * losses).sum() - losses.sum(axis=0).min())


@pytest.mark.parametrize("experts", [2, 10])
@pytest.mark.parametrize("kind", ["random", "turns", "drift", "blocks"])
def test_regret_is_within_the_bounds(experts: int, kind: str) -> None:
    rounds = 2000
    losses, log = sequences(rounds, experts)[kind], math.log(experts)
    assert regret(Hedge(experts, rng(), eta=math.sqrt(8 * log / rounds)), losses) <= math.sqrt(rounds * log / 2)
    assert regret(Hedge(experts, rng()), losses) <= math.sqrt(2 * rounds * log) + math.sqrt(log / 8)
    assert regret(FollowThePerturbedLeader(experts, rng()), losses) <= 4.44 * math.sqrt((1 + log) * rounds)
    for epsilon in (0.02, 0.5):
        harmonic = sum(1 / k for k in range(1, experts + 1))
        least = losses.sum(axis=0).min()
        found = regret(FollowThePerturbedLeader(experts, rng(), epsilon=epsilon), losses) + least
        assert found <= math.exp(epsilon) * (least + harmonic / epsilon)


def test_regret_is_within_the_bounds_against_an_adversary_and_linear_for_the_leader() -> None:
    rounds, experts = 2000, 5
    log = math.log(experts)
    lost, each = spiteful(Hedge(experts, rng(), eta=math.sqrt(8 * log / rounds)), rounds)
    assert lost - each.min() <= math.sqrt(rounds * log / 2)
    lost, each = spiteful(FollowTheLeader(experts, rng()), rounds)
    assert lost == rounds
    assert each.min() <= rounds / experts


def test_fixed_share_follows_a_best_expert_that_changes() -> None:
    rounds, experts, block = 4000, 5, 500
    losses = np.ones((rounds, experts))
    losses[np.arange(rounds), np.arange(rounds) // block % experts] = 0.0
    shared = Hedge(experts, rng(), eta=0.5, share=1 / block).share_then_learn(losses)
    plain = Hedge(experts, rng(), eta=0.5).share_then_learn(losses)
    lost, stuck = ((shares * losses).sum() for shares in (shared, plain))
    changes = rounds // block - 1
    # Cesa-Bianchi and Lugosi 2006, theorem 5.2, whose α gives everyone something back; the best sequence loses nothing.
    alpha = 1 / block * experts / (experts - 1)
    prior = (changes + 1) * math.log(experts) - changes * math.log(alpha) - (rounds - changes - 1) * math.log(1 - alpha)
    assert lost <= prior / 0.5 + 0.5 / 8 * rounds
    assert lost < stuck / 5


def test_exponentiated_gradient_comes_close_to_the_best_mix() -> None:
    experts = 6
    for seed in range(20):
        chance = rng(seed)
        x = chance.random((300, experts))
        best = chance.dirichlet(np.ones(experts) * 0.3)
        y = np.clip(x @ best + chance.normal(scale=0.2, size=300), 0, 1)
        mix, lost = ExponentiatedGradient(experts, chance), 0.0
        for row, wanted in zip(x, y, strict=True):
            answer = float(mix.shares() @ row)
            lost += (answer - wanted) ** 2
            mix.learn(2 * (answer - wanted) * row)
        assert lost <= 1.5 * (((x @ best - y) ** 2).sum() + math.log(experts))


unit = st.floats(0, 1, width=32)
several = st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(unit, min_size=n, max_size=n), min_size=1, max_size=12))


@settings(max_examples=60, deadline=None)
@given(several, st.floats(0.01, 5), st.floats(0, 0.9))
def test_updates_are_those_of_the_papers(table: list[list[float]], eta: float, share: float) -> None:
    losses = np.array(table)
    rounds, n = losses.shape
    found = Hedge(n, rng(), eta=eta, share=share).share_then_learn(losses)
    anytime = Hedge(n, rng()).share_then_learn(losses)
    gradients = ExponentiatedGradient(n, rng(), eta=eta).share_then_learn(losses * 6 - 3)
    leader = FollowTheLeader(n, rng()).share_then_learn(losses)
    w, v = np.full(n, 1 / n), np.full(n, 1 / n)
    for t in range(rounds):
        assert np.allclose(found[t], w, rtol=1e-9, atol=1e-12)
        kept = w * np.exp(-eta * losses[t])
        kept /= kept.sum()
        # Herbster and Warmuth 1998, figure 1: the pool is what all pass on, and nobody gets back its own.
        w = (1 - share) * kept + (share * kept.sum() - share * kept) / (n - 1) if n > 1 else kept
        past = losses[:t].sum(axis=0)
        falling = np.exp(-math.sqrt(8 * math.log(n) / (t + 1)) * past)
        assert np.allclose(anytime[t], falling / falling.sum(), rtol=1e-9)
        assert np.allclose(gradients[t], v, rtol=1e-9, atol=1e-12)
        v = v * np.exp(-eta * (losses[t] * 6 - 3))
        v /= v.sum()
        assert leader[t, past.argmin()] == 1
        assert leader[t].sum() == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 8, width=32), min_size=1, max_size=7), st.floats(0.05, 3))
def test_shares_of_the_perturbed_leader_are_its_chances(past: list[float], epsilon: float) -> None:
    n = len(past)
    forecaster = FollowThePerturbedLeader(n, rng(), epsilon=epsilon)
    forecaster.load({**forecaster.state(), "losses": np.array(past)})
    # By inclusion and exclusion over who else may be ahead: ∫ Π (1 - v·u_j) dv, term by term.
    u = np.exp(-epsilon * (np.array(past) - min(past)))
    for i, share in enumerate(forecaster.shares()):
        others = np.delete(u, i)
        total = 0.0
        for chosen in product([0, 1], repeat=n - 1):
            total += (-1) ** sum(chosen) * np.prod(others[np.array(chosen, dtype=bool)]) / (sum(chosen) + 1)
        assert share == pytest.approx(u[i] * total, abs=1e-9)


@EACH
def test_choices_are_drawn_by_the_shares(choice: Any) -> None:
    forecaster = make(choice)
    forecaster.learn(np.array([0.0, 1.0, 0.3, 0.6]))
    shares, draws = forecaster.shares(), 20_000
    counts = np.bincount([forecaster.choose() for _ in range(draws)], minlength=4)
    # Five standard deviations: one test in half a million fails by chance, and the seed is fixed.
    assert (abs(counts - draws * shares) <= 5 * np.sqrt(draws * shares * (1 - shares)) + 1e-9).all()


@EACH
def test_shares_stay_a_distribution_after_a_million_extreme_rounds(choice: Any) -> None:
    forecaster = make(choice, experts=3)
    losses = np.tile([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]], (250_000, 1))
    for part in (losses, 1.0 - losses):
        forecaster.learn_many(part)
        shares = forecaster.shares()
        assert np.isfinite(shares).all()
        assert (shares >= 0).all()
        assert shares.sum() == pytest.approx(1, abs=1e-12)
        assert 0 <= forecaster.choose() < 3
    assert forecaster.rounds == 1_000_000


@EACH
def test_a_batch_is_its_rounds_and_a_snapshot_goes_on_alike(choice: Any) -> None:
    losses = rng(5).random((60, 4))
    whole, single, cut, other = make(choice), make(choice), make(choice), make(choice, seed=9)
    assert isinstance(whole, Forecaster)
    before = whole.share_then_learn(losses)
    for row, wanted in zip(losses, before, strict=True):
        assert np.array_equal(single.shares(), wanted)
        single.learn(row)
    for part in np.split(losses, [0, 1, 17]):
        cut.learn_many(part)
    for one in (single, cut):
        assert all(np.array_equal(one.state()[part], array) for part, array in whole.state().items())
    kept = whole.state()
    other.load(kept)
    assert [other.choose() for _ in range(50)] == [whole.choose() for _ in range(50)]
    for one in (other, whole):
        one.learn_many(losses)
    assert all(np.array_equal(other.state()[part], array) for part, array in whole.state().items())
    assert kept["clock"][2] == 60, "a snapshot shares no memory"


@EACH
def test_what_does_not_fit_is_refused_and_changes_nothing(choice: Any) -> None:
    forecaster = make(choice)
    good = rng(1).random((3, 4))
    forecaster.learn_many(good)
    before = forecaster.state()
    nan, infinite, wide = good.copy(), good.copy(), rng(1).random((3, 5))
    nan[2, 1], infinite[1, 3] = np.nan, np.inf
    cases: list[tuple[Any, type[Exception], str]] = [
        (nan, NotFiniteError, "NaN or infinite in round 2 of 3"),
        (infinite, NotFiniteError, "in round 1 of 3"),
        (wide, LearnerError, r"shape \(3, 5\) do not fit 4 experts"),
        (good[0], LearnerError, r"hand in an array of shape \(n, 4\)"),
    ]
    if choice != "eg":
        below, above = good.copy(), good.copy()
        below[1, 2], above[0, 0] = -0.25, 1.5
        cases += [
            (below, LearnerError, "a loss is -0.25 in round 1 of 3, not from 0 to 1"),
            (above, LearnerError, r"scale losses of \[a, b\]"),
        ]
    for losses, error, text in cases:
        with pytest.raises(error, match=text):
            forecaster.learn_many(losses)
        if losses.ndim == 2 and losses.shape[1] == 4 and text.startswith("a loss"):
            with pytest.raises(error):
                forecaster.learn(losses[1])
    with pytest.raises(LearnerError, match=r"array of shape \(4,\)"):
        forecaster.learn(good)
    forecaster.learn_many(good[:0])
    for part, array in before.items():
        assert np.array_equal(forecaster.state()[part], array)
    good.flags.writeable = False
    forecaster.learn_many(np.asfortranarray(good))


def test_gradients_that_overflow_are_refused() -> None:
    mix = ExponentiatedGradient(2, rng())
    mix.learn(np.array([1e308, 0.0]))
    with pytest.raises(NotFiniteError, match="more than a float can hold"):
        mix.learn(np.array([1e308, 0.0]))
    assert mix.rounds == 1


@EACH
def test_foreign_snapshots_are_refused(choice: Any) -> None:
    forecaster = make(choice)
    forecaster.learn(np.array([0.1, 0.2, 0.3, 0.4]))
    before = forecaster.state()
    for foreign in (
        make(choice, experts=5).state(),
        {"losses": before["losses"]},
        {**before, "clock": np.array([1.0, -1.0, 0.0])},
        {**before, "clock": np.array([1.0, 0.5, 0.0])},
        {**before, "losses": np.full(4, np.nan)},
    ):
        with pytest.raises(StateError):
            forecaster.load(foreign)
        assert all(np.array_equal(forecaster.state()[part], array) for part, array in before.items())


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"hedge": {"eta": 0}}, "eta is 0"),
        ({"hedge": {"share": 1.0, "eta": 1.0}}, "share is 1.0"),
        ({"hedge": {"share": 0.1}}, "set eta, too"),
        ({"eg": {"eta": "fast"}}, "eta is 'fast'"),
        ({"ftpl": {"epsilon": -1}}, "epsilon is -1"),
        ({"ftl": {"eta": 1}}, "no setting 'eta'"),
        ("hedged", "it learns classes, not experts"),
        ("ucb1", "choose one of eg, ftl, ftpl, hedge"),
        ("hegde", "did you mean hedge"),
    ],
)
def test_bad_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError, match=text):
        make(choice)


def test_bad_numbers_of_experts_are_told() -> None:
    for name, experts in product(("hedge", "ftpl"), (0, -1, 2.0)):
        with pytest.raises(RequestError, match="experts is"):
            create(name, experts, rng())  # type: ignore[arg-type]  # what is wrong is to be told
    with pytest.raises(SettingsError):
        create({"hedge": {}, "ftl": {}}, 2, rng())
