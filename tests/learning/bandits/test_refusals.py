"""What bandits refuse: it is told, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from estran.errors import RequestError
from estran.learning.learner import LearnerError, NotFiniteError, StateError
from tests.learning.bandits.playing import ADVICE, CHOICES, EACH, context, make, played


@EACH
def test_what_does_not_fit_is_refused_and_changes_nothing(choice: Any) -> None:
    bandit, given = make(choice), context(choice)
    played(bandit, 10, lambda t, arm: 0.5, given)
    before = bandit.state()
    cases: list[tuple[Any, Any, Any, type[Exception], str]] = [
        (given, 4, 0.5, LearnerError, "there is no arm 4"),
        (given, -1, 0.5, LearnerError, "number arms from 0 to 3"),
        (given, 1.0, 0.5, LearnerError, "there is no arm 1.0"),
        (given, 1, math.nan, NotFiniteError, "the reward is nan"),
        (given, 1, math.inf, NotFiniteError, "the reward is inf"),
    ]
    if not any(word in str(choice) for word in ("gaussian", "linucb", "greedy")):
        cases += [
            (given, 1, 1.25, LearnerError, "the reward is 1.25, not from 0 to 1"),
            (given, 1, -0.5, LearnerError, r"scale rewards of a range \[a, b\]"),
        ]
    if given is not None:
        nan = given.copy()
        nan.flat[0] = np.nan
        cases += [(wrong, 1, 0.5, LearnerError, "context") for wrong in (None, given[..., :-1], given[None, None], nan)]
    for wrong, arm, reward, error, text in cases:
        with pytest.raises(error, match=text):
            bandit.learn(wrong, arm, reward)
        if wrong is not given:
            with pytest.raises(LearnerError):
                bandit.choose(wrong)
    for part, array in before.items():
        assert np.array_equal(bandit.state()[part], array), part


def test_advice_that_is_no_distribution_is_refused() -> None:
    bandit = make({"exp4": {"experts": 3}})
    for row in ([0.5, 0.5, 0.5, -0.5], [0.3, 0.3, 0.3, 0.2]):
        wrong = ADVICE.copy()
        wrong[1] = row
        for call in (bandit.choose, bandit.probabilities, lambda advice: bandit.learn(advice, 0, 1.0)):
            with pytest.raises(LearnerError, match="advice is no distribution"):
                call(wrong)
    assert bandit.rounds == 0


def test_what_overflows_is_refused() -> None:
    greedy, normal, linear = make("epsilon-greedy"), make({"thompson": {"rewards": "gaussian"}}), make({"linucb": {"features": 1}})
    for bandit, known, reward in ((greedy, None, 1e308), (normal, None, 1e308), (linear, np.array([1e150]), 1e155)):
        bandit.learn(known, 1, reward)
        before = bandit.state()
        with pytest.raises(NotFiniteError, match="than a float can hold"):
            bandit.learn(known, 1, 1e308)
        assert all(np.array_equal(bandit.state()[part], array) for part, array in before.items())


@EACH
def test_foreign_snapshots_are_refused(choice: Any) -> None:
    bandit, given = make(choice), context(choice)
    played(bandit, 10, lambda t, arm: 0.5, given)
    before = bandit.state()
    wrong: list[dict[str, Any]] = [
        {"clock": before["clock"]},
        {**before, "more": np.zeros(1)},
        {**before, "clock": np.array([0.0, -3.0, 0.0])},
    ]
    if "counts" in before:
        wrong.append({**before, "counts": before["counts"] + 0.5})
        if not any(word in str(choice) for word in ("gaussian", "greedy")):
            wrong.append({**before, "sums": before["counts"] + 1.0})
    if "factors" in before:
        wrong += [{**before, "factors": -before["factors"]}, {**before, "factors": before["factors"] + np.tri(2)}]
    for foreign in wrong:
        with pytest.raises(StateError):
            bandit.load(foreign)
        assert all(np.array_equal(bandit.state()[part], array) for part, array in before.items())


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"exp3": {"gamma": 1.5}}, "gamma is 1.5"),
        ({"exp3": {"gamma": 0}}, "gamma is 0"),
        ("exp4", "experts is 0"),
        ("linucb", "features is 0"),
        ({"linucb": {"features": 2, "ridge": 0}}, "ridge is 0"),
        ({"linucb": {"features": 2, "alpha": -1}}, "alpha is -1"),
        ({"ucb1": {"exploration": 0}}, "exploration is 0"),
        ({"epsilon-greedy": {"epsilon": 2}}, "epsilon is 2"),
        ({"thompson": {"rewards": "poisson"}}, "give bernoulli or gaussian"),
        ({"thompson": {"noise": 0}}, "noise is 0"),
        ("hedge", "it learns experts, not arms"),
        ("upb1", "did you mean ucb1"),
    ],
)
def test_bad_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError, match=text):
        make(choice)


@pytest.mark.parametrize("arms", [0, -2, 1.5])
def test_bad_numbers_of_arms_are_told(arms: Any) -> None:
    for choice in CHOICES.values():
        with pytest.raises(RequestError, match="arms is"):
            make(choice, arms)
