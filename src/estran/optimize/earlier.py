"""Starting from what earlier studies and optimisations measured at the same factors."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from estran.errors import RequestError
from estran.optimize.folder import ASKED, Asked, Folder
from estran.optimize.goals import Goals
from estran.optimize.sampling import Known
from estran.optimize.space import Space
from estran.study.folder import Folder as Study
from estran.study.rows import level

VALIDATION: Final = "validation.json"
"""What `estran validate` leaves."""


def known_of(paths: Sequence[str], space: Space, goals: Goals, asked: Asked) -> tuple[list[Known], list[str]]:
    """Points of earlier studies with means over their runs, and what to mind of them in words.

    Raises
    ------
    RequestError
        If one is no study or optimisation, lacks a factor of the space, or did not measure what is asked for.
    """
    known, notes = list[Known](), list[str]()
    for path in map(Path, paths):
        if (path / VALIDATION).exists():
            notes.append(_of_validation(path, asked))
            continue
        study = _study(path)
        points, lost = _points(study, space, goals)
        known += points
        notes += _differences(path, study, asked, len(points), lost)
    return known, notes


def _of_validation(path: Path, asked: Asked) -> str:
    """What to mind of a validation, whose pairs tell how far fidelities agree."""
    if len(asked.fidelities) < 2:
        what = "a validation says how far fidelities agree, and only one is used"
        raise RequestError(what, where=f"--from {path}", remedy="add --fidelities simulate,emulate")
    return f"pairs of {path} count for what is thought of each fidelity"


def _study(path: Path) -> Study:
    """A study, or that of an optimisation's target."""
    if (path / ASKED).exists():
        folder = Folder.open(path)
        path = path / folder.target.name
    return Study.open(path)


def _points(study: Study, space: Space, goals: Goals) -> tuple[list[Known], int]:
    """Points with a finished run that measured everything, and the number of those outside of the space."""
    names = [factor.name for factor in space.factors]
    if missing := [name for name in names if name not in study.asked.factors]:
        what = f"{', '.join(missing)} did not vary there"
        raise RequestError(what, where=f"--from {study.path}", remedy="start from a study of the same factors")
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    levels: dict[str, Mapping[str, Any]] = {}
    for row in table(study):
        point = space.settled({name: level(row[name]) for name in names})
        values = {name: float(row[name]) for name in goals.responses if row.get(name)}
        if row["status"] == "done" and not goals.absent(values):
            runs[repr(point)].append(values)
            levels[repr(point)] = point
    if not runs:
        what = f"no run there measured {', '.join(goals.responses)}"
        raise RequestError(what, where=f"--from {study.path}", remedy="start from a study that did")
    found = []
    for key, made in runs.items():
        try:
            space.parameters(levels[key])
        except RequestError:
            continue
        means = {name: float(np.mean([one[name] for one in made])) for name in goals.responses}
        found.append(Known(levels[key], goals.costs(means), goals.violations(means)))
    return found, len(runs) - len(found)


def made_on(path: Path) -> str | None:
    """The platform of a study, or of an optimisation's target; None for what is neither."""
    if (path / ASKED).exists():
        return Folder.open(path).target.on
    return Study.open(path).asked.on if (path / "study.json").exists() else None


def table(study: Study) -> list[dict[str, str]]:
    """The rows of a study's table.

    Raises
    ------
    RequestError
        If it has none yet.
    """
    file = study.path / "responses.csv"
    try:
        with file.open(encoding="utf-8", newline="") as source:
            return list(csv.DictReader(source))
    except OSError as error:
        raise RequestError("the study has no table yet", where=str(study.path), remedy=f"estran resume {study.path}") from error


def _differences(path: Path, study: Study, asked: Asked, points: int, lost: int) -> list[str]:
    """What an earlier study was made otherwise; its points still guide the search, and count for nothing else."""
    theirs, on = study.asked, [str(one["on"]) for one in asked.fidelities]
    found = [f"{points} points of {path} guide the search; they count for nothing in the answer"]
    if theirs.on != on[-1]:
        found.append(f"{path} was run on {theirs.on}, this on {on[-1]}")
    if set(theirs.overrides) != set(asked.overrides):
        found.append(f"{path} had --set {' '.join(theirs.overrides) or 'nothing'}, this {' '.join(asked.overrides) or 'nothing'}")
    if theirs.digest != asked.digest:
        found.append(f"{path} was made with another experiment file, or another version of this one")
    if lost:
        found.append(f"{lost} points of {path} lie outside of this space and are left out")
    return found
