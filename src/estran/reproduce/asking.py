"""The command that makes a crate's record again: `estran run` or `estran study`, with the same seeds in the same order."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from estran.errors import RequestError
from estran.observe.secrets import HIDDEN
from estran.reproduce.layout import EXPERIMENT, RECORD, Asked, Crate
from estran.study.rows import Row, cell, read_design

_NAMED: Final = re.compile(r"[a-z]+(:[a-z0-9-]+)?")
"""Platforms that are no files."""
POINTS: Final = "points.csv"
"""Every run of a study as a point of its own, in the order in which it was made."""


def platform_of(crate: Crate, on: str | None) -> str:
    """What ``--on`` says: what is asked for, or what the record was made on.

    Raises
    ------
    RequestError
        If that was described by a file, which others have not.
    """
    if on is not None:
        return on
    if crate.binding.file is not None or not _NAMED.fullmatch(crate.binding.on):
        raise RequestError(
            f"the record was made on hosts of its own ({crate.binding.platform}, {crate.binding.on})",
            where="--on",
            remedy="say on which platform to make it again: --on emulate, or a platform file of yours",
        )
    return crate.binding.on


def arguments(crate: Crate, root: Path, on: str, points: Path) -> list[str]:
    """Arguments of ``estran`` that make the record again.

    Parameters
    ----------
    root
        Where the crate's files are.
    points
        Where the points of a study are (see `write_points`).

    Raises
    ------
    RequestError
        If it cannot be made again: an option was secret, or it is an optimisation.
    """
    asked = crate.asked
    if hidden := [one.partition("=")[0] for one in asked.overrides if HIDDEN in one]:
        raise RequestError(
            f"the crate hides a secret: the value that {', '.join(hidden)} was set to",
            where="--set",
            remedy="ask its authors for one that needs none",
        )
    if asked.verb == "optimize":
        raise RequestError("a search is not made again", where=crate.id, remedy="export its best run, and reproduce that")
    options = [str(root / asked.file), "--on", on, "--seed", str(asked.seed)]
    options += [f"--set={override}" for override in (*asked.overrides, *_levels(asked))]
    if on == "simulate":
        options += _simulated(crate, root)
    if asked.verb == "study":
        options += ["--design", str(points), "--ordered", "--replicates", "1"]
        options += [] if asked.retries is None else ["--retries", str(asked.retries)]
    return [asked.verb, *options]


def _levels(asked: Asked) -> list[str]:
    return [f"{name}={cell(level)}" for name, level in asked.assignment.items()] if asked.verb == "run" else []


def _simulated(crate: Crate, root: Path) -> list[str]:
    asked, options = crate.asked, []
    if asked.calibration == "none":
        options += ["--calibration", "none"]
    elif asked.calibration is not None:
        if crate.file(asked.calibration) is None:
            raise RequestError("the calibration is not in it", where=crate.id, remedy="ask for the crate as it was exported")
        options += ["--calibration", str(root / asked.calibration)]
    if asked.verb == "run":
        options += ["--detail", asked.detail] if asked.detail != "components" else []
        options += ["--trace"] if asked.trace else []
    return options


def write_points(crate: Crate, root: Path, points: Path) -> None:
    """Write the runs of a crate's study as a design: the same points in the same order get the same seeds.

    Raises
    ------
    RequestError
        If the study's design is not of Estran's making.
    """
    rows = read_design(root / RECORD / "design.csv")
    if any(row.seed != crate.asked.seed + row.block - 1 for row in rows):
        raise RequestError(
            "its seeds are not those of its blocks", where=f"{RECORD}/design.csv", remedy="ask for the crate as it was exported"
        )
    points.write_text(_design(rows), encoding="utf-8")


def _design(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0].levels) if rows else []
    writer.writerow(names)
    writer.writerows([cell(row.levels[name]) for name in names] for row in rows)
    return text.getvalue()


def code(crate: Crate) -> list[str]:
    """Files of the experiment that may be executed."""
    return [file.path.removeprefix(f"{EXPERIMENT}/") for file in crate.files if file.role == "code"]
