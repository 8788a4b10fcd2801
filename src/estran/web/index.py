"""Runs and studies below some folders, found anew at every look and read anew only where they changed.

The page names them by keys, which are looked up here: no part of a request ever becomes part of a path.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2s
from os import DirEntry, scandir
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from estran.errors import RequestError
from estran.study.rows import cell

DEPTH: Final = 3
"""Folders between one that is watched and its runs: as in ``.``, ``runs``, the experiment."""
SHOWN: Final = ("accuracy", "latency_p50", "latency_p99", "throughput", "staleness", "energy", "exchange_latency_p50")
"""Responses that the list of runs shows."""


class _Record(msgspec.Struct):
    id: str = ""
    experiment: str = ""
    status: str = "damaged"
    platform: str = ""
    seed: int | None = None
    started: str | None = None
    duration: float | None = None
    failure: dict[str, Any] | None = None


class _Value(msgspec.Struct):
    value: float | None = None
    unit: str = ""


class _Asked(msgspec.Struct):
    experiment: str = ""
    on: str = ""
    design: str = ""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the list shows it; ``study`` is the key of the study that it belongs to."""

    key: str
    name: str
    experiment: str
    status: str
    platform: str
    seed: int | None
    started: str | None
    duration: float | None
    factors: dict[str, str]
    responses: dict[str, float]
    failure: str | None
    study: str | None


class ListedStudy(msgspec.Struct, frozen=True, kw_only=True):
    """A study as the list shows it."""

    key: str
    name: str
    experiment: str
    platform: str
    design: str
    runs: int
    done: int
    failed: int
    running: int
    started: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A folder of a run or a study; ``study`` is the study's folder of a run that belongs to one."""

    key: str
    path: Path
    kind: Literal["run", "study"]
    study: Path | None
    changed: tuple[int, int]


class Index:
    """All runs and studies below some folders; may be used from several threads.

    Parameters
    ----------
    roots
        Each the folder of a run or of a study, or one that holds some up to `DEPTH` folders below.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.absolute() for root in roots)
        self._lock = threading.Lock()
        self._found: dict[str, Found] = {}
        self._listed: dict[str, tuple[tuple[int, int], Listed]] = {}

    def look(self) -> None:
        """Find what is there now."""
        found = {one.key: one for root in self._roots for one in _walk(root, None, DEPTH)}
        with self._lock:
            self._found = found
            self._listed = {key: listed for key, listed in self._listed.items() if key in found}

    def runs(self) -> list[Listed]:
        """Every run, the newest first."""
        self.look()
        listed = [self._run(one) for one in self._found.values() if one.kind == "run"]
        return sorted(listed, key=lambda run: (run.started or "", run.name), reverse=True)

    def studies(self, runs: Sequence[Listed]) -> list[ListedStudy]:
        """Every study, the newest first; ``runs`` are all of `runs`."""
        parts: dict[str, list[Listed]] = {}
        for run in runs:
            if run.study is not None:
                parts.setdefault(run.study, []).append(run)
        listed = [_study(one, parts.get(one.key, [])) for one in self._found.values() if one.kind == "study"]
        return sorted(listed, key=lambda study: (study.started or "", study.name), reverse=True)

    @property
    def state(self) -> str:
        """What is another when anything that `look` found last has changed."""
        found = sorted((one.key, one.changed) for one in self._found.values())
        return blake2s(repr(found).encode(), digest_size=8).hexdigest()

    def path(self, key: str, kind: Literal["run", "study"]) -> Path:
        """The folder that a key stands for.

        Raises
        ------
        RequestError
            If nothing of that kind has the key.
        """
        if key not in self._found:
            self.look()
        found = self._found.get(key)
        if found is None or found.kind != kind:
            raise RequestError(f"there is no {kind} {key!r}", where="the page", remedy="go back to the list")
        return found.path

    def known(self, key: str) -> Path | None:
        """The folder that a key stands for, of whatever kind, if `look` found it."""
        found = self._found.get(key)
        return None if found is None else found.path

    def _run(self, found: Found) -> Listed:
        with self._lock:
            known = self._listed.get(found.key)
        if known is not None and known[0] == found.changed:
            return known[1]
        listed = _read(found)
        with self._lock:
            self._listed[found.key] = (found.changed, listed)
        return listed


def key_of(folder: Path) -> str:
    """The key of a folder: tells nothing, and leads nowhere but through the index."""
    return blake2s(str(folder.absolute()).encode(), digest_size=8).hexdigest()


def _walk(folder: Path, study: Path | None, depth: int) -> Iterator[Found]:
    if (changed := _changed(folder / "run.json")) is not None:
        yield Found(key_of(folder), folder, "run", study, changed)
        return
    if study is None and (changed := _changed(folder / "study.json")) is not None:
        yield Found(key_of(folder), folder, "study", None, changed)
        study, depth = folder, 2
    if depth == 0:
        return
    for entry in _folders(folder):
        yield from _walk(Path(entry.path), study, depth - 1)


def _folders(folder: Path) -> list[DirEntry[str]]:
    """Folders in a folder; links are not followed, so that nobody is led out of it."""
    try:
        with scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)]
    except OSError:  # it has gone meanwhile, or is not ours to read
        return []


def _changed(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _decoded(path: Path, kind: Any) -> Any:
    """A document of a folder, or None where it is absent or damaged: the list shows what it can."""
    with suppress(OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=kind)
    return None


def _read(found: Found) -> Listed:
    record = _decoded(found.path / "run.json", _Record) or _Record(id=found.path.name)
    values = _decoded(found.path / "responses.json", dict[str, _Value]) or {}
    assignment = _decoded(found.path / "assignment.json", dict[str, Any]) or {}
    factors = assignment.get("factors")
    return Listed(
        key=found.key,
        name=found.path.name,
        experiment=record.experiment or found.path.parent.name,
        status=record.status,
        platform=record.platform,
        seed=record.seed,
        started=record.started,
        duration=record.duration,
        factors={name: cell(level) for name, level in factors.items()} if isinstance(factors, dict) else {},
        responses={name: float(f"{value:.6g}") for name in SHOWN if (value := values.get(name, _Value()).value) is not None},
        failure=str(record.failure.get("what"))[:200] if record.failure else None,
        study=None if found.study is None else key_of(found.study),
    )


def _study(found: Found, runs: list[Listed]) -> ListedStudy:
    asked = _decoded(found.path / "study.json", _Asked) or _Asked()
    try:
        with (found.path / "design.csv").open("rb") as file:
            rows = max(0, sum(1 for _ in file) - 1)
    except OSError:
        rows = 0
    states = [run.status for run in runs]
    return ListedStudy(
        key=found.key,
        name=found.path.name,
        experiment=asked.experiment,
        platform=asked.on,
        design=asked.design,
        runs=rows,
        done=states.count("done"),
        failed=states.count("failed"),
        running=states.count("running"),
        started=min((run.started for run in runs if run.started), default=None),
    )
