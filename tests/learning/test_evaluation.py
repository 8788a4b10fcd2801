"""Prequential evaluation against definitions worked out the slow way."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.learning import baselines, evaluation, registry
from estran.learning.evaluation import Answers, prequential
from estran.learning.learner import Features, Labels, LearnerError
from estran.learning.mistakes import SettingsError
from estran.learning.mlp import Mlp
from estran.learning.streams.classic import Sea

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50)


def answers(pairs: list[tuple[int, int]], delay: int = 0) -> Answers:
    truth, answer = np.array(pairs, dtype=np.int64).T
    return Answers(np.ascontiguousarray(truth), np.ascontiguousarray(answer), 4, delay)


def weighted(found: Answers, weights: Any) -> dict[str, float]:
    """All figures as of the last row, from a weighted confusion matrix."""
    truth, answer = found.truth, found.answer
    matrix = np.zeros((4, 4))
    np.add.at(matrix, (truth, answer), weights)
    share = matrix / matrix.sum()
    accuracy, chance = np.trace(share), float(share.sum(axis=0) @ share.sum(axis=1))
    last = [truth[t - 1 - found.delay] if t > found.delay else 0 for t in range(len(truth))]
    most = [np.bincount(truth[: max(0, t - found.delay)], minlength=4).argmax() for t in range(len(truth))]
    no_change, majority = (float(np.average(truth == guess, weights=weights)) for guess in (last, most))
    beyond = {"kappa": chance, "kappa_m": majority, "kappa_temporal": no_change}
    kappas = {name: (accuracy - base) / (1 - base) if base < 1 - 1e-12 else np.nan for name, base in beyond.items()}
    return {"accuracy": accuracy, "no_change": no_change, "majority": majority, **kappas}


def assert_last(curves: evaluation.Curves, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert np.isclose(getattr(curves, name)[-1], value, equal_nan=True), name


@pytest.mark.parametrize("module", [baselines, evaluation], ids=lambda module: module.__name__)
def test_examples(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


@given(PAIRS, st.integers(0, 4))
def test_overall_is_the_confusion_matrix(pairs: Any, delay: int) -> None:
    found = answers(pairs, delay)
    assert_last(found.overall(), weighted(found, np.ones(len(pairs))))


@given(PAIRS, st.sampled_from([0.5, 0.9, 0.99]), st.integers(0, 2))
def test_fading_weighs_by_age(pairs: Any, factor: float, delay: int) -> None:
    found = answers(pairs, delay)
    curves = found.fading(factor)
    # What differs from 1 by rounding alone is a matter of rounding.
    expected = {k: v for k, v in weighted(found, factor ** np.arange(len(pairs))[::-1]).items() if not k.startswith("kappa")}
    assert_last(curves, expected)
    wanted = weighted(found, factor ** np.arange(len(pairs))[::-1])
    if 1 - wanted["majority"] > 1e-6:
        assert np.isclose(curves.kappa_m[-1], wanted["kappa_m"])


@given(PAIRS, st.integers(1, 60))
def test_sliding_counts_the_window_only(pairs: Any, window: int) -> None:
    found = answers(pairs)
    weights = (np.arange(len(pairs)) >= len(pairs) - window).astype(float)
    assert_last(found.sliding(window), weighted(found, weights))


@given(PAIRS)
def test_a_curve_at_a_row_is_the_result_up_to_it(pairs: Any) -> None:
    whole, part = answers(pairs), answers(pairs[: max(1, len(pairs) // 2)])
    n = len(part.truth)
    for one, other in (
        (whole.overall(), part.overall()),
        (whole.fading(0.9), part.fading(0.9)),
        (whole.sliding(5), part.sliding(5)),
    ):
        for name in vars(one):
            assert np.array_equal(getattr(one, name)[:n], getattr(other, name), equal_nan=True)


def test_kappas_agree_with_scikit_learn() -> None:
    cohen = pytest.importorskip("sklearn.metrics").cohen_kappa_score
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=500)
    answer = np.where(rng.random(500) < 0.7, truth, rng.integers(4, size=500))
    assert np.isclose(Answers(truth, answer, 4).overall().kappa[-1], cohen(truth, answer))


def test_a_learner_like_the_baseline_has_kappas_of_zero_and_a_perfect_one_of_one() -> None:
    truth = np.random.default_rng(0).integers(3, size=200)
    persistent = np.concatenate([[0], truth[:-1]])
    assert np.allclose(Answers(truth, persistent, 3).overall().kappa_temporal[-1], 0)
    perfect = Answers(truth, truth.copy(), 3).overall()
    assert [perfect.kappa[-1], perfect.kappa_m[-1], perfect.kappa_temporal[-1]] == [1, 1, 1]


def test_repeating_labels_are_no_achievement() -> None:
    # As in Elec: answering the last label is right 9 times of 10, and a learner that is right 8 times of 10 is worse than that.
    truth = np.repeat(np.arange(200) % 2, 10)
    answer = np.where(np.arange(2000) % 5 == 0, 1 - truth, truth)
    found = Answers(truth, answer, 2).overall()
    assert found.kappa[-1] > 0.5
    assert found.kappa_temporal[-1] < -0.5


def test_nan_where_a_baseline_is_never_wrong() -> None:
    found = Answers(np.zeros(5, dtype=np.int64), np.array([0, 1, 0, 0, 0]), 2).overall()
    assert np.isnan(found.kappa_m).all()
    assert np.isnan(found.kappa_temporal).all()
    assert found.accuracy[-1] == 0.8


class Log:
    """Notes what it is asked and told, in order, by the first feature."""

    def __init__(self) -> None:
        self.events: list[tuple[str, float]] = []

    def learn_many(self, x: Features, y: Labels) -> None:
        self.events += [("learn", value) for value in x[:, 0]]

    def predict(self, x: Features) -> Labels:
        self.events += [("answer", value) for value in x[:, 0]]
        return np.zeros(len(x), dtype=np.int64)


def chunks(n: int, size: int) -> Any:
    x, y = np.arange(float(n))[:, None], np.zeros(n, dtype=np.int64)
    return ((x[start : start + size], y[start : start + size]) for start in range(0, n, size))


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 6))
def test_labels_come_when_they_are_due(n: int, size: int, delay: int) -> None:
    log: Any = Log()
    found = prequential(log, chunks(n, size), 1, delay=delay)
    assert len(found.truth) == len(found.answer) == n
    expected = []
    for row in range(n):
        expected.append(("answer", row))
        if row >= delay:
            expected.append(("learn", row - delay))
    assert log.events == expected


def test_asking_only_learns_nothing() -> None:
    log: Any = Log()
    prequential(log, chunks(5, 2), 1, learn=False)
    assert log.events == [("answer", row) for row in range(5)]


@pytest.mark.parametrize("delay", [0, 7])
def test_however_the_stream_is_cut_answers_are_the_same(delay: int) -> None:
    def run(size: int) -> Labels:
        learner = registry.create({"mlp": {"hidden": [8]}}, 3, 2, np.random.default_rng(0))
        return prequential(learner, Sea().chunks(np.random.default_rng(1), size, 400), 2, delay=delay).answer

    first = run(1)
    assert 0 < first.sum() < 400
    assert np.array_equal(first, run(37))
    assert np.array_equal(first, run(400))


class OneCall(Mlp):
    """Answers and learns in one call."""

    calls = 0

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        self.calls += 1
        answers = np.empty(len(y), dtype=np.int64)
        for i in range(len(y)):
            answers[i] = self.predict(x[i : i + 1])[0]
            self.learn_many(x[i : i + 1], y[i : i + 1])
        return answers


@pytest.mark.parametrize("delay", [0, 3])
def test_who_answers_and_learns_in_one_call_is_asked_to_unless_labels_are_late(delay: int) -> None:
    one, other = (kind(3, 2, np.random.default_rng(0), hidden=[8]) for kind in (OneCall, Mlp))
    found, expected = (
        prequential(learner, Sea().chunks(np.random.default_rng(1), 50, 300), 2, delay=delay) for learner in (one, other)
    )
    assert np.array_equal(found.answer, expected.answer)
    assert one.calls == (0 if delay else 6)


def test_delay_costs_accuracy_at_a_drift() -> None:
    def accuracy(delay: int) -> float:
        learner = registry.create({"softmax": {"learning_rate": 0.1}}, 3, 2, np.random.default_rng(0))
        stream = Sea((5.0, 15.0), block=500, noise=0).chunks(np.random.default_rng(1), rows=1500)
        return float(prequential(learner, stream, 2, delay=delay).overall().accuracy[-1])

    assert accuracy(0) > accuracy(100) + 0.05


def test_what_cannot_be_is_refused() -> None:
    found = answers([(0, 0)])
    for call in (
        lambda: found.fading(0),
        lambda: found.fading(1.01),
        lambda: found.sliding(0),
        lambda: prequential(Log(), [], 2, delay=-1),  # type: ignore[arg-type]
    ):
        with pytest.raises(SettingsError):
            call()


def test_a_stream_that_does_not_fit_names_the_learner() -> None:
    learner = registry.create("softmax", 4, 2, np.random.default_rng(0))
    with pytest.raises(LearnerError, match="softmax"):
        prequential(learner, Sea().chunks(np.random.default_rng(0), rows=5), 2)


def test_no_rows_give_empty_curves() -> None:
    found = prequential(Log(), [], 2)  # type: ignore[arg-type]
    assert found.overall().accuracy.shape == (0,)
