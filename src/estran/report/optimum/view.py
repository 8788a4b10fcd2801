"""An optimisation as its page shows it: plain figures of points, trials and fidelities, whatever found them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from estran.study.factors import Factor

Role = Literal["best", "default", "front", "rest"]
SHAPES: Final[Mapping[Role, int]] = {"best": 3, "default": 1, "front": 0, "rest": 0}
"""Of marks in pictures, so that no colour is needed to tell them apart."""
STYLES: Final[Mapping[Role, str]] = {"best": "layer-2", "default": "layer-0", "front": "layer-1", "rest": "p-dim"}
CALLED: Final[Mapping[Role, str]] = {
    "best": "recommended",
    "default": "default",
    "front": "on the front",
    "rest": "beaten by another, or outside of a limit",
}


@dataclass(frozen=True)
class Asked:
    """A response that is a goal or has a limit.

    Attributes
    ----------
    minimize
        Whether less is better; None for a response that has a limit only.
    limit
        What it must keep, as it was asked for; empty for none.
    """

    response: str
    unit: str
    minimize: bool | None
    limit: str = ""


@dataclass(frozen=True)
class Figure:
    """A response at a point: the mean over its runs, and a 95 % interval where there are several."""

    mean: float
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Seen:
    """A point, by the most that is known of it.

    Attributes
    ----------
    levels
        Of each factor, as written; ``idle`` are factors that do not count here.
    fidelity
        The highest one at which a run of it is done; its figures are from there. None where none is done.
    figures
        Of each response that was asked for; absent where no run measured it.
    runs
        Finished runs at each fidelity.
    seconds
        That all its runs took, at all fidelities.
    feasible
        How likely it keeps all limits; None where there are none or nothing is known.
    on_front
        How likely no other point beats it; None where that is not known.
    beaten
        Whether another point beats it by the means, or it breaks a limit, or was not seen at the fidelity that counts.
    """

    number: int
    levels: Mapping[str, Any]
    idle: frozenset[str]
    role: Role
    fidelity: str | None
    figures: Mapping[str, Figure]
    runs: Mapping[str, int]
    seconds: float
    feasible: float | None = None
    on_front: float | None = None
    beaten: bool = True


@dataclass(frozen=True)
class Spent:
    """What was spent at one fidelity, and how far it was trusted, in words."""

    fidelity: str
    runs: int
    failed: int
    pruned: int
    seconds: float
    points: int
    trust: str = ""

    @property
    def each(self) -> float | None:
        """Seconds that a run took, however it ended."""
        ended = self.runs + self.failed + self.pruned
        return self.seconds / ended if ended else None


@dataclass(frozen=True)
class Made:
    """One trial."""

    number: int
    point: int
    fidelity: str
    status: str
    seconds: float
    what: str
    why: str
    figures: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Progress:
    """How good the search had become when so much was spent: one step for each trial that finished at the highest fidelity.

    Attributes
    ----------
    name, unit
        What it is: hypervolume, or the best of the one goal so far.
    steps
        Seconds spent, and the value from then on.
    """

    name: str
    unit: str
    steps: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Optimum:
    """All that a page tells.

    Attributes
    ----------
    spent
        At each fidelity, the one that counts last.
    answer
        Sentences: what is gained over the default, and how the recommended point was chosen.
    recommended
        Name of the file that can be run, beside the page; None if there is none.
    minding
        What the reader has to keep in mind.
    """

    experiment: str
    folder: str
    platform: str
    seed: int
    state: str
    factors: tuple[Factor, ...]
    asked: tuple[Asked, ...]
    points: tuple[Seen, ...]
    trials: tuple[Made, ...]
    spent: tuple[Spent, ...]
    progress: Progress
    answer: tuple[str, ...]
    recommended: str | None
    minding: tuple[str, ...] = ()
    command: str = ""

    @property
    def run_command(self) -> str:
        """Runs the recommended experiment."""
        return shlex.join(["estran", "run", f"{self.folder}/{self.recommended}"])

    @property
    def highest(self) -> str:
        """The fidelity that counts."""
        return self.spent[-1].fidelity

    @property
    def goals(self) -> tuple[Asked, ...]:
        """Responses that are lowered or raised."""
        return tuple(one for one in self.asked if one.minimize is not None)

    @property
    def ahead(self) -> str:
        """What it is called that no other point beats one."""
        return "the best" if len(self.goals) == 1 else "on the front"

    def of(self, role: Role) -> list[Seen]:
        """Points with a role, in the order of the first goal."""
        first = self.goals[0].response
        found = [one for one in self.points if one.role == role and first in one.figures]
        return sorted(found, key=lambda one: one.figures[first].mean)

    @property
    def shown(self) -> list[Seen]:
        """Points with figures for all goals; those that matter most come last, so that they lie over the others in pictures."""
        ranked: tuple[Role, ...] = ("rest", "front", "default", "best")
        needed = [one.response for one in self.goals]
        return [one for role in ranked for one in self.of(role) if all(name in one.figures for name in needed)]
