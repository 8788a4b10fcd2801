import numpy as np
import pytest

from estran.optimize.fidelities.cokriging import CoKriging, Rows, settled, shaped
from estran.optimize.fidelities.gaussian import Below, _Task, fit, matern, usual


def low(x):
    return np.sin(6 * x[:, 0]) + x[:, 1]


def high(x):
    return 1.5 * low(x) + 0.3 * x[:, 0] + 0.2


def rows(few: int = 6, many: int = 40, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    below, above = rng.random((many, 2)), rng.random((few, 2))
    y = np.concatenate([low(below), high(above)])
    return Rows(np.vstack([below, above]), np.repeat([0, 1], [many, few]), y)


def error(process: CoKriging) -> float:
    x = np.random.default_rng(9).random((200, 2))
    return float(np.sqrt(((process.predict(x, 2).mean - high(x)) ** 2).mean()))


def test_covariance_is_one_at_no_distance_and_falls():
    x = np.array([[0.0, 0.0], [0.1, 0.0], [1.0, 1.0]])
    found = matern(x, x, np.array([0.5, 0.5]))
    assert np.diag(found) == pytest.approx(1.0)
    assert found[0, 1] > found[0, 2]


@pytest.mark.parametrize("below", [False, True])
def test_the_gradient_is_that_of_the_loss(below):
    rng = np.random.default_rng(1)
    x, y = rng.random((7, 2)), rng.normal(size=7)
    root = rng.normal(size=(7, 7)) / 5
    task = _Task(x, y, Below(rng.normal(size=7), root @ root.T) if below else None)
    at = task.start + rng.normal(scale=0.3, size=len(task.start))
    _, gradient = task.loss(at)
    for place in range(len(at)):
        step = np.eye(len(at))[place] * 1e-5
        slope = (task.loss(at + step)[0] - task.loss(at - step)[0]) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_cheap_runs_make_dear_ones_predictable():
    both = rows()
    alone = both.at(both.rungs == 1)
    together = CoKriging(both, (0, 1), shaped(both, (0, 1)))
    assert error(together) < 0.3 * error(CoKriging(alone, (1,), shaped(alone, (1,))))


def test_a_run_below_teaches_less_than_one_at_the_top_and_nothing_where_it_has_no_say():
    both = rows()
    x = np.random.default_rng(2).random((20, 2))
    found = CoKriging(both, (0, 1), shaped(both, (0, 1))).predict(x, 2)
    assert (found.learned[0] <= found.learned[1] + 1e-9).all()
    assert found.correlation[1] == pytest.approx(1.0)
    alone = both.at(both.rungs == 1)
    assert not CoKriging(alone, (1,), shaped(alone, (1,))).predict(x, 2).learned[0].any()


def test_a_run_that_goes_on_lowers_doubt_and_moves_nothing():
    both = rows()
    process = CoKriging(both, (0, 1), shaped(both, (0, 1)))
    x = np.array([[0.2, 0.9]])
    before, after = process.predict(x, 2), process.believing(x, np.array([1])).predict(x, 2)
    assert after.mean == pytest.approx(before.mean)
    assert after.variance < before.variance


def test_a_fidelity_that_says_the_opposite_is_not_turned_round():
    rng = np.random.default_rng(3)
    x = rng.random((20, 2))
    shape = fit(x, -low(x), Below(low(x), np.zeros((20, 20))))
    assert 0 < shape.slope < 0.5


def test_without_runs_a_fidelity_follows_the_one_below():
    assert usual(3, below=True).slope == 1.0
    assert usual(3, below=False).slope == 0.0


def test_hyperparameters_settle_in_steps():
    kept = settled(np.array([0] * 30 + [1] * 5))
    assert kept[:12].all()
    assert kept[30:].all()
    assert kept[:30].sum() == settled(np.array([0] * 31))[:31].sum()
