"""How a predictor chooses among versions of its model, and which requests it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from estran.learning import mixing
from estran.learning.mistakes import SettingsError
from estran.learning.trials import Score
from estran.units import Duration, Fraction

Kind: TypeAlias = Literal["swap", "shadow", "champion", "ensemble"]


@dataclass(frozen=True)
class Serving:
    """A serving policy.

    Attributes
    ----------
    kind
        ``swap``: the newest version answers. ``shadow``: a new version answers beside the one in service, unseen, and is promoted
        after a trial if it was not worse. ``champion``: a new version, the challenger, answers at once; the champion before it
        answers beside it, unseen, and takes over again if the challenger is worse. ``ensemble``: several versions share the say.
    samples, time
        Shadow and champion: the trial ends after so many rows, or so long, whichever is first.
    tolerance
        Shadow and champion: by how much the newcomer's mean score may be below the other's.
    score
        What is compared: ``accuracy``, ``likelihood`` of the truth, or ``confidence``, which needs no truth.
    versions
        Ensemble: how many versions at the most; a newcomer takes the place of the one with the least say.
    by
        Ensemble: ``hedge`` (all answer, their say follows their losses) or ``exp3`` (one is drawn for each batch, and only its
        reward is learned), alone or with settings.
    """

    kind: Kind = "swap"
    samples: int = 100
    time: Duration | None = None
    tolerance: Fraction = 0.0
    score: Score = "accuracy"
    versions: int = 4
    by: str | dict[str, dict[str, Any] | None] = "hedge"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise SettingsError(f"samples is {self.samples}", where="serving", remedy="give 1 row or more")
        if self.time is not None and self.time <= 0:
            raise SettingsError(f"time is {self.time}", where="serving", remedy="give more than 0, or leave it out")
        if not 0 <= self.tolerance < 1:
            raise SettingsError(f"tolerance is {self.tolerance}", where="serving", remedy="give a share from 0 to below 1, like 2%")
        if self.versions < 2:
            raise SettingsError(f"versions is {self.versions}", where="serving", remedy="give 2 or more")
        mixing.check(self.by)


def serving_choice(choice: Kind | Serving) -> Serving:
    """Read a short form."""
    return choice if isinstance(choice, Serving) else Serving(choice)


@dataclass(frozen=True)
class Shedding:
    """Which requests are refused; at least one limit is set. A refused request is answered ``shed``.

    Attributes
    ----------
    deadline
        Time from the creation of a sample after which an answer is of no use.
    foresee
        Refuse also what would be late by the time that it is answered, as far as the last batches tell: admission by deadline.
    queue
        How many messages may wait.
    drop
        Which are refused where more wait: the ``oldest`` or the ``newest``.
    """

    deadline: Duration | None = None
    foresee: bool = False
    queue: int | None = None
    drop: Literal["oldest", "newest"] = "oldest"

    def __post_init__(self) -> None:
        if self.deadline is None and self.queue is None:
            raise SettingsError(
                "it has neither a deadline nor a queue", where="shed", remedy="write {deadline: 100ms} or {queue: 50}"
            )
        if self.deadline is not None and self.deadline <= 0:
            raise SettingsError(f"deadline is {self.deadline}", where="shed", remedy="give more than 0")
        if self.queue is not None and self.queue < 1:
            raise SettingsError(f"queue is {self.queue}", where="shed", remedy="give 1 message or more")
        if self.foresee and self.deadline is None:
            raise SettingsError("it cannot foresee lateness without a deadline", where="shed", remedy="add deadline: 100ms")
