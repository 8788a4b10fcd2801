"""Hedge Backpropagation: a deep network that decides from the stream how deep it should be."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.deep.initial import INITIAL, Initial, draw
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, NotFiniteError, State, StateError
from estran.learning.rows import checked_chunk, checked_rows, shaped_chunk, shaped_rows, writable
from estran.learning.settings import flag, one_of, positive, whole, within
from estran.learning.snapshots import check_fits


class HedgeBackprop(Habits):
    """Hedge Backpropagation: a classifier on every layer of a ReLU network, and shares of them that follow their losses.

    The answer is Σ α⁽ˡ⁾ f⁽ˡ⁾(x), with f⁽ˡ⁾ = softmax(h⁽ˡ⁾ Θ⁽ˡ⁾ + c⁽ˡ⁾) on the inputs (l = 0) and on each of L hidden layers. Each
    row moves Θ⁽ˡ⁾ by −η α⁽ˡ⁾ ∇L(f⁽ˡ⁾), W⁽ˡ⁾ by −η Σ α⁽ʲ⁾ ∇L(f⁽ʲ⁾) over j ≥ l, and α⁽ˡ⁾ to max(α⁽ˡ⁾ β^L(f⁽ˡ⁾), s/L), normalised;
    the loss is the cross-entropy. Layers that do not pay yet get little of a say and little of the gradient, so that a network
    which is too deep for the rows seen so far learns about as fast as a shallow one. Learning and predicting are compiled by
    numba, which is imported at the first chunk. Inputs want to be of unit scale.

    Parameters
    ----------
    features, classes
        Width of a row, and number of classes.
    rng
        Source of the initial weights. Shares start from 1 / (depth + 1).
    depth, width
        Number of hidden layers, the paper's L, and width of each.
    learning_rate
        Step of each row's gradient, the paper's η.
    beta
        Discount of a classifier's share by its loss, above 0 and below 1.
    s
        Smoothing, from 0 to below 1: no share falls below s / L (before normalisation), so that none is lost for good.
    scale_losses
        Stretch the losses of each row to [0, 1] before they discount shares, as the authors' program does. The paper does not.
    initial
        ``he`` or ``uniform``, as for `estran.learning.mlp.Mlp`.
    dtype
        Type of the weights; ``float64`` is for checking gradients. Shares are always float64.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    Sahoo, Pham, Lu, Hoi, *Online Deep Learning: Learning Deep Neural Networks on the Fly*, IJCAI 2018, algorithm 1. The paper
    writes no biases; a constant input would stand for those of the first layer only, so every layer and classifier has its own.

    Examples
    --------
    >>> import numpy as np
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float), np.array([0, 1, 1, 0])
    >>> deep = HedgeBackprop(2, 2, np.random.default_rng(1), depth=3, width=16, learning_rate=0.2)
    >>> for _ in range(300):
    ...     deep.learn_many(*xor)
    >>> deep.predict(xor[0]).tolist(), deep.alphas.shape
    ([0, 1, 1, 0], (4,))
    """

    name = "hbp"
    about = About("deep", 1, "O(weights)", "Sahoo, Pham, Lu, Hoi 2018, alg. 1")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        depth: int = 20,
        width: int = 100,
        learning_rate: float = 0.01,
        beta: float = 0.99,
        s: float = 0.2,
        scale_losses: bool = False,
        initial: Initial = "he",
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        one_of(self.name, "dtype", dtype, ("float32", "float64"))
        one_of(self.name, "initial", initial, INITIAL)
        self.features, self.classes = features, classes
        self.depth, self.width = whole(self.name, "depth", depth), whole(self.name, "width", width)
        self.learning_rate, self.beta = (
            positive(self.name, "learning_rate", learning_rate),
            within(self.name, "beta", beta, 0.0, 1.0),
        )
        self.s = within(self.name, "s", s, 0.0, 1.0, closed=True)
        self.scale_losses = flag(self.name, "scale_losses", scale_losses)
        self._dtype = np.dtype(dtype)
        self._shape = np.array([features, width, depth, classes], dtype=np.int64)
        self._params, self._shares = self._initial(initial, rng), np.full(depth + 1, 1 / (depth + 1))
        self._candidate, self._candidate_shares = np.empty_like(self._params), np.empty_like(self._shares)
        activations = features + depth * width + (depth + 1) * classes
        self._acts, self._blames = np.zeros((1, activations), self._dtype), np.zeros((2, width), self._dtype)
        self._odds = np.zeros((depth + 1, classes))
        self._rows: tuple[NDArray[np.floating[Any]], NDArray[np.float64]] | None = None

    @property
    def alphas(self) -> NDArray[np.float64]:
        """Shares of the classifiers, shape (depth + 1,), from the one on the inputs to the one on the last layer; they sum to 1."""
        return self._shares.copy()

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
        return np.asarray(self._learn(x, y).argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes).

        Raises
        ------
        LearnerError
            If rows do not fit.
        NotFiniteError
            If a value is not finite, or so large that what it gives is not.
        """
        from estran.learning.deep import hbp_kernel

        rows = writable(shaped_rows(x, self.features, self.name))
        if self._rows is None:
            self._rows = np.zeros((hbp_kernel.BLOCK, self._acts.shape[1]), self._dtype), np.zeros_like(self._odds)
        answers = np.empty((len(rows), self.classes))
        bad = hbp_kernel.predict(self._params, self._shares, self._shape, rows, *self._rows, answers)
        if bad >= 0:
            checked_rows(rows, self.features, self.name)
            raise NotFiniteError(
                f"row {bad} of {len(rows)} overflows {self._dtype}", where=self.name, remedy="scale the inputs to about 1"
            )
        return answers

    def state(self) -> State:
        """Copies of everything learned.

        Hidden layers ``w1``, shape (inputs, width), and ``b1``, and so on; classifiers ``theta0``, shape (inputs, classes), and
        ``c0``, and so on; and the shares ``alpha``, shape (depth + 1,).
        """
        return {name: view.copy() for name, view in self._views(self._params, self._shares).items()}

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If an array is missing, unknown, of another shape, or not finite, or the shares are no probabilities.
        """
        views = self._views(self._candidate, self._candidate_shares)
        check_fits(self.name, views, state)
        if (state["alpha"] < 0).any() or not math.isclose(state["alpha"].sum(), 1, rel_tol=1e-6):
            raise StateError(
                f"alpha of the snapshot sums to {state['alpha'].sum():g}, or has negative shares",
                where=self.name,
                remedy="load snapshots as state() makes them",
            )
        for name, view in views.items():
            view[...] = state[name]
        self._swap()

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        learner = cls(1, 2, np.random.default_rng(0), depth=1, width=1)
        learner.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        learner.predict_proba(np.zeros((1, 1)))

    def _learn(self, x: Features, y: Labels) -> NDArray[np.float64]:
        """Learn, and return each row's class probabilities before it was learned."""
        from estran.learning.deep import hbp_kernel

        rows, labels = (writable(part) for part in shaped_chunk(x, y, self.features, self.name))
        answers = np.empty((len(rows), self.classes))
        # Learn on a copy: a chunk that diverges half way must leave no trace.
        np.copyto(self._candidate, self._params)
        np.copyto(self._candidate_shares, self._shares)
        bad = hbp_kernel.learn(
            self._candidate,
            self._candidate_shares,
            self._shape,
            rows,
            labels,
            self._dtype.type(self.learning_rate),
            self.beta,
            self.s / self.depth,
            self.scale_losses,
            answers,
            self._acts,
            self._blames,
            self._odds,
        )
        if bad >= 0:
            checked_chunk(rows, labels, self.features, self.classes, self.name)
            raise NotFiniteError(
                f"learning diverged at row {min(bad, len(rows) - 1)} of a chunk of {len(rows)}",
                where=self.name,
                remedy=f"lower learning_rate (now {self.learning_rate:g}) or scale the inputs to about 1; "
                "nothing of this chunk was learned",
            )
        self._swap()
        return answers

    def _swap(self) -> None:
        self._params, self._candidate = self._candidate, self._params
        self._shares, self._candidate_shares = self._candidate_shares, self._shares

    def _views(self, params: NDArray[np.floating[Any]], shares: NDArray[np.float64]) -> dict[str, NDArray[np.floating[Any]]]:
        """Every array of a snapshot, as a window on the flat one that `hbp_kernel` describes."""
        views: dict[str, NDArray[np.floating[Any]]] = {}
        start, inputs = 0, [self.features, *[self.width] * self.depth]
        for layer in range(1, self.depth + 1):
            biases = start + inputs[layer - 1] * self.width
            views[f"w{layer}"] = params[start:biases].reshape(-1, self.width)
            start = biases + self.width
            views[f"b{layer}"] = params[biases:start]
        for level in range(self.depth + 1):
            biases = start + inputs[level] * self.classes
            views[f"theta{level}"] = params[start:biases].reshape(self.classes, -1).T
            start = biases + self.classes
            views[f"c{level}"] = params[biases:start]
        return {**views, "alpha": shares}

    def _initial(self, initial: Initial, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
        inputs = self.features + (self.depth - 1) * self.width
        outputs = (self.features + self.depth * self.width + self.depth + 1) * self.classes
        params = np.zeros((inputs + self.depth) * self.width + outputs, dtype=self._dtype)
        draw(self._views(params, np.empty(0)).values(), initial, rng)
        return params
