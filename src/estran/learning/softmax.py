"""Softmax regression, learned online: the linear model of the house."""

from __future__ import annotations

from typing import Literal

import numpy as np

from estran.learning.about import About
from estran.learning.mlp import Mlp


class Softmax(Mlp):
    """Multinomial logistic regression by stochastic gradient descent, row by row: a perceptron without hidden layers.

    The loss is convex and the weights start from zero, so the random generator is not used.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learning_rate
        Step of each row's gradient.
    dtype
        Type of the weights.

    Examples
    --------
    >>> import numpy as np
    >>> model = Softmax(1, 2, np.random.default_rng(0))
    >>> for _ in range(100):
    ...     model.learn_many(np.array([[-1.0], [1.0]]), np.array([0, 1]))
    >>> model.predict(np.array([[-0.5], [0.5]])).tolist()
    [0, 1]
    """

    name = "softmax"
    about = About("linear", 1, "O(K·d)", "multinomial logistic regression by SGD, step fixed")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learning_rate: float = 0.05,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        super().__init__(features, classes, rng, hidden=(), learning_rate=learning_rate, dtype=dtype)
