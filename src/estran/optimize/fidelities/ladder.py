"""The ladder of fidelities, cheapest first, and what a run costs at each rung."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estran.errors import RequestError
from estran.optimize.trials import Trial, Trials


@dataclass(frozen=True, slots=True)
class Rung:
    """One fidelity.

    Attributes
    ----------
    name
        As in ``--fidelities`` and in the names of folders.
    abreast
        Runs that are made side by side there: what one costs is its time by this number.
    """

    name: str
    abreast: int = 1


@dataclass(frozen=True, slots=True)
class Ladder:
    """At least two rungs, the cheapest first; what is searched for is the best at the last."""

    rungs: tuple[Rung, ...]

    def __post_init__(self) -> None:
        names = self.names
        if len(names) < 2:
            raise RequestError("one fidelity is no ladder", where="--fidelities", remedy="give two or more, the cheapest first")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise RequestError(f"{twice} is a fidelity twice", where="--fidelities", remedy="name it once")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rungs."""
        return tuple(rung.name for rung in self.rungs)

    @property
    def top(self) -> int:
        """Number of the highest rung."""
        return len(self.rungs) - 1

    @property
    def highest(self) -> str:
        """Name of the highest rung."""
        return self.rungs[-1].name

    def number(self, name: str) -> int:
        """Number of a rung, from 0."""
        return self.names.index(name)

    def seconds(self, trials: Trials) -> list[float | None]:
        """What a run costs at each rung: the median time of those that ended, by how many go abreast; None where none has.

        A first run may take much longer than all others, where something is compiled.
        """
        return [_median(trials.at(rung.name), rung.abreast) for rung in self.rungs]

    def spent(self, trials: Trials) -> list[float]:
        """Seconds that ended runs took at each rung, by how many went abreast."""
        return [_total(trials.at(rung.name)) / rung.abreast for rung in self.rungs]

    def dead(self, trials: Trials) -> list[bool]:
        """At which rungs three runs or more have ended, and all of them failed."""
        return [_dead(trials.at(rung.name)) for rung in self.rungs]


def _median(trials: Sequence[Trial], abreast: int) -> float | None:
    seconds = [trial.told.seconds for trial in trials if trial.told is not None]
    return max(float(np.median(seconds)), 1e-3) / abreast if seconds else None


def _total(trials: Sequence[Trial]) -> float:
    return float(sum(trial.told.seconds for trial in trials if trial.told is not None))


def _dead(trials: Sequence[Trial]) -> bool:
    ended = [trial.told.status for trial in trials if trial.told is not None]
    return len(ended) > 2 and "done" not in ended
