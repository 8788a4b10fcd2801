"""The weights of a multi-layer perceptron: their layout, snapshots and answers; what is learned from rows is the subclass's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning import aligned
from estran.learning.deep.initial import INITIAL, Initial, draw
from estran.learning.learner import Features, NotFiniteError, State, StateError
from estran.learning.rows import checked_rows, shaped_rows, writable
from estran.learning.settings import one_of, positive, within
from estran.learning.snapshots import check_fits


class Network:
    """ReLU layers and linear outputs, with what an optimizer remembers of each weight.

    Parameters
    ----------
    features, outputs
        Width of a row, and number of scores.
    rng, hidden, learning_rate, dtype, optimizer, momentum, initial
        As `estran.learning.mlp.Mlp` describes them.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.
    """

    name: str

    def __init__(
        self,
        features: int,
        outputs: int,
        rng: np.random.Generator,
        *,
        hidden: Sequence[int],
        learning_rate: float,
        dtype: Literal["float32", "float64"],
        optimizer: Literal["sgd", "momentum", "adam"],
        momentum: float,
        initial: Initial,
    ) -> None:
        _check_widths(self.name, hidden)
        one_of(self.name, "dtype", dtype, ("float32", "float64"))
        one_of(self.name, "initial", initial, INITIAL)
        one_of(self.name, "optimizer", optimizer, ("sgd", "momentum", "adam"))
        self.features, self.outputs = features, outputs
        self.hidden, self.learning_rate = tuple(hidden), positive(self.name, "learning_rate", learning_rate)
        self._dtype = np.dtype(dtype)
        self._sizes = np.array([features, *hidden, outputs], dtype=np.int64)
        self._rate = self._dtype.type(learning_rate)
        self._params = self._initial(initial, rng)
        self._candidate = aligned.zeros(self._params.size, self._dtype)
        self.optimizer, self.momentum = optimizer, within(self.name, "momentum", momentum, 0.0, 1.0, closed=True)
        self._memory, self._candidate_memory = self._remembering(), self._remembering()
        self._parts = self._named(self._params, self._memory)
        self._candidate_parts = self._named(self._candidate, self._candidate_memory)
        acts, lists = self._workspace(1)
        self._work = (acts, np.zeros_like(acts[0]), lists)
        self._rows: tuple[NDArray[np.floating[Any]], NDArray[np.int64]] | None = None

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

    def _learned(self, descend: Callable[[], int], rows: Features, check: Callable[[], object]) -> None:
        """Let ``descend`` learn rows into the candidate, and take that over if it answers -1.

        Parameters
        ----------
        descend
            Answers -1, or the row where it could not go on (or their number, if only the weights are not finite).
        check
            Called where it failed, to say what is wrong with the rows, if that is why.

        Raises
        ------
        NotFiniteError
            If learning diverged; nothing was learned then.
        """
        # Learn on a copy: a chunk that diverges half way must leave no trace.
        np.copyto(self._candidate, self._params)
        for copy, kept in zip(self._candidate_memory, self._memory, strict=True):
            np.copyto(copy, kept)
        bad = descend()
        if bad >= 0:
            check()
            raise NotFiniteError(
                f"learning diverged at row {min(bad, len(rows) - 1)} of a chunk of {len(rows)}",
                where=self.name,
                remedy=f"lower learning_rate (now {self.learning_rate:g}) or scale the inputs to about 1; "
                "nothing of this chunk was learned",
            )
        self._swap()

    def _answer(self, x: Features, *, raw: bool) -> NDArray[np.float64]:
        """Scores if ``raw``, else probabilities; shape (n, outputs)."""
        from estran.learning import mlp_kernel

        rows = writable(shaped_rows(x, self.features, self.name))
        if self._rows is None:
            self._rows = self._workspace(mlp_kernel.BLOCK)
        found = np.empty((len(rows), self.outputs))
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
        params = aligned.zeros(int((inputs * outputs + outputs).sum()), self._dtype)
        if self.hidden:
            draw(self._views(params).values(), initial, rng)
        return params


class ClassNetwork(Network):
    """A network whose scores are those of classes."""

    classes: int

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


def _check_widths(name: str, hidden: Sequence[int]) -> None:
    if isinstance(hidden, (str, bytes)) or not all(isinstance(width, int) and width > 0 for width in hidden):
        raise RequestError(f"hidden is {hidden!r}", where=name, remedy="give a list of positive widths, like [64] or [128, 32]")


def _check_memory(name: str, state: State) -> None:
    powers = state.get("powers", np.zeros(2))
    if any((state[key] < 0).any() for key in state if key.startswith("v_")) or powers.min() < 0 or powers.max() > 1:
        raise StateError(
            "second moments are negative, or powers are not from 0 to 1", where=name, remedy="load snapshots as state() makes them"
        )
