"""Compiled steps of the perceptron that remember: momentum and Adam. Importing it imports numba.

Weights lie as in `estran.learning.mlp_kernel`, and what an optimizer remembers of each lies in arrays of the same length. Unlike
a plain gradient step, these move every weight at every row, for what is remembered moves a weight even where its gradient is
zero; no row of a matrix can be skipped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.mlp_kernel import ask, finite
from estran.learning.sweeps import move_by_adam, move_by_momentum, pass_down

Array = NDArray[Any]


@compiled
def attribute(params: Array, sizes: Array, x: Array, label: int, acts: Array, deltas: Array, lists: Array, odds: Array) -> int:
    """Answer one row, and fill in the gradient of its cross-entropy by every unit; the answer, or -1 where something is wrong."""
    answer = ask(params, sizes, x, label, acts, deltas, lists, odds)
    above, weights = deltas.size - sizes[-1], params.size
    for back in range(sizes.size - 2 if answer >= 0 else 0):
        layer = sizes.size - 2 - back
        inputs, outputs = sizes[layer], sizes[layer + 1]
        here, weights = above - inputs, weights - (inputs + 1) * outputs
        matrix, below = params[weights : weights + inputs * outputs], deltas[here:above]
        below[:] = 0
        pass_down(deltas[above : above + outputs], matrix, lists[0, here:above], lists[0, deltas.size + layer], below)
        above = here
    return answer


@compiled
def learn_momentum(
    params: Array,
    velocity: Array,
    sizes: Array,
    x: Array,
    y: Array,
    settings: Array,
    answers: Array,
    acts: Array,
    deltas: Array,
    lists: Array,
    odds: Array,
) -> int:
    """Gradient descent with momentum on the cross-entropy, row after row, in place (Polyak 1964, as PyTorch writes it).

    Parameters
    ----------
    velocity
        Of every weight; in place.
    settings
        η and μ, of the type of ``params``.

    Other parameters and the result are those of `estran.learning.mlp_kernel.learn`.
    """
    one = np.ones(1, params.dtype)
    for n in range(x.shape[0]):
        answers[n] = attribute(params, sizes, x[n], y[n], acts, deltas, lists, odds)
        if answers[n] < 0:
            return n
        here, start = 0, 0
        for layer in range(sizes.size - 1):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            above, biases = here + inputs, start + inputs * outputs
            values, delta, stop = acts[0, here:above], deltas[above : above + outputs], biases + outputs
            move_by_momentum(values, delta, settings, params[start:biases], velocity[start:biases])
            move_by_momentum(one, delta, settings, params[biases:stop], velocity[biases:stop])
            here, start = above, stop
    return -1 if finite(params) and finite(velocity) else int(x.shape[0])


@compiled
def learn_adam(
    params: Array,
    first: Array,
    second: Array,
    powers: Array,
    sizes: Array,
    x: Array,
    y: Array,
    rate: float,
    decays: Array,
    epsilon: float,
    answers: Array,
    acts: Array,
    deltas: Array,
    lists: Array,
    odds: Array,
) -> int:
    """Adam on the cross-entropy, row after row, in place: algorithm 1 of Kingma and Ba, ICLR 2015.

    The corrections of bias are folded into step and guard, as at the end of the paper's section 2: m̂ / (√v̂ + ε) is
    m / (√v + ε √(1 − β₂ᵗ)) times √(1 − β₂ᵗ) / (1 − β₁ᵗ).

    Parameters
    ----------
    first, second
        Moments of every weight's gradient, m and v; in place.
    powers
        β₁ᵗ and β₂ᵗ, float64; in place.
    rate, epsilon
        η and ε, float64.
    decays
        β₁ and β₂, float64.

    Other parameters and the result are those of `estran.learning.mlp_kernel.learn`.
    """
    one, settings = np.ones(1, params.dtype), np.zeros(6, params.dtype)
    settings[1], settings[2], settings[3], settings[4] = decays[0], 1 - decays[0], decays[1], 1 - decays[1]
    for n in range(x.shape[0]):
        answers[n] = attribute(params, sizes, x[n], y[n], acts, deltas, lists, odds)
        if answers[n] < 0:
            return n
        powers[0] *= decays[0]
        powers[1] *= decays[1]
        correction = math.sqrt(1 - powers[1])
        settings[0], settings[5] = rate * correction / (1 - powers[0]), epsilon * correction
        here, start = 0, 0
        for layer in range(sizes.size - 1):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            above, biases = here + inputs, start + inputs * outputs
            values, delta, stop = acts[0, here:above], deltas[above : above + outputs], biases + outputs
            move_by_adam(values, delta, settings, params[start:biases], first[start:biases], second[start:biases])
            move_by_adam(one, delta, settings, params[biases:stop], first[biases:stop], second[biases:stop])
            here, start = above, stop
    return -1 if finite(params) and finite(first) and finite(second) else int(x.shape[0])
