"""Whether simulated runs are the same again, file by file: virtual time, the seed and the description decide everything in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.observe.store import PARQUET
from estran.reproduce.opening import sha256
from estran.study.folder import Folder

SAME: Final = (
    "experiment.yaml", "assignment.json", "plan.json", "responses.json", "trace.txt", "histograms.parquet",
    *(f"{name}.parquet" for name in PARQUET),
)  # fmt: skip
"""Files that must be the same. Not those that tell of the machine, of when and where it was: run.json, manifest.json,
environment.json, changes.patch, network.json (which names the calibration's path), provenance, logs and pages."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How many files are the same.

    Attributes
    ----------
    runs, files
        Compared.
    differing
        Files that are not the same, or that one side has not, by their path in the record.
    rewritten
        Tables with the same rows in other bytes: another DuckDB wrote them.
    """

    runs: int
    files: int
    differing: tuple[str, ...]
    rewritten: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.differing


def identity(record: Path, again: Path) -> Identity:
    """Compare two folders of a run, or of a study run by run.

    Raises
    ------
    EstranError
        If a folder is damaged.
    """
    pairs = list(_pairs(record, again))
    files = 0
    differing: list[str] = []
    rewritten: list[str] = []
    for name, one, other in pairs:
        for file in SAME:
            left, right = one / file, None if other is None else other / file
            if not left.exists() and (right is None or not right.exists()):
                continue
            files += 1
            told = f"{name}{file}"
            if right is None or not (left.exists() and right.exists()):
                differing.append(told)
            elif sha256(left) != sha256(right):
                (rewritten if _same_rows(left, right) else differing).append(told)
    return Identity(len(pairs), files, tuple(differing), tuple(rewritten))


def _pairs(record: Path, again: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Runs of both sides that are meant to be the same, and what the record's is called in it."""
    if not (record / "study.json").exists():
        yield "", record, again
        return
    sides = [Folder.open(path) for path in (record, again)]
    found = [side.outcomes() for side in sides]
    for row in sides[0].rows:
        one, other = (outcomes[row.run].folder if row.run in outcomes else None for outcomes in found)
        if one is not None:
            yield f"{one.relative_to(record).as_posix()}/", one, other


def _same_rows(one: Path, other: Path) -> bool:
    """Whether two tables hold the same rows in the same order."""
    if one.suffix != ".parquet":
        return False
    import duckdb

    def rows(path: Path) -> tuple[Any, Any]:
        found = connection.execute("FROM read_parquet(?)", [str(path)])
        return found.description, found.fetchall()

    with duckdb.connect() as connection:
        try:
            return bool(rows(one) == rows(other))
        except duckdb.Error:
            return False
