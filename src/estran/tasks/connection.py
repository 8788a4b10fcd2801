"""Workers on one host, one for each user that tasks are done as."""

from __future__ import annotations

import asyncio
import itertools
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from estran.errors import EstranError, PlatformError
from estran.platforms.answers import NO_SENSE, REMEDY, misheard, understood
from estran.platforms.base import Completed
from estran.platforms.remote import envoy_facts
from estran.platforms.remote.bootstrap import first_line, packed
from estran.platforms.remote.bringing import Keeping, bring, place_of, teach
from estran.platforms.remote.frames import FrameLink
from estran.platforms.remote.packing import Archive
from estran.tasks.archive import Modules
from estran.tasks.errors import EvaluationError
from estran.tasks.hostside import attributes, commands, files, foreign, network, outcome, placing, worker

CARRIED: Final = (envoy_facts, outcome, attributes, commands, files, placing, network, foreign, worker)
"""Modules that are sent to a host, each after those that it imports."""
ARRIVAL: Final = 20.0
ENDED: Final = ("its worker has ended", "see whether the host still runs")
Answer = tuple[dict[str, Any], bytes]
"""What was found, and bytes with it."""


class Stream(Protocol):
    """A process on a host whose standard streams are ours."""

    @property
    def reader(self) -> asyncio.StreamReader: ...

    def write(self, data: bytes, /) -> None:
        """Queue bytes for its input."""
        ...

    async def drain(self) -> None:
        """Wait until little is unsent."""
        ...

    def close(self) -> None:
        """End its input."""
        ...


class TaskHost(Keeping, Protocol):
    """What tasks need of a host; `estran.platforms.remote.host.RemoteHost` has it."""

    async def run(self, argv: Sequence[str], /, *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> Completed:
        """Run a command to its end."""
        ...

    async def get(self, remote: str, local: Path, /) -> str:
        """Copy a file from the host."""
        ...

    async def put_bytes(self, data: bytes, remote: str, /, *, mode: int | None = None) -> str:
        """Write a file, unless the same is there."""
        ...

    async def open(self, argv: Sequence[str], /, *, env: Mapping[str, str] | None = None, log: str | None = None) -> Stream:
        """Start a process whose standard streams are ours."""
        ...


@dataclass(frozen=True, slots=True)
class User:
    """As whom a task is done; no name: as the user of the connection."""

    name: str | None = None
    method: str = "sudo"


@dataclass(slots=True)
class Worker:
    """One worker: requests that wait for its answers."""

    link: FrameLink
    user: str
    serving: asyncio.Task[None] | None = None
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    waiting: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)
    gone: bool = False
    knows: Modules | None = None

    async def serve(self, host: str) -> None:
        """Hand answers to who waits for them."""
        how, remedy = ENDED
        try:
            async for head, data in self.link.frames():
                waiting = self.waiting.get(head["reply"])
                if waiting is not None and not waiting.done():
                    waiting.set_result((understood(head["result"], dict[str, Any], host), data))
        except (*NO_SENSE, PlatformError) as error:
            how, remedy = misheard("its worker", error), REMEDY
        finally:
            self.gone = True
            for waiting in self.waiting.values():
                if not waiting.done():
                    waiting.set_exception(PlatformError(how, where=host, remedy=remedy))

    async def ask(self, request: Mapping[str, Any], data: bytes, host: str) -> Answer:
        """Send a request and wait for its answer; what is cancelled is killed on the host."""
        if self.gone:
            raise PlatformError(ENDED[0], where=host, remedy=ENDED[1])
        number = next(self.numbers)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting[number] = waiting
        self.link.write({"id": number, **request}, data)
        try:
            await self.link.drained()
            return await waiting
        except asyncio.CancelledError:
            self.link.write({"do": "kill", "of": number})
            raise
        finally:
            del self.waiting[number]


class Connection:
    """Does tasks on one host, through workers that start when they are first needed."""

    def __init__(self, host: TaskHost) -> None:
        self.host = host
        self._workers: dict[User, Worker] = {}
        self._starting = asyncio.Lock()
        self._learning = asyncio.Lock()
        self._brought: set[Archive] = set()

    @property
    def scratch(self) -> str:
        """The envoy's folder on the host, which goes with it."""
        return str(self.host.facts["scratch"])

    def temporary(self, user: User) -> str:
        """A folder in which a user may make folders of his own."""
        return self.scratch if user.name is None else str(PurePosixPath(self.scratch).parent)

    async def perform(
        self,
        function: str,
        arguments: Mapping[str, Any],
        data: bytes = b"",
        *,
        user: User = User(),
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Call a function of the worker's modules in a fork; return its result and the bytes with it.

        Raises
        ------
        PlatformError
            If the worker cannot be started or goes.
        """
        request = {"do": "function", "function": function, "arguments": dict(arguments)}
        return await self._ask(request, data, user, environment, timeout)

    async def run_module(
        self,
        module: str,
        arguments: Mapping[str, Any],
        modules: Modules,
        *,
        user: User = User(),
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Run a module in a fork; all modules are brought to the host once and for all. Raises as `perform` does."""
        await self._learn(await self._worker(user), user, modules)
        request = {"do": "module", "module": module, "arguments": dict(arguments)}
        result, _ = await self._ask(request, b"", user, environment, timeout)
        return result

    async def _ask(
        self, request: Mapping[str, Any], data: bytes, user: User, environment: Mapping[str, str] | None, timeout: float | None
    ) -> tuple[dict[str, Any], bytes]:
        worker = await self._worker(user)
        more = {"environment": dict(environment or {}), "timeout": timeout}
        return await worker.ask({**request, **more}, data, self.host.name)

    async def _learn(self, worker: Worker, user: User, modules: Modules) -> None:
        """Have a worker know where the modules are."""
        async with self._learning:
            if worker.knows == modules:
                return
            path = await self._place(user, modules)
            details = {"folder": path, "oldest": list(modules.oldest)}
            learned, _ = await worker.ask({"do": "learn", "details": details}, b"", self.host.name)
            if learned.get("failed"):
                remedy = "install a newer Python there, or an older ansible-core here; any user must be able to read it"
                raise EvaluationError(str(learned["msg"]), where=self.host.name, remedy=remedy)
            worker.knows = modules

    async def _place(self, user: User, modules: Modules) -> str:
        """The folder of the modules on the host: in the cache; other users are given a copy that goes with the run."""
        archive = modules.archive
        if archive not in self._brought:
            await teach(self.host)
            await bring(self.host, archive)
            self._brought.add(archive)
        kept = place_of(self.host, archive)
        if user.name is None:
            return kept
        copy = f"{self.scratch}/{archive.folder}"
        line = '[ -d "$1" ] || { cp -r "$0" "$1.part" && chmod -R a+rX "$1.part" && mv "$1.part" "$1"; }'
        done = await self.host.run(["sh", "-c", line, kept, copy])
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise PlatformError(f"cannot copy {kept}: {said}", where=self.host.name, remedy="free some space there")
        await self.reveal()
        return copy

    async def reveal(self) -> None:
        """Let other users reach files in the scratch folder whose names they know."""
        await self.host.run(["chmod", "711", self.scratch])

    async def _worker(self, user: User) -> Worker:
        async with self._starting:
            if user not in self._workers or self._workers[user].gone:
                self._workers[user] = await self._started(user)
            return self._workers[user]

    async def _started(self, user: User) -> Worker:
        root = self.host.facts.get("uid") == 0
        mark = None if root or user.name is None else await self._mark()
        arguments = [user.name if root else None, mark, mark is not None]
        program = packed(CARRIED, arguments, bytecode=str(self.host.facts.get("bytecode", "")))
        argv = first_line(len(program), str(self.host.facts.get("executable") or "python3"), flags=("-S",))
        if user.name is not None and not root:
            argv = _becoming(user, argv, self.host.name)
        log = f"{self.scratch}/worker-{user.name or 'own'}.log"
        stream = await self.host.open(argv, log=log)
        stream.write(program)
        link = FrameLink(stream.reader, stream)
        worker = Worker(link, user.name or "")
        head = await self._greeting(link)
        if head is None:
            link.close()
            raise await self._refused(user, log)
        worker.user = understood(head.get("user"), str, self.host.name)
        worker.serving = asyncio.create_task(worker.serve(self.host.name), name=f"worker on {self.host.name}")
        return worker

    async def _mark(self) -> str:
        """What the envoy marks its processes with; `sudo` takes it out of the environment."""
        return (await self.host.run(["printenv", "ESTRAN_RUN"])).stdout.decode().strip()

    async def _greeting(self, link: FrameLink) -> dict[str, Any] | None:
        """The first frame of a worker; None if it ended before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ARRIVAL):
                async for head, _ in link.frames():
                    return head
        return None

    async def _refused(self, user: User, log: str) -> EstranError:
        told = (await self.host.run(["tail", "-n", "1", log])).stdout.decode(errors="replace").strip()
        if user.name is None:
            return PlatformError(
                f"no worker came up: {told or 'it said nothing'}", where=self.host.name, remedy="see whether its Python works"
            )
        return EvaluationError(
            f"cannot become {user.name!r} by {user.method}: {told or 'it said nothing'}",
            where=self.host.name,
            remedy="allow it there without a password (sudoers: NOPASSWD), or connect as that user",
        )

    async def close(self) -> None:
        """Let the workers leave, with all tasks that still run."""
        for each in self._workers.values():
            each.link.close()
        serving = [each.serving for each in self._workers.values() if each.serving is not None]
        if serving:
            await asyncio.wait(serving, timeout=5.0)
        for task in serving:
            task.cancel()
        self._workers.clear()


def _becoming(user: User, argv: list[str], host: str) -> list[str]:
    if user.method == "sudo":
        return ["sudo", "-n", "-H", "-u", str(user.name), *argv]
    if user.method == "su":
        return ["su", "-s", "/bin/sh", str(user.name), "-c", shlex.join(argv)]
    raise EvaluationError(f"become_method: {user.method!r} is not known", where=host, remedy="use sudo or su")
