"""Draws from several workers' buffers are uniform over all their rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, multivariate_hypergeom

from estran.errors import RequestError
from estran.learning.rehearsal import union
from estran.learning.rehearsal.buffer import Buffer
from tests.learning.rehearsal.chance import uniform_p

FILLS = {"full": (250, 250, 250, 250), "filling": (3, 40, 250, 17), "one is empty": (10, 0, 90, 50)}


@pytest.mark.parametrize("fills", FILLS.values(), ids=FILLS)
def test_a_million_draws_are_uniform_over_the_union(fills: tuple[int, ...]) -> None:
    rng, starts = np.random.default_rng(0), np.r_[0, np.cumsum(fills)]
    counts = np.zeros(sum(fills), np.int64)
    for _ in range(20_000):
        workers, slots = union.draw(fills, 50, rng)
        counts[starts[workers] + slots] += 1
    assert counts.sum() == 1_000_000
    assert uniform_p(counts, 50) > 0.01


def test_a_million_draws_are_uniform_where_each_worker_draws_its_share_while_buffers_fill() -> None:
    fills = (30, 200, 77, 120)
    rng = np.random.default_rng(1)
    buffers = [Buffer(200, 1, 1, rng) for _ in fills]
    for buffer, fill in zip(buffers, fills, strict=True):
        buffer.offer(np.zeros((fill, 1)), np.zeros(fill, np.int64))
    counts = [np.zeros(fill, np.int64) for fill in fills]
    for _ in range(20_000):
        for buffer, count, share in zip(buffers, counts, union.shares([len(b) for b in buffers], 50, rng), strict=True):
            count[buffer.draw(int(share))] += 1
    together = np.concatenate(counts)
    assert together.sum() == 1_000_000
    assert uniform_p(together, 50) > 0.01


def test_shares_are_hypergeometric() -> None:
    fills, count, rng = (3, 0, 5, 4), 4, np.random.default_rng(2)
    found: dict[tuple[int, ...], int] = {}
    for _ in range(20_000):
        share = tuple(union.shares(fills, count, rng).tolist())
        found[share] = found.get(share, 0) + 1
    wanted = [20_000 * multivariate_hypergeom.pmf(share, fills, count) for share in found]
    assert sum(wanted) == pytest.approx(20_000)
    assert chisquare(list(found.values()), wanted).pvalue > 0.01


def test_where_there_are_fewer_rows_all_are_drawn() -> None:
    rng = np.random.default_rng(0)
    workers, slots = union.draw([2, 0, 1], 10, rng)
    assert (workers.tolist(), slots.tolist()) == ([0, 0, 2], [0, 1, 0])
    assert union.shares([2, 0, 1], 10, rng).tolist() == [2, 0, 1]
    for empty in ([], [0, 0]):
        assert union.draw(empty, 5, rng)[0].shape == (0,)
        assert union.shares(empty, 5, rng).tolist() == [0] * len(empty)


@pytest.mark.parametrize(("sizes", "count"), [([1, -1], 2), ([1], -1)])
def test_negative_sizes_are_refused(sizes: list[int], count: int) -> None:
    for function in (union.draw, union.shares):
        with pytest.raises(RequestError, match="from 0"):
            function(sizes, count, np.random.default_rng(0))


def test_several_draws_at_once_are_those_that_come_one_by_one() -> None:
    first, second = np.random.default_rng(4), np.random.default_rng(4)
    several = union.shares((3, 40, 0, 17), 10, first, times=6)
    assert several.tolist() == [union.shares((3, 40, 0, 17), 10, second).tolist() for _ in range(6)]
