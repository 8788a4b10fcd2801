"""A scenario's plays, read for the engine that does their tasks; all that it cannot do is told before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from estran.errors import SpecError, SpecErrors, Where
from estran.spec.e2clab.model import STAGES, Note, Play, Scenario, Stage
from estran.spec.marks import Path
from estran.tasks.task import KEYWORDS, inherited, read_tasks

_HARMLESS: Final = frozenset(("name", "gather_facts", "gather_subset", "gather_timeout", "any_errors_fatal", "fact_path"))
"""What needs no doing: facts are gathered when they are asked for, and a failure always ends the run."""

_REMEDIES: Final[Mapping[str, str]] = {
    "handlers": "make a task of it, with when:", "roles": "use include_tasks, or write its tasks out",
    "pre_tasks": "put them into prepare:", "tasks": "put them into prepare:, launch: or finalize:",
    "post_tasks": "put them into finalize:", "vars_files": "use the module include_vars", "vars_prompt": "use workflow_env.yaml",
    "serial": "all hosts of a play work side by side", "strategy": "hosts go task by task, all of a play together",
    "max_fail_percentage": "one failure ends the run; see ignore_errors", "order": "hosts of a play work side by side",
    "force_handlers": "make a task of it",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadPlay:
    """A play with the tasks of each stage as plain data, keywords of the play written into each, and their place in the file."""

    play: Play
    tasks: Mapping[Stage, tuple[list[dict[str, Any]], Path]]


def read_plays(scenario: Scenario) -> list[ReadPlay]:
    """Read the tasks of every play.

    Raises
    ------
    SpecErrors
        All that is not done here, each at its place.
    """
    errors: list[SpecError] = []
    plays = []
    for play in scenario.plays:
        errors += [
            SpecError(f"the key {key!r} of a play is not built", where=play.where, remedy=_REMEDIES.get(key, "remove it"))
            for key in play.keywords
            if key not in _HARMLESS and key not in KEYWORDS
        ]
        plays.append(ReadPlay(play, {stage: _tasks(scenario, play, stage, errors) for stage in STAGES if stage in play.stages}))
    if errors:
        raise SpecErrors(errors)
    return plays


def refused(scenario: Scenario) -> list[Note]:
    """What a run would refuse, as notes."""
    try:
        read_plays(scenario)
    except SpecErrors as errors:
        return [Note(_placed(error), f"{error.what}: `estran e2clab run` refuses it") for error in errors.errors]
    return []


def _placed(error: SpecError) -> Where:
    return error.where if isinstance(error.where, Where) else Where(str(error.where))


def _tasks(scenario: Scenario, play: Play, stage: Stage, errors: list[SpecError]) -> tuple[list[dict[str, Any]], Path]:
    path = play.stages[stage][0].path[:-1]
    outer = {key: value for key, value in play.keywords.items() if key in KEYWORDS and key not in _HARMLESS and value is not None}
    tasks = [inherited(outer, task.data) for task in play.stages[stage]]
    try:
        read_tasks(tasks, scenario.marks, path)
    except SpecErrors as found:
        errors += found.errors
    return tasks, path
