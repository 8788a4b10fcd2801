"""What strategies that rehearse share: a buffer beside the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estran.learning.deep.initial import Initial
from estran.learning.inner import under, within
from estran.learning.learner import Features, Labels, LearnerError, State
from estran.learning.rehearsal.batched import WIDTHS, Batched, to_singles
from estran.learning.rehearsal.buffer import Buffer, Floats, Memories, Policy
from estran.learning.rows import checked_chunk
from estran.learning.settings import whole


class Rehearsing(Batched):
    """What strategies with a buffer share: representatives are drawn, a step is made, and the batch is offered to the buffer.

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial
        As for `Naive`.
    buffer, policy, candidates
        Rows that the buffer holds, N; who stays; how many rows of a batch are offered, c. See `Buffer`.
    representatives
        Rows that are drawn from the buffer for each batch, r.

    Attributes
    ----------
    draws
        How often a step draws so many.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range, or the buffer is smaller than the number of classes.
    """

    draws: ClassVar[int] = 1
    _SCORES: ClassVar[bool] = False
    """Whether the network's answers are kept with the rows."""

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
        policy: Policy = "reservoir",
        candidates: int | None = None,
        representatives: int = 10,
    ) -> None:
        self.representatives = whole(self.name, "representatives", representatives)
        super().__init__(features, classes, rng, hidden=hidden, learning_rate=learning_rate, batch=batch, initial=initial)
        self.buffer = Buffer(buffer, features, classes, rng, policy=policy, candidates=candidates, scores=self._SCORES)

    def learn_beside(self, x: Features, y: Labels, representatives: Sequence[Memories]) -> None:
        """Learn one batch beside representatives from elsewhere, such as other workers' buffers, instead of own ones.

        The batch is offered to the own buffer as always. Rows that wait go on waiting.

        Parameters
        ----------
        x, y
            ``batch`` rows and their classes.
        representatives
            At most ``representatives`` rows for each draw that a step makes (`draws`).

        Raises
        ------
        LearnerError
            If there are more or fewer rows than that, or they do not fit.
        NotFiniteError
            If a value is not finite, or learning diverges; nothing is then learned.
        """
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        fits = len(labels) == self.batch and len(representatives) == self.draws
        if not fits or any(len(part) > self.representatives for part in representatives):
            raise LearnerError(
                f"{len(labels)} rows beside {[len(part) for part in representatives]} representatives",
                where=self.name,
                remedy=f"hand in {self.batch} rows, and {self.draws} times up to {self.representatives} representatives",
            )
        for part in representatives:
            checked_chunk(part.x, part.y, self.features, self.classes, self.name)
            if self._SCORES and part.scores.shape != (len(part), self.classes):
                remedy = "draw them from buffers that keep scores"
                raise LearnerError("representatives came without their scores", where=self.name, remedy=remedy)
        singles = to_singles(rows, self.name)
        self._begin()
        try:
            self._learned(lambda: self._learn_whole(singles, labels, representatives), rows, lambda: None)
        except LearnerError:
            self._undo()
            raise
        self._commit()

    def _beside(self) -> int:
        return self.draws * self.representatives

    def _step(self, params: Floats, x: Floats, y: Labels) -> int:
        slots = [self.buffer.draw(self.representatives) for _ in range(self.draws)]
        memories = [self.buffer.memories(drawn) for drawn in slots]
        bad = self._learn_batch(params, x, y, memories)
        if bad < 0:
            start = len(y)
            for drawn in slots:
                self.buffer.lose(drawn, self._mini.losses[start : start + len(drawn)])
                start += len(drawn)
        return bad

    def _learn_whole(self, x: Floats, y: Labels, memories: Sequence[Memories]) -> int:
        from estran.learning.mlp_kernel import finite

        bad = self._learn_batch(self._candidate, x, y, memories)
        return bad if bad >= 0 or finite(self._candidate) else len(y)

    def _learn_batch(self, params: Floats, x: Floats, y: Labels, memories: Sequence[Memories]) -> int:
        """Make a step, then offer the batch: a row is never rehearsed beside itself."""
        bad = self._rehearse(params, x, y, memories)
        if bad < 0:
            self.buffer.offer(x, y, losses=self._mini.losses[: len(y)], scores=self._mini.scores[: len(y)])
        return bad

    def _rehearse(self, params: Floats, x: Floats, y: Labels, memories: Sequence[Memories]) -> int:
        """Make a step; the batch is what is put in first. -1, or the row at which scores are not finite."""
        raise NotImplementedError

    def _kept(self) -> dict[str, NDArray[Any]]:
        return within("buffer", self.buffer.state())

    def _is_kept(self, part: str) -> bool:
        return part.startswith("buffer.")

    def _check_kept(self, kept: State) -> None:
        self.buffer.check(under("buffer", kept))

    def _load_kept(self, kept: State) -> None:
        self.buffer.load(under("buffer", kept))

    def _begin(self) -> None:
        self.buffer.begin()

    def _commit(self) -> None:
        self.buffer.commit()

    def _undo(self) -> None:
        self.buffer.undo()
