"""Runs, or studies, side by side: the first is what the others are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from estran.errors import EstranError
from estran.explain.compare import Difference, compare
from estran.report.compared import apart
from estran.report.folder import read_folder
from estran.report.verdict import ordered
from estran.report.wording import NONE, quantity
from estran.study.folder import Folder
from estran.web.refusal import Refusal

MOST: Final = 8
"""Sides that fit beside each other."""


def side_by_side(folders: Sequence[Path]) -> dict[str, Any]:
    """Responses of the first folder, and of each other beside it with verdicts.

    Raises
    ------
    RequestError
        If there are fewer than two or too many, or one is neither a run nor a study.
    """
    if not 2 <= len(folders) <= MOST:
        raise Refusal(400, f"{len(folders)} chosen", where="compare", remedy=f"choose two to {MOST}")
    first, *others = folders
    found: list[dict[str, Difference]] = []
    problems: list[str | None] = []
    conclusions: list[dict[str, Any]] = []
    for other in others:
        try:
            comparison = compare(first, other)
        except EstranError as error:
            found.append({})
            problems.append(str(error))
        else:
            found.append({one.response: one for one in comparison.differences})
            problems.append(None)
            conclusions += [asdict(one) | {"agree": one.agree, "side": other.name} for one in comparison.conclusions]
    names = list(dict.fromkeys(name for side in found for name in side))
    return {
        "sides": [_about(folder) for folder in folders],
        "problems": problems,
        "rows": [_row(name, found) for name in _in_order(names, first)],
        "conclusions": conclusions,
    }


def _in_order(names: list[str], first: Path) -> list[str]:
    """Those of the whole run first, in the order of the report."""
    if not (first / "run.json").exists():
        return sorted(names, key=lambda name: "@" in name)
    known = [response.name for response in ordered(read_folder(first).responses.values())]
    return sorted((name for name in known if name in names), key=lambda name: "@" in name)


def _row(name: str, found: list[dict[str, Difference]]) -> dict[str, Any]:
    known = next(side[name] for side in found if name in side)
    cells = [_cell(side.get(name)) for side in found]
    return {"response": name, "part": "@" in name, "first": quantity(known.a, known.unit), "cells": cells}


def _cell(one: Difference | None) -> dict[str, Any]:
    if one is None:
        return {"value": NONE, "apart": "", "verdict": ""}
    return {"value": quantity(one.b, one.unit), "apart": apart(one), "verdict": one.verdict}


def _about(folder: Path) -> dict[str, Any]:
    """What one side is, as names with values."""
    if (folder / "study.json").exists():
        asked = Folder.open(folder).asked
        facts = {"experiment": asked.experiment, "platform": asked.on, "seed": asked.seed, "design": asked.design}
        return {"name": folder.name, "facts": {name: str(value) for name, value in facts.items()}}
    run = read_folder(folder)
    facts = {"experiment": run.name, "status": run.status, "platform": run.run.get("platform"), "seed": run.run.get("seed")}
    return {"name": folder.name, "facts": {name: str(value) for name, value in {**facts, **run.factors}.items()}}
