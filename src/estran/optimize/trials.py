"""All trials of an optimisation, gathered by point: what strategies and answers reason with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.optimize.strategy import DONE, Ask, Told

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Trial:
    """One run: what was asked, and how it ended; ``told`` is None while it goes on."""

    ask: Ask
    told: Told | None = None


@dataclass(slots=True)
class Point:
    """All trials at the same levels."""

    number: int
    levels: Mapping[str, Any]
    trials: list[Trial] = field(default_factory=list)

    def at(self, fidelity: str) -> list[Trial]:
        """Those at one fidelity."""
        return [trial for trial in self.trials if trial.ask.fidelity == fidelity]

    def done(self, fidelity: str) -> list[Told]:
        """What finished runs at a fidelity said of all goals and limits."""
        found = [trial.told for trial in self.at(fidelity) if trial.told is not None]
        return [told for told in found if told.status == DONE and told.costs is not None and told.violations is not None]

    def going(self, fidelity: str) -> bool:
        """Whether a run goes on there."""
        return any(trial.told is None for trial in self.at(fidelity))

    def costs(self, fidelity: str) -> Floats:
        """Of each finished run at a fidelity, the cost of each goal, shape (runs, goals)."""
        return np.array([told.costs for told in self.done(fidelity)], dtype=np.float64)

    def violations(self, fidelity: str) -> Floats:
        """Of each finished run at a fidelity, the violation of each limit, shape (runs, limits)."""
        return np.array([told.violations for told in self.done(fidelity)], dtype=np.float64)


class Trials:
    """Trials by number, and points by number, as they come."""

    def __init__(self) -> None:
        self._trials: dict[int, Trial] = {}
        self.points: dict[int, Point] = {}

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials.values())

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def add(self, ask: Ask) -> None:
        """Take an ask; the same one again changes nothing."""
        if ask.number not in self._trials:
            trial = self._trials[ask.number] = Trial(ask)
            self.points.setdefault(ask.point, Point(ask.point, ask.levels)).trials.append(trial)

    def tell(self, number: int, told: Told) -> None:
        """Take how one ended."""
        self._trials[number].told = told

    @property
    def going(self) -> list[Trial]:
        """Those that go on."""
        return [trial for trial in self if trial.told is None]

    def at(self, fidelity: str) -> list[Trial]:
        """Those at one fidelity, whether they have ended or not."""
        return [trial for trial in self if trial.ask.fidelity == fidelity]

    def find(self, levels: Mapping[str, Any]) -> Point | None:
        """The point with these levels, if there is one."""
        return next((point for point in self.points.values() if point.levels == levels), None)
