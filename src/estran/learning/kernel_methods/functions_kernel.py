"""Kernels and Fourier features of one row, beside many others. Importing it imports numba, so only learning does so.

What a row is compared with lies column by column: a row of the matrix is one feature of all of them. So each sum is made in
the order of the features, whatever the processor's vectors; features that are zero in the row are skipped whole.

Exponential, sine and cosine are polynomials here, not the C library's: the compiler makes vectors of them, and they give the same
bits on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.draws import uniform
from estran.learning.kernel_methods.plan import DEGREE, GAMMA, KERNEL, OFFSET, Kernel

Array: TypeAlias = NDArray[Any]

GAUSSIAN: Final = int(Kernel.GAUSSIAN)
LINEAR: Final = int(Kernel.LINEAR)
_ROUND: Final = 6755399441055744.0
"""1.5·2⁵²: what is added to it is rounded to whole numbers, which then stand in the lowest bits."""
_LOG2E: Final = 1.4426950408889634
_LN2: Final = (0.6931471803691238, 1.9082149292705877e-10)
"""In two parts, the first with zeros behind, so that its whole multiples are exact."""
_FARTHEST: Final = 708.0
_52: Final = np.int64(52)
_ONE: Final = np.int64(1023 << 52)


def _gather(x: Array, where: Array, value: Array) -> int:
    """Columns and values of a row that are not zero; how many."""
    count = 0
    for j in range(x.size):
        if x[j] != 0.0:
            where[count], value[count] = j, x[j]
            count += 1
    return count


def _square(value: Array) -> Any:
    """|x|², in the order of `products`, so that a row is at a distance of exactly zero from itself."""
    total = 0.0
    for i in range(value.size):
        total += value[i] * value[i]
    return total


def _products(others: Array, where: Array, value: Array, out: Array) -> None:
    """``out[j]`` = x·s of the row and column j of the others. Four features at a time, added up one by one."""
    n, i = out.size, 0
    for j in range(n):
        out[j] = 0.0
    while i + 4 <= value.size:
        a, b, c, d = others[where[i]], others[where[i + 1]], others[where[i + 2]], others[where[i + 3]]
        p, q, r, s = value[i], value[i + 1], value[i + 2], value[i + 3]
        for j in range(n):
            out[j] = (((out[j] + p * a[j]) + q * b[j]) + r * c[j]) + s * d[j]
        i += 4
    while i < value.size:
        a, p = others[where[i]], value[i]
        for j in range(n):
            out[j] += p * a[j]
        i += 1


def _fade(t: Array) -> None:
    """``t = exp(−t)`` for t ≥ 0, to 2 units in the last place; what is below 10⁻³⁰⁷ stays there."""
    for j in range(t.size):
        v = t[j]
        if v > _FARTHEST:
            v = _FARTHEST
        rounded = _ROUND - v * _LOG2E
        n = rounded - _ROUND
        r = (-v - n * _LN2[0]) - n * _LN2[1]
        # Taylor to r¹³/13!, |r| ≤ ln 2 / 2: what is left out is below 5·10⁻¹⁸.
        p = 1 / 362880 + r * (1 / 3628800 + r * (1 / 39916800 + r * (1 / 479001600 + r * (1 / 6227020800))))
        p = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * (1 / 40320 + r * p))))
        p = 1.0 + r * (1.0 + r * (1 / 2 + r * (1 / 6 + r * p)))
        power = (np.float64(rounded).view(np.int64) << _52) + _ONE
        t[j] = p * np.int64(power).view(np.float64)


def _turn(t: Array, scale: Any, sines: Array) -> None:
    """``t, sines = scale·cos, scale·sin`` of angles in quarters of a turn, to a few units in the last place of 1."""
    for j in range(t.size):
        n = np.floor(t[j] + 0.5)
        r = (t[j] - n) * (math.pi / 2)
        z = r * r
        s = -1 / 39916800 + z * (1 / 6227020800 - z * (1 / 1307674368000))
        s = r + r * z * (-1 / 6 + z * (1 / 120 + z * (-1 / 5040 + z * (1 / 362880 + z * s))))
        c = 1 / 479001600 + z * (-1 / 87178291200 + z * (1 / 20922789888000))
        c = 1.0 + z * (-1 / 2 + z * (1 / 24 + z * (-1 / 720 + z * (1 / 40320 + z * (-1 / 3628800 + z * c)))))
        quarter = n - 4.0 * np.floor(n * 0.25)
        odd = quarter == 1.0 or quarter == 3.0
        sine = c if odd else s
        cosine = s if odd else c
        sines[j] = scale * (-sine if quarter >= 2.0 else sine)
        t[j] = scale * (-cosine if quarter == 1.0 or quarter == 2.0 else cosine)


gather: Callable[[Array, Array, Array], int] = compiled(_gather, inlined=True)
square: Callable[[Array], Any] = compiled(_square, inlined=True)
products: Callable[[Array, Array, Array, Array], None] = compiled(_products, inlined=True)
fade: Callable[[Array], None] = compiled(_fade)
turn: Callable[[Array, Any, Array], None] = compiled(_turn)


def _power(plan: Array, product: Any) -> Any:
    """The polynomial kernel of a sum of products."""
    base, found = plan[GAMMA] * product + plan[OFFSET], 1.0
    for _ in range(int(plan[DEGREE])):
        found *= base
    return found


power: Callable[[Array, Any], Any] = compiled(_power, inlined=True)


def _likeness(plan: Array, others: Array, squares: Array, where: Array, value: Array, length: Any, out: Array) -> None:
    """``out[j]`` = K(x, s) of the row, whose |x|² is ``length``, and column j of the others."""
    products(others, where, value, out)
    if plan[KERNEL] == GAUSSIAN:
        for j in range(out.size):
            out[j] = plan[GAMMA] * max(0.0, (length + squares[j]) - 2.0 * out[j])
        fade(out)
    elif plan[KERNEL] != LINEAR:
        for j in range(out.size):
            out[j] = power(plan, out[j])


def _itself(plan: Array, length: Any) -> Any:
    """K(x, x) of a row whose |x|² is ``length``."""
    if plan[KERNEL] == GAUSSIAN:
        return 1.0
    return length if plan[KERNEL] == LINEAR else power(plan, length)


likeness: Callable[[Array, Array, Array, Array, Array, Any, Array], None] = compiled(_likeness)
itself: Callable[[Array, Any], Any] = compiled(_itself, inlined=True)


def _judge(scores: Array, label: int) -> tuple[int, int, int, Any, Any]:
    """What a row's scores say: the answer; its label's prototype, the highest rival's (-1 if none); sign of the step; margin."""
    answer, no = 0, -1
    if scores.size == 1:
        answer = 1 if scores[0] > 0.0 else 0
        sign = 1.0 if label == 1 else -1.0
        return answer, 0, no, sign, sign * scores[0]
    for k in range(scores.size):
        if scores[k] > scores[answer]:
            answer = k
        if k != label and (no < 0 or scores[k] > scores[no]):
            no = k
    return answer, label, no, 1.0, scores[label] - scores[no]


judge: Callable[[Array, int], tuple[int, int, int, Any, Any]] = compiled(_judge, inlined=True)


def _draw(seed: Any, gamma: Any, cauchy: bool, out: Array) -> None:
    """Frequencies of a kernel in quarters of a turn: normal of variance 2γ (Box, Muller 1958), or Cauchy of scale γ."""
    flat, count = out.reshape(-1), 0.0
    for j in range(flat.size):
        angle = uniform(seed, count)
        if cauchy:
            flat[j] = gamma * math.tan(math.pi * (angle - 0.5)) * (2 / math.pi)
            count += 1.0
        else:
            far = math.sqrt(-2.0 * math.log(1.0 - uniform(seed, count + 1.0)))
            flat[j] = math.sqrt(2.0 * gamma) * far * math.cos(2.0 * math.pi * angle) * (2 / math.pi)
            count += 2.0


draw: Callable[[Any, Any, bool, Array], None] = compiled(_draw)
