"""A multi-layer perceptron that learns from a stream, one row at a time, at compiled speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.about import About
from estran.learning.deep.initial import INITIAL, Initial, draw
from estran.learning.habits import Habits
from estran.learning.learner import Features, Labels, NotFiniteError, State, StateError
from estran.learning.rows import checked_chunk, checked_rows, shaped_chunk, shaped_rows, writable
from estran.learning.settings import one_of, positive, within
from estran.learning.snapshots import check_fits

_BETA2, _EPSILON = 0.999, 1e-8
"""Of Adam, as its paper has them."""


class Mlp(Habits):
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
        _check_widths(self.name, hidden)
        one_of(self.name, "dtype", dtype, ("float32", "float64"))
        one_of(self.name, "initial", initial, INITIAL)
        one_of(self.name, "optimizer", optimizer, ("sgd", "momentum", "adam"))
        self.features, self.classes = features, classes
        self.hidden, self.learning_rate = tuple(hidden), positive(self.name, "learning_rate", learning_rate)
        self._dtype = np.dtype(dtype)
        self._sizes = np.array([features, *hidden, classes], dtype=np.int64)
        self._rate = self._dtype.type(learning_rate)
        self._params = self._initial(initial, rng)
        self._candidate = np.empty_like(self._params)
        self.optimizer, self.momentum = optimizer, within(self.name, "momentum", momentum, 0.0, 1.0, closed=True)
        self._memory, self._candidate_memory = self._remembering(), self._remembering()
        self._parts = self._named(self._params, self._memory)
        self._candidate_parts = self._named(self._candidate, self._candidate_memory)
        acts, lists = self._workspace(1)
        self._work = (acts, np.zeros_like(acts[0]), lists, np.zeros(classes))
        self._rows: tuple[NDArray[np.floating[Any]], NDArray[np.int64]] | None = None

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

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes).

        Raises
        ------
        LearnerError
            If rows do not fit.
        NotFiniteError
            If a value is not finite, or so large that what it gives is not.
        """
        return self._answer(x, raw=False)

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """What `predict_proba` is the softmax of: shape (n, classes); for two classes the log-odds of class 1, shape (n,)."""
        scores = self._answer(x, raw=True)
        return np.asarray(scores[:, 1] - scores[:, 0]) if self.classes == 2 else scores

    def state(self) -> State:
        """Copies of every layer's weights ``w0``, shape (inputs, outputs), and biases ``b0``, and so on.

        Also what the optimizer remembers of each: ``velocity_w0`` and so on, or ``m_w0`` and ``v_w0`` and so on, and ``powers``:
        β₁ᵗ and β₂ᵗ.
        """
        return {name: view.copy() for name, view in self._parts.items()}

    def load(self, state: State) -> None:
        """Replace all weights.

        Raises
        ------
        StateError
            If a layer is missing, unknown, of another shape, or not finite, or Adam's memory cannot have come about by learning.
        """
        check_fits(self.name, self._parts, state)
        _check_memory(self.name, state)
        for name, view in self._candidate_parts.items():
            view[...] = state[name]
        self._swap()

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        mlp = Mlp(1, 2, np.random.default_rng(0), hidden=[1])
        mlp.learn_many(np.zeros((1, 1)), np.zeros(1, dtype=np.int64))
        mlp.predict_proba(np.zeros((1, 1)))

    def _learn(self, x: Features, y: Labels) -> Labels:
        """Learn, and return the answer to each row before it was learned."""
        rows, labels = (writable(part) for part in shaped_chunk(x, y, self.features, self.name))
        # Learn on a copy: a chunk that diverges half way must leave no trace.
        np.copyto(self._candidate, self._params)
        for copy, kept in zip(self._candidate_memory, self._memory, strict=True):
            np.copyto(copy, kept)
        answers = np.empty(len(labels), dtype=np.int64)
        bad = self._descend(rows, labels, answers)
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

    def _answer(self, x: Features, *, raw: bool) -> NDArray[np.float64]:
        """Scores if ``raw``, else probabilities; shape (n, classes)."""
        from estran.learning import mlp_kernel

        rows = writable(shaped_rows(x, self.features, self.name))
        if self._rows is None:
            self._rows = self._workspace(mlp_kernel.BLOCK)
        found = np.empty((len(rows), self.classes))
        bad = mlp_kernel.predict(self._params, self._sizes, rows, *self._rows, found, raw)
        if bad >= 0:
            checked_rows(rows, self.features, self.name)
            raise NotFiniteError(
                f"row {bad} of {len(rows)} overflows {self._dtype}", where=self.name, remedy="scale the inputs to about 1"
            )
        return found

    def _workspace(self, rows: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Where the kernels keep so many rows' activations, and the places of those that are not zero with their counts."""
        units = int(self._sizes.sum())
        return np.zeros((rows, units), self._dtype), np.zeros((rows, units + len(self._sizes) - 1), np.int64)

    def _descend(self, rows: Features, labels: Labels, answers: Labels) -> int:
        """Learn on the candidate; what the kernels return."""
        if self.optimizer == "sgd":
            from estran.learning import mlp_kernel

            return mlp_kernel.learn(self._candidate, self._sizes, rows, labels, self._rate, answers, *self._work)
        from estran.learning import optimizer_kernel

        if self.optimizer == "momentum":
            (velocity,) = self._candidate_memory
            settings = np.array([self.learning_rate, self.momentum], dtype=self._dtype)
            return optimizer_kernel.learn_momentum(
                self._candidate, velocity, self._sizes, rows, labels, settings, answers, *self._work
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
        )

    def _swap(self) -> None:
        self._params, self._candidate = self._candidate, self._params
        self._memory, self._candidate_memory = self._candidate_memory, self._memory
        self._parts, self._candidate_parts = self._candidate_parts, self._parts

    def _remembering(self) -> tuple[NDArray[np.floating[Any]], ...]:
        """What the optimizer remembers before the first row."""
        if self.optimizer == "sgd":
            return ()
        zeros = np.zeros_like(self._params)
        return (zeros,) if self.optimizer == "momentum" else (zeros, np.zeros_like(zeros), np.ones(2))

    def _named(
        self, params: NDArray[np.floating[Any]], memory: tuple[NDArray[np.floating[Any]], ...]
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """Every array of a snapshot, as a window on what is learned."""
        parts = self._views(params)
        prefixes = {0: (), 1: ("velocity",), 3: ("m", "v")}[len(memory)]
        for prefix, array in zip(prefixes, memory, strict=False):
            parts |= {f"{prefix}_{name}": view for name, view in self._views(array).items()}
        return {**parts, "powers": memory[2]} if len(memory) == 3 else parts

    def _views(self, params: NDArray[np.floating[Any]]) -> dict[str, NDArray[np.floating[Any]]]:
        """Every layer's matrix and biases, as windows on one flat array."""
        views, start = {}, 0
        for layer, (inputs, outputs) in enumerate(zip(self._sizes[:-1].tolist(), self._sizes[1:].tolist(), strict=True)):
            biases = start + inputs * outputs
            views[f"w{layer}"] = params[start:biases].reshape(inputs, outputs)
            views[f"b{layer}"] = params[biases : biases + outputs]
            start = biases + outputs
        return views

    def _initial(self, initial: Initial, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
        inputs, outputs = self._sizes[:-1], self._sizes[1:]
        params = np.zeros(int((inputs * outputs + outputs).sum()), dtype=self._dtype)
        if self.hidden:
            draw(self._views(params).values(), initial, rng)
        return params


def _check_widths(name: str, hidden: Sequence[int]) -> None:
    if isinstance(hidden, (str, bytes)) or not all(isinstance(width, int) and width > 0 for width in hidden):
        raise RequestError(f"hidden is {hidden!r}", where=name, remedy="give a list of positive widths, like [64] or [128, 32]")


def _check_memory(name: str, state: State) -> None:
    powers = state.get("powers", np.zeros(2))
    if any((state[key] < 0).any() for key in state if key.startswith("v_")) or powers.min() < 0 or powers.max() > 1:
        raise StateError(
            "second moments are negative, or powers are not from 0 to 1", where=name, remedy="load snapshots as state() makes them"
        )
