"""Faults of one host's services, as its agent brings them about: what a platform can do to processes that it started.

The agent itself stays, as the switch that turns a machine off is not a part of the machine.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError, RequestError
from estran.runtime import hog
from estran.runtime.supervised import Supervised
from estran.runtime.supervisor import Supervisor
from estran.runtime.tree import tree
from estran.units import show

SLICE: Final = 0.02
"""Seconds of which a slowed process may run a part."""

LOOK: Final = 0.5
"""Seconds after which a slowed replica's processes are looked for again."""

LEFT: Final = 0.1
"""Part of the memory that is free on a real host which pressure must leave."""

TAKING: Final = 60.0
"""Seconds in which memory must have been taken."""


class HostFaults:
    """Faults that last on one host.

    Parameters
    ----------
    supervisor
        Of the host's services.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._ends: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._slowing: dict[str, asyncio.Task[None]] = {}
        self._hogs: dict[str, asyncio.subprocess.Process] = {}
        self._limits: dict[int, int] = {}

    async def begin(self, key: str, kind: str, replicas: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Begin a fault; it has begun when this returns.

        Raises
        ------
        EstranError
            If it cannot be done.
        """
        if key in self._ends:
            raise RequestError(f"the fault {key} lasts already")
        await getattr(self, "_begin_" + kind.replace("-", "_"))(key, self._of(replicas), settings)
        self._ends[key] = kind, tuple(replicas)

    async def end(self, key: str) -> None:
        """End a fault; nothing to do where it never began, or does not last."""
        kind, replicas = self._ends.pop(key, ("", ()))
        ending = getattr(self, "_end_" + kind.replace("-", "_"), None) if kind else None
        if ending is not None:
            await ending(key, self._of(replicas))

    async def close(self) -> None:
        """End what would outlive the agent."""
        for task in self._slowing.values():
            task.cancel()
        for process in self._hogs.values():
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _of(self, replicas: Sequence[str]) -> list[Supervised]:
        known = self._supervisor.supervised
        if unknown := [name for name in replicas if name not in known]:
            raise RequestError(f"no replica {unknown[0]!r} was started here")
        return [known[name] for name in replicas]

    # Processes

    async def _begin_kill(self, key: str, replicas: list[Supervised], settings: Mapping[str, Any]) -> None:
        for replica in replicas:
            replica.kill(key)

    async def _begin_crash(self, key: str, replicas: list[Supervised], settings: Mapping[str, Any]) -> None:
        for replica in replicas:
            replica.crash(key)
        for replica in replicas:
            await replica.gone()

    async def _end_crash(self, key: str, replicas: list[Supervised]) -> None:
        for replica in replicas:
            replica.revive()

    async def _begin_hang(self, key: str, replicas: list[Supervised], settings: Mapping[str, Any]) -> None:
        for replica in replicas:
            replica.freeze(True)

    async def _end_hang(self, key: str, replicas: list[Supervised]) -> None:
        for replica in replicas:
            replica.freeze(False)

    async def _begin_slow(self, key: str, replicas: list[Supervised], settings: Mapping[str, Any]) -> None:
        self._slowing[key] = asyncio.create_task(_slowed(replicas, settings["speed"]), name=f"slow {key}")

    async def _end_slow(self, key: str, replicas: list[Supervised]) -> None:
        task = self._slowing.pop(key)
        task.cancel()
        await asyncio.wait({task})

    # Disks and memory

    async def _begin_disk_full(self, key: str, replicas: list[Supervised], settings: Mapping[str, Any]) -> None:
        # The agent's own limit is what processes inherit that are started meanwhile.
        for pid in [os.getpid(), *(pid for replica in replicas if replica.pid is not None for pid in tree(replica.pid))]:
            with suppress(ProcessLookupError):
                soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                self._limits[pid] = soft
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))

    async def _end_disk_full(self, key: str, replicas: list[Supervised]) -> None:
        limits, self._limits = self._limits, {}
        own = limits[os.getpid()]
        for pid in [os.getpid(), *(pid for replica in replicas if replica.pid is not None for pid in tree(replica.pid))]:
            with suppress(ProcessLookupError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (limits.get(pid, own), hard))

    async def _begin_memory_pressure(self, key: str, replicas: list[Supervised], settings: Mapping[str, Any]) -> None:
        size = int(settings["memory"])
        refuse_too_much(size)
        process = self._hogs[key] = await asyncio.create_subprocess_exec(
            *hog_command(size), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        try:
            async with asyncio.timeout(TAKING):
                said = await process.stdout.readline()
        except TimeoutError:
            said = b""
        if not said:
            await self._end_memory_pressure(key, replicas)
            raise PlatformError(f"{show(size, 'size')} of memory could not be taken", remedy="let the fault take less")

    async def _end_memory_pressure(self, key: str, replicas: list[Supervised]) -> None:
        process = self._hogs.pop(key)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def hog_command(size: int) -> list[str]:
    """The command that takes so many bytes, once it reads a line."""
    return [sys.executable, "-I", "-S", hog.__file__, str(size)]


def refuse_too_much(size: int) -> None:
    """Leave the machine something: others may be at work on it.

    Raises
    ------
    PlatformError
        If less memory is free.
    """
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    free = int(next(line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable:"))) * 1024
    if size > (1 - LEFT) * free:
        raise PlatformError(
            f"{show(size, 'size')} cannot be taken where {show(free, 'size')} of memory are free",
            remedy="let the fault take less memory",
        )


async def _slowed(replicas: Sequence[Supervised], speed: float) -> None:
    """Let replicas run for a part of each slice; whatever ends this, they go on."""
    loop = asyncio.get_running_loop()
    stopped: set[int] = set()
    pids, looked = set[int](), -LOOK
    try:
        while True:
            if loop.time() - looked >= LOOK:
                looked = loop.time()
                roots = [replica.pid for replica in replicas if replica.pid is not None and not replica.frozen]
                pids = {pid for root in roots for pid in tree(root)}
            frozen = {replica.pid for replica in replicas if replica.frozen}
            for pid in pids - frozen:
                stopped.add(pid)
                _signal(pid, signal.SIGSTOP)
            await asyncio.sleep((1 - speed) * SLICE)
            _continue(stopped, replicas)
            await asyncio.sleep(speed * SLICE)
    finally:
        _continue(stopped, replicas)


def _continue(stopped: set[int], replicas: Sequence[Supervised]) -> None:
    hung = {pid for replica in replicas if replica.frozen and replica.pid is not None for pid in tree(replica.pid)}
    for pid in stopped - hung:
        _signal(pid, signal.SIGCONT)
    stopped.clear()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
