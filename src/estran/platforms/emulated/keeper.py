"""The keeper: one process that holds an emulated run's namespaces and limits, and forks its agents from a warm interpreter.

It is the first process of a process namespace where the kernel allows one: when it ends, however that comes, the kernel ends
every agent, relay, service and stray child with it, and network namespaces vanish with their last descriptor. It ends when the
conductor says so or goes. Synchronous and single-threaded, since it forks.

Requests are those of `estran.runtime.control`: ``up``, ``verify``, ``agents``, ``exit``.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import EstranError, PlatformError
from estran.platforms.emulated import isolation
from estran.platforms.emulated.assembly import Assembly
from estran.platforms.emulated.order import Order
from estran.runtime.control import pack

STEP_MS: Final = 250
"""How often CPU caps are corrected from the accounting, and the relay is looked after."""

WARM: Final = (
    "numpy",
    "msgspec",
    "zenoh",
    "estran.runtime.agent",
    "estran.runtime.service",
    "estran.runtime.zenoh_transport",
    "estran.components.source",
    "estran.components.trainer",
    "estran.components.predictor",
    "estran.components.sink",
)
"""Imported once here, so that a hundred services do not each pay for it."""

_LENGTH: Final = 4


class Keeper:
    """Serves the conductor's requests until it goes.

    Parameters
    ----------
    control
        The conductor's connection.
    """

    def __init__(self, control: socket.socket, notes: list[str]) -> None:
        self._control = control
        self._notes = notes
        self._resources = ExitStack()
        self._assembly: Assembly | None = None
        self._agents: dict[int, str] = {}
        self._reported: set[str] = set()

    def serve(self) -> None:
        """Answer until the conductor says ``exit`` or goes, then give everything back."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        with self._resources:
            self._resources.callback(self._end_agents)
            while True:
                if poll.poll(STEP_MS):
                    frame = self._read()
                    if frame is None:
                        return
                    self._answer(frame)
                    if frame["do"] == "exit":
                        return
                self._look_after()

    def _answer(self, frame: Mapping[str, Any]) -> None:
        try:
            details = {key: value for key, value in frame.items() if key not in ("id", "do")}
            reply = {"reply": frame["id"], "ok": getattr(self, f"_do_{frame['do']}")(**details)}
        except EstranError as error:
            reply = {"reply": frame["id"], "error": {"what": str(error.what), "remedy": error.remedy}}
        except OSError as error:
            reply = {"reply": frame["id"], "error": {"what": f"{type(error).__name__}: {error}", "remedy": None}}
        self._control.sendall(pack(reply))

    def _do_up(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        self._assembly = self._resources.enter_context(Assembly(msgspec.convert(order, Order), self._notes))
        return self._assembly.facts()

    def _do_warm(self) -> None:
        for name in WARM:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()

    def _do_verify(self) -> Mapping[str, Any]:
        return asdict(self._built().verify())

    def _do_lift(self) -> None:
        self._built().lift()

    def _do_enforce(self) -> None:
        self._built().enforce()

    def _do_agents(self, ends: Mapping[str, int], origin_ns: int) -> None:
        for host, descriptor in ends.items():
            self._agents[self._fork_agent(host, descriptor, origin_ns)] = host

    def _do_exit(self) -> None:
        self._end_agents()

    def _built(self) -> Assembly:
        if self._assembly is None:
            raise PlatformError("nothing has been built yet")
        return self._assembly

    def _fork_agent(self, host: str, descriptor: int, origin_ns: int) -> int:
        assembly = self._built()
        pid = os.fork()
        if pid:
            os.close(descriptor)
            return pid
        status = 1
        try:
            isolation.die_with_parent(os.getppid())
            self._control.close()
            assembly.enter(host)
            _be_agent(host, socket.socket(fileno=descriptor), origin_ns, assembly)
            status = 0
        except BaseException as error:  # noqa: BLE001 - a forked child must never return into its parent's stack
            os.write(2, f"agent of {host}: {type(error).__name__}: {error}\n".encode())
        os._exit(status)

    def _look_after(self) -> None:
        if self._assembly is not None:
            complaint = self._assembly.step()
            if complaint is not None:
                self._report(complaint)
        for pid in self._reap():
            host = self._agents.pop(pid, None)
            if host is not None:
                self._report(f"the agent of {host} has ended")

    def _report(self, what: str) -> None:
        if what not in self._reported:
            self._reported.add(what)
            self._control.sendall(pack({"say": "broken", "what": what}))

    def _reap(self) -> list[int]:
        """Collect ended agents and, as the first process of a namespace, orphans; a relay is left to its engine."""
        ended = []
        with suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if self._assembly is not None and found.si_pid in self._assembly.own_pids():
                    break
                os.waitpid(found.si_pid, 0)
                ended.append(found.si_pid)
        return ended

    def _end_agents(self) -> None:
        for pid in self._agents:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._agents:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._agents.clear()

    def _read(self) -> dict[str, Any] | None:
        head = self._read_exactly(_LENGTH)
        body = self._read_exactly(int.from_bytes(head, "little")) if head else b""
        return msgspec.msgpack.decode(body) if body else None

    def _read_exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._control.recv(count - len(parts))
            if not part:
                return b""
            parts += part
        return bytes(parts)


def _be_agent(host: str, end: socket.socket, origin_ns: int, assembly: Assembly) -> None:
    import asyncio

    from estran.runtime.agent import Agent
    from estran.runtime.control import Link

    async def serve() -> None:
        await Agent(host, await Link.over(end), origin_ns, assembly.enclosures(host)).serve()

    asyncio.run(serve())


def main() -> None:
    """Entry point: ``python -m estran.platforms.emulated.keeper FD HOSTS_FILE``."""
    control = socket.socket(fileno=int(sys.argv[1]))
    libc = ctypes.CDLL(None)
    libc.prctl(isolation.PR_SET_TIMERSLACK, 1)
    notes: list[str] = []
    isolation.isolate(notes, Path(sys.argv[2]))
    Keeper(control, notes).serve()


if __name__ == "__main__":
    main()
