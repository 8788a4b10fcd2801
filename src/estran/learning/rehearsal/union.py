"""Drawing uniformly from the union of several workers' buffers, each of which holds as many rows as it happens to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.rehearsal.buffer import Slots


def shares(
    sizes: Sequence[int] | NDArray[np.int64], count: int, rng: np.random.Generator, *, times: int | None = None
) -> NDArray[np.int64]:
    """How many rows to draw from each worker, so that every set of ``count`` rows of the union is alike likely.

    The worker then draws so many of its own rows uniformly (`Buffer.draw`). Where the union has fewer rows, all are drawn.

    Parameters
    ----------
    sizes
        How many rows each worker's buffer holds; may be 0.
    count
        How many to draw in all, r.
    rng
        Source of the draw.
    times
        How many such draws, each for itself; one if not given.

    Returns
    -------
    NDArray
        One number for each worker: a draw of the multivariate hypergeometric distribution; a row of them for each of several draws.

    Raises
    ------
    RequestError
        If a size or the count is negative.

    Examples
    --------
    >>> shares([5, 0, 3], 8, np.random.default_rng(0)).tolist()
    [5, 0, 3]
    """
    fills = _checked(sizes, count)
    drawn = rng.multivariate_hypergeometric(fills, min(count, int(fills.sum())), size=times, method="marginals")
    return np.asarray(drawn, dtype=np.int64)


def draw(sizes: Sequence[int] | NDArray[np.int64], count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Slots]:
    """Different rows of the union, every set of them alike likely: whose, and in which slot. All, where there are fewer.

    Parameters
    ----------
    sizes, count, rng
        As for `shares`.

    Returns
    -------
    tuple
        Worker and slot of each row, both of shape (count,), ordered by them.

    Raises
    ------
    RequestError
        If a size or the count is negative.

    Examples
    --------
    >>> workers, slots = draw([2, 0, 1], 5, np.random.default_rng(0))
    >>> workers.tolist(), slots.tolist()
    ([0, 0, 2], [0, 1, 0])
    """
    fills = _checked(sizes, count)
    ends = np.cumsum(fills)
    total = int(ends[-1]) if len(ends) else 0
    places = np.sort(rng.choice(total, min(count, total), replace=False, shuffle=False)) if total else np.empty(0, np.int64)
    # Right of equal ends: a worker that holds nothing has none of the places.
    workers = np.searchsorted(ends, places, side="right")
    return workers, places - (ends - fills)[workers]


def _checked(sizes: Sequence[int] | NDArray[np.int64], count: int) -> NDArray[np.int64]:
    fills = np.asarray(sizes, dtype=np.int64)
    if fills.ndim != 1 or (fills < 0).any() or count < 0:
        raise RequestError(
            f"{count} rows of buffers of {fills.tolist()}", where="rehearsal", remedy="give sizes and a number from 0"
        )
    return fills
