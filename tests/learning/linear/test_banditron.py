"""Banditron: the paper's update, and that it sees no more than whether its answer was right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.draws import uniform
from estran.learning.learner import Features, Labels, NotFiniteError, StateError

CHOICES: dict[str, Any] = {"banditron": "banditron", "banditron-bold": {"banditron": {"gamma": 0.4, "bias": False}}}
EACH = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)


def make(choice: Any, features: int = 6, classes: int = 3, seed: int = 0) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(seed))


def stream(n: int, features: int, classes: int, seed: int = 0) -> tuple[Features, Labels]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)) * (rng.random((n, features)) < 0.6)
    return x, (x @ rng.normal(size=(features, classes))).argmax(axis=1)


def given(learner: Any, best: int, gamma: float, classes: int) -> int:
    """The answer that the learner will give to the next row, from its clock."""
    count, _, seed = learner.state()["clock"]
    u = uniform(seed, count)
    return best if u >= gamma else int(u / gamma * classes)


def weights(learner: Any, classes: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = learner.state()["weights"]
    return found if classes > 2 else found[0]


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@EACH
def test_conformance(choice: Any, check: Any) -> None:
    check(lambda features, classes, rng: registry.create(choice, features, classes, rng))


@pytest.mark.parametrize("classes", [2, 5])
@EACH
def test_a_chunk_is_its_rows_dense_or_sparse_and_a_snapshot_goes_on_alike(choice: Any, classes: int) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(150, 13, classes)
    whole, single, thin, other = (make(choice, 13, classes, seed) for seed in (0, 0, 0, 3))
    answers = np.concatenate([whole.predict_then_learn(x[a:b], y[a:b]) for a, b in ((0, 1), (1, 60), (60, 150))])
    for i in range(150):
        assert single.predict_one(x[i]) == answers[i]
        single.learn_one(x[i], y[i])
    other.load(whole.state())
    assert np.array_equal(thin.predict_then_learn(sparse.csr_matrix(x), y), answers)
    for one in (single, thin, other):
        one.learn_many(x, y)
    whole.learn_many(x, y)
    for one in (single, thin, other):
        assert all(np.array_equal(one.state()[part], array) for part, array in whole.state().items())
    assert np.array_equal(whole.decision_function(x), thin.decision_function(sparse.csr_matrix(x)))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_updates_are_those_of_the_paper(classes: int) -> None:
    gamma, x_y = 0.3, stream(300, 6, classes)
    learner = make({"banditron": {"gamma": gamma, "bias": False}}, 6, classes)
    w, explored = np.zeros((classes, 6)), 0
    for x, y in zip(*x_y, strict=True):
        best = int((w @ x).argmax())
        answer = given(learner, best, gamma, classes)
        explored += answer != best
        chance = np.full(classes, gamma / classes)
        chance[best] += 1 - gamma
        # Figure 1 of the paper: U(r, j) = x(j) (1[y = answer] 1[answer = r] / P(r) - 1[best = r]).
        for r in range(classes):
            w[r] += x * (float(y == answer) * float(answer == r) / chance[r] - float(best == r))
        assert learner.predict_then_learn(x[None], np.array([y]))[0] == best
        assert np.allclose(weights(learner, classes), w if classes > 2 else w[1] - w[0], atol=1e-9)
    assert 0 < explored <= learner.explored < 150


@pytest.mark.parametrize("classes", [3, 5])
def test_only_right_or_wrong_is_learned_of_a_label(classes: int) -> None:
    gamma, (x, y) = 0.3, stream(200, 6, classes)
    one, other = (make({"banditron": {"gamma": gamma}}, 6, classes) for _ in range(2))
    changed = 0
    for row, label in zip(x, y, strict=True):
        answer = given(one, one.predict_one(row), gamma, classes)
        lie = next(k for k in range(classes) if k not in (label, answer)) if answer != label else label
        changed += lie != label
        one.learn_one(row, int(label))
        other.learn_one(row, int(lie))
    assert changed > 20
    assert all(np.array_equal(other.state()[part], array) for part, array in one.state().items())


def test_steps_are_the_perceptrons_on_average() -> None:
    classes, gamma, draws = 4, 0.4, 20_000
    learner, (x, y) = make({"banditron": {"gamma": gamma, "bias": False}}, 6, classes), stream(40, 6, classes)
    learner.learn_many(x, y)
    before, row = learner.state(), x[:1]
    best = int(learner.predict(row)[0])
    label = (best + 1) % classes
    wanted = np.zeros((classes, 6))
    wanted[label] += row[0]
    wanted[best] -= row[0]
    total = np.zeros((classes, 6))
    for count in range(draws):
        learner.load({**before, "clock": np.array([float(count), 0.0, 12345.0])})
        learner.learn_many(row, np.array([label]))
        total += learner.state()["weights"] - before["weights"]
    # The label's step is x / p with chance p = γ / k, else 0: its spread is |x| √(1/p − 1).
    tolerance = 5 * abs(row[0]).max() * np.sqrt((classes / gamma - 1) / draws)
    assert abs(total / draws - wanted).max() < tolerance


def test_it_explores_as_often_and_as_evenly_as_it_should() -> None:
    learner, n = make({"banditron": {"gamma": 0.25}}, 6, 4), 20_000
    x = np.zeros((n, 6))
    learner.learn_many(x, np.ones(n, dtype=np.int64))
    assert abs(learner.explored - n / 4) < 5 * np.sqrt(n * 0.25 * 0.75)
    odds = learner.predict_proba(x[:1])[0]
    assert sorted(odds.tolist()) == pytest.approx([0.0625, 0.0625, 0.0625, 0.8125])


def test_a_real_data_set_is_learned_from_bits() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = digits.data / 16, digits.target.astype(np.int64)
    found = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(y))
        learner = make({"banditron": {"gamma": 0.2}}, 64, 10, seed)
        for _ in range(5):
            answers = learner.predict_then_learn(x[order], y[order])
        found.append(float((answers == y[order]).mean()))
    # Chance is a tenth; a perceptron that is told all labels is right in 95 % by then.
    assert np.mean(found) > 0.7


def test_what_does_not_fit_is_refused() -> None:
    learner = make("banditron")
    x, y = stream(20, 6, 3)
    learner.learn_many(x, y)
    before = learner.state()
    with pytest.raises(NotFiniteError, match="overflow at row"):
        learner.learn_many(np.full((400, 6), 1e307), np.arange(400) % 3)
    for clock in ([-1.0, 0.0, 5.0], [1.5, 0.0, 5.0], [1.0, 0.0, 2.0**53]):
        with pytest.raises(StateError, match="counts nothing"):
            learner.load({**before, "clock": np.array(clock)})
    assert all(np.array_equal(learner.state()[part], array) for part, array in before.items())
    for gamma in (0, 1, "much"):
        with pytest.raises(RequestError, match="gamma is"):
            make({"banditron": {"gamma": gamma}})
