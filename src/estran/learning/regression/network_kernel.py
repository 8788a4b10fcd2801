"""A network with one output that learns numbers, row by row. Importing it imports numba.

Weights lie, and are moved, as `estran.learning.mlp_kernel` has it; only what the gradient starts from is another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from estran.learning.compiled import compiled
from estran.learning.mlp_kernel import answer, descend, finite

Array = NDArray[Any]


def _learn(
    params: Array,
    sizes: Array,
    x: Array,
    y: Array,
    rate: Any,
    clip: Any,
    answers: Array,
    acts: Array,
    deltas: Array,
    lists: Array,
) -> int:
    """Stochastic gradient descent on half the squared error, or on Huber's loss, row after row, in place.

    Parameters
    ----------
    params, sizes, x, rate, acts, deltas, lists
        As for `estran.learning.mlp_kernel.learn`.
    y
        Targets, shape (n,), as they came.
    clip
        Error from which the gradient grows no further; infinite for the squared error.
    answers
        Filled in, shape (n,): the answer to each row before it was learned.

    Returns
    -------
    int
        -1, or the row at which a value, a target or an answer is not finite; n if only the weights that come out are not.
    """
    last = deltas.size - 1
    for row in range(x.shape[0]):
        if not math.isfinite(y[row]):
            return row
        for i in range(sizes[0]):
            acts[0, i] = x[row, i]
            if not math.isfinite(x[row, i]):
                return row
        answer(params, sizes, 1, acts, lists)
        answers[row] = acts[0, last]
        if not math.isfinite(answers[row]):
            return row
        deltas[last] = max(-clip, min(clip, answers[row] - y[row]))
        descend(params, sizes, rate, acts, deltas, lists)
    return -1 if finite(params) else int(x.shape[0])


learn: Callable[[Array, Array, Array, Array, Any, Any, Array, Array, Array, Array], int] = compiled(_learn)
