"""Choices and updates of the bandits. Importing it imports numba.

All numbers of a bandit lie in one array: seed of its draws, how many were made, rounds learned; then what the method keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.draws import seed_from as seed_from
from estran.learning.draws import uniform
from estran.learning.experts.kernel import drawn, weigh
from estran.learning.experts.plan import HEAD
from estran.learning.lanes import dot

Array = NDArray[Any]


TOLERANCE: Final = 1e-6
"""How far the sum of an expert's advice may be from 1."""


def _proper(advice: Array) -> bool:
    """Whether all advice is a distribution; one with a NaN is not."""
    for i in range(len(advice)):
        total = 0.0
        for k in range(advice.shape[1]):
            if not advice[i, k] >= 0.0:
                return False
            total += advice[i, k]
        if not abs(total - 1.0) <= TOLERANCE:
            return False
    return True


proper: Callable[[Array], bool] = compiled(_proper, inlined=True)


def _spread(numbers: Array, gamma: Any, advice: Array, arms: int, found: Array) -> bool:
    """Probabilities of the arms, of Exp3 where nobody advises, else of Exp4. Answers whether advice is as it should be."""
    if not proper(advice):
        return False
    scores = numbers[HEAD:]
    eta = gamma / arms if gamma > 0.0 else math.sqrt(math.log(scores.size) / (arms * (numbers[2] + 1.0)))
    if len(advice) == 0:
        weigh(scores, eta, found)
    else:
        shares, total = np.empty(scores.size), 0.0
        weigh(scores, eta, shares)
        found[:] = 0.0
        for i in range(scores.size):
            for k in range(arms):
                found[k] += shares[i] * advice[i, k]
                total += shares[i] * advice[i, k]
        for k in range(arms):
            found[k] /= total
    for k in range(arms):
        found[k] = (1.0 - gamma) * found[k] + gamma / arms
    return True


spread: Callable[[Array, Any, Array, int, Array], bool] = compiled(_spread)


def _draw(numbers: Array, gamma: Any, advice: Array, arms: int) -> int:
    """Draw an arm of Exp3 or Exp4, and count the draw; -1 if advice is no distribution."""
    found = np.empty(arms)
    if not spread(numbers, gamma, advice, arms, found):
        return -1
    numbers[1] += 1.0
    return drawn(found, uniform(numbers[0], numbers[1] - 1.0))


def _weigh_reward(numbers: Array, gamma: Any, advice: Array, arms: int, arm: int, reward: Any, probability: Any) -> Any:
    """Learn a reward, weighed by one over the arm's probability (as of now, where it is not positive).

    Returns that probability. Nothing was learned if it is 0; if it is negative, since the estimate would not be finite; or if it is
    NaN, since advice is no distribution.
    """
    if not proper(advice):
        return math.nan
    if not probability > 0.0:
        found = np.empty(arms)
        spread(numbers, gamma, advice, arms, found)
        probability = found[arm]
    if probability == 0.0:
        return probability
    # With uniform exploration in the probabilities rewards are estimated, without it losses: either bounds the variance.
    estimate = -reward / probability if gamma > 0.0 else (1.0 - reward) / probability
    if not abs(estimate) < math.inf:
        return -probability
    scores = numbers[HEAD:]
    if len(advice) == 0:
        scores[arm] += estimate
    else:
        for i in range(scores.size):
            scores[i] += advice[i, arm] * estimate
    numbers[2] += 1.0
    return probability


def _optimistic(numbers: Array, exploration: Any, arms: int) -> int:
    """UCB1: an arm that was not tried yet, else the highest upper bound; the first of them."""
    counts, sums = numbers[HEAD : HEAD + arms], numbers[HEAD + arms :]
    best, highest, width = 0, -math.inf, exploration * math.log(max(numbers[2], 1.0))
    for k in range(arms):
        if counts[k] == 0.0:
            return k
        bound = sums[k] / counts[k] + math.sqrt(width / counts[k])
        if bound > highest:
            best, highest = k, bound
    return best


def _greedy(numbers: Array, initial: Any, arms: int) -> int:
    """The highest mean reward so far, the first of them; arms that were not tried count as ``initial``."""
    counts, sums = numbers[HEAD : HEAD + arms], numbers[HEAD + arms :]
    best, highest = 0, -math.inf
    for k in range(arms):
        mean = sums[k] / counts[k] if counts[k] > 0.0 else initial
        if mean > highest:
            best, highest = k, mean
    return best


def _explore(numbers: Array, epsilon: Any, initial: Any, arms: int) -> int:
    """ε-greedy: with probability ε any arm, else the greedy one; counts two draws."""
    count = numbers[1]
    numbers[1] += 2.0
    if uniform(numbers[0], count) < epsilon:
        return min(int(uniform(numbers[0], count + 1.0) * arms), arms - 1)
    return greedy(numbers, initial, arms)


def _confident(factors: Array, weights: Array, x: Array, alpha: Any, bounds: Array) -> int:
    """LinUCB: fill in the upper bound of each arm, and answer the first of the highest, or -1 if none is finite.

    A = UᵀU, so x·A⁻¹x = |U⁻ᵀx|², which rounding cannot make negative. ``x`` has a row an arm, or one for all.
    """
    arms, width = weights.shape
    best, highest, rest = -1, -math.inf, np.empty(width)
    for k in range(arms):
        row = x[min(k, len(x) - 1)]
        rest[:] = row
        square = 0.0
        for i in range(width):
            part = rest[i] / factors[k, i, i]
            square += part * part
            for j in range(i + 1, width):
                rest[j] -= part * factors[k, i, j]
        bounds[k] = dot(weights[k], row) + alpha * math.sqrt(square)
        if not abs(bounds[k]) < math.inf:
            return -1
        if bounds[k] > highest:
            best, highest = k, bounds[k]
    return best


def _regress(factor: Array, moment: Array, weights: Array, x: Array, reward: Any) -> bool:
    """One arm of LinUCB: A += x·xᵀ on its factor (a Givens rotation a column), b += reward·x, and θ = A⁻¹b.

    Answers whether all went well; if not, nothing was changed.
    """
    width = x.size
    u, b, theta, row = factor.copy(), moment.copy(), np.empty(width), x.copy()
    for i in range(width):
        b[i] += reward * x[i]
    for i in range(width):
        length = math.hypot(u[i, i], row[i])
        c, s = u[i, i] / length, row[i] / length
        u[i, i] = length
        for j in range(i + 1, width):
            old = u[i, j]
            u[i, j] = c * old + s * row[j]
            row[j] = c * row[j] - s * old
    theta[:] = b
    for i in range(width):
        theta[i] /= u[i, i]
        for j in range(i + 1, width):
            theta[j] -= theta[i] * u[i, j]
    for i in range(width - 1, -1, -1):
        for j in range(i + 1, width):
            theta[i] -= theta[j] * u[i, j]
        theta[i] /= u[i, i]
    nothing = 0.0
    for i in range(width):
        nothing += theta[i] * 0.0 + b[i] * 0.0
        for j in range(i, width):
            nothing += u[i, j] * 0.0
    if nothing != 0.0:
        return False
    factor[:], moment[:], weights[:] = u, b, theta
    return True


draw: Callable[[Array, Any, Array, int], int] = compiled(_draw)
weigh_reward: Callable[[Array, Any, Array, int, int, Any, Any], Any] = compiled(_weigh_reward)
optimistic: Callable[[Array, Any, int], int] = compiled(_optimistic)
greedy: Callable[[Array, Any, int], int] = compiled(_greedy)
explore: Callable[[Array, Any, Any, int], int] = compiled(_explore)
confident: Callable[[Array, Array, Array, Any, Array], int] = compiled(_confident)
regress: Callable[[Array, Array, Array, Array, Any], bool] = compiled(_regress)
