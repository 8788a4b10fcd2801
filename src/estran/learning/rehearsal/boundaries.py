"""Where one task ends and the next begins, for learners that are not told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.deep.initial import Initial
from estran.learning.detectors import Detector, RiverDetector
from estran.learning.inner import under, within
from estran.learning.learner import Labels, State, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.reacting import create_detector
from estran.learning.rehearsal.batched import WIDTHS, Batched
from estran.learning.rehearsal.buffer import Floats
from estran.learning.settings import whole
from estran.learning.snapshots import check_fits

Boundary: TypeAlias = Literal["novel"] | int | registry.Choice
"""Where one task is taken to end and the next to begin; see `Bounded`."""


class Bounded(Batched):
    """What strategies share that do something where a new task begins, without being told of tasks.

    Parameters
    ----------
    features, classes, rng, hidden, learning_rate, batch, initial
        As for `Naive`.
    boundary
        ``novel``: a task begins with a batch that brings a class that never came before. A number: after so many rows. A drift
        detector, by name and settings, like ``ddm`` or ``{page-hinkley: {threshold: 20}}``: after the batch at which it finds that
        answers, given just before each row was learned, have become wrong more often.
    apart
        A task has at least so many rows, with ``novel`` and with a detector: the classes of one need not all come in its first
        batch, and errors go on rising for a while.

    Raises
    ------
    RequestError
        If a hyper-parameter is out of range, or there is no such detector.

    Notes
    -----
    Detectors as triggers of consolidation: Aljundi, Kelchtermans, Tuytelaars, *Task-free continual learning*, CVPR 2019, whose
    detector looks for plateaus and peaks of the loss. A detector finds a drift some rows after it has set in; the weights that
    are kept have learned these rows too.
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
        boundary: Boundary = "novel",
        apart: int = 100,
    ) -> None:
        super().__init__(features, classes, rng, hidden=hidden, learning_rate=learning_rate, batch=batch, initial=initial)
        self.boundary, self.apart = boundary, whole(self.name, "apart", apart, 0)
        self._detector = detector_of(self.name, boundary)
        # Rows since the last boundary, and boundaries so far.
        self._passed, self._seen = np.zeros(2, np.int64), np.zeros(classes, np.int64)
        self._undone: dict[str, NDArray[Any]] = {}

    @property
    def boundaries(self) -> int:
        """How many tasks were taken to have ended."""
        return int(self._passed[1])

    @classmethod
    def check_choices(cls, boundary: Boundary = "novel", **_: Any) -> None:
        """Make sure that there is such a boundary.

        Raises
        ------
        SettingsError
            Naming what there is not.
        """
        detector_of(cls.name, boundary)

    @abstractmethod
    def _ended(self, params: Floats) -> None:
        """A task has ended with these weights."""

    @abstractmethod
    def _remembered(self) -> dict[str, NDArray[Any]]:
        """What is kept of earlier tasks, in arrays that are written in place."""

    @abstractmethod
    def _advance(self, params: Floats, x: Floats, y: Labels) -> int:
        """Learn one batch, as `_step` does."""

    def _step(self, params: Floats, x: Floats, y: Labels) -> int:
        if self._begins(y):
            self._end(params)
        self._seen[y] = 1
        self._passed[0] += len(y)
        bad = self._advance(params, x, y)
        if bad < 0 and self._drifts(self._mini.answers[: len(y)] != y) and self._passed[0] >= self.apart:
            self._end(params)
        return bad

    def _begins(self, y: Labels) -> bool:
        """Whether a task begins with a batch that is about to be learned."""
        since = int(self._passed[0])
        if self.boundary == "novel":
            return since > 0 and since >= self.apart and bool((self._seen[y] == 0).any())
        return isinstance(self.boundary, int) and since >= self.boundary

    def _drifts(self, wrong: NDArray[np.bool_]) -> bool:
        """Whether the detector finds that answers have become worse; it is told of every row."""
        detector = self._detector
        return detector is not None and sum(map(detector.update, wrong.astype(float).tolist())) > 0

    def _end(self, params: Floats) -> None:
        self._ended(params)
        self._passed[...] = 0, self._passed[1] + 1

    def _all(self) -> dict[str, NDArray[Any]]:
        return {"passed": self._passed, "seen": self._seen, **self._remembered()}

    def _kept(self) -> dict[str, NDArray[Any]]:
        tasks = within("tasks", {part: array.copy() for part, array in self._all().items()})
        return tasks if self._detector is None else {**tasks, **within("detector", self._detector.state())}

    def _is_kept(self, part: str) -> bool:
        return part.startswith("tasks.") or (self._detector is not None and part.startswith("detector."))

    def _check_kept(self, kept: State) -> None:
        fresh = detector_of(self.name, self.boundary)
        if fresh is not None:
            fresh.load(under("detector", kept))
        found, own = under("tasks", kept), self._all()
        numbers = {part: own.pop(part) for part in ("passed", "seen")}
        for part, array in numbers.items():
            given = found.pop(part, np.zeros(0))
            if given.shape != array.shape or given.dtype.kind != "i" or (given < 0).any():
                remedy = "load snapshots of learners with the same settings"
                raise StateError(f"tasks.{part} of the snapshot does not fit", where=self.name, remedy=remedy)
        check_fits(self.name, own, found)

    def _load_kept(self, kept: State) -> None:
        for part, array in under("tasks", kept).items():
            self._all()[part][...] = array
        if self._detector is not None:
            self._detector.load(under("detector", kept))

    def _begin(self) -> None:
        self._undone = self._kept()

    def _commit(self) -> None:
        self._undone = {}

    def _undo(self) -> None:
        self._load_kept(self._undone)
        self._undone = {}


def detector_of(learner: str, boundary: Boundary) -> Detector | None:
    """The detector that a boundary names, if it does.

    Raises
    ------
    SettingsError
        If the boundary is none, or its detector cannot be part of a snapshot.
    """
    if boundary == "novel" or (isinstance(boundary, int) and not isinstance(boundary, bool) and boundary >= 1):
        return None
    remedy = "give novel, a number of rows from 1, or a drift detector of Estran's own"
    if not isinstance(boundary, str | Mapping):
        raise SettingsError(f"boundary is {boundary!r}", where=learner, remedy=remedy)
    try:
        detector = create_detector(boundary)
    except SettingsError as error:
        what = f"boundary is {boundary!r}, and of {error.where}: {error.what}"
        raise SettingsError(what, where=learner, remedy=f"{remedy}; {error.remedy}") from error
    if isinstance(detector, RiverDetector):
        what = f"boundary is {boundary!r}, which cannot be part of a snapshot"
        raise SettingsError(what, where=learner, remedy=remedy)
    return detector
