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
from estran.learning.sweeps import pass_down

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
def momentum_step(value: Any, delta: Array, rate: Any, momentum: Any, weights: Array, velocity: Array) -> None:
    """``v ← μ v + g; w ← w − η v``, for the weights of one input, whose gradient is ``value * delta``."""
    for j in range(delta.size):
        velocity[j] = momentum * velocity[j] + value * delta[j]
        weights[j] -= rate * velocity[j]


@compiled
def learn_momentum(
    params: Array,
    velocity: Array,
    sizes: Array,
    x: Array,
    y: Array,
    rate: Any,
    momentum: Any,
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
    momentum
        μ, of the type of ``params``.

    Other parameters and the result are those of `estran.learning.mlp_kernel.learn`.
    """
    for n in range(x.shape[0]):
        answers[n] = attribute(params, sizes, x[n], y[n], acts, deltas, lists, odds)
        if answers[n] < 0:
            return n
        here, start = 0, 0
        for layer in range(sizes.size - 1):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            delta = deltas[here + inputs : here + inputs + outputs]
            for i in range(inputs + 1):
                value = acts[0, here + i] if i < inputs else params.dtype.type(1)
                stop = start + outputs
                momentum_step(value, delta, rate, momentum, params[start:stop], velocity[start:stop])
                start = stop
            here += inputs
    return -1 if finite(params) and finite(velocity) else int(x.shape[0])


@compiled
def adam_step(
    value: Any, delta: Array, rate: Any, decay1: Any, decay2: Any, guard: Any, weights: Array, first: Array, second: Array
) -> None:
    """``m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; w ← w − rate · m / (√v + guard)``, for the weights of one input."""
    one = weights.dtype.type(1)
    for j in range(delta.size):
        gradient = value * delta[j]
        first[j] = decay1 * first[j] + (one - decay1) * gradient
        second[j] = decay2 * second[j] + (one - decay2) * gradient * gradient
        # Not by the operator, which looks for a zero at every element and so keeps them from being done side by side.
        weights[j] -= np.true_divide(rate * first[j], math.sqrt(second[j]) + guard)


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
        β₁ and β₂, of the type of ``params``.

    Other parameters and the result are those of `estran.learning.mlp_kernel.learn`.
    """
    # Scalars of the type of the weights, or every element would be computed in float64.
    scalars = np.zeros(2, params.dtype)
    for n in range(x.shape[0]):
        answers[n] = attribute(params, sizes, x[n], y[n], acts, deltas, lists, odds)
        if answers[n] < 0:
            return n
        powers[0] *= decays[0]
        powers[1] *= decays[1]
        correction = math.sqrt(1 - powers[1])
        scalars[0], scalars[1] = rate * correction / (1 - powers[0]), epsilon * correction
        here, start = 0, 0
        for layer in range(sizes.size - 1):
            inputs, outputs = sizes[layer], sizes[layer + 1]
            delta = deltas[here + inputs : here + inputs + outputs]
            for i in range(inputs + 1):
                value = acts[0, here + i] if i < inputs else params.dtype.type(1)
                stop = start + outputs
                moved, m, v = params[start:stop], first[start:stop], second[start:stop]
                adam_step(value, delta, scalars[0], decays[0], decays[1], scalars[1], moved, m, v)
                start = stop
            here += inputs
    return -1 if finite(params) and finite(first) and finite(second) else int(x.shape[0])
