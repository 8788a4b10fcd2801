"""Studies and optimisations of a folder, as a list shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import EstranError
from estran.observe.queries import list_runs
from estran.study.folder import DOCUMENT, Folder

_SEARCH: Final = "optimize.json"


class ListedStudy(msgspec.Struct, frozen=True, kw_only=True):
    """A study, or an optimisation, whose ``design`` is ``search``.

    Attributes
    ----------
    runs
        Rows of the design; of a search, runs that were begun.
    done
        How many of them are done.
    problem
        Why it cannot be read.
    """

    folder: str
    id: str
    experiment: str
    design: str
    platform: str = ""
    runs: int = 0
    done: int = 0
    problem: str | None = None


def list_studies(folder: Path) -> list[ListedStudy]:
    """All studies below a folder (``<folder>/<experiment>/<study>`` or ``<folder>/<study>``), oldest first.

    The studies that an optimisation consists of are not told apart from it.
    """
    found = {path.parent for name in (DOCUMENT, _SEARCH) for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{name}")}
    whole = [path for path in found if not (path.parent / _SEARCH).exists()]
    return [_listed(path) for path in sorted(whole, key=lambda path: path.name)]


def _listed(path: Path) -> ListedStudy:
    try:
        return _search(path) if (path / _SEARCH).exists() else _study(path)
    except EstranError as error:
        return ListedStudy(
            folder=str(path), id=path.name, experiment=path.parent.name, design="damaged", problem=" ".join(str(error).split())
        )


def _study(path: Path) -> ListedStudy:
    study = Folder.open(path)
    done = sum(outcome.status == "done" for outcome in study.outcomes().values())
    asked = study.asked
    return ListedStudy(
        folder=str(path), id=path.name, experiment=asked.experiment, design=asked.design, platform=asked.on,
        runs=len(study.rows), done=done,
    )  # fmt: skip


def _search(path: Path) -> ListedStudy:
    try:
        asked: Any = json.loads((path / _SEARCH).read_bytes())
        told = {"experiment": str(asked["experiment"]), "platform": str(asked["fidelities"][-1]["on"])}
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise EstranError(f"it cannot be read: {error}", where=str(path / _SEARCH)) from error
    runs = [run for fidelity in sorted(path.iterdir()) for run in list_runs(fidelity)]
    done = sum(run.status == "done" for run in runs)
    return ListedStudy(folder=str(path), id=path.name, design="search", runs=len(runs), done=done, **told)
