"""A network with many outputs that learns minibatches of rows by Adam. Importing it imports numba.

Weights lie as in `estran.learning.mlp_kernel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.mlp_kernel import answer, finite
from estran.learning.sweeps import move, move_by_adam, pass_down

Array = NDArray[Any]


def _gather(params: Array, gradient: Array, sizes: Array, one: Any, acts: Array, deltas: Array, lists: Array) -> None:
    """Add one row's gradient, which starts from the deltas of the last layer, to those of the rows before it."""
    above, weights = deltas.size - sizes[-1], params.size
    for back in range(sizes.size - 1):
        layer = sizes.size - 2 - back
        inputs, outputs = sizes[layer], sizes[layer + 1]
        here, biases = above - inputs, weights - outputs
        weights = biases - inputs * outputs
        delta, places, count = deltas[above : above + outputs], lists[0, here:above], lists[0, deltas.size + layer]
        if layer > 0:
            deltas[here:above] = 0
            pass_down(delta, params[weights:biases], places, count, deltas[here:above])
        move(one, acts[0, here:above], places, count, delta, gradient[weights:biases])
        for j in range(outputs):
            gradient[biases + j] += delta[j]
        above = here


gather: Callable[[Array, Array, Array, Any, Array, Array, Array], None] = compiled(_gather)


def _learn(
    params: Array,
    first: Array,
    second: Array,
    powers: Array,
    gradient: Array,
    sizes: Array,
    x: Array,
    y: Array,
    weights: Array,
    rate: float,
    decays: Array,
    epsilon: float,
    losses: Array,
    acts: Array,
    deltas: Array,
    lists: Array,
) -> int:
    """One step of Adam down the weighted mean squared error of all rows together, in place.

    Parameters
    ----------
    params, sizes, acts, deltas, lists
        As for `estran.learning.mlp_kernel.learn`.
    first, second, powers, rate, decays, epsilon
        As for `estran.learning.optimizer_kernel.learn_adam`.
    gradient
        Working memory, like ``params``.
    x, y, weights
        Rows, shape (n, inputs); targets, shape (n, outputs); and how much each row counts, shape (n,), none below zero.
    losses
        Filled in, shape (n,): mean squared error of each row before the step.

    Returns
    -------
    int
        -1, or the row at which a value, a target or an answer is not finite; n if only the weights that come out are not.
    """
    one, settings = np.ones(1, params.dtype), np.zeros(6, params.dtype)
    gradient[:] = 0
    outputs, last = sizes[-1], deltas.size - sizes[-1]
    total = weights.sum() * outputs
    for row in range(x.shape[0]):
        for i in range(sizes[0]):
            acts[0, i] = x[row, i]
            if not math.isfinite(x[row, i]):
                return row
        answer(params, sizes, 1, acts, lists)
        loss = 0.0
        for j in range(outputs):
            error = np.float64(acts[0, last + j]) - y[row, j]
            loss += error * error
            deltas[last + j] = error * weights[row] / total
        if not math.isfinite(loss):
            return row
        losses[row] = loss / outputs
        gather(params, gradient, sizes, one[0], acts, deltas, lists)
    powers[0] *= decays[0]
    powers[1] *= decays[1]
    correction = math.sqrt(1 - powers[1])
    settings[0], settings[5] = rate * correction / (1 - powers[0]), epsilon * correction
    settings[1], settings[2], settings[3], settings[4] = decays[0], 1 - decays[0], decays[1], 1 - decays[1]
    move_by_adam(one, gradient, settings, params, first, second)
    return -1 if finite(params) and finite(first) and finite(second) else int(x.shape[0])


learn: Callable[..., int] = compiled(_learn)
