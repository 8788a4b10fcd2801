"""Averages of weights over the rows of a stream: of all, of the latest share, or fading."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Labels, LearnerError, State

WINDOWS: Final = ("all", "suffix", "fading")


class Average:
    """A running average of arrays by name, in float64.

    Parameters
    ----------
    shapes
        Of the arrays.
    window
        ``all``, ``suffix`` or ``fading``.
    decay
        Of ``fading``.

    Examples
    --------
    >>> average = Average({"w": (1,)}, "suffix", 0.0)
    >>> for t in range(1, 12):
    ...     average.add({"w": np.array([float(t)])}, "example")
    >>> average.value()["w"].tolist()  # of 4 to 11
    [7.5]
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], window: str, decay: float) -> None:
        self.shapes, self._window = dict(shapes), window
        # Weights of t-th arrays are (1 + decay) / (t + decay), of which a decay of 0 makes the mean.
        self._decay = decay if window == "fading" else 0.0
        self.rows = 0
        self._mean = {part: np.zeros(shape) for part, shape in shapes.items()}
        self._older = {part: np.zeros(shape) for part, shape in shapes.items()} if window == "suffix" else {}

    def add(self, arrays: State, learner: str) -> None:
        """Take the arrays after another row in.

        Raises
        ------
        LearnerError
            If the learner's arrays have changed their shapes.
        """
        self.rows += 1
        number = self.rows
        if self._window == "suffix":
            number = self.rows - self._start() + 1
            if number == 1:
                self._mean, self._older = self._older, self._mean
        weight = (1.0 + self._decay) / (number + self._decay)
        for part, mean in self._mean.items():
            found = arrays[part]
            if found.shape != mean.shape:
                what = f"{part} of the inner learner was of shape {mean.shape} and is now of {found.shape}"
                raise LearnerError(what, where=learner, remedy="choose a learner whose weights stay as many, such as arow")
            if number == 1:
                mean[...] = found
            else:
                mean += weight * (found - mean)

    def value(self) -> dict[str, NDArray[np.float64]]:
        """The averages, as copies; empty before the first row."""
        if self.rows == 0:
            return {}
        start = self._start() if self._window == "suffix" else 1
        if start == 1:
            return {part: mean.copy() for part, mean in self._mean.items()}
        # The older half of the suffix has start / 2 rows.
        share = (self.rows - start + 1) / (self.rows - start // 2 + 1)
        return {part: self._older[part] + share * (mean - self._older[part]) for part, mean in self._mean.items()}

    def learn(self, part: str, loop: Callable[..., Labels]) -> Labels:
        """Have a compiled loop take in the only array of these shapes; it is handed the means, rows, window and decay.

        It must add as many rows as it answers.
        """
        mean = self._mean[part]
        older = self._older.get(part, np.empty((0, *mean.shape[1:])))
        answers = loop(mean, older, self.rows, WINDOWS.index(self._window), self._decay)
        self.rows += len(answers)
        return answers

    def finite(self) -> bool:
        """Whether all averages are."""
        return all(bool(np.isfinite(array).all()) for array in (*self._mean.values(), *self._older.values()))

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Copies of all that is remembered."""
        means = {f"mean.{part}": array.copy() for part, array in self._mean.items()}
        return {
            **means,
            **{f"older.{part}": array.copy() for part, array in self._older.items()},
            "rows": np.array([float(self.rows)]),
        }

    def load(self, state: State) -> None:
        """Replace all that is remembered by what `state` made."""
        for part in self._mean:
            self._mean[part][...] = state[f"mean.{part}"]
        for part in self._older:
            self._older[part][...] = state[f"older.{part}"]
        self.rows = int(state["rows"][0])

    def copy(self) -> Self:
        """One that shares nothing with this."""
        other = copy.copy(self)
        other._mean = {part: array.copy() for part, array in self._mean.items()}
        other._older = {part: array.copy() for part, array in self._older.items()}
        return other

    def _start(self) -> int:
        """The row at which the newer half of the suffix began: the greatest power of two up to the latest."""
        return 1 << (self.rows.bit_length() - 1)
