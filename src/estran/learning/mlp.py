"""A multi-layer perceptron that learns from a stream, one row at a time, at compiled speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from estran.learning.about import About
from estran.learning.deep.initial import Initial
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels
from estran.learning.network import ClassNetwork
from estran.learning.rows import checked_chunk, shaped_chunk, writable

_BETA2, _EPSILON = 0.999, 1e-8
"""Of Adam, as its paper has them."""


class Mlp(ClassNetwork, Habits):
    """Multi-layer perceptron: ReLU layers, softmax output, stochastic gradient descent on the cross-entropy, row by row.

    Learning is compiled by numba, which is imported at the first chunk; predicting is plain NumPy, so that a process that only
    serves a model never imports numba. Inputs want to be of unit scale (pixels in [0, 1], or standardised columns).

    Parameters
    ----------
    features, classes
        Width of a row, and number of classes.
    rng
        Source of the initial weights, which are zero where there is no hidden layer to break the symmetry of.
    hidden
        Width of each hidden layer; may be empty.
    learning_rate
        Step of each row's gradient.
    dtype
        ``float32`` is faster and half the bytes of a published model; ``float64`` is for checking gradients.
    optimizer
        ``sgd``; ``momentum``: v ← μ v + g, w ← w − η v; or ``adam``, which wants a learning rate of about 0.001. These two move
        every weight at every row, where ``sgd`` skips inputs of zero, and their snapshots are twice and three times as large.
    momentum
        μ, which is also Adam's β₁: how much of what is remembered stays from row to row. Not used by ``sgd``.
    initial
        ``he``: weights are uniform within ±√(6 / inputs), so that signals keep their size through ReLU layers; biases are zero.
        ``uniform``: all are uniform within ±√(1 / inputs), PyTorch's default, which deep networks hardly learn from.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    He et al., *Delving deep into rectifiers*, ICCV 2015, for the initial weights. Polyak, *Some methods of speeding up the
    convergence of iteration methods*, 1964, for momentum. Kingma, Ba, *Adam*, ICLR 2015, algorithm 1, with its β₂ = 0.999 and
    ε = 1e-8.

    Examples
    --------
    >>> import numpy as np
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float), np.array([0, 1, 1, 0])
    >>> mlp = Mlp(2, 2, np.random.default_rng(1), hidden=[16], learning_rate=0.2)
    >>> for _ in range(200):
    ...     mlp.learn_many(*xor)
    >>> mlp.predict(xor[0]).tolist()
    [0, 1, 1, 0]
    """

    name = "mlp"
    about = About("deep", 1, "O(weights)", "Rumelhart, Hinton, Williams 1986")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        hidden: Sequence[int] = (64,),
        learning_rate: float = 0.05,
        dtype: Literal["float32", "float64"] = "float32",
        optimizer: Literal["sgd", "momentum", "adam"] = "sgd",
        momentum: float = 0.9,
        initial: Initial = "he",
    ) -> None:
        super().__init__(
            features,
            classes,
            rng,
            hidden=hidden,
            learning_rate=learning_rate,
            dtype=dtype,
            optimizer=optimizer,
            momentum=momentum,
            initial=initial,
        )
        self.classes = classes
        self._odds = np.zeros(classes)

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        NotFiniteError
            If a value is not finite, or the weights diverge; nothing of the chunk is then learned.
        """
        self._learn(x, y)

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Learn from a chunk, and return what `predict` would have said of each row just before it was learned, shape (n,).

        Costs no more than learning, which has to answer each row anyway.

        Raises
        ------
        LearnerError, NotFiniteError
            As `learn_many`.
        """
        return self._learn(x, y)

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        mlp = Mlp(1, 2, np.random.default_rng(0), hidden=[1])
        mlp.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        mlp.predict_proba(np.zeros((1, 1)))

    def _learn(self, x: Features, y: Labels) -> Labels:
        """Learn, and return the answer to each row before it was learned."""
        rows, labels = (writable(part) for part in shaped_chunk(x, y, self.features, self.name))
        answers = np.empty(len(labels), dtype=np.int64)
        self._learned(
            lambda: self._descend(rows, labels, answers),
            rows,
            lambda: checked_chunk(rows, labels, self.features, self.classes, self.name),
        )
        return answers

    def _descend(self, rows: Features, labels: Labels, answers: Labels) -> int:
        """Learn on the candidate; what the kernels return."""
        if self.optimizer == "sgd":
            from estran.learning import mlp_kernel

            return mlp_kernel.learn(self._candidate, self._sizes, rows, labels, self._rate, answers, *self._work, self._odds)
        from estran.learning import optimizer_kernel

        if self.optimizer == "momentum":
            (velocity,) = self._candidate_memory
            settings = np.array([self.learning_rate, self.momentum], dtype=self._dtype)
            return optimizer_kernel.learn_momentum(
                self._candidate, velocity, self._sizes, rows, labels, settings, answers, *self._work, self._odds
            )
        first, second, powers = self._candidate_memory
        decays = np.array([self.momentum, _BETA2])
        return optimizer_kernel.learn_adam(
            self._candidate,
            first,
            second,
            powers,
            self._sizes,
            rows,
            labels,
            self.learning_rate,
            decays,
            _EPSILON,
            answers,
            *self._work,
            self._odds,
        )
