"""Ending hopeless runs before their time: live figures of a run are compared with those that earlier runs had at the same time.

Only runs in real time that try a point for the first time are ended: simulated ones last seconds, and replicates are made because
their figures are wanted. Figures of a run that goes on are of moving windows (`estran.observe.live`), noisier than the response
that counts; the pruners are Optuna's.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from estran.errors import RequestError
from estran.observe.live import LiveResponses
from estran.observe.rows import COLUMNS
from estran.observe.store import LIVE, newer_rows, open_live
from estran.optimize.fidelity import Fidelity
from estran.optimize.goals import Goal, Goals
from estran.optimize.journal import Journal, library
from estran.optimize.strategy import DONE, Ask
from estran.optimize.trials import Trials
from estran.spec.references import LIVE_METRICS
from estran.study.worker import Task

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

KINDS: Final = ("none", "median", "percentile")
STEPS: Final = 10
"""Looks at a run, evenly over the time that is measured."""
LOOKS: Final = 2
"""Looks in a row at which a run must be worse, since figures of moving windows are noisy."""
_PERIOD: Final = 0.5
_TABLES: Final = ("messages", "metrics")
_TIMES: Final = {
    table: [column.name for column in COLUMNS[table]].index(name) for table, name in (("messages", "done"), ("metrics", "time"))
}


def check(kind: str, goals: Goals, target: Fidelity) -> None:
    """Make sure that hopeless runs can be told.

    Raises
    ------
    RequestError
        If runs go on in virtual time, there are several goals, or the goal is not known while a run goes on.
    """
    if kind not in KINDS:
        raise RequestError(f"there is no pruner {kind!r}", where="--prune", remedy=f"choose {', '.join(KINDS)}")
    if kind == "none":
        return
    if target.virtual:
        remedy = "leave it out, or optimise on real or emulated hosts"
        raise RequestError("simulated runs are not ended early: they take seconds", where="--prune", remedy=remedy)
    if not goals.single:
        what = "with several goals no run is hopeless by one of them"
        raise RequestError(what, where="--prune", remedy="leave it out, or name one goal and make limits of the others")
    name = goals.goals[0].response
    if name not in LIVE_METRICS:
        known = ", ".join(LIVE_METRICS)
        raise RequestError(f"{name} is not known while a run goes on", where="--prune", remedy=f"leave it out; known are {known}")


class Pruning:
    """Watches runs.

    Parameters
    ----------
    warmup, duration
        Of the experiment, in seconds.
    """

    def __init__(self, kind: str, goal: Goal, journal: Journal, trials: Trials, *, warmup: float, duration: float) -> None:
        self._goal, self._journal, self._trials = goal, journal, trials
        self._warmup, self._duration = warmup, duration
        self._pruner = _pruner(kind)

    def can(self, ask: Ask, fidelity: Fidelity) -> bool:
        """Whether a run of this kind may be ended."""
        return not fidelity.virtual and ask.why.get("what") == "explore"

    def reached(self, number: int) -> tuple[int, float]:
        """The last look at a trial, and the goal's cost then."""
        step, value = max(self._journal.reports(number).items())
        return step, self._goal.cost(value)

    async def hopeless(self, ask: Ask, task: Task) -> str:
        """Wait until a run is hopeless, and say why; for ever, if it is not."""
        live, seen, step, behind = LiveResponses(self._warmup), dict.fromkeys(_TABLES, 0), 0, 0
        file = Path(task["out"]) / task["named"] / LIVE
        while True:
            await asyncio.sleep(_PERIOD)
            now = _follow(file, live, seen)
            reached = int((now - self._warmup) / self._duration * STEPS) if now > self._warmup else 0
            value = live.get(self._goal.response)
            if reached <= step or value is None:
                continue
            for one in range(step + 1, reached + 1):  # those that were missed, too: others are compared at each
                self._journal.reported(ask.number, one, value)
            step = reached
            behind = behind + 1 if self._behind(step, value, ask.fidelity) else 0
            if behind == LOOKS:
                return f"{self._goal.response} was {value:.4g} after {now:.3g}s, worse than that of earlier runs by then"

    def _behind(self, step: int, value: float, fidelity: str) -> bool:
        """What the pruner says, which is shown all finished runs, and of this one only how it is now: some figures grow."""
        from optuna.trial import TrialState, create_trial

        study = library().create_study(direction="minimize" if self._goal.minimize else "maximize")
        for trial in self._trials.at(fidelity):
            if trial.told is not None and trial.told.status == DONE and trial.told.costs is not None:
                known = self._journal.reports(trial.ask.number)
                study.add_trial(create_trial(value=self._goal.cost(trial.told.costs[0]), intermediate_values=dict(known)))
        return bool(self._pruner.prune(study, create_trial(state=TrialState.RUNNING, intermediate_values={step: value})))


def _pruner(kind: str) -> BasePruner:
    from optuna.pruners import MedianPruner, PercentilePruner

    # Five runs to compare with at least, and none is ended in the first third.
    early = {"n_startup_trials": 5, "n_warmup_steps": STEPS // 3}
    return MedianPruner(**early) if kind == "median" else PercentilePruner(75.0, **early)


def _follow(file: Path, live: LiveResponses, seen: dict[str, int]) -> float:
    """Feed what has been recorded since to the figures; the newest time of the run's clock in it, 0 if there is none."""
    newest = 0.0
    try:
        with closing(open_live(file)) as source:
            for table in _TABLES:
                rows, seen[table] = newer_rows(source, table, seen[table])
                live.update(table, rows)
                newest = max([newest, *(row[_TIMES[table]] for row in rows if row[_TIMES[table]] is not None)])
    except sqlite3.Error:  # it is not there yet, or no longer
        return 0.0
    return newest
