"""Hedge Backpropagation: its gradients, its shares, its guards, and that depth does no harm."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.learning import registry
from estran.learning.deep.hbp import HedgeBackprop
from estran.learning.learner import LearnerError, NotFiniteError, StateError
from estran.learning.mlp import Mlp

State = dict[str, np.ndarray]


def make(features: int = 4, classes: int = 3, seed: int = 3, **settings: Any) -> HedgeBackprop:
    chosen = {"depth": 3, "width": 5, "dtype": "float64", **settings}
    return HedgeBackprop(features, classes, np.random.default_rng(seed), **chosen)


def softmax(scores: np.ndarray) -> np.ndarray:
    odds = np.exp(scores - scores.max())
    return odds / odds.sum()


def judged(state: State, x: np.ndarray, depth: int) -> list[np.ndarray]:
    """What every classifier says of a row, from the paper's definition."""
    h, answers = x, [softmax(x @ state["theta0"] + state["c0"])]
    for layer in range(1, depth + 1):
        h = np.maximum(0, h @ state[f"w{layer}"] + state[f"b{layer}"])
        answers.append(softmax(h @ state[f"theta{layer}"] + state[f"c{layer}"]))
    return answers


def losses(state: State, x: np.ndarray, y: int, depth: int) -> np.ndarray:
    return np.array([-np.log(odds[y]) for odds in judged(state, x, depth)])


def step(learner: HedgeBackprop, x: np.ndarray, y: int) -> tuple[State, State]:
    before = dict(learner.state())
    learner.learn_many(x[None], np.array([y]))
    return before, dict(learner.state())


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("features", [3, 8], ids=["narrow", "wide"])
def test_a_step_follows_the_gradient_of_the_losses_weighted_by_their_shares(depth: int, features: int) -> None:
    rng = np.random.default_rng(depth)
    rate, nudge = 1e-3, 1e-6
    learner = make(features, depth=depth, learning_rate=rate)
    alpha = rng.dirichlet(np.ones(depth + 1))
    state = {**learner.state(), "alpha": alpha}
    for name in state:
        if name[0] in "bc":
            state[name] = rng.normal(size=state[name].shape) * 0.3
    learner.load(state)
    x, y = rng.normal(size=features), 2
    before, after = step(learner, x, y)
    for name in before.keys() - {"alpha"}:
        taken = (before[name] - after[name]) / rate
        wanted = np.empty_like(taken)
        for place in np.ndindex(taken.shape):
            sides = []
            for sign in (1, -1):
                nudged = {**before, name: before[name].copy()}
                nudged[name][place] += sign * nudge
                # Θ⁽ˡ⁾ is in one loss only and W⁽ˡ⁾ in those from l on, so that the weighted sum has both gradients.
                sides.append(alpha @ losses(nudged, x, y, depth))
            wanted[place] = (sides[0] - sides[1]) / (2 * nudge)
        assert taken == pytest.approx(wanted, abs=1e-6), name
        assert np.abs(wanted).max() > 1e-4 or name[0] in "wb", f"{name} should matter"


def test_the_answer_is_the_weighted_sum_of_all_classifiers() -> None:
    learner = make(features=6)
    rng = np.random.default_rng(0)
    learner.learn_many(rng.normal(size=(50, 6)), rng.integers(3, size=50))
    x = rng.normal(size=(20, 6))
    wanted = [learner.alphas @ np.array(judged(dict(learner.state()), row, 3)) for row in x]
    assert learner.predict_proba(x) == pytest.approx(np.array(wanted), abs=1e-12)


@pytest.mark.parametrize("scaled", [False, True], ids=["as-written", "as-programmed"])
def test_shares_move_as_the_formula_says(scaled: bool) -> None:
    beta, s, depth = 0.7, 0.3, 3
    learner = make(beta=beta, s=s, scale_losses=scaled, learning_rate=0.1)
    rng, held = np.random.default_rng(1), 0
    assert learner.alphas == pytest.approx(np.full(4, 1 / 4))
    for _ in range(60):
        x, y = rng.normal(size=4), int(rng.integers(3))
        before, after = step(learner, x, y)
        loss = losses(before, x, y, depth)
        if scaled:
            loss = (loss - loss.min()) / (loss.max() - loss.min())
        free = before["alpha"] * beta**loss
        wanted = np.maximum(free, s / depth)
        held += (free < s / depth).sum()
        assert after["alpha"] == pytest.approx(wanted / wanted.sum(), rel=1e-12)
    assert held, "the floor was never reached, so it was not tested"


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6),
    st.floats(0.01, 0.999),
    st.floats(0, 0.99),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_shares_sum_to_one_and_none_is_lost(depth: int, beta: float, s: float, scaled: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    learner = make(depth=depth, beta=beta, s=s, scale_losses=scaled, dtype="float32", learning_rate=0.05)
    for _ in range(5):
        learner.learn_many(rng.normal(size=(10, 4)), rng.integers(3, size=10))
        assert learner.alphas.sum() == pytest.approx(1, abs=1e-12)
        # The floor holds before normalisation, by 1 plus all floors at the most.
        floor = s / depth
        assert learner.alphas.min() >= floor / (1 + (depth + 1) * floor) - 1e-15


def test_without_a_floor_hopeless_losses_do_not_divide_by_zero() -> None:
    learner = make(beta=1e-6, s=0, learning_rate=1e-9)
    state = {name: array * 300 if name.startswith("theta") else array for name, array in learner.state().items()}
    learner.load(state)
    x, hopeless = np.random.default_rng(0).normal(size=4), 0
    for y in range(3):
        before, after = step(learner, x, y)
        loss = losses(before, x, y, 3)
        hopeless += (1e-6 ** loss[before["alpha"] > 0] == 0).all()
        with np.errstate(divide="ignore"):
            wanted = softmax(np.log(before["alpha"]) + loss * np.log(1e-6))
        assert after["alpha"] == pytest.approx(wanted, abs=1e-12)
    assert hopeless, "the formula as it stands should have divided by zero"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=6), st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float64"]))
def test_the_cut_into_chunks_does_not_matter(cuts: list[int], seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 4)), rng.integers(3, size=30)
    x[rng.random(x.shape) < 0.3] = 0
    one, other = (make(width=9, dtype=dtype, learning_rate=0.05) for _ in range(2))
    said = []
    for row in range(30):
        said.append(one.predict(x[row : row + 1])[0])
        one.learn_many(x[row : row + 1], y[row : row + 1])
    heard = [other.predict_then_learn(x[start:stop], y[start:stop]) for start, stop in pairwise([0, *sorted(cuts), 30])]
    assert np.concatenate(heard).tolist() == said
    assert all(np.array_equal(one.state()[name], other.state()[name]) for name in one.state())


def test_rows_are_answered_alike_alone_and_together() -> None:
    learner = make(features=7, dtype="float32")
    x = np.random.default_rng(0).normal(size=(50, 7))
    together = learner.predict_proba(x)
    assert all(np.array_equal(together[i], learner.predict_proba(x[i : i + 1])[0]) for i in range(50))


@pytest.mark.parametrize("depth", [1, 4])
def test_with_all_shares_on_the_last_classifier_it_is_a_plain_perceptron(depth: int) -> None:
    rng = np.random.default_rng(5)
    mlp = Mlp(6, 3, rng, hidden=[8] * depth, learning_rate=0.1, dtype="float64")
    deep = make(features=6, depth=depth, width=8, s=0, learning_rate=0.1)
    shares = np.zeros(depth + 1)
    shares[-1] = 1
    weights = mlp.state()
    state = {**deep.state(), "alpha": shares}
    for layer in range(depth):
        state |= {f"w{layer + 1}": weights[f"w{layer}"], f"b{layer + 1}": weights[f"b{layer}"]}
    state |= {f"theta{depth}": weights[f"w{depth}"], f"c{depth}": weights[f"b{depth}"]}
    deep.load(state)
    x, y = rng.normal(size=(200, 6)), rng.integers(3, size=200)
    mlp.learn_many(x, y)
    deep.learn_many(x, y)
    assert deep.alphas.tolist() == shares.tolist()
    assert deep.predict_proba(x) == pytest.approx(mlp.predict_proba(x), abs=1e-9)
    for name in ("theta0", "c0"):
        assert np.array_equal(deep.state()[name], state[name]), "a classifier without a share does not learn"


def test_divergence_is_refused_and_leaves_what_was_known() -> None:
    rng = np.random.default_rng(0)
    learner = make()
    learner.learn_many(rng.normal(size=(20, 4)), rng.integers(3, size=20))
    before = learner.state()
    with pytest.raises(NotFiniteError, match="diverged at row") as raised:
        learner.learn_many(rng.normal(size=(50, 4)) * 1e160, rng.integers(3, size=50))
    assert "hbp" in str(raised.value)
    assert "learning_rate" in str(raised.value)
    assert all(np.array_equal(before[name], array) for name, array in learner.state().items())


@pytest.mark.parametrize(("dtype", "huge"), [("float32", 3e38), ("float32", 1e300), ("float64", 1e308)])
def test_rows_that_overflow_are_refused_not_answered_with_nan(dtype: str, huge: float) -> None:
    learner = make(dtype=dtype, width=30)
    x = np.random.default_rng(0).normal(size=(40, 4))
    x[23] = huge * np.array([1, -1, 1, 1])
    with pytest.raises(NotFiniteError, match="row 23 of 40 overflows"):
        learner.predict_proba(x)


def test_bad_chunks_name_the_learner_and_change_nothing() -> None:
    learner = make()
    before = learner.state()
    for x, y in (
        (np.zeros((2, 3)), np.array([0, 1])),
        (np.zeros((2, 4)), np.array([0, 3])),
        (np.zeros((2, 4)), np.array([0.5, 1])),
        (np.full((2, 4), np.nan), np.array([0, 1])),
    ):
        with pytest.raises(LearnerError, match="hbp"):
            learner.predict_then_learn(x, y)
    assert learner.predict_then_learn(np.zeros((0, 4)), np.zeros(0, dtype=int)).shape == (0,)
    assert all(np.array_equal(before[name], array) for name, array in learner.state().items())


@pytest.mark.parametrize("alpha", [[0.5, 0.5, 0.5, 0.5], [1.5, -0.5, 0, 0]], ids=str)
def test_shares_that_are_none_are_refused(alpha: list[float]) -> None:
    learner = make()
    before = learner.alphas
    with pytest.raises(StateError, match="alpha"):
        learner.load({**learner.state(), "alpha": np.array(alpha)})
    assert np.array_equal(learner.alphas, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 0},
        {"depth": 2.0},
        {"width": True},
        {"learning_rate": -1},
        {"beta": 1.0},
        {"beta": 0},
        {"s": 1.0},
        {"s": float("nan")},
        {"scale_losses": 1},
        {"dtype": "int8"},
    ],
    ids=str,
)
def test_hyperparameters_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError) as raised:
        registry.create({"hbp": wrong}, 2, 2, np.random.default_rng(0))
    assert next(iter(wrong)) in str(raised.value)
    assert "hbp" in str(raised.value)


def cumulative_error(choice: dict[str, Any], seed: int) -> float:
    """Of the second half of a stream in which two features only count together."""
    x = np.random.default_rng(seed).normal(size=(4000, 10))
    y = (x[:, 0] * x[:, 1] + 0.5 * x[:, 2] > 0).astype(int)
    learner, said = registry.create(choice, 10, 2, np.random.default_rng(seed + 1)), []
    for start in range(0, 4000, 20):
        said.append(learner.predict(x[start : start + 20]))
        learner.learn_many(x[start : start + 20], y[start : start + 20])
    return float((np.concatenate(said)[2000:] != y[2000:]).mean())


def test_a_network_that_is_too_deep_learns_better_than_by_plain_backpropagation() -> None:
    plain, hedged = (
        np.mean([cumulative_error(choice, seed) for seed in range(3)])
        for choice in ({"mlp": {"hidden": [20] * 24, "learning_rate": 0.01}}, {"hbp": {"depth": 24, "width": 20}})
    )
    assert hedged < plain - 0.05


def test_initial_weights_are_he_s_or_uniform_within_one_over_the_root_of_inputs() -> None:
    for initial, bound in (("he", 6**0.5), ("uniform", 1.0)):
        for learner in (
            make(features=40, depth=2, width=60, initial=initial),
            Mlp(40, 3, np.random.default_rng(0), hidden=[60, 60], initial=initial),
        ):
            state = learner.state()
            matrices = {name: part for name, part in state.items() if part.ndim == 2}
            for name, part in matrices.items():
                assert 0.9 < np.abs(part).max() * len(part) ** 0.5 / bound <= 1.0001, name
            biases = np.concatenate([part for name, part in state.items() if name[0] in "bc"])
            assert (initial == "uniform") == bool(biases.any())
            assert np.abs(biases).max() <= 40**-0.5
    for kind in (HedgeBackprop, Mlp):
        with pytest.raises(RequestError, match="give he or uniform"):
            kind(2, 2, np.random.default_rng(0), initial="glorot")
