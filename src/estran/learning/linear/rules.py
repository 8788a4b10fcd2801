"""The update rules, each from its paper's closed form. Importing it imports numba, so only learning does so.

All are written for one weight vector w and a row z with label +1, of margin m = w·z. Two classes are one vector, z = y·x. More are
one prototype per class and the row of the *max-score violation*: x for the label's prototype, −x for the prototype of the
highest score among the others (Crammer, Singer, JMLR 3:951, 2003), so that |z|² = 2|x|².

First-order rules answer ``(scale, step)``: w ← scale·w + step·z. Second-order rules have a covariance S and the row's variance
v = z·S·z, and answer ``(step, gain, grow)``: w ← w + step·S·z, S⁻¹ ← (S⁻¹ + gain·z·zᵀ) / grow.

``p`` are the rule's own settings; ``clock`` is (rows seen, updates made, fading factor).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.linear.plan import Rule
from estran.learning.linear.vectors import Wide, swept

Array: TypeAlias = NDArray[Any]

HINGE: Final = 0
LOGISTIC: Final = 1
SQUARED: Final = 3

FAR: Final = 1e100
"""Of |w|², where ROMMA shortens w."""
SHORTER: Final = 2.0**-83
"""By how much: a power of two, which rounds nothing."""

PERCEPTRON: Final = int(Rule.PERCEPTRON)
PA: Final = int(Rule.PA)
PA1: Final = int(Rule.PA1)
PA2: Final = int(Rule.PA2)
OGD: Final = int(Rule.OGD)
ROMMA: Final = int(Rule.ROMMA)
AROMMA: Final = int(Rule.AROMMA)
ALMA: Final = int(Rule.ALMA)
SOP: Final = int(Rule.SOP)
CW: Final = int(Rule.CW)
ECCW: Final = int(Rule.ECCW)
AROW: Final = int(Rule.AROW)
NAROW: Final = int(Rule.NAROW)
SCW1: Final = int(Rule.SCW1)
SCW2: Final = int(Rule.SCW2)
NHERD: Final = int(Rule.NHERD)


def _slope(loss: Any, m: Any) -> Any:
    """Minus the derivative by the margin of a loss: 0 hinge max(0, 1 − m), 1 logistic log(1 + e⁻ᵐ), 2 squared hinge, 3 (1 − m)²."""
    if loss == HINGE:
        return 1.0 if m < 1.0 else 0.0
    if loss == LOGISTIC:
        return 1.0 / (1.0 + math.exp(m)) if m < 700.0 else 0.0
    return 2.0 * (1.0 - m) if m < 1.0 or loss == SQUARED else 0.0


slope: Callable[[Any, Any], Any] = compiled(_slope, inlined=True)


def _aggressive(rule: int, p: Array, m: Any, square: Any) -> Any:
    """Step of PA, PA-I, PA-II (Crammer et al., JMLR 7:551, 2006, figure 1); p = (C)."""
    loss = 1.0 - m
    if rule == PA:
        return loss / square
    if rule == PA1:
        return min(p[0], loss / square)
    return loss / (square + 0.5 / p[0])


def _relaxed(rule: int, m: Any, square: Any, norm: Any) -> tuple[Any, Any]:
    """ROMMA and aggressive ROMMA (Li, Long, Machine Learning 46:361, 2002); norm is |w|².

    Where no w parts the classes, |w| never ceases to grow. Beyond `FAR` a margin of 1 has long been lost in rounding, the rule
    does the same at any length of w, and so w is shortened, which changes no answer.
    """
    if norm == 0.0 or (rule == AROMMA and m >= square * norm):
        return 0.0, 1.0 / square
    rest = square * norm - m * m
    # Along w itself there is nothing to relax; rounding may leave a little less than nothing.
    if rest <= 1e-14 * square * norm:
        return 1.0, 0.0
    shorter = SHORTER if norm > FAR else 1.0
    return shorter * ((square * norm - m) / rest), shorter * (norm * (1.0 - m) / rest)


aggressive: Callable[[int, Array, Any, Any], Any] = compiled(_aggressive, inlined=True)
relaxed: Callable[[int, Any, Any, Any], tuple[Any, Any]] = compiled(_relaxed, inlined=True)


def _threshold(rule: int, p: Array) -> Any:
    """Margin up to which a first-order rule may change something."""
    if rule in (PERCEPTRON, ROMMA):
        return 0.0
    if rule == OGD and (p[1] == LOGISTIC or p[1] == SQUARED):
        return math.inf
    return 1.0


def _first(rule: int, p: Array, clock: Array, m: Any, square: Any, norm: Any) -> tuple[Any, Any]:
    """A first-order rule's ``(scale, step)``; ``square`` is |z|², ``norm`` |w|² (only for ROMMA)."""
    if rule == PERCEPTRON:  # Rosenblatt, Psychological Review 65:386, 1958
        return 1.0, 1.0
    if rule == OGD:  # Zinkevich, ICML 2003, step η/√t
        return 1.0, p[0] / math.sqrt(clock[0]) * slope(p[1], m)
    if square == 0.0:
        return 1.0, 0.0
    if rule in (PA, PA1, PA2):
        return 1.0, aggressive(rule, p, m, square)
    return relaxed(rule, m, square, norm)


threshold: Callable[[int, Array], Any] = compiled(_threshold, inlined=True)
first: Callable[[int, Array, Array, Any, Any, Any], tuple[Any, Any]] = compiled(_first, inlined=True)


def _confident(rule: int, p: Array, m: Any, v: Any) -> tuple[Any, Any]:
    """``(step, gain)`` of the confidence-weighted rules; p = (φ, C) with φ the normal quantile of the confidence η.

    CW keeps m ≥ φ·v (Dredze, Crammer, Pereira, ICML 2008); ECCW keeps m ≥ φ·√v (Crammer, Dredze, Pereira, NIPS
    2008), SCW-I and SCW-II soften that by C (Wang, Zhao, Hoi, ICML 2012, propositions 1 and 2).
    """
    phi = p[0]
    if rule == CW:
        lead = 1.0 + 2.0 * phi * m
        step = (math.sqrt(lead * lead - 8.0 * phi * (m - phi * v)) - lead) / (4.0 * phi * v)
        return step, 2.0 * step * phi
    if rule == SCW2:
        n = v + 0.5 / p[1]
        root = phi * math.sqrt(phi * phi * m * m * v * v + 4.0 * n * v * (n + v * phi * phi))
        step = max(0.0, (root - (2.0 * m * n + phi * phi * m * v)) / (2.0 * (n * n + n * v * phi * phi)))
    else:
        xi = 1.0 + phi * phi
        root = math.sqrt(0.25 * m * m * phi**4 + v * phi * phi * xi)
        step = max(0.0, (root - m * (1.0 + 0.5 * phi * phi)) / (v * xi))
        if rule == SCW1:
            step = min(p[1], step)
    # (√(a² + 4v) − a) / 2 with a = α·v·φ, written so that nothing cancels.
    spread = 2.0 * v / (math.sqrt(step * step * v * v * phi * phi + 4.0 * v) + step * v * phi)
    return step, step * phi / spread


confident: Callable[[int, Array, Any, Any], tuple[Any, Any]] = compiled(_confident, inlined=True)


def _second(rule: int, p: Array, clock: Array, m: Any, v: Any) -> tuple[Any, Any, Any]:
    """A second-order rule's ``(step, gain, grow)``; all zero where it changes nothing."""
    if rule in (CW, ECCW, SCW1, SCW2):
        if (p[0] * v if rule == CW else p[0] * math.sqrt(v)) <= m:
            return 0.0, 0.0, 1.0
        step, gain = confident(rule, p, m, v)
        return step, gain, 1.0
    if rule == AROW:  # Crammer, Kulesza, Dredze, NIPS 2009, figure 1; p = (r)
        return (1.0 - m) / (v + p[0]), 1.0 / p[0], 1.0
    if rule == NAROW:  # Orabona, Crammer, NIPS 2010: r = v / (b·v − 1) where v > 1/b, else infinite; p = (b)
        if p[0] * v <= 1.0:
            return 0.0, 0.0, 1.0
        gain = p[0] - 1.0 / v
        return (1.0 - m) * gain / (1.0 + v * gain), gain, 1.0
    if rule == NHERD:  # Crammer, Lee, NIPS 2010; p = (C)
        return (1.0 - m) / (v + 1.0 / p[0]), p[0] * (2.0 + p[0] * v), 1.0
    # IELLIP: Yang, Jin, Ye, ICML 2009; the clock holds cₜ = c·bᵗ
    fade = clock[2]
    return (1.0 - m) / v, fade / (v * (1.0 - fade)), 1.0 / (1.0 - fade)


second: Callable[[int, Array, Array, Any, Any], tuple[Any, Any, Any]] = compiled(_second, inlined=True)


def _adapted(rate: Wide, least: Wide, push: Wide, weight: Wide, square: Wide, value: Wide) -> tuple[Wide, Wide]:
    """AdaGrad, diagonal (Duchi, Hazan, Singer, JMLR 12:2121, 2011, figure 1); squares are sums of squared slopes."""
    slope = push * value
    square = square + slope * slope
    return weight - rate * slope / (least + square.root()), square


def _followed(
    alpha: Wide, inverse: Wide, base: Wide, least: Wide, push: Wide, weight: Wide, root: Wide, linear: Wide, value: Wide
) -> tuple[Wide, Wide, Wide]:
    """FTRL-Proximal (McMahan et al., KDD 2013, algorithm 1); roots are those of sums of squared slopes, ``linear`` is their z.

    ``inverse`` is 1/α, ``base`` is β + α·λ₂, ``least`` is λ₁. Where |z| ≤ λ₁ nothing is over, and the weight is zero.
    """
    slope = push * value
    grown = (root * root + slope * slope).root()
    linear = linear + (slope - (grown - root) * inverse * weight)
    over = alpha * (linear.size() - least).at_least(linear.constant(0.0))
    return over.signed(linear.constant(0.0) - linear) / (base + grown), grown, linear


adapt: Callable[[Any, Any, Any, Array, Array, Array], None] = swept(2, _adapted)
follow: Callable[[Any, Any, Any, Any, Any, Array, Array, Array, Array], None] = swept(3, _followed)
