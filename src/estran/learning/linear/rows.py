"""Sums over one row, dense or sparse, to the same bits. Importing it imports numba, so only learning does so.

A row is a pair ``(index, value)``. Dense rows have no index, and as many values as there are weights. Sparse rows have the tuple
``(columns, lanes, width)``: ascending columns, room for eight sums, number of weights; what is absent is zero.

Both add up in eight lanes, column j in lane j mod 8, so that absent zeros change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.linear.vectors import Wide, matrix_by_row, sum_of_products, swept

Array: TypeAlias = NDArray[Any]
Index: TypeAlias = Any
"""None or ``(columns, lanes, width)``."""


def _moved(scale: Wide, target: Wide, source: Wide) -> tuple[Wide]:
    return (target + scale * source,)


def _multiplied(target: Wide, a: Wide, b: Wide) -> tuple[Wide]:
    return (a * b,)


def _narrowed(gain: Wide, least: Wide, variance: Wide, value: Wide) -> tuple[Wide]:
    # The square comes first, so that a zero changes nothing, however large the gain is.
    return ((variance / (variance.constant(1.0) + gain * (value * value) * variance)).at_least(least),)


add_dense: Callable[[Any, Array, Array], None] = swept(1, _moved)
"""``target += scale * source``, of ``(scale, target, source)``."""
multiply: Callable[[Array, Array, Array], None] = swept(1, _multiplied)
narrow_dense: Callable[[Any, Any, Array, Array], None] = swept(1, _narrowed)


def _total(lanes: Array) -> Any:
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))


total: Callable[[Array], Any] = compiled(_total, inlined=True)


def _inner(index: Index, a: Array, b: Array) -> Any:
    """Sum of products of two arrays that both belong to the row's columns."""
    if index is None:
        return sum_of_products(a, b)
    columns, lanes, width = index
    whole = width - width % 8
    lanes[:] = 0.0
    i = 0
    while i < columns.size and columns[i] < whole:
        lanes[columns[i] & 7] += a[i] * b[i]
        i += 1
    found = total(lanes)
    while i < columns.size:
        found += a[i] * b[i]
        i += 1
    return found


def _dot(weights: Array, index: Index, value: Array) -> Any:
    """Sum of products of weights with a row."""
    if index is None:
        return sum_of_products(weights, value)
    columns, lanes, width = index
    whole = width - width % 8
    lanes[:] = 0.0
    i = 0
    while i < columns.size and columns[i] < whole:
        lanes[columns[i] & 7] += weights[columns[i]] * value[i]
        i += 1
    found = total(lanes)
    while i < columns.size:
        found += weights[columns[i]] * value[i]
        i += 1
    return found


def _add(weights: Array, index: Index, scale: Any, value: Array) -> None:
    """``weights += scale * row``."""
    if index is None:
        add_dense(scale, weights, value)
    else:
        columns = index[0]
        for i in range(columns.size):
            weights[columns[i]] += scale * value[i]


def _times(variances: Array, index: Index, value: Array, target: Array) -> None:
    """``target = variances * row``, column by column."""
    if index is None:
        multiply(target, variances, value)
    else:
        columns = index[0]
        for i in range(columns.size):
            target[i] = variances[columns[i]] * value[i]


def _narrow(variances: Array, index: Index, value: Array, gain: Any, least: Any) -> None:
    """``1 / variances += gain * row²``, column by column, but not below ``least``."""
    if index is None:
        narrow_dense(gain, least, variances, value)
    else:
        columns = index[0]
        for i in range(columns.size):
            j = columns[i]
            found = variances[j] / (1.0 + gain * (value[i] * value[i]) * variances[j])
            variances[j] = found if found > least else least


def _spread(covariance: Array, width: int, index: Index, value: Array, target: Array) -> None:
    """``target = covariance @ row``, where the (symmetric) covariance lies flat, row by row."""
    if index is None:
        matrix_by_row(covariance, value, target)
    else:
        target[:] = 0.0
        columns = index[0]
        for i in range(columns.size):
            j = columns[i]
            if value[i] != 0.0:
                add_dense(value[i], target, covariance[j * width : (j + 1) * width])


inner: Callable[[Index, Array, Array], Any] = compiled(_inner, inlined=True)
dot: Callable[[Array, Index, Array], Any] = compiled(_dot, inlined=True)
add: Callable[[Array, Index, Any, Array], None] = compiled(_add, inlined=True)
times: Callable[[Array, Index, Array, Array], None] = compiled(_times, inlined=True)
narrow: Callable[[Array, Index, Array, Any, Any], None] = compiled(_narrow, inlined=True)
spread: Callable[[Array, int, Index, Array, Array], None] = compiled(_spread, inlined=True)
