"""Continual learners as learners: conformance, minibatches however the stream is cut, failure, and what they are for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.checks import learners as checks
from estran.checks.comparing import assert_same_state
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.continual import learn_in_turn, split
from estran.learning.learner import LearnerError, NotFiniteError, StateError
from estran.learning.rehearsal.buffer import POLICIES, Memories

REHEARSING = ("er", "er-ace", "der++", "a-gem")
STEPPING = ("naive", *REHEARSING, "lwf", "ewc")
ALL = (*STEPPING, "gdumb")
SMALL: dict[str, dict[str, Any]] = {name: {"hidden": [9]} for name in ALL}
SMALL["gdumb"]["epochs"] = 20
SMALL["lwf"]["apart"] = 0
SMALL["ewc"]["boundary"] = 20
for name in REHEARSING:
    SMALL[name] |= {"buffer": 15, "representatives": 6, "candidates": 7}


def made(name: str, features: int = 5, classes: int = 3, seed: int = 0, **options: Any) -> Any:
    return registry.create({name: {**SMALL[name], **options}}, features, classes, np.random.default_rng(seed))


def blobs(n: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    return np.eye(3, 5)[y] * 2 + rng.normal(scale=0.3, size=(n, 5)), y


@pytest.mark.parametrize("name", ALL)
def test_conformance(name: str) -> None:
    checks.check_learner(lambda features, classes, rng: registry.create({name: SMALL[name]}, features, classes, rng))


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(STEPPING), cuts=st.lists(st.integers(0, 64), max_size=6), policy=st.sampled_from(POLICIES))
def test_a_stream_may_be_cut_anywhere(name: str, cuts: list[int], policy: Any) -> None:
    options = {"policy": policy} if name in REHEARSING else {}
    whole, cut = made(name, **options), made(name, **options)
    x, y = blobs(64)
    answers = whole.predict_then_learn(x, y)
    ends = [0, *sorted(cuts), 64]
    parts = [cut.predict_then_learn(x[start:stop], y[start:stop]) for start, stop in pairwise(ends)]
    assert np.array_equal(np.concatenate(parts), answers)
    assert whole.waiting == cut.waiting == 4
    assert_same_state(whole, cut)


@pytest.mark.parametrize("name", STEPPING)
def test_each_row_is_answered_as_predict_would_just_before(name: str) -> None:
    one, other = made(name), made(name)
    x, y = blobs(47)
    wanted = []
    for row in range(47):
        wanted.append(int(one.predict(x[row : row + 1])[0]))
        one.learn_many(x[row : row + 1], y[row : row + 1])
    assert other.predict_then_learn(x, y).tolist() == wanted


@pytest.mark.parametrize("name", STEPPING)
def test_divergence_is_named_and_leaves_what_was_known(name: str) -> None:
    learner, untouched = made(name), made(name)
    for each in (learner, untouched):
        each.learn_many(*blobs(33))
    x, y = blobs(60, seed=1)
    # Rows on both sides, so that units that one of them silences answer the other.
    x[30:] *= np.where(np.arange(30) % 2, 1e25, -1e25)[:, None]
    with pytest.raises(NotFiniteError, match="diverged at row") as raised:
        learner.learn_many(x, y)
    assert "learning_rate" in str(raised.value)
    assert_same_state(learner, untouched)
    for each in (learner, untouched):
        each.learn_many(*blobs(40, seed=2))
    assert_same_state(learner, untouched)


@pytest.mark.parametrize("name", ALL)
def test_a_value_beyond_float32_is_refused_before_it_is_kept(name: str) -> None:
    learner, untouched = made(name), made(name)
    with pytest.raises(NotFiniteError, match="row 2 of 4 overflows float32"):
        learner.learn_many(np.array([[0.0] * 5, [1.0] * 5, [1e300] * 5, [0.0] * 5]), np.array([0, 1, 2, 0]))
    assert_same_state(learner, untouched)


def test_gdumb_names_divergence() -> None:
    learner = made("gdumb", learning_rate=1e6)
    x, y = blobs(40)
    learner.learn_many(x * 1e12, y)
    with pytest.raises(NotFiniteError, match="diverged in epoch") as raised:
        learner.predict(x)
    assert "learning_rate" in str(raised.value)


def test_gdumb_answers_the_same_whenever_it_was_asked() -> None:
    asked, left = made("gdumb"), made("gdumb")
    for start in range(0, 60, 20):
        x, y = blobs(20, seed=start)
        for each in (asked, left):
            each.learn_many(x, y)
        asked.predict(x)
    assert_same_state(asked, left)


@pytest.mark.parametrize("name", ALL)
def test_weights_alone_make_a_perceptron_that_answers_alike(name: str) -> None:
    learner, (x, y) = made(name), blobs(50)
    learner.learn_many(x, y)
    served = registry.create({"mlp": {"hidden": [9]}}, 5, 3, np.random.default_rng(7))
    served.load(learner.weights())
    assert np.array_equal(served.predict_proba(x), learner.predict_proba(x))


@pytest.mark.parametrize("name", REHEARSING)
def test_representatives_from_elsewhere_take_the_place_of_own_ones(name: str) -> None:
    own, given_them = made(name, candidates=None, policy="fifo"), made(name, candidates=None, policy="fifo")
    x, y = blobs(10)
    for each in (own, given_them):
        each.learn_many(x, y)
    # What the first learner is about to draw, the second is handed.
    twin = made(name, candidates=None, policy="fifo", seed=1)
    twin.load(own.state())
    drawn = [twin.buffer.memories(twin.buffer.draw(6)) for _ in range(own.draws)]
    more, labels = blobs(10, seed=1)
    own.learn_many(more, labels)
    given_them.learn_beside(more, labels, drawn)
    for part in ("w0", "b0", "w1", "b1", "buffer.x", "buffer.labels", "buffer.scores"):
        assert np.array_equal(own.state()[part], given_them.state()[part]), part


def test_representatives_that_do_not_fit_are_refused() -> None:
    learner, (x, y) = made("er"), blobs(10)
    before = learner.state()
    fine = Memories(np.zeros((2, 5), np.float32), np.zeros(2, np.int64), np.zeros((2, 0), np.float32))
    many = Memories(np.zeros((7, 5), np.float32), np.zeros(7, np.int64), np.zeros((7, 0), np.float32))
    narrow = Memories(np.zeros((2, 4), np.float32), np.zeros(2, np.int64), np.zeros((2, 0), np.float32))
    poisoned = Memories(np.full((2, 5), np.nan, np.float32), np.zeros(2, np.int64), np.zeros((2, 0), np.float32))
    for rows, labels, representatives in (
        (x[:9], y[:9], [fine]),
        (x, y, []),
        (x, y, [many]),
        (x, y, [narrow]),
        (x, y, [poisoned]),
        (x, y + 3, [fine]),
    ):
        with pytest.raises(LearnerError):
            learner.learn_beside(rows, labels, representatives)
    scoreless = made("der++")
    with pytest.raises(LearnerError, match="scores"):
        scoreless.learn_beside(x, y, [fine, fine])
    hasty = made("er", learning_rate=1e38)
    untouched = hasty.state()
    with pytest.raises(NotFiniteError, match="diverged"):
        hasty.learn_beside(x * 1e9, y, [fine])
    assert all(np.array_equal(array, untouched[part]) for part, array in hasty.state().items())
    assert all(np.array_equal(array, before[part]) for part, array in learner.state().items())
    learner.learn_beside(x, y, [fine])
    assert learner.buffer.offered == 7


@pytest.mark.parametrize("name", [*REHEARSING, "gdumb"])
def test_a_buffer_smaller_than_the_number_of_classes_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="smaller than the number of classes, 3"):
        made(name, buffer=2)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("er", {"batch": 0}),
        ("er", {"representatives": 0}),
        ("er", {"candidates": 2.5}),
        ("der++", {"alpha": -1}),
        ("lwf", {"temperature": 0}),
        ("lwf", {"boundary": "task"}),
        ("ewc", {"boundary": 0}),
        ("ewc", {"gamma": 1.5}),
        ("ewc", {"weight": float("nan")}),
        ("gdumb", {"epochs": 0}),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as raised:
        made(name, **wrong)
    assert next(iter(wrong)) in str(raised.value)


@pytest.mark.parametrize("name", ALL)
def test_a_snapshot_that_does_not_fit_is_refused(name: str) -> None:
    learner = made(name)
    learner.learn_many(*blobs(33))
    good = dict(learner.state())
    for part in good:
        for wrong in ({key: array for key, array in good.items() if key != part}, {**good, part: np.zeros((2, 2, 2))}):
            with pytest.raises(StateError):
                learner.load(wrong)
    for part in ("waiting.labels", "tasks.passed", "tasks.importance.w0", "buffer.labels", "seed"):
        if part in good:
            with pytest.raises(StateError):
                learner.load({**good, part: -good[part] - 100})
    assert all(np.array_equal(array, learner.state()[part]) for part, array in good.items())


def test_rehearsal_keeps_digits_that_plain_learning_forgets() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(1797)
    x, y = digits.data[order] / 16, digits.target[order]
    tasks = split((x[:1400], y[:1400]), (x[1400:], y[1400:]))
    found = {}
    for name in ALL:
        options = {"buffer": 200} if name in (*REHEARSING, "gdumb") else {}
        learner = registry.create({name: {"hidden": [100], **options}}, 64, 10, np.random.default_rng(1))
        found[name] = learn_in_turn(learner, tasks, np.random.default_rng(2))
    accuracy = {name: scores.average_accuracy for name, scores in found.items()}
    assert accuracy["naive"] < 0.25
    assert found["naive"].forgetting > 0.8
    assert all(accuracy[name] > 0.6 for name in ("er", "er-ace", "der++", "gdumb")), accuracy
    assert found["er-ace"].forgetting < found["er"].forgetting < found["naive"].forgetting


def test_consolidation_forgets_less_where_labels_mean_the_same() -> None:
    """Two tasks on different features, one output: weights that mattered to the first are free to stay."""
    rng = np.random.default_rng(0)
    tasks = []
    for task in range(2):
        x = np.zeros((900, 20))
        x[:, 10 * task : 10 * task + 10] = rng.normal(size=(900, 10))
        x[:, -1] += 1
        tasks.append((x, (x[:, 10 * task : 10 * task + 3].sum(1) > (task == 1) * 2 - 1).astype(np.int64)))
    kept = {}
    for name, options in (("naive", {}), ("ewc", {"boundary": 900, "weight": 100.0})):
        learner = registry.create({name: {"hidden": [30], "learning_rate": 0.3, **options}}, 20, 2, np.random.default_rng(1))
        for x, y in tasks:
            learner.learn_many(x, y)
        kept[name] = float((learner.predict(tasks[0][0]) == tasks[0][1]).mean())
    assert kept["ewc"] > kept["naive"]
