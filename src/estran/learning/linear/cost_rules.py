"""Update rules that mind what a mistake costs. Importing it imports numba, so only learning does so.

Rows, margins and prototypes are those of `estran.learning.linear.rules`, whose one vector for two classes stands for the
difference of two prototypes. ``p`` are the rule's own settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from estran.learning.compiled import compiled
from estran.learning.linear.plan import RULE, SETTINGS, Rule
from estran.learning.linear.rows import Array, Index, add, inner

PAUM: Final = int(Rule.PAUM)
CPA: Final = int(Rule.CPA)
PREDICTION: Final = 0
"""CPA's first setting where it learns from wrong answers only."""
GRADIENT: Final = 1
"""CSOGD's second setting where costs multiply the gradient, not the margin."""


def _owed(p: Array, prototypes: int, label: int, answer: int, no: int, m: Any, scores: Array) -> tuple[int, Any]:
    """The rival that CPA pushes away, and the loss. p = (0 prediction-based, 1 max-loss; C; root of the cost of each pair)."""
    classes = max(2, prototypes)
    dear = p[2 + label * classes : 2 + (label + 1) * classes]
    if p[0] == PREDICTION and answer == label:
        return no, 0.0
    if prototypes == 1:
        return no, dear[1 - label] - m
    if p[0] == PREDICTION:
        return answer, scores[answer] - scores[label] + dear[answer]
    most = -math.inf
    for k in range(prototypes):
        owed = scores[k] - scores[label] + dear[k]
        if k != label and owed > most:
            no, most = k, owed
    return no, most


def _worth(p: Array, classes: int, counts: Array, label: int) -> Any:
    """What CSOGD takes a row of a class to cost: p[4 + class], or where p[3] is set that share by the class's frequency so far.

    Every class is taken to have come once before the first row. The class that weighs least then weighs 1.
    """
    costs = p[4:]
    if p[3] == 0.0:
        return costs[label]
    least = math.inf
    for k in range(classes):
        least = min(least, costs[k] / (counts[k] + 1.0))
    return costs[label] / (counts[label] + 1.0) / least


owed: Callable[[Array, int, int, int, int, Any, Array], tuple[int, Any]] = compiled(_owed, inlined=True)
worth: Callable[[Array, int, Array, int], Any] = compiled(_worth, inlined=True)


def _costed(
    plan: Array,
    clock: Array,
    weights: Array,
    counts: Array,
    label: int,
    answer: int,
    no: int,
    m: Any,
    scores: Array,
    index: Index,
    value: Array,
) -> None:
    """One row of a cost-sensitive rule; ``counts`` are CSOGD's, of the rows of each class."""
    rule, p, prototypes = int(plan[RULE]), plan[SETTINGS:], len(weights)
    step = 0.0
    if rule == PAUM:  # Li, Zaragoza, Herbrich, Shawe-Taylor, Kandola, ICML 2002; p = (margin of each class)
        if m <= p[label]:
            step = 1.0
    elif rule == CPA:  # Crammer et al., JMLR 7:551, 2006, its section on cost-sensitive multiclass classification
        no, loss = owed(p, prototypes, label, answer, no, m, scores)
        if loss > 0.0:
            square = inner(index, value, value) * (1.0 if prototypes == 1 else 2.0)
            step = min(p[1], loss / square) if square > 0.0 else 0.0
    else:  # Wang, Zhao, Hoi, TKDE 26:2425, 2014; p = (η, form, whether steps shrink, objective, costs)
        counts[label] += 1.0
        cost = worth(p, max(2, prototypes), counts, label)
        rate = p[0] / math.sqrt(clock[0]) if p[2] == 1.0 else p[0]
        wanted, weight = (1.0, cost) if p[1] == GRADIENT else (cost, 1.0)
        step = rate * weight if m < wanted else 0.0
    if step == 0.0:
        return
    if prototypes == 1:
        add(weights[0], index, step if label == 1 else -step, value)
    else:
        add(weights[label], index, step, value)
        add(weights[no], index, -step, value)


costed: Callable[[Array, Array, Array, Array, int, int, int, Any, Array, Index, Array], None] = compiled(_costed, inlined=True)
