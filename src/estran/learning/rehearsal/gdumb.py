"""GDumb: keep a balanced buffer, and learn from nothing else, anew whenever an answer is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.deep.initial import Initial
from estran.learning.habits import Habits
from estran.learning.inner import under, within
from estran.learning.learner import Features, Labels, NotFiniteError, State, StateError
from estran.learning.network import Network
from estran.learning.rehearsal.batched import WIDTHS, to_singles
from estran.learning.rehearsal.buffer import Buffer
from estran.learning.rehearsal.minibatch import Minibatch
from estran.learning.rows import checked_chunk
from estran.learning.settings import whole


class GDumb(Network, Habits):
    """Greedy sampler and dumb learner: rows only go to a balanced buffer; a fresh network learns it where answers are wanted.

    That is a lower bound which methods of continual learning often fail to reach. Learning costs next to nothing, and the first
    answer or snapshot after it ``epochs`` passes over the buffer; so it is not for streams where each row is answered before it
    is learned. The weights are a function of the buffer and of how many rows were offered, not of when answers were wanted.

    Parameters
    ----------
    features, classes, rng, hidden, initial
        As for `estran.learning.mlp.Mlp`.
    learning_rate
        Step at first; it falls along a cosine to a hundredth.
    batch
        Rows of a step.
    buffer
        Rows that the buffer holds.
    epochs
        Passes over the buffer.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range, or the buffer is smaller than the number of classes.

    Notes
    -----
    Prabhu, Torr, Dokania, *GDumb: a simple approach that questions our progress in continual learning*, ECCV 2020, algorithm 1 and
    section 4. Theirs restarts the cosine, and mixes parts of images (CutMix), which rows need not be.

    Examples
    --------
    >>> model = GDumb(2, 2, np.random.default_rng(0), hidden=[16], buffer=20)
    >>> model.learn_many(np.repeat([[1.0, 0.0], [0.0, 1.0]], 200, axis=0), np.repeat([0, 1], 200))
    >>> model.predict(np.eye(2)).tolist(), model.buffer.held.tolist()
    ([0, 1], [10, 10])
    """

    name = "gdumb"
    about = About("continual", 1, "O(d), and O(buffer·weights) per answer", "Prabhu, Torr, Dokania 2020, alg. 1")

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
        buffer: int = 1000,
        epochs: int = 30,
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
        self.classes, self.initial = classes, initial
        self.batch, self.epochs = whole(self.name, "batch", batch), whole(self.name, "epochs", epochs)
        self.buffer = Buffer(buffer, features, classes, rng, policy="greedy")
        self._seed, self._stale = int(rng.integers(2**53)), False
        self._mini = Minibatch(self._sizes, self.batch)

    def learn_many(self, x: Features, y: Labels) -> None:
        """Offer a chunk to the buffer, exactly as if its rows came one at a time in order.

        Raises
        ------
        LearnerError
            If the chunk does not fit.
        NotFiniteError
            If a value is not finite; nothing of the chunk is then kept.
        """
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        self.buffer.offer(to_singles(rows, self.name), labels)
        self._stale = self._stale or len(labels) > 0

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes); learns from the buffer first, if that has changed.

        Raises
        ------
        LearnerError
            If rows do not fit.
        NotFiniteError
            If a value is not finite, or what follows from it, or learning diverges.
        """
        self._refresh()
        return self._answer(x, raw=False)

    def decision_function(self, x: Features) -> NDArray[np.float64]:
        """What `predict_proba` is the softmax of: shape (n, classes); for two classes the log-odds of class 1, shape (n,)."""
        self._refresh()
        scores = self._answer(x, raw=True)
        return np.asarray(scores[:, 1] - scores[:, 0]) if self.classes == 2 else scores

    def state(self) -> State:
        """The buffer, and the weights that are learned from it: first, if it has changed.

        Raises
        ------
        NotFiniteError
            If learning diverges.
        """
        return {**self.weights(), **within("buffer", self.buffer.state()), "seed": np.array([self._seed], dtype=np.int64)}

    def weights(self) -> State:
        """Copies of the weights alone: what a `Mlp` with the same layers needs to answer alike, without rows that are kept."""
        self._refresh()
        return super().state()

    def load(self, state: State) -> None:
        """Replace everything.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was known before is then unchanged.
        """
        kept = under("buffer", state)
        self.buffer.check(kept)
        seed = state.get("seed", np.zeros(0))
        if seed.shape != (1,) or seed.dtype.kind not in "iu" or seed[0] < 0:
            raise StateError(
                "the snapshot has no seed", where=self.name, remedy="load snapshots of learners with the same settings"
            )
        super().load({part: array for part, array in state.items() if not part.startswith("buffer.") and part != "seed"})
        self.buffer.load(kept)
        self._seed, self._stale = int(seed[0]), False

    @classmethod
    def warm(cls) -> None:
        """Compile what learning needs, or load it from numba's cache, so that a run does not wait for it."""
        learner = cls(1, 2, np.random.default_rng(0), hidden=[1], epochs=1)
        learner.learn_many(np.zeros((2, 1)), np.arange(2))
        learner.predict_proba(np.zeros((1, 1)))

    def _refresh(self) -> None:
        if not self._stale:
            return
        rng = np.random.default_rng([self._seed, self.buffer.offered])
        np.copyto(self._candidate, self._initial(self.initial, rng))
        held = self.buffer.memories()
        for epoch in range(self.epochs):
            share = 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
            rate = self.learning_rate * (0.01 + 0.99 * share)
            order = rng.permutation(len(held))
            for start in range(0, len(order), self.batch):
                rows = order[start : start + self.batch]
                self._mini.clear()
                self._mini.put(held.x[rows], held.y[rows], cross=1 / len(rows))
                if self._mini.step(self._candidate, self._candidate, -rate) >= 0:
                    raise NotFiniteError(
                        f"learning diverged in epoch {epoch} over the buffer",
                        where=self.name,
                        remedy=f"lower learning_rate (now {self.learning_rate:g}) or scale the inputs to about 1",
                    )
        self._swap()
        self._stale = False
