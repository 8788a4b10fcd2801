"""The keeper: one process that holds emulated hosts and limits, and forks a run's agents from a warm interpreter.

It serves one run after another, as long as its owner keeps it: ``end`` takes from the hosts all that the run had there, and the
next ``up`` finds them again if it asks for the same ones. It is the first process of a process namespace where the kernel allows
one: when it ends, however that comes, the kernel ends every agent, relay, service and stray child with it, and network namespaces
vanish with their last descriptor. It ends when the owner goes. Synchronous and single-threaded, since it forks.

Requests are those of `estran.runtime.control`: ``up``, ``warm``, ``verify``, ``lift``, ``agents``, ``enforce``, ``end``; and for
faults ``shape``, ``pace``, ``press``, ``relieve``, ``forget``.
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
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from estran.errors import EstranError, PlatformError
from estran.platforms.emulated import isolation
from estran.platforms.emulated.assembly import Assembly, Rungs
from estran.platforms.emulated.ground import Ground
from estran.platforms.emulated.order import Order
from estran.runtime.control import pack
from estran.spec.model import LinkSpec

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
    """Serves its owner's requests until it goes.

    Parameters
    ----------
    control
        The owner's connection.
    doors
        Over which the owner hands in the agents' ends of their connections.
    hosts_file
        What is seen as ``/etc/hosts``, open for writing.
    """

    def __init__(self, control: socket.socket, doors: socket.socket, hosts_file: TextIO, notes: list[str]) -> None:
        self._control = control
        self._doors = doors
        self._hosts_file = hosts_file
        self._notes = notes
        self._rungs = Rungs()
        self._ground: Ground | None = None
        self._assembly: Assembly | None = None
        self._agents: dict[int, str] = {}
        self._reported: set[str] = set()

    def serve(self) -> None:
        """Answer until the owner goes, then give everything back."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        with ExitStack() as resources:
            resources.callback(self._release)
            resources.callback(self._end_run)
            while True:
                if poll.poll(STEP_MS):
                    frame = self._read()
                    if frame is None:
                        return
                    self._answer(frame)
                self._look_after()

    def _answer(self, frame: Mapping[str, Any]) -> None:
        try:
            details = {key: value for key, value in frame.items() if key not in ("id", "do")}
            reply = {"reply": frame["id"], "ok": getattr(self, f"_do_{frame['do']}")(**details)}
        except EstranError as error:
            reply = {"reply": frame["id"], "error": {"what": str(error.what), "remedy": error.remedy}}
        except OSError as error:
            reply = {"reply": frame["id"], "error": {"what": f"{type(error).__name__}: {error}", "remedy": None}}
        except Exception as error:  # noqa: BLE001 a defect of Estran must be told as such, not as hosts that have gone
            traceback.print_exc()
            what = f"a defect of Estran: {type(error).__name__}: {error}"
            reply = {"reply": frame["id"], "error": {"what": what, "remedy": "report it with the run's keeper.log"}}
        self._say(reply)

    def _say(self, frame: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the owner has gone, which the next reading tells
            self._control.sendall(pack(frame))

    def _do_up(self, order: Mapping[str, Any], log: str) -> Mapping[str, Any]:
        _redirect(log)
        wanted = msgspec.convert(order, Order)
        assembly = Assembly(wanted, self._rungs, self._prepared(wanted), self._notes)
        assembly.__enter__()
        self._assembly = assembly
        self._hosts_file.seek(0)
        self._hosts_file.truncate()
        self._hosts_file.write(assembly.names())
        self._hosts_file.flush()
        return assembly.facts()

    def _prepared(self, order: Order) -> Ground:
        """The hosts and wires of an order: those that are there, or new ones in place of them."""
        if self._ground is not None and self._ground.fits(order):
            self._ground.reshape(order)
            return self._ground
        self._release()
        ground = Ground(order, self._rungs.engine(order))
        ground.__enter__()
        self._ground = ground
        return ground

    def _release(self) -> None:
        ground, self._ground = self._ground, None
        if ground is not None:
            ground.__exit__(None, None, None)

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

    def _do_shape(self, links: Sequence[tuple[str, str, Mapping[str, Any], bool]]) -> None:
        self._built().faults.shape({(a, b): (LinkSpec(**link), down) for a, b, link, down in links})

    def _do_pace(self, host: str, speed: float) -> None:
        self._built().faults.pace(host, speed)

    def _do_press(self, key: str, host: str, memory: int) -> None:
        self._built().faults.press(key, host, memory)

    def _do_relieve(self, key: str, host: str) -> None:
        self._built().faults.relieve(key, host)

    def _do_forget(self, host: str) -> None:
        self._built().faults.forget(host)

    def _do_agents(self, hosts: Sequence[str], origin_ns: int) -> None:
        """Fork agents; their ends of their connections have been handed in, in this order."""
        _, ends, _, _ = socket.recv_fds(self._doors, 1, len(hosts))
        for number, host in enumerate(hosts):
            self._agents[self._fork_agent(host, ends[number], ends[number + 1 :], origin_ns)] = host

    def _do_end(self) -> Sequence[str]:
        """Take from the hosts all that the run had there; say what could not be taken."""
        return self._end_run()

    def _end_run(self) -> list[str]:
        self._end_agents()
        assembly, self._assembly = self._assembly, None
        if assembly is not None:
            assembly.__exit__(None, None, None)
        self._reported.clear()
        left = [] if isolation.end_children() else ["processes that do not end"]
        return left if self._ground is None else [*left, *self._ground.clear()]

    def _built(self) -> Assembly:
        if self._assembly is None:
            raise PlatformError("nothing has been built for a run")
        return self._assembly

    def _fork_agent(self, host: str, descriptor: int, others: Sequence[int], origin_ns: int) -> int:
        assembly = self._built()
        pid = os.fork()
        if pid:
            os.close(descriptor)
            return pid
        status = 1
        try:
            isolation.die_with_parent(os.getppid())
            self._control.close()
            self._doors.close()
            self._hosts_file.close()
            for other in others:  # held open, they would hide the death of the agent that they belong to
                os.close(other)
            assembly.enter(host)
            _be_agent(host, socket.socket(fileno=descriptor), origin_ns, assembly)
            status = 0
        except BaseException as error:  # noqa: BLE001 - a forked child must never return into its parent's stack
            told = "".join(traceback.format_exception(error))
            os.write(2, f"agent of {host}: {told}".encode(errors="backslashreplace"))
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
            self._say({"say": "broken", "what": what})

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
    """Entry point: ``python -m estran.platforms.emulated.keeper CONTROL DOORS HOSTS_FILE``."""
    control, doors = (socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[1:3])
    hosts_file = Path(sys.argv[3])
    libc = ctypes.CDLL(None)
    libc.prctl(isolation.PR_SET_TIMERSLACK, 1)
    notes: list[str] = []
    with hosts_file.open("r+", encoding="utf-8") as file:
        isolation.isolate(notes, hosts_file)
        isolation.adopt_orphans()
        Keeper(control, doors, file, notes).serve()


def _redirect(log: str) -> None:
    """Write from now on to another run's log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


if __name__ == "__main__":
    main()
