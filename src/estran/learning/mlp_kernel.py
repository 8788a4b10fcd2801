"""The compiled heart of the multi-layer perceptron. Importing it imports numba, so only learning does so.

All weights live in one flat array: for each layer its matrix, shape (inputs, outputs) row by row, then its biases. A row of
the matrix is what one input contributes to every output, so an input of zero (a dark pixel, a silent ReLU) is skipped whole,
forwards and backwards, and every inner loop runs over contiguous memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled as _compiled
from estran.learning.sweeps import list_places, move, pass_down, weigh

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


def _answer(params: Array, sizes: Array, rows: int, acts: Array, lists: Array) -> None:
    """Fill in the activations of every layer above the inputs, row by row to the same bits; the last one's are scores."""
    here, weights = 0, 0
    for layer in range(sizes.size - 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        above, biases = here + inputs, weights + inputs * outputs
        count = acts.shape[1] + layer
        for r in range(rows):
            lists[r, count] = list_places(acts[r, here:above], lists[r, here:above])
            for j in range(outputs):
                acts[r, above + j] = params[biases + j]
        weigh(acts, lists, count, rows, here, above, outputs, params[weights:biases])
        if layer < sizes.size - 2:
            for r in range(rows):
                for j in range(above, above + outputs):
                    # Written so that a NaN stays one.
                    acts[r, j] = acts[r, j] if not acts[r, j] < 0.0 else 0.0
        here, weights = above, biases + outputs


def _spread(scores: Array, odds: Array) -> bool:
    """Softmax of one row of scores, which may be the same array; False where they are not finite."""
    top = scores[0]
    for j in range(1, scores.size):
        top = max(top, scores[j])
    total = 0.0
    for j in range(scores.size):
        # By NumPy's type: numba leaves a float32 as it is where Python's float() is called.
        odds[j] = math.exp(np.float64(scores[j]) - np.float64(top))
        total += odds[j]
    for j in range(scores.size):
        odds[j] /= total
    return total >= 1.0 and total <= scores.size


def _first(odds: Array) -> int:
    """Place of the greatest; the lowest where there are several."""
    best = 0
    for j in range(1, odds.size):
        if odds[j] > odds[best]:
            best = j
    return best


answer: Callable[[Array, Array, int, Array, Array], None] = _compiled(_answer)
spread: Callable[[Array, Array], bool] = _compiled(_spread, inlined=True)
first: Callable[[Array], int] = _compiled(_first, inlined=True)


def _ask(params: Array, sizes: Array, x: Array, label: int, acts: Array, deltas: Array, lists: Array, odds: Array) -> int:
    """Answer one row, and fill in the gradient of the cross-entropy by its scores; the answer, or -1 where something is wrong."""
    if label < 0 or label >= sizes[-1]:
        return -1
    for i in range(sizes[0]):
        acts[0, i] = x[i]
        if not math.isfinite(x[i]):
            return -1
    answer(params, sizes, 1, acts, lists)
    scores = deltas.size - sizes[-1]
    if not spread(acts[0, scores:], odds):
        return -1
    for j in range(sizes[-1]):
        deltas[scores + j] = odds[j] - (1.0 if j == label else 0.0)
    return first(odds)


ask: Callable[[Array, Array, Array, int, Array, Array, Array, Array], int] = _compiled(_ask)


def _descend(params: Array, sizes: Array, rate: Any, acts: Array, deltas: Array, lists: Array) -> None:
    """One gradient step, from the last layer to the first; each layer passes its blame down before it moves."""
    above, weights = deltas.size - sizes[-1], params.size
    for back in range(sizes.size - 1):
        layer = sizes.size - 2 - back
        inputs, outputs = sizes[layer], sizes[layer + 1]
        here, biases = above - inputs, weights - outputs
        weights = biases - inputs * outputs
        values, delta, matrix = acts[0, here:above], deltas[above : above + outputs], params[weights:biases]
        places, count = lists[0, here:above], lists[0, deltas.size + layer]
        if layer > 0:
            deltas[here:above] = 0
            pass_down(delta, matrix, places, count, deltas[here:above])
        move(-rate, values, places, count, delta, matrix)
        for j in range(outputs):
            params[biases + j] -= rate * delta[j]
        above = here


descend: Callable[[Array, Array, Any, Array, Array, Array], None] = _compiled(_descend)


def _finite(numbers: Array) -> bool:
    """Whether all of them are."""
    bad = 0
    for i in range(numbers.size):
        # Counted, not returned from, so that many are looked at side by side.
        bad += 0 if math.isfinite(numbers[i]) else 1
    return bad == 0


finite: Callable[[Array], bool] = _compiled(_finite)


def _learn(
    params: Array,
    sizes: Array,
    x: Array,
    y: Array,
    rate: Any,
    answers: Array,
    acts: Array,
    deltas: Array,
    lists: Array,
    odds: Array,
) -> int:
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
    answers
        Filled in, shape (n,): the class of each row before it was learned, as `predict` has it.
    acts, deltas
        Working memory, of the type of ``params``, shape (1, ``sizes.sum()``) and (``sizes.sum()``,).
    lists
        Working memory, integers, shape (1, ``sizes.sum() + sizes.size - 1``): of each layer, where its activations are not zero,
        and behind them all how many these are.
    odds
        Working memory, float64, shape (sizes[-1],).

    Returns
    -------
    int
        -1, or the row at which a value is not finite, the label is no class, or the scores stop being finite; n if only the
        weights that come out are not finite.
    """
    for row in range(x.shape[0]):
        answers[row] = ask(params, sizes, x[row], y[row], acts, deltas, lists, odds)
        if answers[row] < 0:
            return row
        descend(params, sizes, rate, acts, deltas, lists)
    return -1 if finite(params) else int(x.shape[0])


learn: Callable[[Array, Array, Array, Array, Any, Array, Array, Array, Array, Array], int] = _compiled(_learn)


def _predict(params: Array, sizes: Array, x: Array, acts: Array, lists: Array, found: Array, raw: bool) -> int:
    """Class probabilities of rows, or their scores if ``raw``: bit for bit those of one row at a time.

    Parameters
    ----------
    x
        Rows as they came, shape (n, sizes[0]): their values are checked here.
    acts, lists
        Working memory as in `learn`, of `BLOCK` rows.
    found
        Filled in, float64, shape (n, sizes[-1]).

    Returns
    -------
    int
        -1, or the row at which a value is not finite, or a score.
    """
    for start in range(0, x.shape[0], BLOCK):
        rows = min(BLOCK, x.shape[0] - start)
        for r in range(rows):
            for i in range(sizes[0]):
                acts[r, i] = x[start + r, i]
                if not math.isfinite(x[start + r, i]):
                    return start + r
        answer(params, sizes, rows, acts, lists)
        for r in range(rows):
            scores = acts[r, acts.shape[1] - sizes[-1] :]
            if raw:
                for j in range(scores.size):
                    found[start + r, j] = scores[j]
                    if not math.isfinite(scores[j]):
                        return start + r
            elif not spread(scores, found[start + r]):
                return start + r
    return -1


predict: Callable[[Array, Array, Array, Array, Array, Array, bool], int] = _compiled(_predict)
