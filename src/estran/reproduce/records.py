"""The files of a record, and the runs within it: of a run, a study or an optimisation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import DataError, EstranError, RequestError
from estran.observe.queries import Run, open_run
from estran.reproduce.layout import Kind, kind_of
from estran.study.rows import read_design

SCRATCH: Final = frozenset({"work"})
"""Folders of a run that are no part of its record: what replicas wrote for themselves."""
_LIVE: Final = (".part", ".reserve", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".lock")


@dataclass(frozen=True)
class Record:
    """A folder that can be exported.

    Attributes
    ----------
    runs
        All runs in it that left a record, in the order of their folders, failed attempts among them; the run itself of a run.
    asked
        What ``study.json`` or ``optimize.json`` says; empty for a run.
    """

    folder: Path
    kind: Kind
    runs: tuple[Run, ...]
    asked: dict[str, Any]

    @property
    def first(self) -> Run:
        """The first run that is done, or the first."""
        return next((run for run in self.runs if run.status.status == "done"), self.runs[0])

    @property
    def status(self) -> str:
        """Of a run its own; of a study ``done`` if every run of its design is, at any attempt; of an optimisation, if any is."""
        if self.kind == "run":
            return self.runs[0].status.status
        return "done" if self.missing == 0 and any(run.status.status == "done" for run in self.runs) else "failed"

    @property
    def missing(self) -> int:
        """Runs of a study's design that no attempt has done."""
        if self.kind != "study":
            return 0
        done = {int(run.folder.name.partition("-")[0]) for run in self.runs if run.status.status == "done"}
        return sum(row.run not in done for row in read_design(self.folder / "design.csv"))

    @property
    def ended(self) -> str | None:
        """When the last run ended."""
        return max((run.status.ended for run in self.runs if run.status.ended), default=None)

    def name(self, run: Run) -> str:
        """A run's folder from the record's, with ``/``; empty for a record that is a run."""
        return "" if run.folder == self.folder else run.folder.relative_to(self.folder).as_posix()


def read_record(folder: Path) -> Record:
    """Read what a folder holds.

    Raises
    ------
    RequestError
        If it is no record, goes on, or has no run.
    EstranError
        If it is damaged.
    """
    kind = kind_of(folder)
    if kind == "run":
        runs = [open_run(folder)]
        asked = {}
    else:
        paths = sorted({*folder.glob("runs/*/run.json"), *folder.glob("*/runs/*/run.json")})
        runs = [open_run(path.parent) for path in paths]
        asked = _document(folder / ("study.json" if kind == "study" else "optimize.json"))
    if not runs:
        raise RequestError("it has no run yet", where=str(folder), remedy=f"estran resume {folder}")
    for run in runs:
        if run.live or run.status.status == "running":
            raise RequestError(
                f"run {run.status.id} goes on, or was killed and not cleaned up",
                where=str(run.folder),
                remedy="wait for its end; if it was killed: estran clean, and estran resume for a study",
            )
    return Record(folder, kind, tuple(runs), asked)


def files(record: Record) -> Iterator[tuple[str, Path]]:
    """Files of a record with their names from its folder, in no order; no scratch, no links."""
    for where, folders, names in os.walk(record.folder):
        if "run.json" in names:
            folders[:] = [name for name in folders if name not in SCRATCH]
        folders[:] = [name for name in folders if not Path(where, name).is_symlink()]
        for name in names:
            path = Path(where, name)
            if not name.endswith(_LIVE) and path.is_file() and not path.is_symlink():
                yield path.relative_to(record.folder).as_posix(), path


def manifest_of(run: Run) -> dict[str, Any]:
    """A run's manifest.

    Raises
    ------
    RequestError
        If it was recorded by an Estran that recorded less.
    """
    found = run.document("manifest") or {}
    if not isinstance(found, dict) or "asked" not in found or "source" not in found:
        raise RequestError(
            "it does not record how it was asked for; runs of earlier versions and of E2Clab's scenarios do not",
            where=str(run.folder),
            remedy="run it again with `estran run`",
        )
    return found


def _document(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EstranError(f"it cannot be read: {error}", where=str(path), remedy="the file is damaged or not Estran's") from error
