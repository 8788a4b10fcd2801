"""The compiled heart of Hedge Backpropagation. Importing it imports numba, so only learning and predicting do so.

Symbols are those of algorithm 1 in Sahoo, Pham, Lu, Hoi, *Online Deep Learning*, IJCAI 2018, with biases b and c added.

All weights live in one flat array, layer by layer. First the hidden layers: each one's matrix, shape (inputs, width) row by
row, then its biases; an input of zero (a silent ReLU) is skipped whole, forwards and backwards. Then the classifiers, from the
one on the inputs to the one on the last hidden layer: each one's matrix, shape (classes, inputs) row by row, then its biases;
there are few classes, so this way round the inner loops are long. Activations of a row lie likewise: the inputs, every hidden
layer, then the scores of every classifier.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.lanes import dot
from estran.learning.mlp_kernel import BLOCK as BLOCK
from estran.learning.mlp_kernel import add

Array = NDArray[Any]

FEATURES, WIDTH, DEPTH, CLASSES = range(4)
"""Places in ``shape``, the four numbers that a network is laid out by."""


@compiled
def admit(x: Array, start: int, rows: int, acts: Array) -> int:
    """Copy rows to where activations start; -1, or the row that holds a value that is not finite."""
    for r in range(rows):
        for i in range(x.shape[1]):
            acts[r, i] = x[start + r, i]
            if not math.isfinite(x[start + r, i]):
                return start + r
    return -1


@compiled
def forward(params: Array, shape: Array, rows: int, acts: Array) -> None:
    """Fill in hidden layers, h⁽ˡ⁾ = max(0, h⁽ˡ⁻¹⁾ W⁽ˡ⁾ + b⁽ˡ⁾), and scores, h⁽ˡ⁾ Θ⁽ˡ⁾ + c⁽ˡ⁾.

    A row of weights is fetched once for all rows; each row's sums are the same bits as if it came alone.
    """
    features, width, depth, classes = shape[FEATURES], shape[WIDTH], shape[DEPTH], shape[CLASSES]
    here, weights, inputs = 0, 0, features
    for _ in range(depth):
        above, biases = here + inputs, weights + inputs * width
        for r in range(rows):
            acts[r, above : above + width] = params[biases : biases + width]
        for i in range(inputs):
            row = params[weights + i * width : weights + (i + 1) * width]
            for r in range(rows):
                if acts[r, here + i] != 0.0:
                    add(acts[r, here + i], row, acts[r, above : above + width])
        for r in range(rows):
            for j in range(above, above + width):
                # Written so that a NaN stays one.
                if acts[r, j] < 0.0:
                    acts[r, j] = 0
        here, weights, inputs = above, biases + width, width
    here, inputs, scores = 0, features, features + depth * width
    for _ in range(depth + 1):
        biases = weights + inputs * classes
        for r in range(rows):
            for c in range(classes):
                row = params[weights + c * inputs : weights + (c + 1) * inputs]
                acts[r, scores + c] = dot(row, acts[r, here : here + inputs]) + params[biases + c]
        here, weights, inputs, scores = here + inputs, biases + classes, width, scores + classes


@compiled
def judge(scores: Array, odds: Array) -> float:
    """Fill in one classifier's softmax; the logarithm of its denominator, NaN where a score is not finite."""
    top = float(scores[0])
    for c in range(1, scores.size):
        top = max(top, float(scores[c]))
    total = 0.0
    for c in range(scores.size):
        odds[c] = math.exp(float(scores[c]) - top)
        total += odds[c]
    for c in range(scores.size):
        odds[c] /= total
    return top + math.log(total)


@compiled
def combine(alphas: Array, odds: Array, answer: Array) -> None:
    """F(x) = Σₗ α⁽ˡ⁾ f⁽ˡ⁾(x); ``odds`` has shape (classifiers, classes)."""
    total = 0.0
    for c in range(answer.size):
        answer[c] = 0.0
        for level in range(alphas.size):
            answer[c] += alphas[level] * odds[level, c]
        total += answer[c]
    # One but for rounding; without this a certain answer could come out above one.
    for c in range(answer.size):
        answer[c] /= total


@compiled
def descend(params: Array, shape: Array, rate: Any, alphas: Array, odds: Array, label: int, acts: Array, blames: Array) -> None:
    """Move all weights, in one sweep from the last layer to the first.

    Θ⁽ˡ⁾ −= η α⁽ˡ⁾ ∇L(f⁽ˡ⁾) and W⁽ˡ⁾ −= η Σ α⁽ʲ⁾ ∇L(f⁽ʲ⁾), the sum over all j ≥ l. Backpropagation is linear, so what reaches
    h⁽ˡ⁾ from all classifiers above it is one vector: α⁽ˡ⁾ ∂L(f⁽ˡ⁾)/∂h⁽ˡ⁾ plus what W⁽ˡ⁺¹⁾ passes down. That makes it O(L) where a
    backpropagation per classifier is O(L²). Everything passes its blame down before it moves.

    Parameters
    ----------
    acts
        Of one row, as `forward` left them; the scores give way to their blame.
    blames
        Working memory, shape (2, width): blame of this layer, and of the one below.
    """
    features, width, depth, classes = shape[FEATURES], shape[WIDTH], shape[DEPTH], shape[CLASSES]
    head, scores = params.size, acts.size
    body = depth * (width + 1) * width + (features - width) * width
    blames[0, :] = 0
    for back in range(depth + 1):
        level = depth - back
        inputs, here = (width, features + (level - 1) * width) if level > 0 else (features, 0)
        acted, blame, below = acts[here : here + inputs], blames[back % 2], blames[(back + 1) % 2]
        head -= (inputs + 1) * classes
        scores -= classes
        for c in range(classes):
            acts[scores + c] = alphas[level] * (odds[level, c] - (1.0 if c == label else 0.0))
            fault = acts[scores + c]
            row = params[head + c * inputs : head + (c + 1) * inputs]
            if level > 0:
                add(fault, row, blame)
            add(-rate * fault, acted, row)
        add(-rate, acts[scores : scores + classes], params[head + classes * inputs : head + classes * (inputs + 1)])
        if level == 0:
            return
        for j in range(width):
            if acted[j] <= 0.0:
                blame[j] = 0
        under = width if level > 1 else features
        body -= (under + 1) * width
        for i in range(under):
            value = acts[here - under + i]
            below[i % width] = 0
            if value != 0.0:
                row = params[body + i * width : body + (i + 1) * width]
                if level > 1:
                    below[i] = dot(row, blame)
                add(-rate * value, blame, row)
        add(-rate, blame, params[body + under * width : body + (under + 1) * width])


@compiled
def hedge(alphas: Array, losses: Array, beta: float, floor: float, scaled: bool) -> None:
    """Move the shares of the classifiers: α⁽ˡ⁾ ← max(α⁽ˡ⁾ β^L(f⁽ˡ⁾), s/L), then divided by their sum.

    Parameters
    ----------
    alphas, losses
        Of every classifier, in place; losses are the cross-entropy, before the weights moved.
    floor
        s/L.
    scaled
        First stretch the losses of this row to [0, 1], as the authors' program does and the paper does not.
    """
    least, most = math.inf, -math.inf
    for level in range(alphas.size):
        # Without a floor, only who has a share counts: all of them might otherwise underflow to zero together.
        if scaled or floor > 0.0 or alphas[level] > 0.0:
            least, most = min(least, losses[level]), max(most, losses[level])
    for level in range(alphas.size):
        loss = losses[level]
        if scaled:
            loss = (loss - least) / (most - least) if most > least else 0.0
        elif floor == 0.0:
            loss = max(0.0, loss - least)
        alphas[level] = max(alphas[level] * beta**loss, floor)
    total = 0.0
    for level in range(alphas.size):
        total += alphas[level]
    for level in range(alphas.size):
        alphas[level] /= total


@compiled
def learn(
    params: Array,
    alphas: Array,
    shape: Array,
    x: Array,
    y: Array,
    rate: Any,
    beta: float,
    floor: float,
    scaled: bool,
    answers: Array,
    acts: Array,
    blames: Array,
    odds: Array,
) -> int:
    """Hedge Backpropagation (the paper's algorithm 1), row after row, in place.

    Parameters
    ----------
    params, alphas
        All weights, as laid out above, and the classifiers' shares; changed, also where learning fails.
    shape
        Features, width, depth and classes.
    x, y
        Rows, shape (n, features), and labels, as they came: their values are checked here.
    rate, beta, floor, scaled
        Learning rate, of the type of ``params``; discount; s/L; whether losses are scaled.
    answers
        Filled in, shape (n, classes): each row's class probabilities before it was learned.
    acts, blames, odds
        Working memory: of the type of ``params``, shape (at least 1, features + depth * width + (depth + 1) * classes) and
        (2, width); and float64, shape (depth + 1, classes).

    Returns
    -------
    int
        -1, or the row at which a value is not finite, the label is no class, or the scores stop being finite; n if only the
        weights that come out are not finite.
    """
    scores, classes = shape[FEATURES] + shape[DEPTH] * shape[WIDTH], shape[CLASSES]
    losses = np.zeros(alphas.size)
    for row in range(x.shape[0]):
        if y[row] < 0 or y[row] >= classes or admit(x, row, 1, acts) >= 0:
            return row
        forward(params, shape, 1, acts)
        for level in range(alphas.size):
            place = scores + level * classes
            losses[level] = judge(acts[0, place : place + classes], odds[level]) - acts[0, place + y[row]]
            if not math.isfinite(losses[level]):
                return row
        combine(alphas, odds, answers[row])
        descend(params, shape, rate, alphas, odds, y[row], acts[0], blames)
        hedge(alphas, losses, beta, floor, scaled)
    bad = 0
    for i in range(params.size):
        # Counted, not returned from, so that many are looked at side by side.
        bad += 0 if math.isfinite(params[i]) else 1
    return int(x.shape[0]) if bad else -1


@compiled
def predict(params: Array, alphas: Array, shape: Array, x: Array, acts: Array, odds: Array, answers: Array) -> int:
    """Class probabilities of rows, shape (n, classes), in ``answers``: bit for bit those of one row at a time.

    Parameters
    ----------
    acts, odds
        Working memory as in `learn`, with `BLOCK` rows of ``acts``.

    Returns
    -------
    int
        -1, or the row at which a value is not finite, or a score.
    """
    scores, classes = shape[FEATURES] + shape[DEPTH] * shape[WIDTH], shape[CLASSES]
    for start in range(0, x.shape[0], BLOCK):
        rows = min(BLOCK, x.shape[0] - start)
        bad = admit(x, start, rows, acts)
        if bad >= 0:
            return bad
        forward(params, shape, rows, acts)
        for r in range(rows):
            for level in range(alphas.size):
                place = scores + level * classes
                if not math.isfinite(judge(acts[r, place : place + classes], odds[level])):
                    return start + r
            combine(alphas, odds, answers[start + r])
    return -1
