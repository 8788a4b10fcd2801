"""A multi-layer perceptron that learns fields: many numbers at once, by minibatches, at compiled speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Features, LearnerError, NotFiniteError, State
from estran.learning.network import Network
from estran.learning.rows import checked_rows, shaped_rows, writable
from estran.learning.settings import within

Fields = NDArray[np.float64]
"""Shape (n, outputs)."""

_DECAYS, _EPSILON = (0.9, 0.999), 1e-8
"""Of Adam, as its paper has them."""


class FieldNetwork(Network):
    """ReLU layers and linear outputs that only answer; weights come by `load`.

    Parameters
    ----------
    features, outputs
        Width of a row, and of a field.
    rng
        Source of the initial weights.
    hidden
        Width of each hidden layer; may be empty.
    """

    name = "field-network"

    def __init__(
        self,
        features: int,
        outputs: int,
        rng: np.random.Generator,
        *,
        hidden: Sequence[int] = (64, 64),
        learning_rate: float = 0.001,
        optimizer: Literal["sgd", "adam"] = "sgd",
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        super().__init__(
            features,
            outputs,
            rng,
            hidden=hidden,
            learning_rate=learning_rate,
            dtype=dtype,
            optimizer=optimizer,
            momentum=_DECAYS[0],
            initial="he",
        )

    def predict(self, x: Features) -> Fields:
        """The field of each row, shape (n, outputs).

        Raises
        ------
        LearnerError
            If rows do not fit.
        NotFiniteError
            If a value is not finite, or so large that what it gives is not.
        """
        return self._answer(x, raw=True)


class MlpFields(FieldNetwork):
    """Multi-layer perceptron with many outputs: Adam on the weighted mean squared error of minibatches.

    Inputs and targets want to be of unit scale. What is served is an average of the weights over the latest steps, which errs
    less than those of any one step.

    Parameters
    ----------
    features, outputs, rng, hidden
        As for `FieldNetwork`.
    learning_rate
        Of Adam.
    average
        Share of the average that stays from step to step; 0 serves the newest weights.
    dtype
        ``float64`` is for checking gradients.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    Kingma, Ba, *Adam*, ICLR 2015, algorithm 1. Polyak, Juditsky, *Acceleration of stochastic approximation by averaging*, 1992, for
    the average, which forgets exponentially here.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> model = MlpFields(1, 2, np.random.default_rng(0), hidden=[32], learning_rate=0.01)
    >>> for _ in range(1000):
    ...     losses = model.learn(x, np.hstack([x**2, np.abs(x)]))
    >>> bool(losses.mean() < 0.001)
    True
    """

    name = "mlp-fields"

    def __init__(
        self,
        features: int,
        outputs: int,
        rng: np.random.Generator,
        *,
        hidden: Sequence[int] = (64, 64),
        learning_rate: float = 0.001,
        average: float = 0.99,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        super().__init__(features, outputs, rng, hidden=hidden, learning_rate=learning_rate, optimizer="adam", dtype=dtype)
        self._keep = within(self.name, "average", average, 0.0, 1.0, closed=True)
        self._average = self._params.copy()
        self._gradient = np.empty_like(self._params)
        self._steps = 0

    def learn(self, x: Features, y: NDArray[Any], weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Learn a minibatch by one step, and return the mean squared error of each of its rows before it, shape (n,).

        Parameters
        ----------
        y
            Targets, shape (n, outputs).
        weights
            How much each row counts; all alike if not given.

        Raises
        ------
        LearnerError
            If the batch does not fit.
        NotFiniteError
            If a value is not finite, or learning diverges. What was learned before is then unchanged.
        """
        from estran.learning.surrogates import network_kernel

        rows = writable(shaped_rows(x, self.features, self.name))
        targets = self._shaped(y, len(rows))
        counts = np.ones(len(rows)) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
        losses = np.empty(len(rows))
        if not len(rows):
            return losses
        acts, deltas, lists = self._work

        def descend() -> int:
            first, second, powers = self._candidate_memory
            return network_kernel.learn(
                self._candidate, first, second, powers, self._gradient, self._sizes, rows, targets, counts,
                self.learning_rate, np.array(_DECAYS), _EPSILON, losses, acts, deltas, lists,
            )  # fmt: skip

        self._learned(descend, rows, lambda: self._checked(rows, targets))
        self._steps += 1
        # A mean of all steps first, which forgets once there are enough.
        keep = min(self._keep, 1 - 1 / self._steps)
        self._average *= keep
        self._average += (1 - keep) * self._params
        return losses

    def served(self) -> State:
        """Copies of the averaged weights, as `FieldNetwork.load` takes them."""
        return {name: view.copy() for name, view in self._views(self._average).items()}

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        model = cls(1, 1, np.random.default_rng(0), hidden=[1])
        model.learn(np.zeros((1, 1)), np.zeros((1, 1)))
        model.predict(np.zeros((1, 1)))

    def _shaped(self, y: NDArray[Any], n: int) -> Fields:
        targets = np.asarray(y)
        if targets.shape != (n, self.outputs):
            what = f"{n} rows came with fields of shape {targets.shape}, wanted {(n, self.outputs)}"
            raise LearnerError(what, where=self.name, remedy="hand in one field a row")
        if targets.size and targets.dtype.kind not in "iuf":
            raise LearnerError(f"fields are {targets.dtype}, not real numbers", where=self.name, remedy="hand in floats")
        return np.ascontiguousarray(targets, dtype=np.float64)

    def _checked(self, x: Features, y: Fields) -> None:
        checked_rows(x, self.features, self.name)
        bad = np.flatnonzero(~np.isfinite(y).all(axis=1))
        if bad.size:
            what = f"the field of row {bad[0]} of {len(y)} holds a NaN or an infinity"
            raise NotFiniteError(what, where=self.name, remedy="clean the data; nothing of this batch was learned")
