"""The rows of one step with what is wanted of each, and the working memory of a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from estran.learning import aligned
from estran.learning.learner import Labels
from estran.learning.rehearsal.buffer import Floats


class Minibatch:
    """Rows are put in one after another; then a step is made. `estran.learning.rehearsal.kernel` says what each array is.

    Parameters
    ----------
    sizes
        Width of every layer of the network.
    rows
        How many rows there can be.
    """

    def __init__(self, sizes: NDArray[np.int64], rows: int) -> None:
        units, classes = int(sizes.sum()), int(sizes[-1])
        self._sizes, self._features = sizes, int(sizes[0])
        kind = np.dtype(np.float32)
        # Rows are padded behind the scores, for each to begin a cache line.
        shape = rows, aligned.padded(units, kind)
        self._acts, self._deltas = aligned.zeros(shape, kind), aligned.zeros(shape, kind)
        self._scores = slice(units - classes, units)
        self._values, self._who = np.zeros((units, rows), np.float32), np.zeros((units, rows + 1), np.int64)
        self._labels, self._cross = np.zeros(rows, np.int64), np.zeros(rows, np.float32)
        self._allowed, self._wanted = np.ones((rows, classes), np.bool_), np.zeros((rows, classes), np.float32)
        self._pull, self._soften = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
        self._known, self._temperature = np.ones(classes, np.bool_), 1.0
        self._odds = np.zeros((2, classes))
        self.losses, self.answers = np.zeros(rows), np.zeros(rows, np.int64)
        self.rows = 0

    @property
    def scores(self) -> Floats:
        """What the network answered in the last step, shape (rows, classes)."""
        return self._acts[: self.rows, self._scores]

    def clear(self) -> None:
        """Take all rows out."""
        self.rows = 0

    def put(
        self,
        x: Floats,
        y: Labels,
        *,
        cross: float = 0.0,
        allowed: NDArray[np.bool_] | None = None,
        wanted: Floats | None = None,
        pull: float = 0.0,
        soften: float = 0.0,
    ) -> slice:
        """Put rows in, all with the same weights of the three losses; where they are.

        Parameters
        ----------
        x, y
            Rows and labels.
        cross, allowed
            Weight of the cross-entropy, and among which classes it is taken; None for all.
        wanted, pull, soften
            Scores that are wanted of each row, and the weights of the two losses that compare with them.
        """
        start, stop = self.rows, self.rows + len(y)
        place = slice(start, stop)
        self._acts[place, : self._features], self._labels[place], self._cross[place] = x, y, cross
        self._allowed[place] = True if allowed is None else allowed
        self._pull[place], self._soften[place] = pull, soften
        if wanted is not None:
            self._wanted[place] = wanted
        self.rows = stop
        return place

    def soften_by(self, temperature: float, known: NDArray[np.bool_]) -> None:
        """T of the softened cross-entropy, and the classes that it is taken among."""
        self._temperature, self._known[...] = temperature, known

    def ask(self, params: Floats) -> Floats:
        """Scores of the rows by other weights, shape (rows, classes)."""
        from estran.learning.rehearsal import kernel

        kernel.answer_rows(params, self._sizes, self.rows, self._acts, self._values, self._who)
        return self.scores.copy()

    def step(self, params: Floats, target: Floats, scale: float) -> int:
        """Add ``scale`` times the gradient of all rows' losses to ``target``; -1, or the row whose scores are not finite."""
        from estran.learning.rehearsal import kernel

        return kernel.step(
            params,
            target,
            self._sizes,
            np.float32(scale),
            self.rows,
            self._acts,
            self._deltas,
            self._values,
            self._who,
            self._labels,
            self._cross,
            self._allowed,
            self._wanted,
            self._pull,
            self._soften,
            self._known,
            self._temperature,
            self.losses,
            self.answers,
            self._odds,
        )

    def add_squares(self, target: Floats) -> None:
        """Add the squared gradient of each row of the last step to ``target``, once."""
        from estran.learning.rehearsal import kernel

        kernel.square(target, self._sizes, self.rows, self._deltas, self._values, self._who)
