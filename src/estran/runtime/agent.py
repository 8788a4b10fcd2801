"""The agent of one host: does what the conductor asks over one control connection, and tells what happens there.

Requests are frames ``{id, do, …}``; each is answered by ``{reply: id, ok | error}``. Everything else that it says is news:
``{say: rows | ready | ended | restarting | task-failed, …}``. When the conductor goes, so do the agent and all it started.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from estran.errors import EstranError, RequestError, TransportError
from estran.runtime.breaking import HostFaults
from estran.runtime.clock import RealClock
from estran.runtime.control import Frame, Link
from estran.runtime.launch import Launch
from estran.runtime.life import root_cause
from estran.runtime.process import Enclosure
from estran.runtime.supervisor import Supervisor

FLUSH_PERIOD = 0.1


class Agent:
    """Serves one control connection on behalf of one host.

    Parameters
    ----------
    enclosures
        The limits of each replica that is to run here.
    """

    def __init__(self, host: str, link: Link, origin_ns: int, enclosures: Mapping[str, Enclosure] | None = None) -> None:
        self.host = host
        self._link = link
        self._clock = RealClock(origin_ns)
        self._supervisor = Supervisor(link.write, self._clock, enclosures or {})
        self._faults = HostFaults(self._supervisor)
        self._replicas: asyncio.TaskGroup
        self._tasks: list[asyncio.Task[None]] = []

    async def serve(self) -> None:
        """Answer requests until the conductor goes or says ``exit``; then end everything that runs here.

        What else ends it is told to the conductor, and raised.
        """
        try:
            await self._serve()
        except Exception as error:
            cause = root_cause(error)
            self._link.write({"say": "task-failed", "task": "the host's agent", "what": f"{type(cause).__name__}: {cause}"})
            await self._link.close()
            raise

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as self._replicas, asyncio.TaskGroup() as requests:
            flushing = requests.create_task(self._flush_periodically())
            async for frame in self._link.frames():
                if not isinstance(frame.get("do"), str) or "id" not in frame:
                    raise TransportError("a request says neither what to do nor its number", where=self.host)
                if frame["do"] == "exit":
                    await self._end_tasks()  # before the answer, after which nobody listens to their last rows
                    self._reply(frame, None)
                    break
                requests.create_task(self._answer(frame))
            flushing.cancel()
            await self._end_tasks()
            await self._faults.close()
            for replica in self._supervisor.supervised.values():
                requests.create_task(replica.stop(0.0))
        self._supervisor.flush()
        await self._link.close()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, frame: Frame) -> None:
        handler = getattr(self, f"_do_{frame['do']}", None)
        if handler is None:
            self._refuse(frame, f"an agent cannot {frame['do']!r}", None)
            return
        try:
            self._reply(frame, await handler(**{k: v for k, v in frame.items() if k not in ("id", "do")}))
        except EstranError as error:
            self._refuse(frame, error.what, error.remedy)
        except Exception as error:  # noqa: BLE001 - the conductor is told of every failure, and the agent stays
            self._refuse(frame, f"{type(error).__name__}: {error}", None)

    def _reply(self, frame: Frame, ok: Any) -> None:
        self._link.write({"reply": frame["id"], "ok": ok})

    def _refuse(self, frame: Frame, what: str, remedy: str | None) -> None:
        self._link.write({"reply": frame["id"], "error": {"what": what, "remedy": remedy}})

    async def _flush_periodically(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD)
            self._supervisor.flush()

    async def _do_start(self, launch: Mapping[str, Any]) -> None:
        self._supervisor.start(Launch.read(launch), self._replicas)

    async def _do_break(self, key: str, kind: str, replicas: Sequence[str], settings: Mapping[str, Any]) -> None:
        await self._faults.begin(key, kind, replicas, settings)

    async def _do_mend(self, key: str) -> None:
        await self._faults.end(key)

    async def _do_go(self, origin_ns: int) -> None:
        self._supervisor.go(origin_ns)

    async def _do_stop(self, replica: str, grace: float) -> None:
        supervised = self._supervisor.supervised.get(replica)
        if supervised is None:
            raise RequestError(f"no replica {replica!r} was started here", where=self.host)
        await supervised.stop(grace)

    async def _do_tell(self, replica: str, frame: Mapping[str, Any]) -> None:
        supervised = self._supervisor.supervised.get(replica)
        if supervised is None:
            raise RequestError(f"no replica {replica!r} was started here", where=self.host)
        supervised.tell(frame)

    async def _do_task(self, path: str, settings: Mapping[str, Any]) -> None:
        """Run ``module:function(emit, clock, settings)`` beside the services until the agent ends."""
        module, _, name = path.partition(":")
        function = getattr(importlib.import_module(module), name)
        self._tasks.append(self._replicas.create_task(self._run_task(path, function, settings), name=path))

    async def _run_task(self, path: str, function: Any, settings: Mapping[str, Any]) -> None:
        try:
            await function(self._emit, self._clock, settings)
        except (EstranError, OSError) as error:
            self._link.write({"say": "task-failed", "task": path, "what": str(error)})

    async def _do_run(self, argv: Sequence[str], timeout: float | None) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout):
                stdout, stderr = await process.communicate()
        except BaseException as error:  # whatever it is: nobody waits for the command any more
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, TimeoutError):
                raise RequestError(f"{argv[0]} did not end within {timeout:g}s", where=self.host) from error
            raise
        return {"returncode": process.returncode, "stdout": stdout, "stderr": stderr}

    async def _do_put(self, path: str, data: bytes, first: bool, mode: int) -> None:
        await asyncio.to_thread(_write, Path(path), data, first, mode)

    async def _do_get(self, path: str, offset: int, size: int) -> bytes:
        return await asyncio.to_thread(_read, Path(path), offset, size)

    def _emit(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._link.write({"say": "rows", "origin_ns": self._clock.origin_ns, "table": table, "rows": rows})


def _write(path: Path, data: bytes, first: bool, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb" if first else "ab") as file:
        file.write(data)
    path.chmod(mode)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
