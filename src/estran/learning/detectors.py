"""Drift detectors: from a stream of numbers, mostly errors of a learner, to alarms.

Each can be put into plain arrays and back, so that who reacts to drift can be handed over like any learner; River's can not, and
come in by an adapter.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np

from estran.learning.adapters import OfRiver
from estran.learning.learner import State, StateError
from estran.learning.mistakes import SettingsError

Side: TypeAlias = Literal["up", "both"]
"""Whether only a rise counts, as fits errors, or a fall too."""


class Detector(Protocol):
    """Watches numbers, one at a time."""

    def update(self, value: float) -> bool:
        """Take one number in; whether drift is found at it. The detector is then ready to find the next."""
        ...

    def state(self) -> State:
        """Everything seen, as arrays.

        Raises
        ------
        StateError
            If it has no such form.
        """
        ...

    def load(self, state: State) -> None:
        """Replace everything seen.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was seen before is then unchanged.
        """
        ...


def require(holds: bool, name: str, what: str, remedy: str) -> None:
    """Refuse a detector's setting unless it holds."""
    if not holds:
        raise SettingsError(what, where=f"detector {name}", remedy=remedy)


def fitting(name: str, state: State, shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, Any]:
    """A snapshot's arrays, after making sure of their names and shapes (None for any length) and that no value is NaN."""
    if state.keys() != shapes.keys():
        raise misfit(name, f"it has {', '.join(sorted(state)) or 'nothing'}, not {', '.join(sorted(shapes))}")
    for part, shape in shapes.items():
        found = np.asarray(state[part])
        fits = found.ndim == len(shape) and all(wanted in (None, got) for wanted, got in zip(shape, found.shape, strict=True))
        if not fits or found.dtype.kind not in "biuf" or np.isnan(found).any():
            raise misfit(name, f"its {part} is {found.dtype} of shape {found.shape}")
    return {part: np.array(array) for part, array in state.items()}


def misfit(name: str, what: str) -> StateError:
    """That a snapshot is of another detector."""
    remedy = "load snapshots of a detector of the same kind with the same settings"
    return StateError(f"the snapshot does not fit: {what}", where=f"detector {name}", remedy=remedy)


class _Counts(ABC):
    """A detector whose whole memory is a few numbers, which go back to where they began with each alarm."""

    name: ClassVar[str]
    _BEGIN: ClassVar[dict[str, float]]

    def __init__(self) -> None:
        self.warning = False
        self._seen = dict(self._BEGIN)

    def update(self, value: float) -> bool:
        """Take one number in; whether drift is found at it."""
        found = self._step(float(value))
        if found:
            self.warning = False
            self._seen = dict(self._BEGIN)
        return found

    def state(self) -> State:
        """The numbers in ``seen``, and whether it warns."""
        return {"seen": np.array([*self._seen.values(), float(self.warning)])}

    def load(self, state: State) -> None:
        """Replace everything seen.

        Raises
        ------
        StateError
            If the snapshot does not fit.
        """
        *numbers, warning = fitting(self.name, state, {"seen": (len(self._BEGIN) + 1,)})["seen"].tolist()
        self._seen, self.warning = dict(zip(self._BEGIN, numbers, strict=True)), bool(warning)

    @abstractmethod
    def _step(self, value: float) -> bool: ...


class Ddm(_Counts):
    """Drift detection method: the error rate p rises by so many of its standard deviations s above its best.

    Parameters
    ----------
    warm
        Values (0 for right, 1 for wrong) before it may find anything.
    warn, alarm
        Standard deviations above the least ``p + s`` at which it warns (``warning``), and at which drift is found.

    Notes
    -----
    Gama, Medas, Castillo and Rodrigues, *Learning with drift detection*, SBIA 2004, section 3. A learner that was never wrong in
    the warm phase has p = s = 0, so its next error is an alarm, here as in the paper.

    Examples
    --------
    >>> ddm = Ddm()
    >>> [i for i in range(400) if ddm.update(i % 5 == 0 if i < 200 else i % 2 == 0)]
    [244]
    """

    name = "ddm"
    _BEGIN: ClassVar = {"n": 0.0, "p": 0.0, "p_least": math.inf, "s_least": math.inf}

    def __init__(self, warm: int = 30, warn: float = 2.0, alarm: float = 3.0) -> None:
        require(warm >= 1, self.name, f"warm is {warm}", "give 1 or more")
        require(0 < warn <= alarm < math.inf, self.name, f"warn is {warn}, alarm {alarm}", "warn before the alarm, above 0")
        super().__init__()
        self._warm, self._warn, self._alarm = warm, warn, alarm

    def _step(self, value: float) -> bool:
        seen = self._seen
        seen["n"] += 1
        seen["p"] += (value - seen["p"]) / seen["n"]
        p, n = seen["p"], seen["n"]
        s = math.sqrt(max(0.0, p * (1 - p)) / n)
        if n <= self._warm:
            return False
        if p + s <= seen["p_least"] + seen["s_least"]:
            seen["p_least"], seen["s_least"] = p, s
        self.warning = p + s > seen["p_least"] + self._warn * seen["s_least"]
        return p + s > seen["p_least"] + self._alarm * seen["s_least"]


class Eddm(_Counts):
    """Early drift detection method: errors come closer together than they ever did.

    Parameters
    ----------
    warm
        Errors before it may find anything.
    alpha, beta
        Share of the greatest ``p' + 2 s'`` (mean and standard deviation of the distance between two errors) below which it warns,
        and below which drift is found.

    Notes
    -----
    Baena-García, del Campo-Ávila, Fidalgo, Bifet, Gavaldà and Morales-Bueno, *Early drift detection method*, 4th workshop on
    knowledge discovery from data streams, 2006, section 3.

    Examples
    --------
    >>> eddm, rng = Eddm(), np.random.default_rng(0)
    >>> alarms = [i for i in range(1600) if eddm.update(rng.random() < (0.05 if i < 1500 else 0.5))]
    >>> any(1500 < i < 1600 for i in alarms)
    True
    """

    name = "eddm"
    _BEGIN: ClassVar = {"n": 0.0, "errors": 0.0, "last": 0.0, "mean": 0.0, "squares": 0.0, "greatest": -1.0}

    def __init__(self, warm: int = 30, alpha: float = 0.95, beta: float = 0.9) -> None:
        require(warm >= 1, self.name, f"warm is {warm}", "give 1 or more")
        require(0 < beta <= alpha <= 1, self.name, f"alpha is {alpha}, beta {beta}", "give shares, beta no more than alpha")
        super().__init__()
        self._warm, self._alpha, self._beta = warm, alpha, beta

    def _step(self, value: float) -> bool:
        seen = self._seen
        seen["n"] += 1
        if not value:
            return False
        distance, seen["last"] = seen["n"] - seen["last"], seen["n"]
        seen["errors"] += 1
        before = distance - seen["mean"]
        seen["mean"] += before / seen["errors"]
        seen["squares"] += before * (distance - seen["mean"])
        if seen["n"] <= self._warm:
            return False
        spread = math.sqrt(seen["squares"] / (seen["errors"] - 1)) if seen["errors"] > 1 else 0.0
        reach = seen["mean"] + 2 * spread
        if reach > seen["greatest"]:
            seen["greatest"] = reach
        elif seen["errors"] > self._warm:
            level = reach / seen["greatest"]
            self.warning = level < self._alpha
            return level < self._beta
        return False


class PageHinkley(_Counts):
    """Page-Hinkley test: values are, summed up, further above their mean than they were at the lowest point.

    Parameters
    ----------
    warm
        Values before it may find anything.
    delta
        Deviation from the mean that does not count.
    threshold
        Sum of deviations at which drift is found (λ).
    forgetting
        Factor on the sum with each value; 1 for none.
    side
        ``both``: also where values fall.

    Notes
    -----
    Page, *Continuous inspection schemes*, Biometrika 41, 1954; in the form of Gama, Sebastião and Rodrigues, Machine Learning 90,
    2013, section 4.

    Examples
    --------
    >>> test = PageHinkley(threshold=10)
    >>> [i for i in range(240) if test.update(0.0 if i < 200 else 1.0)]
    [210]
    """

    name = "page-hinkley"
    _BEGIN: ClassVar = {"n": 0.0, "mean": 0.0, "up": 0.0, "lowest": math.inf, "down": 0.0, "highest": -math.inf}

    def __init__(
        self, warm: int = 30, delta: float = 0.005, threshold: float = 50.0, forgetting: float = 0.9999, side: Side = "up"
    ) -> None:
        require(warm >= 1, self.name, f"warm is {warm}", "give 1 or more")
        require(delta >= 0 and threshold > 0, self.name, f"delta is {delta}, threshold {threshold}", "give positive numbers")
        require(0 < forgetting <= 1, self.name, f"forgetting is {forgetting}", "give more than 0, up to 1")
        require(side in ("up", "both"), self.name, f"side is {side!r}", "write up or both")
        super().__init__()
        self._warm, self._delta, self._threshold, self._forgetting, self._side = warm, delta, threshold, forgetting, side

    def _step(self, value: float) -> bool:
        seen = self._seen
        seen["n"] += 1
        seen["mean"] += (value - seen["mean"]) / seen["n"]
        above = value - seen["mean"]
        seen["up"] = self._forgetting * seen["up"] + above - self._delta
        seen["down"] = self._forgetting * seen["down"] + above + self._delta
        seen["lowest"], seen["highest"] = min(seen["lowest"], seen["up"]), max(seen["highest"], seen["down"])
        risen = seen["up"] - seen["lowest"] > self._threshold
        fallen = self._side == "both" and seen["highest"] - seen["down"] > self._threshold
        return seen["n"] >= self._warm and (risen or fallen)


class RiverDetector(OfRiver):
    """A drift detector of River: anything with ``update`` and ``drift_detected``. It has no form as arrays."""

    name = "detector"
    instead = "choose adwin, ddm, eddm, kswin or page-hinkley, or train and serve in the same component"

    def __init__(self, model: Any) -> None:
        self.model = model

    def update(self, value: float) -> bool:
        """Take one number in; whether drift is found at it."""
        self.model.update(value)
        return bool(self.model.drift_detected)
