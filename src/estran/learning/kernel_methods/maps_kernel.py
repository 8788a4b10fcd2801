"""Online gradient descent in the space of a map: random Fourier features, or Nyström's. Importing it imports numba.

Weights are copied, and the loop works on the copy and answers where it stopped, so that a chunk that fails leaves no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from estran.learning.compiled import compiled
from estran.learning.kernel_methods.budget_kernel import parts
from estran.learning.kernel_methods.functions_kernel import Array, gather, itself, judge, likeness, products, square, turn
from estran.learning.lanes import dot
from estran.learning.linear.kernel import finite
from estran.learning.linear.rules import slope
from estran.learning.mlp_kernel import add


def _step(steps: Array, weights: Array, z: Array, label: int, scores: Array) -> int:
    """Answer a row whose map is z, then learn from it: w ← w − η·∇loss. The answer, or -1 where scores are not finite."""
    for k in range(len(weights)):
        scores[k] = dot(weights[k], z)
        if not abs(scores[k]) < math.inf:
            return -1
    answer, yes, no, sign, m = judge(scores, label)
    push = steps[0] * slope(steps[1], m)
    if push != 0.0:
        add(sign * push, z, weights[yes])
        if no >= 0:
            add(-push, z, weights[no])
    return answer


step: Callable[[Array, Array, Array, int, Array], int] = compiled(_step, inlined=True)


def _fourier(x: Array, frequencies: Array, where: Array, value: Array, z: Array) -> bool:
    """``z`` = (cos, sin) of the row's products with all frequencies, 1/√D times; whether the row is finite."""
    count, half = gather(x, where, value), frequencies.shape[1]
    if not square(value[:count]) < math.inf:
        return False
    products(frequencies, where[:count], value[:count], z[:half])
    turn(z[:half], 1.0 / math.sqrt(half), z[half:])
    return True


def _nystroem(
    plan: Array, live: Array, basis: Array, x: Array, where: Array, value: Array, every: Array, likes: Array, z: Array
) -> bool:
    """``z`` = D^(−1/2)·Vᵀ·K(landmarks, x); whether the row is finite.

    ``basis`` is V·D^(−1/2), a row of it for each landmark; ``every`` are the numbers of all.
    """
    _, squares, _, _, supports = parts(plan, live)
    count = gather(x, where, value)
    length = square(value[:count])
    if not length < math.inf:
        return False
    likeness(plan, supports, squares, where[:count], value[:count], length, likes)
    products(basis, every, likes, z)
    return True


fourier: Callable[[Array, Array, Array, Array, Array], bool] = compiled(_fourier, inlined=True)
nystroem: Callable[[Array, Array, Array, Array, Array, Array, Array, Array, Array], bool] = compiled(_nystroem, inlined=True)


def _learn_fourier(
    steps: Array, frequencies: Array, live: Array, spare: Array, x: Array, y: Array, answers: Array
) -> tuple[int, bool]:
    """Predict, then learn, row after row of a chunk.

    Parameters
    ----------
    steps
        Step η and code of the loss.
    frequencies
        Shape (features, D).
    live, spare
        Weights before and after, shape (prototypes, 2·D).
    x, y, answers
        The chunk, and what was predicted before learning.

    Returns
    -------
    tuple
        How many rows were gone through, and whether all was well.
    """
    spare[:] = live
    width = x.shape[1]
    where, value, scores, z = np.empty(width, dtype=np.int64), np.empty(width), np.empty(len(live)), np.empty(live.shape[1])
    for i in range(len(x)):
        if y[i] < 0 or y[i] >= max(2, len(live)) or not fourier(x[i], frequencies, where, value, z):
            return i, False
        answers[i] = step(steps, spare, z, y[i], scores)
        if answers[i] < 0:
            return i, False
    return len(x), finite(spare.reshape(-1))


def _learn_nystroem(
    steps: Array, plan: Array, numbers: Array, basis: Array, live: Array, spare: Array, x: Array, y: Array, answers: Array
) -> tuple[int, bool]:
    """The same with landmarks: all numbers of what found them, and the basis."""
    spare[:] = live
    width = x.shape[1]
    where, value, scores, z = np.empty(width, dtype=np.int64), np.empty(width), np.empty(len(live)), np.empty(live.shape[1])
    every, likes = np.arange(len(basis)), np.empty(len(basis))
    for i in range(len(x)):
        if y[i] < 0 or y[i] >= max(2, len(live)) or not nystroem(plan, numbers, basis, x[i], where, value, every, likes, z):
            return i, False
        answers[i] = step(steps, spare, z, y[i], scores)
        if answers[i] < 0:
            return i, False
    return len(x), finite(spare.reshape(-1))


def _map_fourier(frequencies: Array, x: Array, z: Array) -> tuple[int, bool]:
    """Maps of all rows, shape (n, 2·D). Returns how many rows were gone through, and whether all were finite."""
    where, value = np.empty(x.shape[1], dtype=np.int64), np.empty(x.shape[1])
    for i in range(len(x)):
        if not fourier(x[i], frequencies, where, value, z[i]):
            return i, False
    return len(x), True


def _map_nystroem(plan: Array, numbers: Array, basis: Array, x: Array, z: Array) -> tuple[int, bool]:
    """Maps of all rows, shape (n, rank)."""
    where, value = np.empty(x.shape[1], dtype=np.int64), np.empty(x.shape[1])
    every, likes = np.arange(len(basis)), np.empty(len(basis))
    for i in range(len(x)):
        if not nystroem(plan, numbers, basis, x[i], where, value, every, likes, z[i]):
            return i, False
    return len(x), True


def _score(weights: Array, z: Array, found: Array) -> tuple[int, bool]:
    """Scores of mapped rows, shape (n, prototypes); how many were gone through, and whether all were finite."""
    for i in range(len(z)):
        for k in range(len(weights)):
            found[i, k] = dot(weights[k], z[i])
            if not abs(found[i, k]) < math.inf:
                return i, False
    return len(z), True


def _gram(plan: Array, numbers: Array, found: Array) -> None:
    """Kernel of every two landmarks."""
    _, squares, _, _, supports = parts(plan, numbers)
    where, value = np.empty(len(supports), dtype=np.int64), np.empty(len(supports))
    for j in range(squares.size):
        count = gather(supports[:, j], where, value)
        likeness(plan, supports, squares, where[:count], value[:count], squares[j], found[j])
        found[j, j] = itself(plan, squares[j])


learn_fourier: Callable[[Array, Array, Array, Array, Array, Array, Array], tuple[int, bool]] = compiled(_learn_fourier)
learn_nystroem: Callable[[Array, Array, Array, Array, Array, Array, Array, Array, Array], tuple[int, bool]] = compiled(
    _learn_nystroem
)
map_fourier: Callable[[Array, Array, Array], tuple[int, bool]] = compiled(_map_fourier)
map_nystroem: Callable[[Array, Array, Array, Array, Array], tuple[int, bool]] = compiled(_map_nystroem)
score: Callable[[Array, Array, Array], tuple[int, bool]] = compiled(_score)
gram: Callable[[Array, Array, Array], None] = compiled(_gram)
