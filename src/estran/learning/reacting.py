"""A learner that watches its own errors, and starts over where they tell of drift."""

from __future__ import annotations

import importlib
import inspect
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.about import About
from estran.learning.detectors import Detector, RiverDetector
from estran.learning.learner import Features, Labels, Learner, LearnerError, State, StateError
from estran.learning.mistakes import SettingsError, check_known
from estran.learning.rows import checked_chunk, checked_rows

_DETECTORS: Final = {
    "adwin": "estran.learning.windowed:Adwin",
    "ddm": "estran.learning.detectors:Ddm",
    "eddm": "estran.learning.detectors:Eddm",
    "kswin": "estran.learning.windowed:Kswin",
    "page-hinkley": "estran.learning.detectors:PageHinkley",
}


def create_detector(choice: registry.Choice) -> Detector:
    """Make a drift detector, by name and settings as a learner is: ``adwin``, ``{ddm: {alarm: 4}}``, ``river.drift:ADWIN``.

    Raises
    ------
    SettingsError
        If there is none of this name, or it does not take a setting.

    Examples
    --------
    >>> create_detector({"page-hinkley": {"threshold": 20}}).update(1.0)
    False
    """
    name, settings = registry.read(choice)
    if ":" not in name:
        check_known(name, _DETECTORS, kind="drift detector", where="detector")
    module, _, attribute = _DETECTORS.get(name, name).partition(":")
    try:
        kind: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        remedy = f"known: {', '.join(_DETECTORS)}; for River's: pip install 'estran[river]'"
        raise SettingsError(f"{name} cannot be imported: {error}", where="detector", remedy=remedy) from error
    for setting in settings:
        check_known(setting, inspect.signature(kind).parameters, kind="setting", where=f"detector {name}")
    try:
        made = kind(**settings)
    except (TypeError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{error}", where=f"detector {name}", remedy="look up the settings that it takes") from error
    if hasattr(made, "drift_detected"):
        return RiverDetector(made)
    if not hasattr(made, "update") or not hasattr(made, "load"):
        raise SettingsError(f"{name} is no drift detector", where="detector", remedy=f"choose one of {', '.join(_DETECTORS)}")
    detector: Detector = made
    return detector


class DriftReacting:
    """Answers by another learner, which is replaced by a fresh one when a detector finds that its errors have changed.

    Each row is answered before it is learned from; the detector sees 1 for a wrong answer and 0 for a right one. At an alarm the
    fresh learner first learns the latest rows again, if so many are kept, and then goes on with the row of the alarm.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    learner, detector
        Which, by name and settings.
    memory
        How many of the latest rows a fresh learner learns from at once (a warm restart); 0 for none (a reset).

    Raises
    ------
    SettingsError
        If a choice is wrong, or ``memory`` is negative.

    Notes
    -----
    Gama, Medas, Castillo and Rodrigues, *Learning with drift detection*, SBIA 2004: learn anew from the rows of the new
    concept. Theirs are those since a warning; here they are a fixed number, since most detectors give no warning.

    Examples
    --------
    >>> model = DriftReacting(1, 2, np.random.default_rng(0), learner="softmax", detector="ddm", memory=20)
    >>> x = np.random.default_rng(1).normal(size=(600, 1))
    >>> y = np.where(np.arange(600) < 300, x[:, 0] > 0, x[:, 0] < 0).astype(np.int64)
    >>> model.learn_many(x, y)
    >>> model.restarts, model.predict(np.array([[1.0], [-1.0]])).tolist()
    (1, [0, 1])
    """

    name = "drift-reacting"
    about = About("composed", 0, "the inner learner's, and a snapshot per chunk", "Gama, Medas, Castillo, Rodrigues 2004")

    def __init__(
        self,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        learner: registry.Choice = "softmax",
        detector: registry.Choice = "adwin",
        memory: int = 0,
    ) -> None:
        if memory < 0:
            raise SettingsError(f"memory is {memory}", where=f"learner {self.name}", remedy="give 0 or more rows")
        self.features, self.classes = features, classes
        self._learner, self._detector = learner, detector
        self._rows: deque[tuple[NDArray[np.float64], int]] = deque(maxlen=memory)
        self._seed = int(rng.integers(2**63))
        self.restarts = 0
        self.base, self.detector = self._fresh(0), create_detector(detector)

    def learn_many(self, x: Features, y: Labels) -> None:
        """Learn from a chunk, one row at a time; raises as `predict_then_learn` does."""
        self.predict_then_learn(x, y)

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        """Learn from a chunk, one row at a time, and return the answer to each before it was learned from, shape (n,).

        Raises
        ------
        LearnerError
            If the chunk does not fit; nothing of it is then learned. If the learner fails at a row, it is back where it was
            before the chunk, unless it or the detector has no snapshots: the rows before have then been learned.
        """
        rows, labels = checked_chunk(x, y, self.features, self.classes, self.name)
        before = self._before()
        answers = np.empty(len(rows), dtype=np.int64)
        try:
            for i, (row, label) in enumerate(zip(rows, labels.tolist(), strict=True)):
                answers[i] = self._learn_one(row, label)
        except LearnerError:
            if before is not None:
                self.load(before)
            raise
        return answers

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes)."""
        return self.base.predict_proba(checked_rows(x, self.features, self.name))

    def predict(self, x: Features) -> Labels:
        """Most probable class of each row, shape (n,)."""
        return self.base.predict(checked_rows(x, self.features, self.name))

    def state(self) -> State:
        """The learner's parts as ``learner.…``, the detector's as ``detector.…``, and rows kept for a restart.

        Raises
        ------
        StateError
            If the learner or the detector has none.
        """
        x = np.array([row for row, _ in self._rows], dtype=np.float64).reshape(-1, self.features)
        return {
            **{f"learner.{part}": array for part, array in self.base.state().items()},
            **{f"detector.{part}": array for part, array in self.detector.state().items()},
            "restarts": np.array([self._seed, self.restarts], dtype=np.int64),
            "rows": x,
            "labels": np.array([label for _, label in self._rows], dtype=np.int64),
        }

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was learned before is then unchanged.
        """
        rows, labels, (seed, restarts) = self._own(state)
        parts = {key: _under(f"{key}.", state) for key in ("learner", "detector")}
        unknown = state.keys() - {f"{key}.{part}" for key, found in parts.items() for part in found} - {*_OWN}
        if unknown:
            raise _misfit(f"it has {', '.join(sorted(unknown))} besides")
        detector = create_detector(self._detector)
        detector.load(parts["detector"])
        self.base.load(parts["learner"])
        self.detector, self._seed, self.restarts = detector, seed, restarts
        self._rows = deque(zip(rows, labels.tolist(), strict=True), maxlen=self._rows.maxlen)

    @classmethod
    def check_choices(cls, learner: registry.Choice = "softmax", detector: registry.Choice = "adwin", memory: int = 0) -> None:
        """Make sure that learner and detector exist and take their settings.

        Raises
        ------
        SettingsError
            Naming which, and what it does not have.
        """
        registry.check(learner)
        create_detector(detector)

    @classmethod
    def warm(cls) -> None:
        """Let the default learner compile what it needs; which one will be watched is not known here."""
        registry.warm("softmax")

    def _own(self, state: State) -> tuple[Features, Labels, tuple[int, int]]:
        """What is neither the learner's nor the detector's."""
        if missing := [part for part in _OWN if part not in state]:
            raise _misfit(f"it lacks {', '.join(missing)}")
        rows, labels, restarts = (np.array(state[part]) for part in ("rows", "labels", "restarts"))
        fits = rows.ndim == 2 and rows.shape[1] == self.features and labels.shape == (len(rows),) and restarts.shape == (2,)
        if not fits or len(rows) > (self._rows.maxlen or 0) or labels.dtype.kind not in "iu" or restarts.dtype.kind not in "iu":
            raise _misfit(f"it keeps rows of shape {rows.shape} and labels of shape {labels.shape}")
        if not np.isfinite(rows).all() or (labels.size and not 0 <= labels.min() <= labels.max() < self.classes):
            raise _misfit("it keeps rows that are not finite, or of other classes")
        return rows, labels, (int(restarts[0]), int(restarts[1]))

    def _learn_one(self, row: NDArray[np.float64], label: int) -> int:
        x, y = row[None], np.array([label])
        answer = int(self.base.predict(x)[0])
        if self.detector.update(float(answer != label)):
            self.restarts += 1
            self.base = self._fresh(self.restarts)
            if self._rows:
                kept, known = zip(*self._rows, strict=True)
                self.base.learn_many(np.array(kept), np.array(known))
        self.base.learn_many(x, y)
        if self._rows.maxlen:
            self._rows.append((row.copy(), label))
        return answer

    def _fresh(self, number: int) -> Learner:
        # Each has a generator of its own number, so that a snapshot needs no generator's state.
        rng = np.random.default_rng([self._seed, number])
        return registry.create(self._learner, self.features, self.classes, rng)

    def _before(self) -> State | None:
        try:
            return self.state()
        except StateError:
            return None


_OWN: Final = ("restarts", "rows", "labels")


def _under(prefix: str, state: State) -> dict[str, NDArray[Any]]:
    return {part.removeprefix(prefix): array for part, array in state.items() if part.startswith(prefix)}


def _misfit(what: str) -> StateError:
    remedy = "load snapshots of learners with the same settings"
    return StateError(f"the snapshot does not fit: {what}", where=DriftReacting.name, remedy=remedy)
