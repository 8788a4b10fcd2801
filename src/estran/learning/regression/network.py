"""A multi-layer perceptron that learns numbers from a stream, one row at a time, at compiled speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from estran.learning.about import About
from estran.learning.deep.initial import Initial
from estran.learning.learner import Features
from estran.learning.network import Network
from estran.learning.regression.regressor import NumberHabits
from estran.learning.regression.rows import Numbers, checked_targets, shaped_targets
from estran.learning.rows import shaped_rows, writable
from estran.learning.settings import one_of, positive


class MlpRegressor(Network, NumberHabits):
    """Multi-layer perceptron with one linear output, learned by stochastic gradient descent, row by row.

    Inputs and targets want to be of unit scale.

    Parameters
    ----------
    features, rng
        As for every regressor; initial weights are drawn, and are zero where there is no hidden layer.
    hidden
        Width of each hidden layer; may be empty.
    learning_rate
        Step of each row's gradient.
    loss
        ``squared``: half the squared error; ``huber``: the same up to an error of ``delta``, beyond it growing linearly.
    delta
        Of ``huber``.
    dtype
        ``float32`` is faster and half the bytes of a snapshot; ``float64`` is for checking gradients.
    initial
        Distribution of the initial weights, as for `estran.learning.mlp.Mlp`.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    Rumelhart, Hinton, Williams, *Learning representations by back-propagating errors*, Nature 323, 1986. Huber, *Robust estimation
    of a location parameter*, Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 41)[:, None]
    >>> model = MlpRegressor(1, np.random.default_rng(0), hidden=[32], learning_rate=0.05)
    >>> for _ in range(500):
    ...     model.learn_many(x, x[:, 0] ** 2)
    >>> bool(np.abs(model.predict(x) - x[:, 0] ** 2).mean() < 0.05)
    True
    """

    name = "mlp-regression"
    about = About("regression", 1, "O(weights)", "Rumelhart, Hinton, Williams 1986", "numbers")

    def __init__(
        self,
        features: int,
        rng: np.random.Generator,
        *,
        hidden: Sequence[int] = (64,),
        learning_rate: float = 0.01,
        loss: Literal["squared", "huber"] = "squared",
        delta: float = 1.0,
        dtype: Literal["float32", "float64"] = "float32",
        initial: Initial = "he",
    ) -> None:
        super().__init__(
            features,
            1,
            rng,
            hidden=hidden,
            learning_rate=learning_rate,
            dtype=dtype,
            optimizer="sgd",
            momentum=0.0,
            initial=initial,
        )
        knee = positive(self.name, "delta", delta)
        self._clip = (math.inf, knee)[one_of(self.name, "loss", loss, ("squared", "huber"))]

    def learn_many(self, x: Features, y: Numbers) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        NotFiniteError
            If a value is not finite, or the weights diverge; nothing of the chunk is then learned.
        """
        self.predict_then_learn(x, y)

    def predict_then_learn(self, x: Features, y: Numbers) -> Numbers:
        """Learn from a chunk, and return what `predict` would have said of each row just before it was learned, shape (n,).

        Raises
        ------
        LearnerError, NotFiniteError
            As `learn_many`.
        """
        from estran.learning.regression import network_kernel

        rows = writable(shaped_rows(x, self.features, self.name))
        targets = writable(shaped_targets(y, len(rows), self.name))
        answers = np.empty(len(targets))
        self._learned(
            lambda: network_kernel.learn(self._candidate, self._sizes, rows, targets, self._rate, self._clip, answers, *self._work),
            rows,
            lambda: checked_targets(rows, targets, self.features, self.name),
        )
        return answers

    def predict(self, x: Features) -> Numbers:
        """The number of each row, shape (n,).

        Raises
        ------
        LearnerError
            If rows do not fit.
        NotFiniteError
            If a value is not finite, or so large that what it gives is not.
        """
        return np.ascontiguousarray(self._answer(x, raw=True)[:, 0])

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        model = cls(1, np.random.default_rng(0), hidden=[1])
        model.learn_many(np.zeros((1, 1)), np.zeros(1))
        model.predict(np.zeros((1, 1)))
