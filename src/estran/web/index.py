"""Runs and studies below some folders, found anew at every look and read anew only where they changed.

The page names them by keys, which are looked up here: no part of a request ever becomes part of a path.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2s
from os import scandir, stat
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Literal

import msgspec

from estran.study.rows import cell
from estran.web.refusal import Refusal

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
    """A folder of a run or a study; ``study`` is the study's key of a run that belongs to one."""

    key: str
    place: str
    kind: Literal["run", "study"]
    study: str | None
    changed: tuple[int, int]

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.place)


class Index:
    """All runs and studies below some folders; may be used from several threads.

    Parameters
    ----------
    roots
        Each the folder of a run or of a study, or one that holds some up to `DEPTH` folders below.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(str(root.absolute()) for root in roots)
        self._lock = threading.Lock()
        self._found: dict[str, Found] = {}
        self._places: dict[str, Found] = {}
        self._listed: dict[str, tuple[tuple[int, int], Listed]] = {}
        self._name = token_hex(4)
        self._version = 0
        self._sorted: tuple[int, list[Listed]] = (-1, [])
        self._encoded: tuple[str, bytes] = ("", b"")

    def look(self) -> None:
        """Find what is there now."""
        with self._lock:
            places = {one.place: one for root in self._roots for one in self._walk(root, None, DEPTH)}
            if places == self._places:
                return
            self._places = places
            self._found = {one.key: one for one in places.values()}
            self._listed = {key: listed for key, listed in self._listed.items() if key in self._found}
            self._version += 1

    def runs(self) -> list[Listed]:
        """Every run, the newest first."""
        self.look()
        with self._lock:
            version, listed = self._sorted
            if version != self._version:
                listed = [self._run(one) for one in self._found.values() if one.kind == "run"]
                listed.sort(key=lambda run: (run.started or "", run.name), reverse=True)
                self._sorted = (self._version, listed)
            return listed

    def studies(self, runs: Sequence[Listed]) -> list[ListedStudy]:
        """Every study, the newest first; ``runs`` are all of `runs`."""
        parts: dict[str, list[Listed]] = {}
        for run in runs:
            if run.study is not None:
                parts.setdefault(run.study, []).append(run)
        listed = [_study(one, parts.get(one.key, [])) for one in list(self._found.values()) if one.kind == "study"]
        return sorted(listed, key=lambda study: (study.started or "", study.name), reverse=True)

    def encoded(self, known: str | None) -> bytes:
        """Runs, studies and the state as JSON; of a state that is ``known`` only that it is still the same."""
        runs, state = self.runs(), self.state
        if state == known:
            return msgspec.json.encode({"state": state})
        made, content = self._encoded
        if made != state:
            content = msgspec.json.encode({"state": state, "runs": runs, "studies": self.studies(runs)})
            self._encoded = (state, content)
        return content

    @property
    def state(self) -> str:
        """What is another when anything that `look` found last has changed, or the server."""
        return f"{self._name}-{self._version}"

    def path(self, key: str, kind: Literal["run", "study"]) -> Path:
        """The folder that a key stands for.

        Raises
        ------
        Refusal
            If nothing of that kind has the key.
        """
        if key not in self._found:
            self.look()
        found = self._found.get(key)
        if found is None or found.kind != kind:
            raise Refusal(404, f"there is no {kind} {key!r}", where="the page", remedy="go back to the list")
        return found.path

    def known(self, key: str) -> Path | None:
        """The folder that a key stands for, of whatever kind, if `look` found it."""
        found = self._found.get(key)
        return None if found is None else found.path

    def _run(self, found: Found) -> Listed:
        known = self._listed.get(found.key)
        if known is not None and known[0] == found.changed:
            return known[1]
        listed = _read(found)
        self._listed[found.key] = (found.changed, listed)
        return listed

    def _walk(self, folder: str, study: str | None, depth: int) -> Iterator[Found]:
        if (changed := _changed(folder + "/run.json")) is not None:
            yield self._known(folder, "run", study, changed)
            return
        if study is None and (changed := _changed(folder + "/study.json")) is not None:
            found = self._known(folder, "study", None, changed)
            yield found
            study, depth = found.key, 2
        if depth:
            for inside in _folders(folder):
                yield from self._walk(inside, study, depth - 1)

    def _known(self, folder: str, kind: Literal["run", "study"], study: str | None, changed: tuple[int, int]) -> Found:
        """What was found there before, if it is the same."""
        known = self._places.get(folder)
        if known is not None and known.changed == changed and known.kind == kind:
            return known
        return Found(key_of(Path(folder)) if known is None else known.key, folder, kind, study, changed)


def key_of(folder: Path) -> str:
    """The key of a folder: tells nothing, and leads nowhere but through the index."""
    return blake2s(str(folder.absolute()).encode(), digest_size=8).hexdigest()


def _folders(folder: str) -> list[str]:
    """Folders in a folder; links are not followed, so that nobody is led out of it."""
    try:
        with scandir(folder) as entries:
            return [entry.path for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)]
    except OSError:  # it has gone meanwhile, or is not ours to read
        return []


def _changed(path: str) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        found = stat(path)  # noqa: PTH116 of thousands of paths, at every look
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


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
        duration=None if record.status == "running" else record.duration,  # until it is over, that is what was planned
        factors={name: cell(level) for name, level in factors.items()} if isinstance(factors, dict) else {},
        responses={name: float(f"{value:.6g}") for name in SHOWN if (value := values.get(name, _Value()).value) is not None},
        failure=str(record.failure.get("what"))[:200] if record.failure else None,
        study=found.study,
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
