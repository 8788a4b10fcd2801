"""A multi-layer perceptron that learns from a stream, one row at a time, at compiled speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.learner import Features, Labels, NotFiniteError, State, StateError
from estran.learning.rows import checked_chunk, checked_rows, shaped_chunk, shaped_rows


class Mlp:
    """Multi-layer perceptron: ReLU layers, softmax output, stochastic gradient descent on the cross-entropy, row by row.

    Learning is compiled by numba, which is imported at the first chunk; predicting is plain NumPy, so that a process that only
    serves a model never imports numba. Inputs want to be of unit scale (pixels in [0, 1], or standardised columns).

    Parameters
    ----------
    features, classes
        Width of a row, and number of classes.
    rng
        Source of the initial weights: He's uniform distribution, or zero where there is no hidden layer to break the symmetry of.
    hidden
        Width of each hidden layer; may be empty.
    learning_rate
        Step of each row's gradient.
    dtype
        ``float32`` is faster and half the bytes of a published model; ``float64`` is for checking gradients.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    He et al., *Delving deep into rectifiers*, ICCV 2015, for the initial weights.

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
    ) -> None:
        _check_hyperparameters(self.name, hidden, learning_rate, dtype)
        self.features, self.classes = features, classes
        self.hidden, self.learning_rate = tuple(hidden), float(learning_rate)
        self._dtype = np.dtype(dtype)
        self._sizes = np.array([features, *hidden, classes], dtype=np.int64)
        self._rate = self._dtype.type(learning_rate)
        self._params = self._initial(rng)
        self._candidate = np.empty_like(self._params)
        self._layers, self._candidate_layers = self._views(self._params), self._views(self._candidate)
        self._rows: NDArray[np.floating[Any]] | None = None
        self._work = tuple(np.zeros((2, int(self._sizes.sum())), dtype=self._dtype))

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        NotFiniteError
            If a value is not finite, or the weights diverge; nothing of the chunk is then learned.
        """
        from estran.learning import mlp_kernel

        rows, labels = shaped_chunk(x, y, self.features, self.name)
        # Learn on a copy: a chunk that diverges half way must leave no trace.
        np.copyto(self._candidate, self._params)
        bad = mlp_kernel.learn(self._candidate, self._sizes, rows, labels, self._rate, *self._work)
        if bad >= 0:
            checked_chunk(rows, labels, self.features, self.classes, self.name)
            raise NotFiniteError(
                f"learning diverged at row {min(bad, len(rows) - 1)} of a chunk of {len(rows)}",
                where=self.name,
                remedy=f"lower learning_rate (now {self.learning_rate:g}) or scale the inputs to about 1; "
                "nothing of this chunk was learned",
            )
        self._swap()

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes)."""
        from estran.learning import mlp_kernel

        rows = shaped_rows(x, self.features, self.name)
        if self._rows is None:
            self._rows = np.zeros((mlp_kernel.BLOCK, int(self._sizes.sum())), dtype=self._dtype)
        odds = np.empty((len(rows), self.classes))
        if mlp_kernel.predict(self._params, self._sizes, rows, self._rows, odds) >= 0:
            checked_rows(rows, self.features, self.name)
        return odds

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        return np.asarray(self.predict_proba(x).argmax(axis=1), dtype=np.int64)

    def state(self) -> State:
        """Copies of every layer's weights ``w0``, shape (inputs, outputs), and biases ``b0``, and so on."""
        return {name: view.copy() for name, view in self._layers.items()}

    def load(self, state: State) -> None:
        """Replace all weights.

        Raises
        ------
        StateError
            If a layer is missing, unknown, of another shape, or not finite.
        """
        _check_fits(self.name, self._layers, state)
        for name, view in self._candidate_layers.items():
            view[...] = state[name]
        self._swap()

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        mlp = Mlp(1, 2, np.random.default_rng(0), hidden=[1])
        mlp.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        mlp.predict_proba(np.zeros((1, 1)))

    def _swap(self) -> None:
        self._params, self._candidate = self._candidate, self._params
        self._layers, self._candidate_layers = self._candidate_layers, self._layers

    def _views(self, params: NDArray[np.floating[Any]]) -> dict[str, NDArray[np.floating[Any]]]:
        """Every layer's matrix and biases, as windows on one flat array."""
        views, start = {}, 0
        for layer, (inputs, outputs) in enumerate(zip(self._sizes[:-1].tolist(), self._sizes[1:].tolist(), strict=True)):
            biases = start + inputs * outputs
            views[f"w{layer}"] = params[start:biases].reshape(inputs, outputs)
            views[f"b{layer}"] = params[biases : biases + outputs]
            start = biases + outputs
        return views

    def _initial(self, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
        inputs, outputs = self._sizes[:-1], self._sizes[1:]
        params = np.zeros(int((inputs * outputs + outputs).sum()), dtype=self._dtype)
        if self.hidden:
            for name, view in self._views(params).items():
                if name.startswith("w"):
                    bound = math.sqrt(6 / max(1, len(view)))
                    view[...] = rng.uniform(-bound, bound, view.shape)
        return params


def _check_hyperparameters(name: str, hidden: Sequence[int], learning_rate: float, dtype: str) -> None:
    if isinstance(hidden, (str, bytes)) or not all(isinstance(width, int) and width > 0 for width in hidden):
        raise RequestError(f"hidden is {hidden!r}", where=name, remedy="give a list of positive widths, like [64] or [128, 32]")
    if not (isinstance(learning_rate, (int, float)) and 0 < learning_rate < math.inf):
        raise RequestError(f"learning_rate is {learning_rate!r}", where=name, remedy="give a positive number, like 0.05")
    if dtype not in ("float32", "float64"):
        raise RequestError(f"dtype is {dtype!r}", where=name, remedy="give float32 or float64")


def _check_fits(name: str, wanted: State, given: State) -> None:
    if wanted.keys() != given.keys():
        raise StateError(
            f"a snapshot of {', '.join(sorted(given)) or 'nothing'} does not fit a learner of {', '.join(sorted(wanted))}",
            where=name,
            remedy="load snapshots of learners with the same settings",
        )
    for key, array in wanted.items():
        found = given[key]
        if found.shape != array.shape or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise StateError(
                f"{key} of the snapshot is {found.dtype} of shape {found.shape}, wanted finite floats of shape {array.shape}",
                where=name,
                remedy="load snapshots of learners with the same settings",
            )
