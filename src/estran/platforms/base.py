"""The seams to what provides hosts: `Platform`, `Host` and the facts that they report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from estran.errors import PlatformError
from estran.runtime.clock import Clock
from estran.runtime.launch import Security
from estran.spec.faults import FaultKind, Injection
from estran.spec.plan import Plan


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a platform cannot do as asked. ``fatal`` ones stop the run before anything starts.

    Attributes
    ----------
    place
        File, line and column of what asks for it, where known.
    """

    what: str
    where: str
    remedy: str
    fatal: bool = True
    place: str | None = None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.where, self.what) if part is not None)


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

    async def serve(self) -> None:
        """Keep the connection to the host; its user runs this in a task for as long as the host is used."""
        ...

    async def run(self, argv: Sequence[str], *, timeout: float | None = None) -> Completed:
        """Run a command to its end."""
        ...

    async def put(self, local: Path, remote: str) -> None:
        """Copy a file to the host."""
        ...

    async def get(self, remote: str, local: Path) -> None:
        """Copy a file from the host."""
        ...

    async def start(self, launch: Mapping[str, Any]) -> None:
        """Start one replica (plain data of `estran.runtime.launch.Launch`)."""
        ...

    async def go(self, origin_ns: int) -> None:
        """Begin the run, at that instant of the host's monotonic clock."""
        ...

    async def stop(self, replica: str, *, grace: float = 2.0) -> None:
        """End a replica; kill it if it has not ended after ``grace`` seconds."""
        ...

    async def tell(self, replica: str, frame: Mapping[str, Any]) -> None:
        """Say something to a replica of a component that runs; nothing if it does not run now."""
        ...

    async def task(self, path: str, settings: Mapping[str, Any]) -> None:
        """Run ``module:function`` in the host's agent until it ends."""
        ...

    def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """What happens on the host: rows, ready, ended, restarting, task-failed; ends when the agent has gone.

        Raises
        ------
        PlatformError
            If it is known why it has gone, and nobody had asked it to.
        """
        ...

    async def close(self) -> None:
        """End everything on the host, the agent last."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """How hosts get at each other where not all of them can be dialled, or others could listen.

    Attributes
    ----------
    behind
        Hosts that nobody can dial (behind NAT or a firewall); they dial others.
    networks
        Networks that are apart, by host: from within one can dial only each other, and the router.
    router
        The host that all others can dial, on which a router passes on what is for those.
    security
        The certificates of each host; none for plain TCP.
    translated
        Hosts that others dial by an address which is not the host's own, such as a cloud's public one.
    """

    behind: Collection[str] = ()
    router: str | None = None
    security: Mapping[str, Security] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    translated: Collection[str] = ()

    def can_dial(self, near: str, far: str) -> bool:
        """Whether one host can dial the other."""
        together = self.networks.get(near) == self.networks.get(far)
        return near == far or (together and (far not in self.behind or near in self.networks))

    @property
    def protocol(self) -> str:
        """Of endpoints."""
        return "tls" if self.security else "tcp"


OPEN: Final = Access()
"""Every host can be dialled, and nobody else is there."""


class Provision(Protocol):
    """What a platform provided for one run.

    Attributes
    ----------
    hosts
        The hosts on which replicas are to run, by name.
    """

    hosts: Mapping[str, Host]

    def address(self, source: str, target: str) -> str:
        """The address by which ``source`` reaches ``target`` over their link."""
        ...

    def access(self) -> Access:
        """How its hosts get at each other."""
        ...

    async def verify(self) -> Verification:
        """Probe links and CPU shares; raises nothing for what is out of tolerance: the conductor judges."""
        ...

    async def enforce(self) -> None:
        """Hold services to their devices' limits from now on; until then they may get ready as fast as they can."""
        ...

    def sampler(self, host: str) -> tuple[str, Mapping[str, Any]]:
        """The task (``module:function`` and settings) that samples this host's resources."""
        ...

    def observer(self, host: str) -> tuple[str, Mapping[str, Any]] | None:
        """The task that observes what the host's commands exchange with others; None where it has no commands."""
        ...

    def now_ns(self) -> int:
        """The conductor's monotonic clock, in nanoseconds."""
        ...

    def clock(self, origin_ns: int) -> Clock:
        """The run's clock as the conductor reads it."""
        ...

    async def conclude(self) -> Mapping[str, Any]:
        """What can be known only when the measurement is over; replaces facts of the verification.

        Raises
        ------
        PlatformError
            If a host goes.
        """
        ...

    def notes(self) -> list[str]:
        """What the reader of the run's figures must know, when it is over."""
        ...

    async def broken(self) -> PlatformError:
        """Wait until the platform itself breaks, and say how and what to do."""
        ...


class Platform(Protocol):
    """Provides hosts, shapes their links and gives them back.

    Attributes
    ----------
    virtual
        Whether time is simulated, so that nothing of this machine's own time or load has a meaning.
    """

    name: str
    virtual: bool

    def loop_factory(self) -> asyncio.AbstractEventLoop:
        """Make the event loop on which a run must be conducted."""
        ...

    async def check(self, plan: Plan) -> list[Problem]:
        """What this platform cannot do of the plan. Starts nothing that outlives the call."""
        ...

    def provide(self, plan: Plan, folder: Path, run_id: str) -> AbstractAsyncContextManager[Provision]:
        """Provide hosts with shaped links; they are given back on exit whatever happens.

        Raises
        ------
        PlatformError
            On entering, if the hosts cannot be provided.
        """
        ...


@runtime_checkable
class Holdable(Protocol):
    """A `Platform` that can keep what it provides from one run to the next, where both ask for the same."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Keep what is provided, until the context is left.

        A run finds nothing of the one before: no process, packet, connection or figure. After a run that failed, or that left
        what cannot be removed, everything is provided anew.

        Parameters
        ----------
        name
            Value of the environment variable ``ESTRAN_RUN`` of the processes that outlive runs.
        """
        ...


@runtime_checkable
class Breakable(Protocol):
    """A `Provision` that can break what it provided, on purpose.

    It is never asked for two injections at once that have a common one of `Injection.targets`: of two that befall one link, or take
    one replica down, the second begins when the first is healed. Nor is it asked for what replicas bring about themselves (`TOLD`).
    """

    async def inject(self, injection: Injection) -> None:
        """Begin a fault; it has begun when this returns.

        What goes down is told by the host as ever (``ended``, or ``restarting`` by the policy of a service that was killed without
        a duration); what comes up again is told as ``ready``.

        Raises
        ------
        PlatformError
            If it could not be done.
        """
        ...

    async def heal(self, injection: Injection) -> None:
        """End a fault; it is over when this returns, though what it did may last.

        Services that went down with a crash, a reboot or a kill that has a duration have been told to start again when this
        returns; of one without a duration, they stay down.

        Raises
        ------
        PlatformError
            If it could not be done.
        """
        ...


@runtime_checkable
class Breaking(Protocol):
    """A `Platform` whose provisions are `Breakable`."""

    def breaks(self, kind: FaultKind) -> str | None:
        """Why it cannot do faults of this kind; None where it can."""
        ...


@runtime_checkable
class Reserving(Protocol):
    """A `Platform` that reserves what outlives this process, and may have to wait for it."""

    def confide(self, note: Callable[[str, str], None], tell: Callable[[str], None]) -> None:
        """Say where the next run's reservations are to be noted, and who is told how one waits.

        Parameters
        ----------
        note
            Takes a kind and a value that `estran clean` understands; it is on disk when this returns.
        """
        ...

    def cost(self, plan: Plan) -> list[str]:
        """What a run may cost, in words: node-hours and walltime of each reservation."""
        ...

    def keep(self, told: Callable[[str], None]) -> None:
        """Keep what the next run reserves, for those after it.

        Parameters
        ----------
        told
            Is told what was kept, and how it is given back.

        Raises
        ------
        RequestError
            If nothing is reserved that could be kept.
        """
        ...
