"""Envoys on emulated hosts: what is done on hosts elsewhere can be done there in the same way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from estran.errors import PlatformError
from estran.platforms.emulated import room
from estran.platforms.remote.bootstrap import LEASE, attended, program
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.host import RemoteHost

FOLDER: Final = "ESTRAN_ENVOYS"
ARRIVAL: Final = 20.0
LONGEST: Final = 100
"""Bytes of the path of a socket; the kernel takes 107."""
_PLACE: Final = re.compile(r"estran-[0-9a-f]{8}")


def command() -> tuple[str, ...]:
    """The command of a service that is an envoy on its host, once its meeting place is there (see `Meeting`)."""
    own = f"${FOLDER}/$ESTRAN_HOST"
    line = f'exec "$0" -IS "$1" "{own}.program" "{own}.room" "${FOLDER}" "{own}.note"'
    return ("sh", "-c", line, sys.executable, room.__file__)


@dataclass(slots=True)
class Meeting:
    """The folder in which envoys find their programs, and their controller.

    Attributes
    ----------
    environment
        Variables that a service of `command` must have.
    """

    folder: Path
    run_id: str

    @property
    def environment(self) -> dict[str, str]:
        return {FOLDER: str(self.folder)}

    def socket(self, host: str) -> Path:
        """Where an envoy's connection is awaited."""
        return self.folder / f"{host}.sock"

    def note(self, host: str) -> str | None:
        """Why a host has no file system of its own; None if it has."""
        path = self.folder / f"{host}.note"
        return path.read_text(encoding="utf-8") if path.exists() else None

    def prepare(self, host: str) -> None:
        """Leave a host's envoy its program."""
        (self.folder / f"{host}.room").mkdir()
        sent = program(f"{self.run_id}.{host}", LEASE, str(self.socket(host)))
        (self.folder / f"{host}.program").write_bytes(sent)


@contextmanager
def meeting(run_id: str, hosts: Mapping[str, object], note: Callable[[str, str], None]) -> Iterator[Meeting]:
    """Make the meeting place of some hosts.

    Parameters
    ----------
    note
        Writes a line of the run's journal.
    """
    longest = max((len(name) for name in hosts), default=0)
    parent = tempfile.gettempdir()
    parent = parent if len(os.fsencode(parent)) + longest < LONGEST - 32 else "/tmp"  # noqa: S108 - a new folder in it, of this user alone
    folder = Path(parent) / f"estran-{secrets.token_hex(4)}"
    note("folder", str(folder))
    folder.mkdir(mode=0o700)
    try:
        place = Meeting(folder, run_id)
        for name in hosts:
            place.prepare(name)
        yield place
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(value: str) -> Path | None:
    """The meeting place that a journal's line names, if it is still there: a folder of this user's, as `meeting` makes them."""
    path = Path(value)
    if _PLACE.fullmatch(path.name) is None or str(path.parent) not in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - only looked at
        return None
    with contextlib.suppress(OSError):
        facts = path.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid():
            return path
    return None


@asynccontextmanager
async def arriving(place: Meeting, hosts: Mapping[str, object]) -> AsyncIterator[asyncio.Task[dict[str, RemoteHost]]]:
    """Await the envoys of some hosts, which are started meanwhile.

    Yields
    ------
    asyncio.Task
        Its result are the hosts by name, once all have arrived. It fails with a `PlatformError` if one does not arrive in time.
    """
    stacks = {name: AsyncExitStack() for name in hosts}
    listening = {name: await _listen(place, name, stack) for name, stack in stacks.items()}

    async def all_of_them() -> dict[str, RemoteHost]:
        async with asyncio.TaskGroup() as group:
            entering = {
                name: group.create_task(stack.enter_async_context(_envoy(name, listening[name]))) for name, stack in stacks.items()
            }
        return {name: task.result() for name, task in entering.items()}

    waiting = asyncio.create_task(all_of_them(), name="envoys")
    try:
        yield waiting
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})
        await asyncio.gather(*(stack.aclose() for stack in stacks.values()), return_exceptions=True)


async def _listen(place: Meeting, name: str, stack: AsyncExitStack) -> asyncio.Future[FrameLink]:
    """Await one connection."""
    came: asyncio.Future[FrameLink] = asyncio.get_running_loop().create_future()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if came.done():
            writer.close()
        else:
            came.set_result(FrameLink(reader, writer))

    server = await asyncio.start_unix_server(take, place.socket(name), limit=1 << 20)
    stack.callback(server.close)
    return came


@asynccontextmanager
async def _envoy(name: str, came: asyncio.Future[FrameLink]) -> AsyncIterator[RemoteHost]:
    try:
        async with asyncio.timeout(ARRIVAL):
            link = await came
            await link.await_envoy()
    except (TimeoutError, asyncio.IncompleteReadError):
        raise PlatformError("no envoy came up", where=name, remedy="read the log of the host's envoy in the run folder") from None
    async with attended(RemoteHost(name, link)) as host:
        yield host
