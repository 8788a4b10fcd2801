"""A scenario's plays, read for the engine that does their tasks; all that it cannot do is told before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

from estran.e2clab.rendering import NotPlainError, render
from estran.errors import SpecError, SpecErrors, Where
from estran.spec.document import read_ansible
from estran.spec.e2clab.model import STAGES, Note, Play, Scenario, Stage
from estran.spec.marks import Path
from estran.tasks.task import KEYWORDS, inherited, read_tasks

_HARMLESS: Final = frozenset(("name", "gather_facts", "gather_subset", "gather_timeout", "any_errors_fatal", "fact_path"))
"""What needs no doing: facts are gathered when they are asked for, and a failure always ends the run."""

_FILES: Final = "vars_files"
_REMEDIES: Final[Mapping[str, str]] = {
    "handlers": "make a task of it, with when:", "roles": "use include_tasks, or write its tasks out",
    "pre_tasks": "put them into prepare:", "tasks": "put them into prepare:, launch: or finalize:",
    "post_tasks": "put them into finalize:", "vars_prompt": "use workflow_env.yaml",
    "serial": "all hosts of a play work side by side", "strategy": "hosts go task by task, all of a play together",
    "max_fail_percentage": "one failure ends the run; see ignore_errors", "order": "hosts of a play work side by side",
    "force_handlers": "make a task of it",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadPlay:
    """A play with the tasks of each stage as plain data, keywords of the play written into each, and their place in the file."""

    play: Play
    tasks: Mapping[Stage, tuple[list[dict[str, Any]], Path]]


def read_plays(scenario: Scenario, artifacts: FilePath | None = None) -> list[ReadPlay]:
    """Read the tasks of every play, and its files of variables, which lie with the artifacts or with the scenario.

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
            if key not in _HARMLESS and key not in KEYWORDS and key != _FILES
        ]
        folders = [folder for folder in (artifacts, scenario.folder) if folder is not None]
        known = {**(play.keywords.get("vars") or {}), **_from_files(play, folders, errors)}
        tasks = {stage: _tasks(scenario, play, known, stage, errors) for stage in STAGES if stage in play.stages}
        plays.append(ReadPlay(play, tasks))
    if errors:
        raise SpecErrors(errors)
    return plays


def refused(scenario: Scenario, artifacts: FilePath | None = None) -> list[Note]:
    """What a run would refuse, as notes."""
    try:
        read_plays(scenario, artifacts)
    except SpecErrors as errors:
        return [Note(_placed(error), f"{error.what}: `estran e2clab run` refuses it") for error in errors.errors]
    return []


def _placed(error: SpecError) -> Where:
    return error.where if isinstance(error.where, Where) else Where(str(error.where))


def _from_files(play: Play, folders: Sequence[FilePath], errors: list[SpecError]) -> dict[str, Any]:
    """Variables of a play's files; later ones hold over earlier ones."""
    known: dict[str, Any] = {}
    given = play.keywords.get(_FILES) or []
    for entry in given if isinstance(given, list) else [given]:
        try:
            known |= _variables(_found(entry, play, folders))
        except SpecErrors as found:
            errors += found.errors
        except SpecError as error:
            errors.append(error)
    return known


def _found(entry: Any, play: Play, folders: Sequence[FilePath]) -> FilePath:
    """The file that an entry names, or, of several, the first that is there."""
    places = {"artifacts_dir": str(folders[0]), "working_dir": str(folders[0]), "scenario_dir": str(folders[-1])}
    try:
        names = [render(str(name), places) for name in (entry if isinstance(entry, list) else [entry])]
    except NotPlainError as error:
        raise SpecError(f"vars_files: {entry} has {error}", where=play.where, remedy="use the module include_vars") from None
    for path in (folder / name for name in names for folder in folders):
        if path.is_file():
            return path
    remedy = f"put it into {' or '.join(map(str, folders))}"
    raise SpecError(f"vars_files: there is no {' or '.join(names)}", where=play.where, remedy=remedy)


def _variables(path: FilePath) -> Mapping[str, Any]:
    data = read_ansible(path.read_text(encoding="utf-8"), str(path)).data or {}
    if not isinstance(data, Mapping):
        raise SpecError("variables must be a map", where=str(path), remedy="write such as {name: value}")
    return data


def _tasks(
    scenario: Scenario, play: Play, known: Mapping[str, Any], stage: Stage, errors: list[SpecError]
) -> tuple[list[dict[str, Any]], Path]:
    path = play.stages[stage][0].path[:-1]
    outer = {key: value for key, value in play.keywords.items() if key in KEYWORDS and key not in _HARMLESS and value is not None}
    outer |= {"vars": dict(known)} if known else {}
    tasks = [inherited(outer, task.data) for task in play.stages[stage]]
    try:
        read_tasks(tasks, scenario.marks, path)
    except SpecErrors as found:
        errors += found.errors
    return tasks, path
