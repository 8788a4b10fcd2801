"""The compiled heart of minibatch learning beside rehearsed rows. Importing it imports numba, so only learning does so.

Weights lie as `estran.learning.mlp_kernel` describes them. Activations and gradients by them ("blame") have a row for each row of
the batch, inputs first. What a strategy wants of each row is told by weights of three losses on the row's scores h:

- cross-entropy of its label among the classes that are allowed,
- half the squared distance of h from scores that it once had, z,
- cross-entropy between softmax(z / T) and softmax(h / T), over the classes that were known then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.mlp_kernel import dot
from estran.learning.rehearsal.sweeps import move_rows, pass_down_rows, spread_rows

Array = NDArray[Any]


def _spread_some(scores: Array, allowed: Array, temperature: float, odds: Array) -> float:
    """Softmax of scores / T among the classes allowed, zero elsewhere; the logarithm of its denominator beside the top score."""
    top = -np.inf
    for j in range(scores.size):
        if allowed[j]:
            top = max(top, float(scores[j]) / temperature)
    total = 0.0
    for j in range(scores.size):
        odds[j] = math.exp(float(scores[j]) / temperature - top) if allowed[j] else 0.0
        total += odds[j]
    for j in range(scores.size):
        odds[j] /= total
    return top + math.log(total)


spread_some: Callable[[Array, Array, float, Array], float] = compiled(_spread_some)


def _blame(
    scores: Array,
    labels: Array,
    cross: Array,
    allowed: Array,
    wanted: Array,
    pull: Array,
    soften: Array,
    known: Array,
    temperature: float,
    blame: Array,
    losses: Array,
    answers: Array,
    odds: Array,
) -> int:
    """Fill in the gradient of every row's losses by its scores; -1, or the row whose scores are not finite.

    Parameters
    ----------
    scores
        Shape (rows, classes).
    labels, cross, allowed
        Of the cross-entropy: labels, weights, and which classes each row is told apart from; shape (rows,) and (rows, classes).
    wanted, pull, soften, known, temperature
        z of each row; weights of the squared distance and of the softened cross-entropy; classes of the latter; its T.
    blame, losses, answers
        Filled in: gradients, the cross-entropy of each row, and its class by the scores.
    odds
        Working memory, float64, shape (2, classes).
    """
    classes = scores.shape[1]
    for r in range(scores.shape[0]):
        best = 0
        for j in range(classes):
            if not math.isfinite(scores[r, j]):
                return r
            best = j if scores[r, j] > scores[r, best] else best
            blame[r, j] = 0
        answers[r] = best
        losses[r] = spread_some(scores[r], allowed[r], 1.0, odds[0]) - float(scores[r, labels[r]])
        if cross[r] != 0:
            for j in range(classes):
                blame[r, j] += cross[r] * (odds[0, j] - (1.0 if j == labels[r] else 0.0))
        if pull[r] != 0:
            for j in range(classes):
                blame[r, j] += pull[r] * (scores[r, j] - wanted[r, j])
        if soften[r] != 0:
            spread_some(scores[r], known, temperature, odds[0])
            spread_some(wanted[r], known, temperature, odds[1])
            for j in range(classes):
                blame[r, j] += soften[r] * (odds[0, j] - odds[1, j]) / temperature
    return -1


blame_scores: Callable[..., int] = compiled(_blame)


def _answer_rows(params: Array, sizes: Array, rows: int, acts: Array, values: Array, who: Array) -> None:
    """Fill in the activations of every layer above the inputs: to the bit those of `estran.learning.mlp_kernel.answer`.

    On the way, list where units are not zero: ``who[u]`` has the rows in which unit u is not, their number last; ``values[u]`` what
    it is there.
    """
    here, weights, last = 0, 0, who.shape[1] - 1
    for layer in range(sizes.size - 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        above, biases = here + inputs, weights + inputs * outputs
        for u in range(here, above):
            count = 0
            for r in range(rows):
                values[u, count] = acts[r, u]
                who[u, count] = r
                count += 1 if acts[r, u] != 0.0 else 0
            who[u, last] = count
        for r in range(rows):
            for j in range(outputs):
                acts[r, above + j] = params[biases + j]
        spread_rows(acts, values, who, here, inputs, above, outputs, params[weights:biases])
        if layer < sizes.size - 2:
            for r in range(rows):
                for j in range(above, above + outputs):
                    # Written so that a NaN stays one.
                    acts[r, j] = acts[r, j] if not acts[r, j] < 0.0 else 0.0
        here, weights = above, biases + outputs


answer_rows: Callable[[Array, Array, int, Array, Array, Array], None] = compiled(_answer_rows)


def _attribute(params: Array, sizes: Array, rows: int, deltas: Array, who: Array) -> None:
    """Pass blame from the scores down to every hidden unit."""
    units = who.shape[0]
    deltas[:rows, sizes[0] : units - sizes[-1]] = 0
    above, weights = units - sizes[-1], params.size
    for back in range(sizes.size - 2):
        layer = sizes.size - 2 - back
        inputs, outputs = sizes[layer], sizes[layer + 1]
        here, weights = above - inputs, weights - (inputs + 1) * outputs
        pass_down_rows(deltas, params[weights : weights + inputs * outputs], who, here, inputs, above, outputs)
        above = here


attribute: Callable[[Array, Array, int, Array, Array], None] = compiled(_attribute)


def _move(target: Array, sizes: Array, scale: Any, rows: int, deltas: Array, values: Array, who: Array) -> None:
    """Add ``scale`` times the gradient, summed over the rows, to weights or to what is laid out like them."""
    here, start = 0, 0
    for layer in range(sizes.size - 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        above, biases = here + inputs, start + inputs * outputs
        move_rows(scale, values, who, here, inputs, deltas, above, outputs, target[start:biases])
        for r in range(rows):
            for j in range(outputs):
                target[biases + j] += scale * deltas[r, above + j]
        here, start = above, biases + outputs


move: Callable[[Array, Array, Any, int, Array, Array, Array], None] = compiled(_move)


def _step(
    params: Array,
    target: Array,
    sizes: Array,
    scale: Any,
    rows: int,
    acts: Array,
    deltas: Array,
    values: Array,
    who: Array,
    labels: Array,
    cross: Array,
    allowed: Array,
    wanted: Array,
    pull: Array,
    soften: Array,
    known: Array,
    temperature: float,
    losses: Array,
    answers: Array,
    odds: Array,
) -> int:
    """Answer the rows that lie in ``acts``, and add ``scale`` times the gradient of their losses to ``target``.

    ``target`` is ``params`` for a step of descent (with a negative scale), or a gradient to fill.

    Returns
    -------
    int
        -1, or the row whose scores are not finite; nothing has then been added.
    """
    answer_rows(params, sizes, rows, acts, values, who)
    last = who.shape[0]
    first = last - sizes[-1]
    bad = blame_scores(
        acts[:rows, first:last],
        labels,
        cross,
        allowed,
        wanted,
        pull,
        soften,
        known,
        temperature,
        deltas[:rows, first:last],
        losses,
        answers,
        odds,
    )
    if bad < 0:
        attribute(params, sizes, rows, deltas, who)
        move(target, sizes, scale, rows, deltas, values, who)
    return int(bad)


step: Callable[..., int] = compiled(_step)


def _square(target: Array, sizes: Array, rows: int, deltas: Array, values: Array, who: Array) -> None:
    """Add every row's squared gradient to ``target``; the blame and values of the step are squared in place.

    A row's gradient by a weight is value times blame, so its square is the product of squares.
    """
    for r in range(rows):
        for u in range(deltas.shape[1]):
            deltas[r, u] *= deltas[r, u]
    for u in range(who.shape[0]):
        for k in range(who[u, who.shape[1] - 1]):
            values[u, k] *= values[u, k]
    move(target, sizes, target.dtype.type(1), rows, deltas, values, who)


square: Callable[[Array, Array, int, Array, Array, Array], None] = compiled(_square)


def _project(params: Array, gradient: Array, reference: Array, rate: Any) -> bool:
    """A step along the gradient, less the part of it that runs against the reference; whether there was such a part."""
    along = dot(gradient, reference)
    back = params.dtype.type(along / dot(reference, reference) if along < 0.0 else 0.0)
    for i in range(gradient.size):
        params[i] -= rate * (gradient[i] - back * reference[i])
    return bool(along < 0.0)


project: Callable[[Array, Array, Array, Any], bool] = compiled(_project)


def _draw_back(params: Array, anchor: Array, stiffness: Array, rate: Any) -> None:
    """An implicit step of rate along −stiffness (w − anchor): stable however stiff, where an explicit one would diverge."""
    for i in range(params.size):
        pull = rate * stiffness[i]
        params[i] = (params[i] + pull * anchor[i]) / (1 + pull)


draw_back: Callable[[Array, Array, Array, Any], None] = compiled(_draw_back)
