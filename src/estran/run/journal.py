"""The journal: what a run is about to start, written down first, so that a killed run can always be cleaned up.

Each run has one file in the user's state folder. It is removed when the run has given everything back; a file whose conductor
is no longer alive belongs to a killed run.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from estran.errors import EstranError
from estran.observe.store import LIVE

RUN_VARIABLE = "ESTRAN_RUN"
"""Environment variable that every process of a run carries, so that it can be found whatever became of its parents."""

ALONE = 1.0
"""Seconds that a run's processes have to end by themselves."""
GRACE = 2.0
"""Seconds that those which are killed have to be gone."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Of a run, or of what is kept; nothing that would fit processes of others."""
_CONDUCTOR = re.compile(r"(?P<pid>[0-9]{1,10}) (?P<started>[0-9]{0,20}) (?P<folder>/[^\0]*)", re.ASCII)


def journal_folder() -> Path:
    """Where journals are kept: ``$XDG_STATE_HOME/estran/journal``."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "estran" / "journal"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something about to be started: ``kind`` is ``conductor``, ``process`` or ``slurm``."""

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
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
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
        with open(self.path, "a", encoding="utf-8", opener=_private) as file:
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def leftovers() -> tuple[list[Leftover], list[EstranError]]:
    """Journals of runs that were killed before they gave everything back; and what is wrong with others, which are left alone.

    What a journal says is acted upon, so it must be what Estran wrote for this user: a plain file of theirs that nobody else can
    write, of a run's name, whose first whole line names its conductor.
    """
    found, wrong = [], []
    for path in sorted(journal_folder().glob("*.jsonl")):
        try:
            left = _left(path)
        except EstranError as error:
            wrong.append(error)
            continue
        if left is not None:
            found.append(left)
    return found, wrong


def _left(path: Path) -> Leftover | None:
    """What a journal says of a run whose conductor has gone; None while it lives, and where nothing was started yet."""
    entries = _read(path)
    conductor = next((entry.value for entry in entries if entry.kind == "conductor"), None)
    if conductor is None:
        return None
    found = _CONDUCTOR.fullmatch(conductor)
    if found is None or _NAME.fullmatch(path.stem) is None:
        raise _damaged(path, "it names no conductor of a run")
    if started_at(int(found["pid"])) == found["started"]:
        return None
    return Leftover(path.stem, Path(found["folder"]), entries, path)


def _read(path: Path) -> tuple[Entry, ...]:
    """All whole lines: one that was cut short by the kill is left out."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
                raise _damaged(path, "others could have written it")
            lines = file.read().splitlines()
    except FileNotFoundError:  # the run has just ended
        return ()
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from error
    found = []
    for line in lines:
        with suppress(ValueError, RecursionError, msgspec.MsgspecError):
            found.append(msgspec.json.decode(line, type=Entry))
    return tuple(found)


def _damaged(path: Path, why: str) -> EstranError:
    return EstranError(f"no journal to act upon: {why}", where=str(path), remedy="look at it, and remove it")


def started_at(pid: int) -> str:
    """When a process started, in kernel ticks since boot; with its pid this names it for good. Empty if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[19]


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
