"""The journal: what a run is about to start, written down first, so that a killed run can always be cleaned up.

Each run has one file in the user's state folder. It is removed when the run has given everything back; a file whose conductor
is no longer alive belongs to a killed run.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estran.errors import EstranError
from estran.observe.store import LIVE

RUN_VARIABLE = "ESTRAN_RUN"
"""Environment variable that every process of a run carries, so that it can be found whatever became of its parents."""

ALONE = 1.0
"""Seconds that a run's processes have to end by themselves."""
GRACE = 2.0
"""Seconds that those which are killed have to be gone."""


def journal_folder() -> Path:
    """Where journals are kept: ``$XDG_STATE_HOME/estran/journal``."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "estran" / "journal"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something about to be started: ``kind`` is ``conductor``, ``process``, ``folder`` or ``slurm``."""

    kind: str
    value: str


class Journal:
    """One run's journal, open for writing; a context manager that removes it when everything was given back."""

    def __init__(self, run_id: str, run_folder: Path) -> None:
        self.run_id = run_id
        self.path = journal_folder() / f"{run_id}.jsonl"
        self._run_folder = run_folder

    def __enter__(self) -> Journal:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.write("conductor", f"{os.getpid()} {started_at(os.getpid())} {self._run_folder.resolve()}")
        except OSError as error:
            what = f"what a run starts cannot be written down: {error.strerror}"
            raise EstranError(what, where=str(self.path), remedy="set XDG_STATE_HOME to a folder that can be written") from error
        return self

    def __exit__(self, *exc: object) -> None:
        if not (self._run_folder / LIVE).exists():  # else `estran clean` has still to recover the records, as it would after a kill
            self.path.unlink(missing_ok=True)

    def write(self, kind: str, value: str) -> None:
        """Note what is about to be started; it is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "value": value}) + "\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class Leftover:
    """A journal whose conductor has gone."""

    run_id: str
    folder: Path
    entries: tuple[Entry, ...]
    path: Path


def leftovers() -> list[Leftover]:
    """Journals of runs that were killed before they gave everything back."""
    found = []
    for path in sorted(journal_folder().glob("*.jsonl")):
        entries = tuple(_read(path))
        conductor = next((entry.value for entry in entries if entry.kind == "conductor"), None)
        if conductor is None:
            continue
        pid, started, folder = conductor.split(" ", 2)
        if started_at(int(pid)) != started:
            found.append(Leftover(path.stem, Path(folder), entries, path))
    return found


def _read(path: Path) -> Iterator[Entry]:
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):  # a line cut short by the kill
            data: dict[str, Any] = json.loads(line)
            yield Entry(data["kind"], data["value"])


def started_at(pid: int) -> str:
    """When a process started, in kernel ticks since boot; with its pid this names it for good. Empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]


def processes_of(run_id: str) -> list[int]:
    """Pids of this user's processes that belong to a run; what envoys start has ``.`` and the host's name after its id."""
    wanted = f"{RUN_VARIABLE}={run_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            words = (entry / "environ").read_bytes().split(b"\0")
            if any(word == wanted or word.startswith(wanted + b".") for word in words):
                found.append(int(entry.name))
    return found


def end_processes(run_id: str) -> int:
    """Kill every process of a run that is still there; return how many there were.

    They have a moment to end by themselves: what is on its way out, because the conductor has gone, may have something to remove.
    """
    ended: set[int] = set()
    begun = time.monotonic()
    while (pids := processes_of(run_id)) and (waited := time.monotonic() - begun) < ALONE + GRACE:
        for pid in pids if waited > ALONE else ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended.update(pids)
        time.sleep(0.02)
    return len(ended)
