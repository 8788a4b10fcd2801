"""The compiled heart of the multi-layer perceptron. Importing it imports numba, so only learning does so.

All weights live in one flat array: for each layer its matrix, shape (inputs, outputs) row by row, then its biases. A row of
the matrix is what one input contributes to every output, so an input of zero (a dark pixel, a silent ReLU) is skipped whole,
forwards and backwards, and every inner loop runs over contiguous memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from estran.learning.compiled import compiled as _compiled

Array = NDArray[Any]

BLOCK = 16
"""Rows that are answered side by side, so that a row of weights is fetched once for all of them."""


def _add(scale: Any, source: Array, target: Array) -> None:
    """``target += scale * source``."""
    for j in range(target.size):
        target[j] += scale * source[j]


def _dot(a: Array, b: Array) -> Any:
    """Sum of products, in eight lanes that are added up pairwise."""
    zero = a[0] * b[0] * 0
    s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
    whole = a.size - a.size % 8
    for j in range(0, whole, 8):
        s0 += a[j] * b[j]
        s1 += a[j + 1] * b[j + 1]
        s2 += a[j + 2] * b[j + 2]
        s3 += a[j + 3] * b[j + 3]
        s4 += a[j + 4] * b[j + 4]
        s5 += a[j + 5] * b[j + 5]
        s6 += a[j + 6] * b[j + 6]
        s7 += a[j + 7] * b[j + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for j in range(whole, a.size):
        total += a[j] * b[j]
    return total


add: Callable[[Any, Array, Array], None] = _compiled(_add)
dot: Callable[[Array, Array], Any] = _compiled(_dot)


def _answer(params: Array, sizes: Array, acts: Array) -> None:
    """Fill in the activations of every layer above the inputs; the last one's are scores."""
    here, weights = 0, 0
    for layer in range(sizes.size - 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        above, biases = here + inputs, weights + inputs * outputs
        target = acts[above : above + outputs]
        for j in range(outputs):
            target[j] = params[biases + j]
        for i in range(inputs):
            value = acts[here + i]
            if value != 0.0:
                add(value, params[weights + i * outputs : weights + (i + 1) * outputs], target)
        if layer < sizes.size - 2:
            for j in range(outputs):
                # Written so that a NaN stays one.
                if target[j] < 0.0:
                    target[j] = 0.0
        here, weights = above, biases + outputs


def _blame(scores: Array, label: int, delta: Array) -> bool:
    """Gradient of the cross-entropy by the scores; False where they are not finite."""
    top = scores[0]
    for j in range(1, scores.size):
        top = max(top, scores[j])
    total = top * 0
    for j in range(scores.size):
        delta[j] = math.exp(scores[j] - top)
        total += delta[j]
    if not (total >= 1.0 and total <= scores.size):
        return False
    for j in range(scores.size):
        delta[j] /= total
    delta[label] -= 1
    return True


def _descend(params: Array, sizes: Array, rate: Any, acts: Array, deltas: Array) -> None:
    """One gradient step, from the last layer to the first; each layer passes its blame down before it moves."""
    above, weights = acts.size - sizes[-1], params.size
    for back in range(sizes.size - 1):
        layer = sizes.size - 2 - back
        inputs, outputs = sizes[layer], sizes[layer + 1]
        here, biases = above - inputs, weights - outputs
        weights = biases - inputs * outputs
        delta = deltas[above : above + outputs]
        for i in range(inputs):
            value = acts[here + i]
            deltas[here + i] = 0
            if value != 0.0:
                row = params[weights + i * outputs : weights + (i + 1) * outputs]
                if layer > 0:
                    deltas[here + i] = dot(row, delta)
                add(-rate * value, delta, row)
        add(-rate, delta, params[biases : biases + outputs])
        above = here


answer: Callable[[Array, Array, Array], None] = _compiled(_answer)
blame: Callable[[Array, int, Array], bool] = _compiled(_blame)
descend: Callable[[Array, Array, Any, Array, Array], None] = _compiled(_descend)


def _learn(params: Array, sizes: Array, x: Array, y: Array, rate: Any, acts: Array, deltas: Array) -> int:
    """Stochastic gradient descent on the cross-entropy, row after row, in place.

    Parameters
    ----------
    params
        All weights, as laid out above; changed, also where learning fails.
    sizes
        Width of every layer, inputs first, classes last.
    x, y
        Rows, shape (n, sizes[0]), and labels, as they came: their values are checked here.
    rate
        Learning rate, of the type of ``params``.
    acts, deltas
        Working memory, ``sizes.sum()`` each, of the type of ``params``.

    Returns
    -------
    int
        -1, or the row at which a value is not finite, the label is no class, or the scores stop being finite; n if only the
        weights that come out are not finite.
    """
    scores = acts.size - sizes[-1]
    for row in range(x.shape[0]):
        if y[row] < 0 or y[row] >= sizes[-1]:
            return row
        for i in range(sizes[0]):
            acts[i] = x[row, i]
            if not math.isfinite(x[row, i]):
                return row
        answer(params, sizes, acts)
        if not blame(acts[scores:], y[row], deltas[scores:]):
            return row
        descend(params, sizes, rate, acts, deltas)
    for i in range(params.size):
        if not math.isfinite(params[i]):
            return int(x.shape[0])
    return -1


learn: Callable[[Array, Array, Array, Array, Any, Array, Array], int] = _compiled(_learn)


def _predict(params: Array, sizes: Array, x: Array, acts: Array, odds: Array) -> int:
    """Class probabilities of rows: bit for bit those of one row at a time.

    Parameters
    ----------
    x
        Rows as they came, shape (n, sizes[0]): their values are checked here.
    acts
        Working memory, shape (`BLOCK`, ``sizes.sum()``), of the type of ``params``.
    odds
        Filled in, shape (n, sizes[-1]).

    Returns
    -------
    int
        -1, or the row at which a value is not finite.
    """
    for start in range(0, x.shape[0], BLOCK):
        rows = min(BLOCK, x.shape[0] - start)
        for r in range(rows):
            for i in range(sizes[0]):
                acts[r, i] = x[start + r, i]
                if not math.isfinite(x[start + r, i]):
                    return start + r
        here, weights = 0, 0
        for layer in range(sizes.size - 1):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            above, biases = here + inputs, weights + inputs * outputs
            for r in range(rows):
                acts[r, above : above + outputs] = params[biases : biases + outputs]
            for i in range(inputs):
                row = params[weights + i * outputs : weights + (i + 1) * outputs]
                for r in range(rows):
                    if acts[r, here + i] != 0.0:
                        add(acts[r, here + i], row, acts[r, above : above + outputs])
            if layer < sizes.size - 2:
                for r in range(rows):
                    for j in range(above, above + outputs):
                        if acts[r, j] < 0:
                            acts[r, j] = 0
            here, weights = above, biases + outputs
        for r in range(rows):
            spread(acts[r, here : here + sizes[-1]], odds[start + r])
    return -1


def _spread(scores: Array, odds: Array) -> None:
    """Softmax of one row of scores."""
    most = scores[0]
    for score in scores:
        most = max(most, score)
    total = 0.0
    for j in range(scores.size):
        odds[j] = math.exp(float(scores[j]) - float(most))
        total += odds[j]
    for j in range(scores.size):
        odds[j] /= total


spread: Callable[[Array, Array], None] = _compiled(_spread)
predict: Callable[[Array, Array, Array, Array, Array], int] = _compiled(_predict)
