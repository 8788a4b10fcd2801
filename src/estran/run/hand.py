"""Faults that somebody starts by hand while a run goes on: a door to the conductor, for its owner on this machine only.

The door is a Unix socket in a folder that only the user can enter; its name follows from the run's id. It is open during the
measurement. One request a connection, one line of JSON each way: ``{"ask": "kinds"}``, or ``{"fault": {"cut": ["fog", "cloud"],
"for": "3s"}}``, where a fault is as in a description, without its moment.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.components.index import Components
from estran.errors import EstranError, RequestError, SpecErrors
from estran.platforms.base import Breaking, Platform
from estran.run.faults import Happening, Injector, shown, unbreakable
from estran.run.journal import journal_folder
from estran.run.record import RunRecord
from estran.spec.document import dump
from estran.spec.faults import DATA_KINDS, KINDS, Injection
from estran.spec.load import load_text
from estran.spec.plan import Plan
from estran.spec.resolve import plan as make_plan

BY_HAND: Final = "by-hand-"
"""What the names of faults by hand begin with."""
LONGEST: Final = 16_384
"""Bytes of a request."""
PATIENCE: Final = 15.0
"""Seconds that a request, and its answer, may take."""


Spawn = Callable[[Coroutine[Any, Any, None]], None]
"""Begins a task that ends with the door."""


def door_of(run_id: str) -> Path:
    """Where the door of a run is while it is open."""
    return journal_folder().parent / "doors" / f"{run_id}.sock"


@dataclass(slots=True)
class Hand:
    """Takes faults by hand for one run.

    Parameters
    ----------
    record
        Is told that the run was touched.
    """

    plan: Plan
    platform: Platform
    injector: Injector
    record: RunRecord
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def kinds(self) -> dict[str, str | None]:
        """Why each kind of fault cannot be had here; None where it can."""
        breaking = self.platform if isinstance(self.platform, Breaking) else None
        cannot = f"{self.platform.name} cannot break what it provides"
        return {kind: None if kind in DATA_KINDS else breaking.breaks(kind) if breaking else cannot for kind in KINDS}

    async def begin(self, asked: Mapping[str, Any]) -> Happening:
        """Begin a fault now.

        Raises
        ------
        EstranError
            If it is none, or cannot be had here or now.
        """
        async with self._turn:  # two at once would have the same name
            return await self._begin(asked)

    async def _begin(self, asked: Mapping[str, Any]) -> Happening:
        taken = {one.injection.fault for one in self.injector.happenings}
        name = next(name for number in count(1) if (name := f"{BY_HAND}{number}") not in taken)
        for injection in await asyncio.to_thread(self._read, asked, name):
            happening = await self.injector.by_hand(injection)
            lasts = "until the end" if injection.duration is None else f"for {injection.duration:g}s"
            told = f"{injection.kind} of {', '.join(shown(injection))} at {happening.begun:.2f}s {lasts}"
            self.record.warnings.append(f"touched by hand: {told}; no other run of this experiment is like it")
            self.record.note(by_hand=sum(one.by_hand and one.begun is not None for one in self.injector.happenings))
            self.record.write()
            return happening
        raise RequestError("a fault of no time does not happen", where="for", remedy="give it a time")

    def _read(self, asked: Mapping[str, Any], name: str) -> list[Injection]:
        """What is asked, read and checked as if it stood in the description."""
        experiment = self.plan.experiment
        wrong = [key for key in ("at", "when", "random") if key in asked]
        if wrong:
            raise RequestError("a fault by hand begins at once", where=wrong[0], remedy="leave it out")
        document = {**experiment.document, "claims": [], "faults": {name: {**asked, "at": 0.0}}}
        try:
            loaded = load_text(
                dump(document), source=name, folder=experiment.folder, components=Components(Path(experiment.folder))
            )
        except SpecErrors as error:
            first = error.errors[0]
            raise RequestError(first.what, where=name, remedy=first.remedy) from error
        plan = make_plan(loaded)
        for problem in unbreakable(self.platform, plan):
            raise RequestError(problem.what, where=name, remedy="choose another kind")
        return [replace(one, at=None) for one in plan.injections]


@asynccontextmanager
async def door(hand: Hand, run_id: str) -> AsyncIterator[None]:
    """Keep the door open meanwhile; where the file system knows no sockets, the run goes on without, and its record says so."""
    async with asyncio.TaskGroup() as group:
        tasks: set[asyncio.Task[None]] = set()

        def spawn(work: Coroutine[Any, Any, None]) -> None:
            task = group.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        try:
            with ExitStack() as stack:
                try:
                    sock = stack.enter_context(_listening(door_of(run_id)))
                except OSError as error:
                    hand.record.note(no_faults_by_hand=f"{door_of(run_id)}: {error.strerror}")
                else:
                    spawn(_answer_all(hand, sock, spawn))
                yield
        finally:
            for task in list(tasks):  # what is on is healed by the injector
                task.cancel()


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _short(path) as address, socket.socket(socket.AF_UNIX) as sock:
        path.unlink(missing_ok=True)
        try:
            sock.bind(address)
            path.chmod(0o600)
            sock.listen(8)
            sock.setblocking(False)
            yield sock
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address of a socket that is short enough for the kernel, wherever the home folder is."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(folder).st_mode & 0o077:
            os.fchmod(folder, 0o700)
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def _answer_all(hand: Hand, sock: socket.socket, spawn: Spawn) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(sock)
        spawn(_answer(hand, connection, spawn))


async def _answer(hand: Hand, connection: socket.socket, spawn: Spawn) -> None:
    with connection:
        if _owner(connection) not in (0, os.geteuid()):
            return
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                told = await _told(hand, await _line(connection), spawn)
                await asyncio.get_running_loop().sock_sendall(connection, msgspec.json.encode(told) + b"\n")


def _owner(connection: socket.socket) -> int:
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(user)


async def _line(connection: socket.socket) -> bytes:
    read = b""
    while b"\n" not in read and len(read) < LONGEST:
        if not (more := await asyncio.get_running_loop().sock_recv(connection, LONGEST)):
            break
        read += more
    return read.partition(b"\n")[0]


async def _told(hand: Hand, line: bytes, spawn: Spawn) -> dict[str, Any]:
    """The answer to a request."""
    try:
        asked = msgspec.json.decode(line, type=dict[str, Any])
        if asked.get("ask") == "kinds":
            return {"kinds": hand.kinds()}
        happening = await hand.begin(msgspec.convert(asked.get("fault"), dict[str, Any]))
    except msgspec.MsgspecError as error:
        return {"what": f"this is no request: {error}", "remedy": None}
    except EstranError as error:
        return {"what": f"{error.where}: {error.what}" if error.where else error.what, "remedy": error.remedy}
    spawn(hand.injector.heal_in_time(happening))
    return {"begun": happening.begun, "key": happening.injection.key, "targets": shown(happening.injection)}


async def ask(run_id: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the conductor of a run.

    Raises
    ------
    RequestError
        If its door is not open, or it says no.
    """
    path = door_of(run_id)
    try:
        with _short(path) as address, socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(PATIENCE):
                await loop.sock_connect(sock, address)
                await loop.sock_sendall(sock, msgspec.json.encode(request) + b"\n")
                line = await _line(sock)
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except (OSError, TimeoutError, msgspec.DecodeError) as error:
        raise RequestError(
            "no fault can be started now", where="the run", remedy="it can while it measures, on this machine, by who started it"
        ) from error
    if "what" in answer:
        raise RequestError(str(answer["what"]), where="the fault", remedy=answer["remedy"])
    return answer
