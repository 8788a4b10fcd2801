"""The seams to what provides hosts: `Platform`, `Host` and the facts that they report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from estran.spec.plan import Plan


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a platform cannot do as asked. ``fatal`` ones stop the run before anything starts."""

    what: str
    where: str
    remedy: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class LinkMeasure:
    """One direction of one link: asked and measured (None: not asked, so not probed)."""

    source: str
    target: str
    asked: Mapping[str, float | None]
    measured: Mapping[str, float | None]
    ok: bool
    complaint: str | None = None


@dataclass(frozen=True, slots=True)
class CpuMeasure:
    """A device's CPU share, asked and measured, as cores of this machine."""

    host: str
    asked: float
    measured: float
    ok: bool
    complaint: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What was asked of the infrastructure and what was measured before the workload started."""

    links: tuple[LinkMeasure, ...] = ()
    cpus: tuple[CpuMeasure, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


class Host(Protocol):
    """One provided host. Everything a conductor needs of it goes through these."""

    name: str

    async def run(self, argv: Sequence[str], *, timeout: float | None = None) -> Completed: ...

    async def put(self, local: Path, remote: str) -> None: ...

    async def get(self, remote: str, local: Path) -> None: ...

    async def start(self, service: Mapping[str, Any]) -> None:
        """Start one replica (the plain data of `estran.runtime.launch.Launch`)."""
        ...

    async def stop(self, replica: str, *, grace: float = 2.0) -> None: ...

    def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """What happens on the host: ready, ended, log lines, metric rows, message rows."""
        ...


class Provision(Protocol):
    """What a platform provided for one run."""

    hosts: Mapping[str, Host]

    def address(self, source: str, target: str) -> str:
        """The address by which ``source`` reaches ``target`` over their link."""
        ...

    async def verify(self) -> Verification:
        """Probe links and CPU shares; raises nothing: the conductor judges."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Engines chosen, their limits, and every weaker fallback in use."""
        ...


class Platform(Protocol):
    """Provides hosts, shapes their links and gives them back."""

    name: str

    async def check(self, plan: Plan) -> list[Problem]:
        """What this platform cannot do of the plan. Starts nothing that outlives the call."""
        ...

    def provide(self, plan: Plan, folder: Path) -> AbstractAsyncContextManager[Provision]:
        """Provide hosts with shaped links; they are given back on exit whatever happens."""
        ...
