"""The ledger: what was asked of testbeds, written down before it is reserved, so that it can always be given back.

Each reservation has one file in the user's state folder, locked by the process that uses it. It is removed when the testbed has
its nodes back. A file that nobody locks is of a killed run, or of nodes that were kept on purpose.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from estran.errors import PlatformError


def ledger_folder() -> Path:
    """Where the ledger is: ``$XDG_STATE_HOME/estran/testbeds``."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "estran" / "testbeds"


@dataclass(slots=True)
class Entry:
    """One reservation of the ledger.

    Attributes
    ----------
    request
        What was asked for; it holds no secret.
    keep
        Whether its nodes are kept when nobody uses them.
    known
        Whether it was in the ledger before it was opened: its nodes may be there already.
    """

    path: Path
    request: dict[str, Any]
    keep: bool
    jobs: list[dict[str, Any]]
    ends_at: float | None = None
    known: bool = False

    def write(self) -> None:
        """Put it on disk, in place, since the file is locked."""
        data = {"request": self.request, "keep": self.keep, "jobs": self.jobs, "ends_at": self.ends_at}
        with self.path.open("r+", encoding="utf-8") as file:
            file.write(json.dumps(data))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Everything was given back."""
        self.path.unlink(missing_ok=True)


class _Written(msgspec.Struct):
    request: dict[str, Any]
    keep: bool
    jobs: list[dict[str, Any]]
    ends_at: float | None

    def __post_init__(self) -> None:
        if not all(isinstance(self.request.get(key), str) for key in ("provider", "job")):
            raise ValueError("no provider and job")


def name_of(request: Mapping[str, Any]) -> str:
    """The name of a reservation in the ledger."""
    return f"{request['provider']}-{request['job']}"


@contextmanager
def opened(request: Mapping[str, Any]) -> Iterator[Entry]:
    """Open the entry of a reservation, new or known, for one user at a time.

    Raises
    ------
    PlatformError
        If another process uses the reservation.
    """
    path = ledger_folder() / f"{name_of(request)}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+", encoding="utf-8") as file:
        if not (_lock(file.fileno()) and _still_there(path, file.fileno())):
            what = f"the reservation {request['job']!r} is in use by another run"
            raise PlatformError(what, where=str(request["provider"]), remedy="choose another job:")
        file.seek(0)
        before = _read(path, file.read())
        entry = Entry(path, dict(request), bool(request["keep"]), before.jobs if before else [], known=before is not None)
        entry.write()
        yield entry


def _still_there(path: Path, descriptor: int) -> bool:
    """Whether the file that was locked is still the entry: its last user may have removed it in between."""
    return path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def entries() -> list[tuple[Entry, bool]]:
    """Every reservation in the ledger, and whether a process uses it."""
    found = []
    for path in sorted(ledger_folder().glob("*.json")):
        with path.open(encoding="utf-8") as file:
            used = not _lock(file.fileno())
            entry = _read(path, file.read())
        if entry is not None:
            found.append((entry, used))
    return found


def _read(path: Path, text: str) -> Entry | None:
    """Read an entry; one that was cut short while it was first written was never acted on."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    try:
        known = msgspec.convert(data, _Written)
    except ValueError as error:  # also text that cannot be
        what = f"it is no reservation of the ledger: {error}"
        raise PlatformError(what, where=str(path), remedy="look whether nodes are reserved, then remove it") from error
    return Entry(path, known.request, known.keep, known.jobs, known.ends_at, known=True)
