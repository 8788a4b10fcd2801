"""Winnow against explicit weights in plain NumPy, and against the perceptron where few of many features matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError

PLAIN: dict[str, Any] = {"winnow": {"balanced": False}}


def make(choice: Any, features: int, classes: int = 2) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(0))


def disjunction(n: int, k: int, d: int, seed: int) -> tuple[Features, Labels]:
    """Whether any of the first k of d attributes is set; about half of the rows are positive."""
    rng = np.random.default_rng(seed)
    x = (rng.random((n, d)) < 1 - 0.5 ** (1 / k)).astype(float)
    return x, x[:, :k].any(axis=1).astype(np.int64)


def stream(n: int, features: int, classes: int) -> tuple[Features, Labels]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, features)) * (rng.random((n, features)) < 0.6)
    return x, (x @ rng.normal(size=(features, classes))).argmax(axis=1)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_conformance_of_the_plain_one(check: Any) -> None:
    check(lambda features, classes, rng: registry.create(PLAIN, features, classes, rng))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("balanced", [True, False])
def test_weights_are_powers_of_alpha(balanced: bool, classes: int) -> None:
    """log u moves by ±log α · x on mistakes and never else; of a balanced pair one rises as the other falls."""
    x, y = stream(300, 6, classes)
    x = x if balanced else np.abs(x) / 2
    learner = make({"winnow": {"balanced": balanced, "alpha": 1.5, "bias": False}}, 6, classes)
    exponents, limit = np.zeros((classes, 6)), 3.0 if classes == 2 and not balanced else 0.0
    mistakes = 0
    for row, label in zip(x, y, strict=True):
        rising, falling = np.exp(exponents), np.exp(-exponents)
        scores = (rising - falling if balanced else rising) @ row
        if classes == 2:  # one vector: what is learned for class 1
            answer, rival = int(scores[1] > limit), 1 - label
        else:
            answer = int(scores.argmax())
            rival = int(np.where(np.arange(classes) == label, -np.inf, scores).argmax())
        assert learner.predict_one(row) == answer
        mistakes += answer != label
        if answer != label:
            step = np.log(1.5) * row / max(1.0, np.abs(row).max())
            exponents[label] += step
            exponents[rival] -= step
        learner.learn_one(row, int(label))
    rising, falling = np.exp(exponents), np.exp(-exponents)
    wanted = rising - falling if balanced else rising
    weights = learner.state()["weights"]
    assert mistakes > 20
    assert np.allclose(weights[:, :6], wanted[1:] if classes == 2 else wanted, rtol=1e-9, atol=1e-12)
    if not balanced:
        assert (weights[:, 6] == -limit).all()


@pytest.mark.parametrize("seed", range(3))
def test_few_mistakes_where_most_attributes_are_irrelevant(seed: int) -> None:
    """Noise-free disjunctions: with α = 2, θ = d/2 at most 3·k·log₂ d + 4 mistakes, whatever the rows.

    Promotions at most double the total weight of θ or less, demotions take half of more than θ, and no relevant weight is ever
    demoted, so that each is promoted at most log₂ d times.
    """
    k, d = 4, 400
    x, y = disjunction(4000, k, d, seed)
    mistakes = {
        name: int((make(choice, d).predict_then_learn(x, y) != y).sum())
        for name, choice in {"plain": PLAIN, "balanced": "winnow", "perceptron": "perceptron"}.items()
    }
    assert mistakes["plain"] <= 3 * k * np.log2(d) + 4
    assert mistakes["plain"] < 0.25 * mistakes["perceptron"]
    assert mistakes["balanced"] < 0.7 * mistakes["perceptron"]


@pytest.mark.parametrize("balanced", [True, False])
def test_weights_stay_in_bounds_whatever_comes(balanced: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((400, 6)) * 10.0 ** rng.integers(-9, 10, size=(400, 1)), rng.integers(3, size=400)
    tight, wide = (make({"winnow": {"balanced": balanced, "alpha": 10.0} | more}, 6, 3) for more in ({"bound": 2.0}, {}))
    sizes = []
    for row, label in zip(x, y, strict=True):
        tight.learn_one(row, int(label))
        wide.learn_one(row, int(label))
        sizes.append([np.abs(learner.state()["weights"]).max() for learner in (tight, wide)])
    most = np.max(sizes, axis=0)
    assert most[0] == (2 - 1 / 2 if balanced else 2)
    assert most[1] > 100
    # What was pushed one way to the bound comes back in two mistakes.
    back = make({"winnow": {"balanced": balanced, "alpha": 1e5, "bound": 1e4, "bias": False}}, 1, 2)
    for label in (1, 0, 1):
        back.learn_many(np.ones((2, 1)), np.full(2, label))
        assert back.predict(np.ones((1, 1))).tolist() == [label]


@pytest.mark.parametrize("classes", [2, 3])
def test_plain_chunks_rows_and_sparse_rows_are_the_same(classes: int) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(150, 9, classes)
    x = np.abs(x)
    chunked, single, thin = (make(PLAIN, 9, classes) for _ in range(3))
    chunked.learn_many(x, y)
    thin.learn_many(sparse.csr_matrix(x), y)
    for row, label in zip(x, y, strict=True):
        single.learn_one(row, int(label))
    for other in (single, thin):
        assert np.array_equal(chunked.state()["weights"], other.state()["weights"])


def test_negative_values_are_refused_by_the_plain_one() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    learner, untouched = make(PLAIN, 3), make(PLAIN, 3)
    x = np.ones((4, 3))
    x[2, 1] = -0.5
    for rows in (x, sparse.csr_matrix(x)):
        with pytest.raises(LearnerError, match="row 2 of 4 has a negative value\n  → set balanced: true"):
            learner.learn_many(rows, np.zeros(4, dtype=np.int64))
    x[1, 0] = np.nan
    with pytest.raises(NotFiniteError, match="row 1 of 4"):
        learner.learn_many(x, np.zeros(4, dtype=np.int64))
    assert np.array_equal(learner.state()["weights"], untouched.state()["weights"])


def test_digits_are_learned_by_plain_weights() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order] / 16, y[order]
    learner = make({"winnow": {"balanced": False, "alpha": 1.05}}, 64, 10)
    learner.learn_many(x[:-300], y[:-300])
    assert (learner.predict(x[-300:]) == y[-300:]).mean() > 0.85


@pytest.mark.parametrize(
    ("choice", "classes", "text"),
    [
        ({"alpha": 1.0}, 2, "alpha is 1.0\n  → give a number above 1"),
        ({"bound": 1e200}, 2, "bound is 1e+200"),
        ({"balanced": 1}, 2, "give true or false"),
        ({"threshold": 3.0}, 2, "there is no threshold\n  → leave it out, or set balanced: false"),
        ({"threshold": 3.0, "balanced": False}, 3, "leave it out, as scores are compared with each other"),
        ({"threshold": 0.0, "balanced": False}, 2, "threshold is 0.0"),
    ],
)
def test_wrong_settings_are_told(choice: dict[str, Any], classes: int, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        make({"winnow": choice}, 4, classes)
    assert text in str(raised.value)
