"""The perceptron: its gradient, its guards, its cache, and what it learns."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.learning.learner import NotFiniteError, StateError
from estran.learning.mlp import Mlp
from estran.learning.rows import softmax
from estran.learning.softmax import Softmax


def loss(mlp: Mlp, x: np.ndarray, y: int) -> float:
    return float(-np.log(mlp.predict_proba(x)[0, y]))


@pytest.mark.parametrize("hidden", [[], [7], [6, 5], [4, 4, 4]], ids=str)
def test_a_step_follows_the_gradient_of_the_cross_entropy(hidden: list[int]) -> None:
    rng = np.random.default_rng(3)
    rate, nudge = 1e-3, 1e-6
    mlp = Mlp(5, 4, rng, hidden=hidden, learning_rate=rate, dtype="float64")
    x, y = rng.normal(size=(1, 5)), 2
    before = dict(mlp.state())
    mlp.learn_many(x, np.array([y]))
    after = mlp.state()
    for name, weights in before.items():
        taken = (weights - after[name]) / rate
        for place in np.ndindex(weights.shape):
            sides = []
            for sign in (1, -1):
                nudged = {key: array.copy() for key, array in before.items()}
                nudged[name][place] += sign * nudge
                mlp.load(nudged)
                sides.append(loss(mlp, x, y))
            assert taken[place] == pytest.approx((sides[0] - sides[1]) / (2 * nudge), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=6), st.integers(0, 2**32 - 1))
def test_the_cut_into_chunks_does_not_matter(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 6)), rng.integers(3, size=30)
    x[rng.random(x.shape) < 0.3] = 0
    one, other = (Mlp(6, 3, np.random.default_rng(1), hidden=[9, 8]) for _ in range(2))
    for row in range(30):
        one.learn_many(x[row : row + 1], y[row : row + 1])
    edges = [0, *sorted(cuts), 30]
    for start, stop in pairwise(edges):
        other.learn_many(x[start:stop], y[start:stop])
    assert all(np.array_equal(one.state()[name], other.state()[name]) for name in one.state())


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("hidden", [[], [9, 8]], ids=str)
def test_each_row_is_answered_as_predict_would_just_before(optimizer: Any, hidden: list[int]) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(80, 6)), rng.integers(3, size=80)
    x[rng.random(x.shape) < 0.3] = 0
    # The first rows are answered by chance or by equal scores, the last ones by what was learned.
    one, other = (Mlp(6, 3, np.random.default_rng(1), hidden=hidden, optimizer=optimizer, learning_rate=0.02) for _ in range(2))
    wanted = []
    for row in range(80):
        wanted.append(int(one.predict(x[row : row + 1])[0]))
        one.learn_many(x[row : row + 1], y[row : row + 1])
    assert [*other.predict_then_learn(x[:33], y[:33]), *other.predict_then_learn(x[33:], y[33:])] == wanted
    assert len(set(wanted)) == 3
    assert all(np.array_equal(array, other.state()[name]) for name, array in one.state().items())
    assert other.predict_then_learn(x[:0], y[:0]).shape == (0,)


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_the_softmax_of_the_decision_function(classes: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.integers(classes, size=40)
    mlp = Mlp(5, classes, rng, hidden=[8])
    mlp.learn_many(x, y)
    scores = mlp.decision_function(x)
    assert scores.shape == ((40,) if classes == 2 else (40, 3))
    both = np.column_stack([np.zeros(40), scores]) if classes == 2 else scores
    assert mlp.predict_proba(x) == pytest.approx(softmax(both), abs=1e-12)
    for answer in (mlp.decision_function, mlp.predict_proba):
        with pytest.raises(NotFiniteError, match="row 1 of 2 overflows float32"):
            answer(np.array([[0.0] * 5, [1e300] * 5]))


def test_divergence_is_refused_and_leaves_what_was_known() -> None:
    rng = np.random.default_rng(0)
    mlp = Mlp(4, 3, rng, hidden=[8], learning_rate=0.05)
    mlp.learn_many(rng.normal(size=(20, 4)), rng.integers(3, size=20))
    before = mlp.state()
    with pytest.raises(NotFiniteError, match="diverged at row") as raised:
        mlp.learn_many(rng.normal(size=(50, 4)) * 1e18, rng.integers(3, size=50))
    assert "learning_rate" in str(raised.value)
    assert all(np.array_equal(before[name], array) for name, array in mlp.state().items())
    mlp.learn_many(rng.normal(size=(5, 4)), rng.integers(3, size=5))


def test_a_snapshot_with_a_nan_is_refused() -> None:
    mlp = Softmax(2, 2, np.random.default_rng(0))
    state = {name: array.copy() for name, array in mlp.state().items()}
    state["w0"][0, 0] = np.nan
    with pytest.raises(StateError, match="finite"):
        mlp.load(state)


def test_the_two_types_learn_alike() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)), rng.integers(3, size=200)
    single, double = (Mlp(5, 3, np.random.default_rng(2), hidden=[8], dtype=dtype) for dtype in ("float32", "float64"))
    single.learn_many(x, y)
    double.learn_many(x, y)
    assert single.predict_proba(x) == pytest.approx(double.predict_proba(x), abs=1e-4)
    assert {array.dtype.name for array in single.state().values()} == {"float32"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden": [0]},
        {"hidden": "64"},
        {"hidden": [2.5]},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"dtype": "int8"},
    ],
    ids=str,
)
def test_hyperparameters_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError) as raised:
        Mlp(2, 2, np.random.default_rng(0), **wrong)  # type: ignore[arg-type]  # wrong on purpose
    assert next(iter(wrong)) in str(raised.value)


def test_digits_are_learned_in_one_pass() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    rows = np.random.default_rng(0).permutation(1797)
    x, y = digits.data[rows] / 16, digits.target[rows]
    mlp = Mlp(64, 10, np.random.default_rng(0))
    mlp.learn_many(x[:1400], y[:1400])
    assert (mlp.predict(x[1400:]) == y[1400:]).mean() > 0.88


@given(st.lists(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3), max_size=5))
def test_softmax_never_overflows(scores: list[list[float]]) -> None:
    found = softmax(np.array(scores).reshape(-1, 3))
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(scores)))


SERVE = """
import sys, numpy as np
from estran.learning.registry import create
mlp = create("mlp", 4, 3, np.random.default_rng(0))
mlp.load(mlp.state())
mlp.predict_proba(np.zeros((2, 4)))
print([name for name in ("sklearn", "river", "duckdb", "pydantic") if name in sys.modules])
"""


def test_a_process_that_only_serves_imports_nothing_heavy_but_its_kernels() -> None:
    assert subprocess.run([sys.executable, "-c", SERVE], capture_output=True, text=True, check=True).stdout.strip() == "[]"


LEARN = """
import warnings, numpy as np
warnings.simplefilter("always")
from estran.learning.mlp import Mlp
Mlp.warm()
from estran.learning import mlp_kernel
print(type(mlp_kernel.learn.stats.cache_path).__name__, sum(mlp_kernel.learn.stats.cache_hits.values()))
"""


def test_machine_code_is_kept_and_found_again(tmp_path: Path) -> None:
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", LEARN], capture_output=True, text=True, env=env, check=True).stdout for _ in range(2)
    )
    assert first.split() == ["str", "0"]
    assert second.split() == ["str", "1"]
