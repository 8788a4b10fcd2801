"""Records that cannot be told: because a file of theirs was changed, which is said with its name, or by a defect of Estran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import DataError, EstranError
from estran.observe.manifest import digest
from estran.observe.queries import Status

_OTHERS: Final = ("study.json", "optimize.json")
"""Of these folders no hashes are kept."""


class _Phase(msgspec.Struct):
    name: str
    started: str | None
    seconds: float | None
    status: str


class _Failure(msgspec.Struct):
    phase: str
    what: str
    host: str | None = None
    service: str | None = None
    remedy: str | None = None
    log_tail: list[str] = []


class _Record(Status, frozen=True, kw_only=True):
    """All of ``run.json`` that is looked at anywhere, strictly."""

    ended_by: str | None = None
    phases: list[_Phase] = msgspec.field(default_factory=list)  # type: ignore[assignment]
    failure: _Failure | None = None  # type: ignore[assignment]
    warnings: list[str] = msgspec.field(default_factory=list)
    missing: dict[str, str] = msgspec.field(default_factory=dict)


@contextmanager
def telling(*folders: Path) -> Iterator[None]:
    """Wrap what tells of records. What it raises because a file of theirs was changed becomes an error that names the file.

    Raises
    ------
    DataError
        If a record is not what was written. Where all are, whatever was raised is a defect, and is raised as it is.
    """
    try:
        yield
    except (EstranError, BrokenPipeError):
        raise
    except Exception as error:
        if (damage := damaged(error, *folders)) is not None:
            raise damage from error
        raise


def damaged(error: Exception, *folders: Path) -> DataError | None:
    """What to raise instead of something that was raised while records were told; None if they are what was written."""
    for folder in folders:
        if (what := _damage(folder)) is not None:
            return DataError(
                f"{what}: {_said(error)}", where=str(folder), remedy="restore the file as it was written, or run again"
            )
    return None


def _damage(folder: Path) -> str | None:
    """What was changed in a folder, in words; None if it is as it was written."""
    if any((folder / name).is_file() for name in _OTHERS):
        return "a file of it was cut short or edited; if none was, this is a defect of Estran"
    try:
        record = msgspec.json.decode((folder / "run.json").read_bytes(), type=_Record)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return f"run.json was cut short or edited ({_said(error)})"
    if not record.artefacts:  # it goes on, or was killed
        return "a file of it is incomplete, or was edited"
    changed = [name for name, known in record.artefacts.items() if not _is(folder, name, known)]
    return f"{' and '.join(changed[:3])} {'was' if len(changed) == 1 else 'were'} changed since the run" if changed else None


def _is(folder: Path, name: str, known: str) -> bool:
    try:
        return digest(folder / name) == known
    except (DataError, ValueError):
        return False


def _said(error: Any) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text[:200]}"
