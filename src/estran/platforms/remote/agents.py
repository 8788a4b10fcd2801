"""A host's agent as the conductor sees it, on a host with a clock and a file system of its own."""

from __future__ import annotations

import io
import shutil
import tarfile
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.agent_host import AgentHost
from estran.platforms.remote.bringing import UNPACKING
from estran.platforms.remote.environment import Environment
from estran.platforms.remote.host import ClockOffset, RemoteHost
from estran.platforms.remote.pipe import Pipe
from estran.platforms.remote.told import Packed
from estran.runtime.control import Frame, Link

FIRST_TIME: Final = 300.0
"""Seconds that a component may take to get ready: learners are compiled on a host that has never run them."""

WORK: Final = "work"
PROGRAM: Final = "estran.platforms.remote.agent_main"


class RemoteAgent(AgentHost):
    """Implements `estran.platforms.base.Host` over a remote agent.

    Instants of the controller's monotonic clock become those of the host's on the way there, and back on the way here.

    Parameters
    ----------
    remote
        The envoy that holds the agent.
    clock
        The host's monotonic clock against the controller's.
    folder
        The run's, into which the files come that services leave.
    local
        The experiment's folder on the controller, in place of which services get its copy.
    """

    def __init__(
        self, name: str, remote: RemoteHost, pipe: Pipe, clock: ClockOffset, environment: Environment, folder: Path, local: str
    ) -> None:
        super().__init__(name, Link(pipe.reader, pipe))
        self._remote = remote
        self._offset_ns = clock.offset_ns
        self._environment = environment
        self._folder = folder
        self._local = local
        self._closing = False

    async def start(self, service: Mapping[str, Any]) -> None:
        work = f"{self._remote.facts['scratch']}/{WORK}/{service['replica']}"
        there = self._environment.experiment
        env = {key: there if value == self._local else value for key, value in service["env"].items()}
        env["ESTRAN_RUN"] = str(self._remote.facts["mark"])  # by which the envoy finds what leaves its group
        ready = service["ready"]
        if service["component"] is not None:
            ready = {**ready, "timeout": max(ready["timeout"], FIRST_TIME)}
        moved = {
            "ready": ready,
            "folder": work,
            "experiment_folder": there,
            "env": env,
            "origin_ns": service["origin_ns"] + self._offset_ns,
        }
        await super().start({**service, **moved})

    async def go(self, origin_ns: int) -> None:
        await super().go(origin_ns + self._offset_ns)

    async def events(self) -> AsyncIterator[Frame]:
        async for frame in super().events():
            if "origin_ns" in frame:
                frame["origin_ns"] -= self._offset_ns
            yield frame
        if not self._closing:
            raise PlatformError(self._remote.gone or await self._last_words(), where=self.name)

    async def _last_words(self) -> str:
        """What the agent said before it ended, if the host still answers."""
        try:
            done = await self._remote.run(["tail", "-n", "1", "agent.log"], cwd=str(self._remote.facts["scratch"]), timeout=2.0)
        except PlatformError as error:
            return error.what
        said = done.stdout.decode(errors="replace").strip()
        return "its agent has ended" + (f": {said}" if said else "")

    async def close(self) -> None:
        """Let the agent end, and fetch what services have left in their folders."""
        self._closing = True
        await super().close()
        await self._fetch()

    async def _fetch(self) -> None:
        told, packed = await self._remote.ask("call", answer=Packed, function=f"{UNPACKING}.pack", details={"folder": WORK})
        if told["files"]:
            unpack_files(packed, self._folder / WORK)


def unpack_files(packed: bytes, folder: Path) -> None:
    """Write the regular files of an archive below a folder; what would lie elsewhere is refused.

    Raises
    ------
    PlatformError
        If a name leads out of the folder, or it is no archive.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            for entry in archive:
                _unpack(archive, entry, folder)
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise PlatformError(f"what a host sent of its services' files cannot be unpacked: {error}") from error


def _unpack(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(entry.name)
    content = archive.extractfile(entry) if entry.isreg() else None
    if name.is_absolute() or ".." in name.parts or content is None:
        raise PlatformError(f"a host sent a file that leads elsewhere: {entry.name}")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)


async def start_agent(
    name: str, remote: RemoteHost, clock: ClockOffset, environment: Environment, folder: Path, local: str
) -> RemoteAgent:
    """Start an agent on a host."""
    scratch = str(remote.facts["scratch"])
    argv = [environment.python, "-m", PROGRAM, name]
    pipe = await remote.open(argv, cwd=scratch, env=environment.variables(), log=f"{scratch}/agent.log")
    return RemoteAgent(name, remote, pipe, clock, environment, folder, local)
