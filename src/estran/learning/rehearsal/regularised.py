"""Continual learning that keeps no rows, but what earlier weights knew: learning without forgetting, elastic consolidation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.deep.initial import Initial
from estran.learning.inner import within
from estran.learning.learner import Labels, State, StateError
from estran.learning.rehearsal.batched import WIDTHS, check_share
from estran.learning.rehearsal.boundaries import Boundary, Bounded
from estran.learning.rehearsal.buffer import Floats
from estran.learning.settings import positive
from estran.learning.settings import within as between


class LwF(Bounded):
    """Learning without forgetting: on new rows, the classes known before should be answered as the weights of then would.

    The loss of a batch is the mean of −log p_y plus λ times the cross-entropy of softmax(z / T) and softmax(h / T), where z are
    the scores by the weights at the last boundary, and both are taken among the classes that had come by then.

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial
        As for `Naive`.
    boundary, apart
        Where a task is taken to end; see `Bounded`.
    weight, temperature
        λ and T.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    Li, Hoiem, *Learning without forgetting*, ECCV 2016, equations 1 to 4. Theirs has a head of outputs for each task; here there
    is one, so that no task needs to be named.

    Examples
    --------
    >>> model = LwF(2, 2, np.random.default_rng(0), apart=50)
    >>> model.learn_many(np.repeat([[1.0, 0.0], [0.0, 1.0]], 200, axis=0), np.repeat([0, 1], 200))
    >>> model.boundaries
    1
    """

    name = "lwf"
    about = About("continual", 1, "O(weights), 1.4 times", "Li, Hoiem 2016, eq. 1-4")

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
        boundary: Boundary = "novel",
        apart: int = 100,
        weight: float = 1.0,
        temperature: float = 2.0,
    ) -> None:
        self.weight = check_share(self.name, "weight", weight)
        self.temperature = positive(self.name, "temperature", temperature)
        super().__init__(
            features,
            classes,
            rng,
            hidden=hidden,
            learning_rate=learning_rate,
            batch=batch,
            initial=initial,
            boundary=boundary,
            apart=apart,
        )
        self._teacher, self._known = np.zeros_like(self._params), np.zeros(classes)

    def _ended(self, params: Floats) -> None:
        np.copyto(self._teacher, params)
        self._known[...] = self._seen

    def _remembered(self) -> dict[str, NDArray[Any]]:
        return {"known": self._known, **within("teacher", self._views(self._teacher))}

    def _advance(self, params: Floats, x: Floats, y: Labels) -> int:
        self._mini.clear()
        if not self._known.any():
            self._mini.put(x, y, cross=1 / self.batch)
            return self._mini.step(params, params, -self.learning_rate)
        self._mini.put(x, y)
        wanted = self._mini.ask(self._teacher)
        self._mini.clear()
        self._mini.soften_by(self.temperature, self._known > 0)
        self._mini.put(x, y, cross=1 / self.batch, wanted=wanted, soften=self.weight / self.batch)
        return self._mini.step(params, params, -self.learning_rate)


_PARTS: Final = ("anchor", "importance", "running")


class EWC(Bounded):
    """Online elastic weight consolidation: weights that mattered to earlier tasks are drawn back to what they were.

    At each boundary the anchor θ* becomes the weights, and F* ← γ F* + F, with F the mean over the task's rows of each weight's
    squared gradient. Each step descends on the cross-entropy plus λ/2 Σ F* (θ − θ*)².

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial
        As for `Naive`.
    boundary, apart
        Where a task is taken to end; see `Bounded`.
    weight, gamma
        λ, and γ, from 0 to 1.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range.

    Notes
    -----
    Schwarz et al., *Progress & compress*, ICML 2018, section 3.2, equation 9; Kirkpatrick et al., *Overcoming catastrophic
    forgetting in neural networks*, PNAS 114, 2017. No row is seen twice, so squared gradients (with the rows' own labels) are
    summed while the task is learned, not after, as in EWC++ of Chaudhry et al., ECCV 2018. The step along the penalty is
    implicit, θ ← (θ + ηλF* θ*) / (1 + ηλF*), which is stable however large λ is.

    Examples
    --------
    >>> model = EWC(2, 2, np.random.default_rng(0), boundary=200)
    >>> model.learn_many(np.repeat([[1.0, 0.0], [0.0, 1.0]], 200, axis=0), np.repeat([0, 1], 200))
    >>> model.boundaries
    1
    """

    name = "ewc"
    about = About("continual", 1, "O(weights), 2 times", "Schwarz et al. 2018, eq. 9")

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
        boundary: Boundary = "novel",
        apart: int = 100,
        weight: float = 100.0,
        gamma: float = 1.0,
    ) -> None:
        self.weight, self.gamma = check_share(self.name, "weight", weight), check_share(self.name, "gamma", gamma)
        if gamma > 1:
            between(self.name, "gamma", gamma, 0.0, 1.0)
        super().__init__(
            features,
            classes,
            rng,
            hidden=hidden,
            learning_rate=learning_rate,
            batch=batch,
            initial=initial,
            boundary=boundary,
            apart=apart,
        )
        self._own = {part: np.zeros_like(self._params) for part in _PARTS}

    def _ended(self, params: Floats) -> None:
        anchor, importance, running = (self._own[part] for part in _PARTS)
        np.copyto(anchor, params)
        # A batch's gradient is the mean of its rows', so squares lack the square of its size.
        importance *= np.float32(self.gamma)
        importance += running * np.float32(self.batch**2 / self._passed[0])
        running[...] = 0

    def _remembered(self) -> dict[str, NDArray[Any]]:
        return {part: array for name, flat in self._own.items() for part, array in within(name, self._views(flat)).items()}

    def _check_kept(self, kept: State) -> None:
        super()._check_kept(kept)
        if any((array < 0).any() for part, array in kept.items() if part.startswith(("tasks.importance", "tasks.running"))):
            raise StateError("squares in the snapshot are negative", where=self.name, remedy="load snapshots as state() makes them")

    def _advance(self, params: Floats, x: Floats, y: Labels) -> int:
        from estran.learning.rehearsal import kernel

        self._mini.clear()
        self._mini.put(x, y, cross=1 / self.batch)
        bad = self._mini.step(params, params, -self.learning_rate)
        if bad < 0:
            self._mini.add_squares(self._own["running"])
            if self.boundaries:
                rate = np.float32(self.learning_rate * self.weight)
                kernel.draw_back(params, self._own["anchor"], self._own["importance"], rate)
        return bad
