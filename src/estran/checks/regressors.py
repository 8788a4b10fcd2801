"""What every regressor must keep to: run these on your own before you hand it to a study.

::

    import numpy as np, pytest
    from estran.checks.regressors import CHECKS
    from mylearners import Kernel

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_kernel(check):
        check(lambda features, rng: Kernel(features, rng, width=2.0))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from estran.checks.comparing import assert_raises, assert_same_state, snapshot
from estran.learning.learner import Features, LearnerError, NotFiniteError, StateError
from estran.learning.regression.regressor import Regressor
from estran.learning.regression.rows import Numbers

Make: TypeAlias = Callable[[int, np.random.Generator], Regressor]
"""Makes a fresh regressor: number of features, source of all its randomness."""

_FEATURES = 5


def check_answers(make: Make) -> None:
    """Every row is answered, before and after learning, with a finite float64; also no rows and one."""
    for regressor in (_fresh(make), _taught(make)):
        for n in (0, 1, 9):
            _assert_numbers(regressor.predict(_rows(n)), n)


def check_chunks_equal_rows(make: Make) -> None:
    """However a stream is cut into chunks, the same is learned, bit for bit."""
    x, y = _line(40)
    whole, cut, single = _fresh(make), _fresh(make), _fresh(make)
    whole.learn_many(x, y)
    for start, stop in ((0, 1), (1, 8), (8, 8), (8, 40)):
        cut.learn_many(x[start:stop], y[start:stop])
    for i in range(40):
        single.learn_many(x[i : i + 1], y[i : i + 1])
    _assert_same(whole, cut)
    _assert_same(whole, single)


def check_one_call_equals_two(make: Make) -> None:
    """``predict_then_learn`` answers what ``predict`` says of each row before it is learned from, and learns as ``learn_many``."""
    x, y = _line(40)
    one, two = _fresh(make), _fresh(make)
    answers = np.concatenate([one.predict_then_learn(x[:15], y[:15]), one.predict_then_learn(x[15:], y[15:])])
    _assert_numbers(answers, 40)
    _assert_numbers(one.predict_then_learn(x[:0], y[:0]), 0)
    for i in range(40):
        assert two.predict(x[i : i + 1])[0] == answers[i], f"predict_then_learn() answers row {i} otherwise than predict()"
        two.learn_many(x[i : i + 1], y[i : i + 1])
    _assert_same(one, two)


def check_same_seed_same_regressor(make: Make) -> None:
    """Two regressors from generators of one seed, taught alike, are alike."""
    _assert_same(_taught(make), _taught(make))


def check_predicting_changes_nothing(make: Make) -> None:
    """Answers neither change what is known nor what is learned next."""
    asked, left = _taught(make), _taught(make)
    for _ in range(3):
        asked.predict(_rows(5))
    x, y = _line(10, seed=5)
    asked.learn_many(x, y)
    left.learn_many(x, y)
    _assert_same(asked, left)


def check_inputs_are_left_alone(make: Make) -> None:
    """Rows and targets are not written to, and may be read-only, of another numeric type, or not contiguous."""
    x, y = _line(40)
    y = y.round()
    kept = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    one, other, whole = _fresh(make), _fresh(make), _fresh(make)
    one.learn_many(x, y)
    one.predict(x)
    assert np.array_equal(x, kept[0]), "learning changed the rows"
    assert np.array_equal(y, kept[1]), "learning changed the targets"
    other.learn_many(np.asfortranarray(np.repeat(x, 2, axis=0))[::2], np.repeat(y, 2)[::2])
    _assert_same(one, other)
    whole.learn_many(x, y.astype(np.int32))
    _assert_same(one, whole)
    one.predict(x.astype(np.float32))


def check_refuses_what_does_not_fit(make: Make) -> None:
    """What does not fit raises a `LearnerError`, NaN and infinities a `NotFiniteError`; nothing is learned from them."""
    x, y = _line(6)
    nan, inf, unknown, endless = x.copy(), x.copy(), y.copy(), y.copy()
    nan[3, 1], inf[5, 0], unknown[4], endless[0] = np.nan, np.inf, np.nan, -np.inf
    regressor, untouched = _taught(make), _taught(make)
    refused: tuple[tuple[Any, Any, type[Exception]], ...] = (
        (x[:, :-1], y, LearnerError),
        (x, y[:-1], LearnerError),
        (x, y[:, None], LearnerError),
        (x, y.astype(str), LearnerError),
        (nan, y, NotFiniteError),
        (inf, y, NotFiniteError),
        (x, unknown, NotFiniteError),
        (x, endless, NotFiniteError),
    )
    for rows, targets, wanted in refused:
        assert_raises(wanted, partial(regressor.learn_many, rows, targets))
        assert_raises(wanted, partial(regressor.predict_then_learn, rows, targets))
    assert_raises(LearnerError, lambda: regressor.predict(x[:, :-1]))
    assert_raises(NotFiniteError, lambda: regressor.predict(nan))
    _assert_same(regressor, untouched)


def check_learns(make: Make) -> None:
    """After 500 rows of a linear function with little noise, answers err less than half of what the mean would."""
    regressor = _fresh(make)
    regressor.learn_many(*_line(500))
    x, y = _line(300, seed=9)
    error, spread = float(np.abs(regressor.predict(x) - y).mean()), float(np.abs(y - y.mean()).mean())
    assert error < spread / 2, f"errs by {error:.2g} where the mean errs by {spread:.2g}, on a linear function"


def check_snapshot(make: Make) -> None:
    """A snapshot is numeric arrays, shares no memory, and lets another regressor answer and go on learning alike.

    A regressor that has no form as arrays may refuse with a `StateError` that says what to do instead.
    """
    regressor = _taught(make)
    state = snapshot(regressor)
    if state is None:
        return
    frozen = {name: np.array(array) for name, array in state.items()}
    assert all(isinstance(array, np.ndarray) and array.dtype.kind in "biufc" for array in state.values()), (
        "a state is numeric arrays"
    )
    other = make(_FEATURES, np.random.default_rng(99))
    other.load(state)
    _assert_same(regressor, other)
    x, y = _line(30, seed=3)
    regressor.learn_many(x, y)
    regressor.learn_many(x, y)
    assert all(np.array_equal(state[name], frozen[name], equal_nan=True) for name in frozen), (
        "a snapshot changed as learning went on"
    )
    other.learn_many(x, y)
    other.learn_many(x, y)
    _assert_same(regressor, other)


def check_refuses_foreign_snapshots(make: Make) -> None:
    """A snapshot with a part too many or too few raises a `StateError`, and leaves what is known."""
    regressor, untouched = _taught(make), _taught(make)
    wide = make(_FEATURES + 1, np.random.default_rng(1))
    wide.learn_many(np.zeros((4, _FEATURES + 1)), np.zeros(4))
    try:
        foreign = dict(wide.state())
    except StateError:
        return
    assert_raises(StateError, lambda: regressor.load({**foreign, "no such part": np.zeros(1)}))
    assert_raises(StateError, lambda: regressor.load(dict(list(foreign.items())[1:])))
    _assert_same(regressor, untouched)


CHECKS: Final[tuple[Callable[[Make], None], ...]] = (
    check_answers,
    check_chunks_equal_rows,
    check_one_call_equals_two,
    check_same_seed_same_regressor,
    check_predicting_changes_nothing,
    check_inputs_are_left_alone,
    check_refuses_what_does_not_fit,
    check_learns,
    check_snapshot,
    check_refuses_foreign_snapshots,
)


def check_regressor(make: Make) -> None:
    """Run all checks.

    Raises
    ------
    AssertionError
        At the first promise that is not kept.
    """
    for check in CHECKS:
        check(make)


def _line(n: int, seed: int = 0) -> tuple[Features, Numbers]:
    """A linear function of the features, with an offset and little noise; targets are of about unit scale."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, _FEATURES))
    return x, x @ np.array([1.0, -0.5, 0.25, 0.0, 0.8]) + 0.2 + rng.normal(scale=0.05, size=n)


def _rows(n: int) -> Features:
    return _line(n, seed=7)[0]


def _fresh(make: Make) -> Regressor:
    return make(_FEATURES, np.random.default_rng(42))


def _taught(make: Make) -> Regressor:
    regressor = _fresh(make)
    regressor.learn_many(*_line(50))
    return regressor


def _assert_numbers(found: Numbers, n: int) -> None:
    assert found.shape == (n,), f"predict() of {n} rows has shape {found.shape}"
    assert found.dtype == np.float64, f"predict() returns {found.dtype}"
    assert np.isfinite(found).all(), "an answer is not finite"


def _assert_same(one: Regressor, other: Regressor) -> None:
    assert np.array_equal(one.predict(_rows(30)), other.predict(_rows(30))), (
        "two regressors that should be alike answer differently"
    )
    assert_same_state(one, other)
