"""A run's own record, ``run.json``: status, phases with timings, failure. Rewritten whole at every change."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from estran.errors import EstranError, ServiceError, Where
from estran.observe.manifest import digest
from estran.observe.provenance import FILE, Provenance
from estran.observe.secrets import known_secrets, without_in_document

SCHEMA: Final = 1
PATCH: Final = "changes.patch"
"""What has been changed since the commit of the repository around the experiment; absent where nothing has."""
ARTEFACTS: Final = frozenset(
    {
        "experiment.yaml", "assignment.json", "plan.json", "manifest.json", "environment.json", PATCH, "network.json",
        "responses.json", "messages.parquet", "metrics.parquet", "operations.parquet", "exchanges.parquet", "events.parquet",
        "histograms.parquet", "trace.txt", "tasks.jsonl",
    }
)  # fmt: skip
"""Files of a run whose hashes its record ends with, beside logs and its provenance."""
RESERVE: Final = 64 * 1024
"""Bytes kept free for the record's end, so that a run whose disk became full can still say so."""

Status = Literal["running", "done", "failed", "interrupted"]


@dataclass(slots=True)
class Phase:
    """A phase of a run: when it began, how long it took, how it ended."""

    name: str
    started: str
    seconds: float | None = None
    status: Literal["running", "done", "failed", "interrupted"] = "running"


@dataclass(slots=True)
class Failure:
    """Where a run failed, why, and what to do."""

    phase: str
    what: str
    host: str | None = None
    service: str | None = None
    remedy: str | None = None
    log_tail: list[str] = field(default_factory=list)


class ReplicaError(ServiceError):
    """A replica ended that should not have; carries the tail of its log."""

    def __init__(self, what: str, *, host: str, replica: str, remedy: str | None, tail: list[str]) -> None:
        super().__init__(f"{replica} on {host} {what}", remedy=remedy or "read the end of its log")
        self.host = host
        self.replica = replica
        self.tail = tail


class Progress(Protocol):
    """Who is told how a run goes."""

    def phase(self, name: str, expected: float | None) -> None:
        """A phase begins; ``expected`` seconds if its length is known."""
        ...

    def waits(self, text: str) -> None:
        """What the phase waits for, in words."""
        ...

    def service(self, replica: str, state: str) -> None:
        """A replica's state changed."""
        ...

    def live(self, figures: dict[str, float]) -> None:
        """The newest figures of the workload."""
        ...

    def moment(self, seconds: float) -> None:
        """Simulated time has come so far; on real hosts it goes by itself, and nobody is told."""
        ...


class QuietProgress:
    """Tells nobody."""

    def phase(self, name: str, expected: float | None) -> None: ...

    def waits(self, text: str) -> None: ...

    def service(self, replica: str, state: str) -> None: ...

    def live(self, figures: dict[str, float]) -> None: ...

    def moment(self, seconds: float) -> None: ...


class RunRecord:
    """Keeps ``run.json`` true while the run goes on.

    Parameters
    ----------
    folder
        The run folder.
    facts
        What is known before the start: id, experiment, platform, seed.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], progress: Progress) -> None:
        self.folder = folder
        self.status: Status = "running"
        self.phases: list[Phase] = []
        self.failure: Failure | None = None
        self.warnings: list[str] = []
        self.provenance = Provenance(folder)
        self.secrets = known_secrets()
        """What is hidden in failures and warnings, which repeat what services have said."""
        self._progress = progress
        self._facts = {"schema": SCHEMA, **facts, "started": _utc_now(), "ended": None}
        self.write()
        self._reserve = folder / "run.json.reserve"
        write_text(self._reserve, "\0" * RESERVE)

    @property
    def current_phase(self) -> str:
        """The phase that runs, or the last one that did."""
        return self.phases[-1].name if self.phases else "start"

    @contextmanager
    def phase(self, name: str, expected: float | None = None) -> Iterator[None]:
        """Time a phase; an exception marks it failed."""
        phase = Phase(name, _utc_now())
        begun = time.monotonic()
        self.phases.append(phase)
        self._progress.phase(name, expected)
        self.provenance.started(f"phase/{name}")
        self.write()
        try:
            yield
        except EstranError:
            phase.status = "failed"
            raise
        except BaseException:
            phase.status = "interrupted"
            raise
        else:
            phase.status = "done"
        finally:
            phase.seconds = round(time.monotonic() - begun, 4)
            self.provenance.ended(f"phase/{name}", note=phase.status)

    def note(self, **facts: Any) -> None:
        """Add facts to the record."""
        self._facts.update(facts)

    def fail(self, error: EstranError) -> None:
        """Record what went wrong; the first failure stays."""
        if self.failure is not None:
            return
        self.status = "failed"
        failed = next((phase.name for phase in self.phases if phase.status in ("failed", "interrupted")), self.current_phase)
        for phase in self.phases:
            if phase.name == failed and phase.status == "interrupted":
                phase.status = "failed"  # what failed was beside it, and ended it
        where = None if error.where is None else str(error.where)
        if isinstance(error, ReplicaError):
            self.failure = Failure(failed, error.what, error.host, error.replica, error.remedy, error.tail)
        else:
            file = where is not None and ("/" in where or isinstance(error.where, Where))
            what = f"{where}: {error.what}" if file else error.what
            self.failure = Failure(failed, what, None if file else where, None, error.remedy)

    def end(self, status: Status | None = None) -> None:
        """Close the record with its final status."""
        if status is not None and self.failure is None:
            self.status = status
        self._reserve.unlink(missing_ok=True)
        try:
            self._facts["artefacts"] = self._artefacts()
        except EstranError as error:  # want of space, most likely, and the record is to say so
            self.fail(error)
        self._facts["ended"] = _utc_now()
        self.write()

    def _artefacts(self) -> dict[str, str]:
        """Hashes of what the run has left, by path; that it left them is the last thing that its provenance says."""
        found = [path.relative_to(self.folder).as_posix() for path in sorted(self.folder.glob("*")) if path.name in ARTEFACTS]
        found += [path.relative_to(self.folder).as_posix() for path in sorted(self.folder.glob("logs/*.log"))]
        self.provenance.settle()
        self.provenance.generated("run", (f"file/{name}" for name in found if name != PATCH))
        self.provenance.ended("run", note=self.status)
        self.provenance.flush()
        return {name: digest(self.folder / name) for name in (*found, FILE) if (self.folder / name).is_file()}

    def write(self) -> None:
        """Write ``run.json`` atomically."""
        data = {
            **self._facts,
            "status": self.status,
            "phases": [asdict(phase) for phase in self.phases],
            "failure": without_in_document(asdict(self.failure), self.secrets) if self.failure else None,
            "warnings": without_in_document(self.warnings, self.secrets),
        }
        write_json(self.folder / "run.json", data)


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it.

    Raises
    ------
    EstranError
        If the file cannot be written, for want of space or permission.
    """
    write_text(path, json.dumps(data, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it.

    Raises
    ------
    EstranError
        If it cannot be written, for want of space or permission.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise EstranError(
            f"cannot write {path.name}: {error.strerror}", where=str(path.parent), remedy="free some space or check permissions"
        ) from error


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
