"""A network that learns in minibatches, however the stream is cut: what all strategies of continual learning share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.deep.initial import Initial
from estran.learning.habits import Habits
from estran.learning.inner import under, within
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, State, StateError
from estran.learning.network import ClassNetwork
from estran.learning.rehearsal.buffer import Floats
from estran.learning.rehearsal.minibatch import Minibatch
from estran.learning.rows import checked_chunk
from estran.learning.settings import whole

WIDTHS: Final = (400, 400)


class Batched(ClassNetwork, Habits):
    """ReLU layers and softmax, one step of gradient descent for each ``batch`` rows, which a subclass makes.

    Rows wait until so many are there, also from one chunk to the next; those that wait are part of the snapshot.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    hidden, learning_rate, initial
        As for `estran.learning.mlp.Mlp`; weights are float32.
    batch
        Rows of a step, b.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        hidden: Sequence[int] = WIDTHS,
        learning_rate: float = 0.1,
        batch: int = 10,
        initial: Initial = "he",
    ) -> None:
        super().__init__(
            features,
            classes,
            rng,
            hidden=hidden,
            learning_rate=learning_rate,
            dtype="float32",
            optimizer="sgd",
            momentum=0.0,
            initial=initial,
        )
        self.classes, self.batch = classes, whole(self.name, "batch", batch)
        self._mini = Minibatch(self._sizes, self.batch + self._beside())
        self._waiting, self._waiting_labels = np.zeros((self.batch, features), np.float32), np.full(self.batch, -1, np.int64)

    @property
    def waiting(self) -> int:
        """How many rows wait for others to make a batch."""
        return int(np.count_nonzero(self._waiting_labels >= 0))

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

        Raises
        ------
        LearnerError, NotFiniteError
            As `learn_many`.
        """
        answers, left = self._learn(x, y)
        if left:
            answers[len(answers) - left :] = self.predict(np.asarray(x[len(answers) - left :]))
        return answers

    def state(self) -> State:
        """Copies of every layer's weights ``w0`` and biases ``b0``, and so on; of what a strategy keeps; and of rows that wait."""
        waiting: dict[str, NDArray[Any]] = {"x": self._waiting.copy(), "labels": self._waiting_labels.copy()}
        return {**self.weights(), **self._kept(), **within("waiting", waiting)}

    def weights(self) -> State:
        """Copies of the weights alone: what a `Mlp` with the same layers needs to answer alike, without rows that are kept."""
        return super().state()

    def load_weights(self, state: State) -> None:
        """Replace the weights alone, by those of `weights` or of a `Mlp` with the same layers; rows that are kept stay.

        Raises
        ------
        StateError
            If a layer is missing, unknown, of another shape, or not finite. What was learned before is then unchanged.
        """
        super().load(state)

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, or not finite. What was learned before is then unchanged.
        """
        waiting = under("waiting", state)
        self._check_waiting(waiting)
        kept = {part: array for part, array in state.items() if self._is_kept(part)}
        self._check_kept(kept)
        super().load({part: array for part, array in state.items() if not part.startswith("waiting.") and part not in kept})
        self._load_kept(kept)
        self._waiting[...], self._waiting_labels[...] = waiting["x"], waiting["labels"]

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        learner = cls(1, 2, np.random.default_rng(0))
        learner.learn_many(np.zeros((2 * learner.batch, 1)), np.arange(2 * learner.batch) % 2)
        learner.predict_proba(np.zeros((1, 1)))

    def _beside(self) -> int:
        """How many rows more than a batch a step may have."""
        return 0

    def _step(self, params: Floats, x: Floats, y: Labels) -> int:
        """Learn one batch into ``params``; -1, or the row at which scores are not finite. Answers are ``self._mini``'s."""
        raise NotImplementedError

    def _kept(self) -> dict[str, NDArray[Any]]:
        """What a strategy keeps besides weights, for a snapshot."""
        return {}

    def _is_kept(self, part: str) -> bool:
        """Whether a part of a snapshot is one of those."""
        return False

    def _check_kept(self, kept: State) -> None:
        """Raise a `StateError` where it does not fit."""

    def _load_kept(self, kept: State) -> None:
        """Take it over."""

    def _begin(self) -> None:
        """A chunk begins: remember what is kept, for it may have to be undone."""

    def _commit(self) -> None:
        """The chunk was learned."""

    def _undo(self) -> None:
        """The chunk could not be learned: go back to what was kept before."""

    def _learn(self, x: Features, y: Labels) -> tuple[Labels, int]:
        """Learn; answers as of each row, but for those that wait at the end, and how many these are."""
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        singles = to_singles(rows, self.name)
        answers = np.empty(len(labels), np.int64)
        held = self.waiting
        if held + len(labels) < self.batch:
            self._waiting[held : held + len(labels)], self._waiting_labels[held : held + len(labels)] = singles, labels
            return answers, len(labels)
        before = self._waiting.copy(), self._waiting_labels.copy()
        self._begin()
        try:
            self._learned(lambda: self._descend(singles, labels, answers), rows, lambda: None)
        except LearnerError:
            self._waiting, self._waiting_labels = before
            self._undo()
            raise
        self._commit()
        return answers, min(self.waiting, len(labels))

    def _descend(self, singles: Floats, labels: Labels, answers: Labels) -> int:
        """Make a step for each batch that is full, and let the rest wait; -1, or the row at which it failed."""
        from estran.learning.mlp_kernel import finite

        position, held = 0, self.waiting
        while position + self.batch - held <= len(labels):
            new = self.batch - held
            stop = position + new
            self._waiting[held:], self._waiting_labels[held:] = singles[position:stop], labels[position:stop]
            if self._step(self._candidate, self._waiting, self._waiting_labels) >= 0:
                return position
            answers[position:stop] = self._mini.answers[held : self.batch]
            position, held = stop, 0
        left = len(labels) - position
        self._waiting[:left], self._waiting_labels[:left] = singles[position:], labels[position:]
        self._waiting[left:], self._waiting_labels[left:] = 0, -1
        return -1 if finite(self._candidate) else len(labels)

    def _check_waiting(self, waiting: State) -> None:
        x, labels = waiting.get("x"), waiting.get("labels")
        fits = (
            x is not None
            and labels is not None
            and len(waiting) == 2
            and (x.shape, labels.shape) == (self._waiting.shape, self._waiting_labels.shape)
            and (x.dtype.kind, labels.dtype.kind) == ("f", "i")
            and bool(np.isfinite(x).all())
        )
        if fits and labels is not None:
            held = np.count_nonzero(labels >= 0)
            fits = bool(held < self.batch and (labels[held:] == -1).all() and labels.max() < self.classes)
        if not fits:
            raise StateError(
                "the rows that wait in the snapshot do not fit",
                where=self.name,
                remedy="load snapshots of learners with the same settings",
            )


def to_singles(rows: Features, learner: str) -> Floats:
    """Finite rows as float32.

    Raises
    ------
    NotFiniteError
        If a value is too large for that.
    """
    with np.errstate(over="ignore"):
        singles = rows.astype(np.float32)
    if len(rows) and not np.isfinite(singles).all():
        row = int(np.argwhere(~np.isfinite(singles))[0, 0])
        remedy = "scale the inputs to about 1; nothing of this chunk was learned"
        raise NotFiniteError(f"row {row} of {len(rows)} overflows float32", where=learner, remedy=remedy)
    return singles


def check_share(learner: str, name: str, value: float) -> float:
    """Make sure that a setting is a number of at least 0.

    Raises
    ------
    RequestError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise RequestError(f"{name} is {value!r}", where=learner, remedy="give a number from 0")
    return float(value)
