"""A child process forked from a warm interpreter: its pipes, its cgroup, its death noticed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from estran.runtime.heap import limit_arenas
from estran.runtime.launch import Launch
from estran.runtime.yielding import Place

NICENESS = 10
"""Services run below relays and agents, so that the emulated network keeps its timing: p50 +0.1 ms instead of +1.9 ms."""

LOWEST = 19
"""Services that yield run below all others."""

NOT_STARTED = 127
"""Exit status of a child that could not become its command, as shells have it."""

PR_SET_PDEATHSIG = 1


class Enclosure(Protocol):
    """Limits that a process is put under before it does anything else; ``memory`` in bytes, None for no limit."""

    @property
    def memory(self) -> int | None: ...

    def attach(self, pid: int) -> None:
        """Put a process, with all its threads and future children, under the limits."""
        ...

    def oom_kills(self) -> int:
        """How many of its processes the memory limit has killed so far."""
        ...

    def freeze(self, on: bool) -> None:
        """Stop all its processes, or let them go on."""
        ...


@dataclass(slots=True)
class Child:
    """A running child: its pid, the parent's ends of its pipes, and of its control socket (components only).

    ``becoming`` (commands only) ends once the child has become its command; a child that cannot writes into it first.
    """

    pid: int
    pidfd: int
    output: dict[str, int]
    control: socket.socket | None
    becoming: BinaryIO | None

    def signal(self, number: int) -> None:
        """Send a signal to the child's whole process group; one that has ended is left alone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Let go of what nobody has asked for."""
        if self.becoming is not None:
            self.becoming.close()

    async def became(self) -> bool:
        """Wait until the child is its command; False if it could not become it. A component is one from the start."""
        if self.becoming is None:
            return True
        with self.becoming as end:
            await _readable(end.fileno())
            return not end.read(1)

    async def wait(self) -> int:
        """Return the exit status (negative: the signal that ended it)."""
        await _readable(self.pidfd)
        _, status = os.waitpid(self.pid, 0)  # noqa: ASYNC222 - it has ended, so this returns at once
        os.close(self.pidfd)
        return os.waitstatus_to_exitcode(status)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, seen)
    try:
        await seen
    finally:
        loop.remove_reader(descriptor)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def fork(launch: Launch, enclosure: Enclosure | None, place: Place | None = None) -> Child:
    """Fork a child that runs the replica: a component in this warm interpreter, a command by ``exec``.

    The calling process must be single-threaded. The child leads its own process group and dies with its parent.

    Parameters
    ----------
    place
        Where a component says whether it computes; None if nobody on its host cares.
    """
    pipes = {channel: os.pipe() for channel in ("stdout", "stderr")}
    ours, theirs = socket.socketpair() if launch.component else (None, None)
    becoming, became = os.pipe() if launch.command else (None, None)  # Python opens it so that `exec` closes it
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            kept = {end if isinstance(end, int) else end.fileno() for end in (theirs, became) if end is not None}
            _prepare(launch, enclosure, {1: pipes["stdout"][1], 2: pipes["stderr"][1]}, kept, parent)
            status = _become(launch, theirs, place)
        except OSError as error:
            os.write(2, f"{_explain(launch, error)}\n".encode())
            status = NOT_STARTED
        except SystemExit as error:
            status = _exit_status(error)
        except BaseException as error:  # noqa: BLE001 - a forked child must never return into its parent's stack
            os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="backslashreplace"))
            status = 1
        if became is not None:
            os.write(became, b"\0")
        os._exit(status)
    for _, write_end in pipes.values():
        os.close(write_end)
    if became is not None:
        os.close(became)
    if theirs is not None:
        theirs.close()
    outputs = {channel: read_end for channel, (read_end, _) in pipes.items()}
    return Child(pid, os.pidfd_open(pid), outputs, ours, None if becoming is None else os.fdopen(becoming, "rb", buffering=0))


def _prepare(launch: Launch, enclosure: Enclosure | None, outputs: dict[int, int], kept: set[int], parent: int) -> None:
    asyncio.events._set_running_loop(None)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    if enclosure is not None:
        enclosure.attach(os.getpid())
    niceness = NICENESS if launch.yields is None else LOWEST
    os.nice(niceness)
    _lower_session(niceness)
    if launch.yields is not None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # any other that wakes up takes its core at once
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for target, source in outputs.items():
        os.dup2(source, target)
    _close_all_but({0, 1, 2} | kept)
    os.makedirs(launch.folder, exist_ok=True)  # noqa: PTH103 - Path costs an import in every child
    os.chdir(launch.folder)


def _lower_session(niceness: int) -> None:
    """Kernels that group processes by session weigh niceness within a group only; the group has one of its own."""
    with suppress(OSError):  # no such grouping here
        group = os.open("/proc/self/autogroup", os.O_WRONLY)
        try:
            os.write(group, str(niceness).encode())
        finally:
            os.close(group)


def _close_all_but(kept: set[int]) -> None:
    low = 0
    for fd in [*sorted(kept), os.sysconf("SC_OPEN_MAX")]:
        if low < fd:  # Python 3.11 takes an empty range that ends at 0 for all descriptors
            os.closerange(low, min(fd, 1 << 20))
        low = fd + 1


def _become(launch: Launch, control: socket.socket | None, place: Place | None) -> int:
    threads = str(launch.cores)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads, **launch.env}
    if launch.command is not None:
        os.execvpe(launch.command[0], list(launch.command), environment)  # noqa: S606 - no shell is what is wanted
    from estran.runtime.service import serve

    assert control is not None
    os.environ.update(environment)
    limit_arenas(environment)
    return serve(launch, control, place)


def _exit_status(error: SystemExit) -> int:
    """What the interpreter makes of ``sys.exit(…)``: nothing is 0, a number itself, anything else is printed."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    os.write(2, f"{error.code}\n".encode(errors="backslashreplace"))
    return 1


def _explain(launch: Launch, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and launch.command is not None:
        return f"command not found: {launch.command[0]}"
    return f"cannot start {launch.replica}: {error}"
