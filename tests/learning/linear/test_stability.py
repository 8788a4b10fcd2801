"""Ten million rows whose columns are correlated and up to 10¹² times apart, a third of their labels drawn by lot.

Others have columns of one size: there a noisy label costs as much as a good one gains.

Every learner of the catalogue's families of linear ones takes part, also those that are added later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from estran.learning import registry
from estran.learning.learner import Features, Labels

FEATURES, BLOCK = 5, 250_000
FAMILIES = ("linear", "cost-sensitive", "sparse")


def linear() -> dict[str, Any]:
    """All linear learners of classes, with both covariances where they have one."""
    found: dict[str, Any] = {}
    for name in registry.names():
        about = registry.about(name)
        if about is None or about.family not in FAMILIES or about.task != "classes":
            continue
        if "covariance" in registry.settings(name):
            found |= {f"{name}, {covariance}": {name: {"covariance": covariance}} for covariance in ("diagonal", "full")}
        else:
            found[name] = name
    return found


def stream(rows: int, classes: int, apart: float) -> Iterator[tuple[Features, Labels]]:
    rng = np.random.default_rng(7)
    mixed, scales = rng.normal(size=(3, 2)), 10.0 ** np.linspace(-apart, apart, FEATURES)
    for _ in range(rows // BLOCK):
        x = rng.normal(size=(BLOCK, FEATURES))
        x[:, 3:] = x[:, :3] @ mixed + 1e-3 * x[:, 3:]
        # Which of some sums of the columns is greatest, but for the third that says nothing.
        y = (x[:, :classes] + 0.1 * x[:, 4:]).argmax(axis=1)
        lost = rng.random(BLOCK) < 1 / 3
        y[lost] = rng.integers(classes, size=int(lost.sum()))
        yield x * scales, y


def check(name: str, state: Any) -> list[str]:
    """What is wrong with a snapshot."""
    wrong = [f"{name}: {part} is not finite" for part, array in state.items() if not np.isfinite(array).all()]
    if "variance" in state and not (state["variance"] > 0).all():
        wrong.append(f"{name}: a variance is {state['variance'].min()}")
    for covariance in state.get("covariance", ()):
        if not np.array_equal(covariance, covariance.T):
            wrong.append(f"{name}: the covariance is asymmetric by {np.abs(covariance - covariance.T).max()}")
        if not np.linalg.eigvalsh(covariance)[0] > 0:
            wrong.append(f"{name}: an eigenvalue of the covariance is {np.linalg.eigvalsh(covariance)[0]}")
    return wrong


def learned(choices: dict[str, Any], rows: int, classes: int, apart: float) -> list[str]:
    """Let all learn, and say what is wrong with what they know, on the way and in the end."""
    rng = np.random.default_rng(0)
    learners: dict[str, Any] = {name: registry.create(choice, FEATURES, classes, rng) for name, choice in choices.items()}
    wrong: list[str] = []
    for x, y in stream(rows, classes, apart):
        for name, learner in learners.items():
            learner.learn_many(x, y)
            wrong += check(name, learner.state())
    return wrong


@pytest.mark.parametrize(("rows", "classes", "apart"), [(10_000_000, 2, 6.0), (1_000_000, 3, 6.0), (1_000_000, 2, 0.0)])
def test_linear_learners_stay_finite_and_sure_of_no_more_than_all(rows: int, classes: int, apart: float) -> None:
    assert learned(linear(), rows, classes, apart) == []


@pytest.mark.parametrize("name", ["romma", "aromma"])
def test_weights_that_grow_without_end_are_shortened(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100_000, 50)), rng.integers(2, size=100_000)
    learner: Any = registry.create(name, 50, 2, rng)
    longest = 0.0
    for _ in range(40):
        learner.learn_many(x, y)
        longest = max(longest, float(np.linalg.norm(learner.state()["weights"])))
    assert 1e24 < longest < 1e52


def test_networks_stay_finite() -> None:
    networks: dict[str, Any] = {"mlp": {"hidden": [4]}, "hbp": {"depth": 2, "width": 4}}
    choices = {name: {"scaled": {"learner": {name: settings}}} for name, settings in networks.items()}
    assert learned(choices, 2_000_000, 2, 6.0) == []


def test_the_check_sees_what_it_looks_for() -> None:
    bent = np.array([[[1.0, 0.5], [0.4, 1.0]], [[1.0, 2.0], [2.0, 1.0]]])
    found = check("it", {"weights": np.array([np.nan]), "variance": np.zeros(1), "covariance": bent})
    assert len(found) == 4
    assert {"perceptron", "arow, full", "arow, diagonal"} <= linear().keys()
