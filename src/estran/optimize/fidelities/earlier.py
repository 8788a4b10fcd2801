"""Runs of earlier studies at the ladder's fidelities: of studies, of optimisations, and the pairs of validations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from estran.errors import RequestError
from estran.optimize.earlier import VALIDATION, table
from estran.optimize.fidelities.history import Known
from estran.optimize.fidelity import Fidelity
from estran.optimize.folder import ASKED, Folder
from estran.optimize.space import Space
from estran.study.folder import Folder as Study
from estran.study.rows import level

_SIDES: Final = {"simulated": "simulate", "emulated": "emulate"}


def known_runs(paths: Sequence[str], space: Space, responses: Sequence[str], fidelities: Sequence[Fidelity]) -> list[Known]:
    """All finished runs there that were made at one of the fidelities, at points of the space.

    Raises
    ------
    RequestError
        If a folder is neither a study, an optimisation nor a validation.
    """
    return [
        known for path in map(Path, paths) for known in _runs(path, space, responses, fidelities) if _inside(space, known.levels)
    ]


def _runs(path: Path, space: Space, responses: Sequence[str], fidelities: Sequence[Fidelity]) -> Iterator[Known]:
    if (path / VALIDATION).exists():
        yield from _validated(path, space, responses, fidelities)
    elif (path / ASKED).exists():
        for theirs in Folder.open(path).fidelities:
            if (path / theirs.name / "study.json").exists():
                yield from _of_study(Study.open(path / theirs.name), _same(theirs, fidelities), space, responses)
    else:
        study = Study.open(path)
        yield from _of_study(study, _same(Fidelity.read(study.asked.on), fidelities), space, responses)


def _same(theirs: Fidelity, fidelities: Sequence[Fidelity]) -> str | None:
    """Name of the fidelity that is the same as one of theirs."""
    return next((one.name for one in fidelities if (one.on, one.flow) == (theirs.on, theirs.flow)), None)


def _of_study(study: Study, fidelity: str | None, space: Space, responses: Sequence[str]) -> Iterator[Known]:
    names = [factor.name for factor in space.factors]
    if fidelity is None or any(name not in study.asked.factors for name in names):
        return
    for row in table(study):
        values = {name: float(row[name]) for name in responses if row.get(name)}
        if row["status"] == "done" and values:
            yield Known(space.settled({name: level(row[name]) for name in names}), fidelity, values)


def _validated(path: Path, space: Space, responses: Sequence[str], fidelities: Sequence[Fidelity]) -> Iterator[Known]:
    """Each value as a run of its own: seeds do not matter here."""
    found: Mapping[str, Any] = json.loads((path / VALIDATION).read_text(encoding="utf-8"))
    default, assignment = space.default, found["assignment"]
    levels = space.settled({name: assignment.get(name, value) for name, value in default.items()})
    known = {one.name for one in fidelities}
    for side, fidelity in _SIDES.items():
        if fidelity not in known:
            continue
        for name in responses:
            for value in found["responses"].get(name, {}).get(side, ()):
                yield Known(levels, fidelity, {name: float(value)})


def _inside(space: Space, levels: Mapping[str, Any]) -> bool:
    try:
        space.vector(levels)
    except RequestError:
        return False
    return True
