"""The seam between a search and what makes its runs: a strategy asks for runs, and is told how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

TrialStatus = Literal["done", "failed", "pruned", "timed-out"]
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Ask:
    """A run that a strategy wants: one trial.

    Attributes
    ----------
    number
        Of the trial, from 0, in the order of asking; no number is left out or used twice.
    point
        Number of the levels, from 0, in the order in which they were first asked for, at whichever fidelity; replicates share it.
        Point 0 has the default of every factor.
    levels
        A level for each factor, those that do not count at their default (`Space.settled`).
    fidelity
        Name of the rung of the ladder, as in the names of folders: ``simulate``, ``emulate``, …
    seed
        Of the experiment; points that are to be compared share seeds (common random numbers): that of replicate r is the first one
        plus r.
    replicate
        How many runs of this point at this fidelity were asked for before.
    why
        Why this run, as plain JSON: what it is for (``what``: ``default``, ``explore``, ``replicate``, …), and the figures that
        decided.
    hints
        Plain JSON that the strategy wants back in `Strategy.recall`, such as attributes of a sampler.
    """

    number: int
    point: int
    levels: Mapping[str, Any]
    fidelity: str
    seed: int
    replicate: int
    why: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """How a trial ended.

    Attributes
    ----------
    status
        ``done``; ``failed``; ``timed-out``; or ``pruned``: ended because it was hopeless.
    costs
        Of each goal, less is better (`Goals.costs`); None unless ``done``, and where a goal was not measured at this fidelity.
    violations
        Of each limit, 0 or less where it holds; None likewise. What is known of a failed trial's limits is kept.
    seconds
        That the run took, by the wall clock.
    responses
        Everything that it measured, also where it was pruned.
    failure
        Why it failed, in words.
    reached
        Of a pruned run, at which look it was ended, and the goal's cost by its live figure then.
    """

    status: TrialStatus
    costs: tuple[float, ...] | None = None
    violations: tuple[float, ...] | None = None
    seconds: float = 0.0
    responses: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    reached: tuple[int, float] | None = None

    @property
    def feasible(self) -> bool:
        """Whether every limit was kept, as far as this run says."""
        return self.violations is not None and all(violation <= 0 for violation in self.violations)


class Strategy(Protocol):
    """Chooses the next run from all that is known. The loop asks while fewer than ``jobs`` runs go on.

    All that a strategy knows comes through `recall` and `tell`, so that the journal alone resumes it: a resumed session first
    recalls every earlier ask in the order of numbers, each followed by `tell` if it had ended. Whatever is random follows from the
    seed and the number of the ask.
    """

    def ask(self) -> Ask | None:
        """The next run; None if there is nothing to ask for until one that goes on has ended, or at all if none goes on."""
        ...

    def recall(self, ask: Ask) -> None:
        """An ask of an earlier session, or one that this strategy has just made and that is now in the journal.

        The loop calls it for every ask, also for those of this session, before the run begins: from now on it goes on.
        """
        ...

    def tell(self, number: int, told: Told) -> None:
        """How the trial of a number ended."""
        ...
