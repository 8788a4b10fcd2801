from __future__ import annotations

import numpy as np
import pytest

from estran.learning.faulty import FaultyData

RNG = np.random.default_rng(3)
X, Y = RNG.normal(5.0, 2.0, (400, 7)), np.arange(400) % 10


def faulty(change: str, amount: float) -> FaultyData:
    return FaultyData(change, amount, X, 10, np.random.default_rng(1))  # type: ignore[arg-type]


def test_a_shift_moves_every_row_alike() -> None:
    x, y = faulty("shift", 1.5).apply(X[:5], Y[:5])
    assert np.allclose(np.abs(x - X[:5]), 1.5 * X.std(axis=0))
    assert (y == Y[:5]).all()


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_a_rotation_keeps_distances(amount: float) -> None:
    x, _ = faulty("rotate", amount).apply(X, Y)
    assert np.allclose(np.linalg.norm(x - X.mean(axis=0), axis=1), np.linalg.norm(X - X.mean(axis=0), axis=1))
    assert not np.allclose(x, X)


@pytest.mark.parametrize(("amount", "moved"), [(0.5, 5), (1.0, 10), (0.01, 2)])
def test_a_swap_gives_a_share_of_the_classes_other_labels(amount: float, moved: int) -> None:
    _, y = faulty("swap", amount).apply(X[:10], Y[:10])
    assert (y != Y[:10]).sum() == moved
    assert sorted(y) == list(range(10))
