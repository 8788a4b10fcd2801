"""Making the runs that a strategy asks for: each is a row of its fidelity's study, in whose folder it leaves what it measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from estran.errors import EstranError
from estran.optimize.fidelity import Fidelity
from estran.optimize.folder import Folder
from estran.optimize.pruning import Pruning
from estran.optimize.strategy import Ask, Told, TrialStatus
from estran.optimize.trials import Trials
from estran.study.engines.engine import Engine, EngineError
from estran.study.folder import Outcome
from estran.study.rows import Row
from estran.study.worker import Task

_LATER: Final = 2.0
_SHARE: Final = 20.0
"""Seconds between two writings of the tables, or this many times what one takes, which is long when there are many runs."""


class Runs:
    """Makes runs, and keeps the tables of their studies.

    Parameters
    ----------
    trials
        All asks so far, and later ones as they come.
    engines
        What makes the runs of each fidelity.
    pruning
        What ends hopeless runs; None for nothing.
    command
        That was given, for the runs' records.
    mind
        Hears what is to be minded of a request, as soon as a run shows it.
    """

    def __init__(
        self,
        folder: Folder,
        trials: Trials,
        engines: Mapping[str, Engine],
        *,
        pruning: Pruning | None,
        command: Sequence[str],
        mind: Callable[[str], None],
    ) -> None:
        self._folder, self._trials, self._engines = folder, trials, engines
        self._pruning, self._command, self._mind = pruning, list(command), mind
        self._said = set[str]()
        self._due = 0.0
        self._measured_before = any(trial.told and trial.told.costs for trial in trials.at(folder.target.name))
        self._numbers: dict[int, int] = {}
        self._counts: dict[str, int] = {}
        self._outcomes: dict[str, dict[int, Outcome]] = {one.name: {} for one in folder.fidelities}
        for trial in trials:
            self._numbered(trial.ask)
            if trial.told is not None:
                row = self._row(trial.ask)
                found = folder.study(trial.ask.fidelity).outcome(row)
                self._outcomes[trial.ask.fidelity][row.run] = _named(found, trial.told.status, trial.told.failure)

    async def make(self, ask: Ask, began: Callable[[], None]) -> Told:
        """Make a run; how it failed is told, not raised.

        Raises
        ------
        EngineError
            If the run was interrupted from outside.
        RequestError
            If a run was done and did not measure what is asked for.
        """
        row = self._row(ask)
        study = self._folder.study(ask.fidelity)
        since = time.monotonic()
        status, failure = await self._ended(ask, self._task(ask, row), began)
        outcome = study.outcome(row)
        if status == "failed":
            failure = failure or outcome.failure
        told = self._told(ask, outcome, status, failure, time.monotonic() - since)
        self._outcomes[ask.fidelity][row.run] = _named(outcome, told.status, told.failure)
        return told

    def write(self, *, now: bool = False) -> None:
        """Write all tables, if that is not just done."""
        began = time.monotonic()
        if not now and began < self._due:
            return
        self._folder.write_trials(self._trials, self.folders())
        for name, outcomes in self._outcomes.items():
            if outcomes:
                self._folder.study(name).write_table(outcomes)
        ended = time.monotonic()
        self._due = ended + max(_LATER, _SHARE * (ended - began))

    def folders(self) -> dict[int, str]:
        """Folder of each ended trial's run, by its number, from the optimisation's folder."""
        found = {}
        for trial in self._trials:
            outcome = self._outcomes[trial.ask.fidelity].get(self._numbered(trial.ask))
            if outcome is not None and outcome.folder is not None:
                found[trial.ask.number] = outcome.folder.relative_to(self._folder.path).as_posix()
        return found

    def _row(self, ask: Ask) -> Row:
        """The row of an ask, which is added to the study if it is new: asks of a fidelity are its rows, in their order."""
        study, number = self._folder.study(ask.fidelity), self._numbered(ask)
        if number > len(study.rows):
            study.add(Row(number, ask.replicate + 1, ask.point + 1, ask.seed, dict(ask.levels)))
        return study.rows[number - 1]

    def _numbered(self, ask: Ask) -> int:
        """Number of an ask's row; those of a fidelity come in the order of asking."""
        if ask.number not in self._numbers:
            self._counts[ask.fidelity] = self._numbers[ask.number] = self._counts.get(ask.fidelity, 0) + 1
        return self._numbers[ask.number]

    def _task(self, ask: Ask, row: Row) -> Task:
        study = self._folder.study(ask.fidelity)
        place = study.attempt(row, study.outcome(row).attempts + 1)
        task = Task(
            file=study.asked.file, overrides=list(study.asked.overrides), levels=dict(ask.levels), seed=ask.seed,
            on=study.asked.on, calibration=study.asked.calibration, out=str(place.parent), named=place.name, command=self._command,
        )  # fmt: skip
        return Task(**task, flow=True) if self._fidelity(ask).flow else task

    def _fidelity(self, ask: Ask) -> Fidelity:
        return next(one for one in self._folder.fidelities if one.name == ask.fidelity)

    async def _ended(self, ask: Ask, task: Task, began: Callable[[], None]) -> tuple[TrialStatus, str | None]:
        limit = self._folder.asked.timeout
        going = asyncio.create_task(self._engines[ask.fidelity].make(task, began))
        watch = None
        if self._pruning is not None and self._pruning.can(ask, self._fidelity(ask)):
            watch = asyncio.create_task(self._pruning.hopeless(ask, task))
        try:
            await asyncio.wait({going, watch} if watch else {going}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if going.done():
                return _status(await going, task), None
            pruned = watch is not None and watch.done()
            why = watch.result() if watch is not None and watch.done() else f"it took longer than {limit:g}s"
            return ("pruned" if pruned else "timed-out"), why
        except EngineError as error:
            if isinstance(error, InterruptedRunError):
                raise
            return "failed", error.what
        finally:
            for one in filter(None, (going, watch)):
                one.cancel()
            await asyncio.gather(*filter(None, (going, watch)), return_exceptions=True)

    def _told(self, ask: Ask, outcome: Outcome, status: TrialStatus, failure: str | None, seconds: float) -> Told:
        goals = self._folder.goals
        measured = self._measured(outcome)
        values = {name: float(one["value"]) for name, one in measured.items()}
        limits = goals.violations(values) if not set(goals.limited) & set(goals.absent(values)) else None
        if status != "done":
            reached = self._pruning.reached(ask.number) if status == "pruned" and self._pruning is not None else None
            return Told(status, None, limits, seconds, values, failure, reached)
        if ask.fidelity == self._folder.target.name and not self._measured_before:
            goals.check(measured)
            self._measured_before = True
        self._say({name: str(one["unit"]) for name, one in measured.items()})
        if absent := goals.absent(values):
            if self._fidelity(ask) == self._folder.target:
                return Told("failed", None, limits, seconds, values, f"it did not measure {', '.join(absent)}")
            return Told(status, None, limits, seconds, values)
        return Told(status, goals.costs(values), limits, seconds, values)

    def _say(self, units: Mapping[str, str]) -> None:
        """Say once what the units of responses show."""
        for text in self._folder.goals.bare(units):
            if text not in self._said:
                self._said.add(text)
                self._mind(text)

    def _measured(self, outcome: Outcome) -> Mapping[str, Mapping[str, float]]:
        """What a run measured, also one that was ended before its time."""
        if outcome.responses is not None or outcome.folder is None:
            return outcome.responses or {}
        from estran.observe.queries import open_run

        try:
            return open_run(outcome.folder).responses
        except EstranError:  # it was cut off before it could say anything
            return {}


class InterruptedRunError(EngineError):
    """A run was interrupted from outside."""


def _status(ended: str, task: Task) -> TrialStatus:
    if ended == "interrupted":
        raise InterruptedRunError(f"run {task['named']} was interrupted", where=task["out"], remedy="go on with estran resume")
    return "done" if ended == "done" else "failed"


def _named(outcome: Outcome, status: TrialStatus, failure: str | None) -> Outcome:
    responses = outcome.responses if status == "done" else None
    return Outcome(status, outcome.folder, outcome.attempts, responses, failure)
