"""What every learner must keep to: run these on your own before you hand it to an experiment.

::

    import numpy as np, pytest
    from estran.checks.learners import CHECKS
    from mylearners import Winnow

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_winnow(check):
        check(lambda features, classes, rng: Winnow(features, classes, rng, threshold=2.0))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.checks.comparing import assert_raises, assert_same_state, snapshot
from estran.learning.learner import Features, Labels, Learner, LearnerError, NotFiniteError, StateError

Make: TypeAlias = Callable[[int, int, np.random.Generator], Learner]
"""Makes a fresh learner: number of features, number of classes, source of all its randomness."""

_FEATURES, _CLASSES = 5, 3


def check_answers_before_learning(make: Make) -> None:
    """A fresh learner answers every row, with probabilities."""
    _assert_probabilities(_fresh(make).predict_proba(_rows(7)), 7)


def check_probabilities(make: Make) -> None:
    """Probabilities have shape (n, classes), are from 0 to 1 and sum to 1; also for no rows and for one."""
    learner = _taught(make)
    for n in (0, 1, 9):
        _assert_probabilities(learner.predict_proba(_rows(n)), n)


def check_predict_is_most_probable(make: Make) -> None:
    """``predict`` is the arg max of ``predict_proba``, as int64."""
    learner, rows = _taught(make), _rows(20)
    answers = learner.predict(rows)
    assert answers.shape == (20,), f"predict() of 20 rows has shape {answers.shape}"
    assert answers.dtype == np.int64, f"predict() returns {answers.dtype}"
    assert np.array_equal(answers, learner.predict_proba(rows).argmax(axis=1)), "predict() is not the most probable class"


def check_chunks_equal_rows(make: Make) -> None:
    """However a stream is cut into chunks, the same is learned, bit for bit."""
    x, y = _blobs(40)
    whole, cut, single = _fresh(make), _fresh(make), _fresh(make)
    whole.learn_many(x, y)
    for start, stop in ((0, 1), (1, 8), (8, 8), (8, 40)):
        cut.learn_many(x[start:stop], y[start:stop])
    for i in range(40):
        single.learn_many(x[i : i + 1], y[i : i + 1])
    _assert_same(whole, cut)
    _assert_same(whole, single)


def check_same_seed_same_learner(make: Make) -> None:
    """Two learners from generators of one seed, taught alike, are alike."""
    _assert_same(_taught(make), _taught(make))


def check_predicting_changes_nothing(make: Make) -> None:
    """Answers neither change what is known nor what is learned next."""
    asked, left = _taught(make), _taught(make)
    for _ in range(3):
        asked.predict_proba(_rows(5))
        asked.predict(_rows(5))
    x, y = _blobs(10, seed=5)
    asked.learn_many(x, y)
    left.learn_many(x, y)
    _assert_same(asked, left)


def check_inputs_are_left_alone(make: Make) -> None:
    """Rows and labels are not written to, and may be read-only, of another float type, or not contiguous."""
    x, y = _blobs(40)
    kept = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    learner, other = _fresh(make), _fresh(make)
    learner.learn_many(x, y)
    learner.predict_proba(x)
    assert np.array_equal(x, kept[0]), "learning changed the rows"
    assert np.array_equal(y, kept[1]), "learning changed the labels"
    other.learn_many(np.asfortranarray(np.repeat(x, 2, axis=0))[::2], np.repeat(y, 2)[::2])
    _assert_same(learner, other)
    learner.predict_proba(x.astype(np.float32))


def check_refuses_what_does_not_fit(make: Make) -> None:
    """What does not fit raises a `LearnerError`, NaN and infinities a `NotFiniteError`; nothing is learned from them."""
    x, y = _blobs(6)
    nan, inf = x.copy(), x.copy()
    nan[3, 1], inf[5, 0] = np.nan, np.inf
    learner, untouched = _taught(make), _taught(make)
    for rows, labels, wanted in (
        (x[:, :-1], y, LearnerError),
        (x, y[:-1], LearnerError),
        (x, y + _CLASSES, LearnerError),
        (x, y - _CLASSES, LearnerError),
        (nan, y, NotFiniteError),
        (inf, y, NotFiniteError),
    ):
        assert_raises(wanted, partial(learner.learn_many, rows, labels))
    assert_raises(LearnerError, lambda: learner.predict_proba(x[:, :-1]))
    assert_raises(NotFiniteError, lambda: learner.predict_proba(nan))
    _assert_same(learner, untouched)


def check_learns(make: Make) -> None:
    """Three well-parted clouds are told apart after two hundred rows."""
    learner = _fresh(make)
    learner.learn_many(*_blobs(200))
    x, y = _blobs(300, seed=9)
    right = float((learner.predict(x) == y).mean())
    assert right > 0.9, f"only {right:.0%} right on clouds that are far apart"


def check_snapshot(make: Make) -> None:
    """A snapshot is numeric arrays, shares no memory, and lets another learner answer and go on learning alike.

    A learner that has no form as arrays may refuse with a `StateError` that says what to do instead.
    """
    learner = _taught(make)
    state = snapshot(learner)
    if state is None:
        return
    frozen = {name: np.array(array) for name, array in state.items()}
    assert all(isinstance(array, np.ndarray) and array.dtype.kind in "biufc" for array in state.values()), (
        "a state is numeric arrays"
    )
    other = make(_FEATURES, _CLASSES, np.random.default_rng(99))
    other.load(state)
    _assert_same(learner, other)
    x, y = _blobs(30, seed=3)
    learner.learn_many(x, y)
    assert all(np.array_equal(state[name], frozen[name], equal_nan=True) for name in frozen), (
        "a snapshot changed as learning went on"
    )
    other.learn_many(x, y)
    _assert_same(learner, other)


def check_refuses_foreign_snapshots(make: Make) -> None:
    """A snapshot of a learner of another width raises a `StateError`, and leaves what is known."""
    learner, untouched = _taught(make), _taught(make)
    wide = make(_FEATURES + 1, _CLASSES, np.random.default_rng(1))
    wide.learn_many(np.zeros((4, _FEATURES + 1)), np.array([0, 1, 2, 0]))
    try:
        foreign = dict(wide.state())
    except StateError:
        return
    assert_raises(StateError, lambda: learner.load({**foreign, "no such part": np.zeros(1)}))
    assert_raises(StateError, lambda: learner.load(dict(list(foreign.items())[1:])))
    _assert_same(learner, untouched)


CHECKS: Final[tuple[Callable[[Make], None], ...]] = (
    check_answers_before_learning,
    check_probabilities,
    check_predict_is_most_probable,
    check_chunks_equal_rows,
    check_same_seed_same_learner,
    check_predicting_changes_nothing,
    check_inputs_are_left_alone,
    check_refuses_what_does_not_fit,
    check_learns,
    check_snapshot,
    check_refuses_foreign_snapshots,
)


def check_learner(make: Make) -> None:
    """Run all checks.

    Raises
    ------
    AssertionError
        At the first promise that is not kept.
    """
    for check in CHECKS:
        check(make)


def _blobs(n: int, seed: int = 0) -> tuple[Features, Labels]:
    """Clouds around far-apart corners; never negative, for learners that count."""
    rng = np.random.default_rng(seed)
    y = rng.integers(_CLASSES, size=n)
    centres = np.eye(_CLASSES, _FEATURES) * 3 + 1
    return np.clip(centres[y] + rng.normal(scale=0.3, size=(n, _FEATURES)), 0, None), y


def _rows(n: int) -> Features:
    return _blobs(n, seed=7)[0]


def _fresh(make: Make) -> Learner:
    return make(_FEATURES, _CLASSES, np.random.default_rng(42))


def _taught(make: Make) -> Learner:
    learner = _fresh(make)
    learner.learn_many(*_blobs(50))
    return learner


def _assert_probabilities(found: NDArray[np.float64], n: int) -> None:
    assert found.shape == (n, _CLASSES), f"predict_proba() of {n} rows has shape {found.shape}"
    assert found.dtype == np.float64, f"predict_proba() returns {found.dtype}"
    assert ((found >= 0) & (found <= 1)).all(), "probabilities are not all from 0 to 1"
    assert np.allclose(found.sum(axis=1), 1), "probabilities do not sum to 1"


def _assert_same(one: Learner, other: Learner) -> None:
    assert np.array_equal(one.predict_proba(_rows(30)), other.predict_proba(_rows(30))), (
        "two learners that should be alike answer differently"
    )
    assert_same_state(one, other)
