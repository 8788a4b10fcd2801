"""A relay as a process of its own: forked, favoured by the scheduler, dead when its parent is, asked over a socket pair."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from typing import Any, Final, Protocol

from estran.errors import EstranError, PlatformError
from estran.platforms.emulated.links.engine import Links
from estran.platforms.emulated.links.relay_core import Line, Schedule
from estran.spec.model import LinkSpec

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_TIMERSLACK: Final = 29
_ANSWER_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 2.0
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Gate(Protocol):
    """Where a kind of relay meets packets. Lives in the relay's process only."""

    schedule: Schedule[Any]

    def fileno(self) -> int:
        """What becomes readable when packets wait."""
        ...

    def receive(self) -> None:
        """Offer a bounded batch of what waits to the schedule, without blocking."""
        ...

    def release(self, now: float) -> bool:
        """Let go what is due; whether there was any."""
        ...

    def next(self) -> float | None:
        """When something is due next."""
        ...

    def close(self) -> None:
        """Undo what the gate did to its namespace."""
        ...

    def facts(self) -> dict[str, Any]:
        """What this kind of relay has to say for the run's record."""
        ...


class Lateness:
    """How late packets left, counted in buckets of powers of two microseconds."""

    def __init__(self) -> None:
        self.counts = [0] * 40

    def add(self, seconds: float) -> None:
        """Count one departure."""
        self.counts[min(39, int(max(0.0, seconds) * 1e6).bit_length())] += 1

    def quantile(self, share: float) -> float:
        """The bucket's upper edge in seconds below which that share of departures was late; 0 if there were none."""
        total, seen = sum(self.counts), 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= share * total:
                return (1 << bucket) * 1e-6
        return 0.0


def favour() -> str:
    """Ask for the best scheduling that this process may have, and say what it got."""
    _libc.prctl(_PR_SET_TIMERSLACK, 1)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        return "SCHED_FIFO 10"
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    return f"nice {os.getpriority(os.PRIO_PROCESS, 0)}"


class Relay:
    """The relay's own side: one loop over a gate and the control socket."""

    def __init__(self, gate: Gate, lines: Mapping[str, Line], control: socket.socket) -> None:
        self.gate, self.lines, self.control = gate, lines, control
        self.lateness = Lateness()
        self.priority = favour()
        self._asked = b""

    def serve(self) -> None:
        """Relay until told to stop, or until the parent is gone."""
        gate, doors = self.gate, (self.gate.fileno(), self.control.fileno())
        while True:
            due = gate.next()
            timeout = None if due is None else max(0.0, due - time.monotonic())
            # select() rather than epoll: its timeout counts microseconds, and there are never more than two sockets.
            ready, _, _ = select.select(doors, (), (), timeout)
            if doors[0] in ready:
                gate.receive()
            now, due = time.monotonic(), gate.next()
            if due is not None and due <= now and gate.release(now):
                self.lateness.add(now - due)
            if doors[1] in ready and not self._answer():
                return

    def _answer(self) -> bool:
        received = self.control.recv(1 << 16)
        *requests, self._asked = (self._asked + received).split(b"\n")
        for text in requests:
            request = json.loads(text)
            for source, target, link in request.get("update", ()):
                self.lines[f"{source}>{target}"].change(LinkSpec(**link))
            self.gate.schedule.cut(map(bytes.fromhex, request.get("cut", ())))
            if "mend" in request:
                self.gate.schedule.mend(set(map(bytes.fromhex, request["mend"])), time.monotonic())
            say(self.control, self.facts())
            if "stop" in request:
                return False
        return bool(received)

    def facts(self) -> dict[str, Any]:
        """Counters in all and by pair, scheduling obtained, and how late packets left."""
        counters = ("packets", "bytes", "lost", "overflowed")
        pairs = {name: {c: getattr(line, c) for c in counters} for name, line in self.lines.items() if line.packets}
        return {
            **{counter: sum(pair[counter] for pair in pairs.values()) for counter in counters},
            "severed": self.gate.schedule.severed,
            "priority": self.priority,
            "late_p50": self.lateness.quantile(0.5),
            "late_p99": self.lateness.quantile(0.99),
            "pairs": pairs,
            **self.gate.facts(),
        }


def say(control: socket.socket, content: Mapping[str, Any]) -> None:
    """Send one line of JSON."""
    control.sendall(json.dumps(content).encode() + b"\n")


class RelayProcess:
    """A relay at work, as its parent sees it: the `Running` of the engines that relay."""

    def __init__(
        self,
        engine: str,
        pid: int,
        control: socket.socket,
        limits: Mapping[str, str],
        change: Callable[[Links], None],
        key: Callable[[str, str], bytes],
    ) -> None:
        self.engine, self.pid, self.limits = engine, pid, dict(limits)
        self._key = key
        self._change = change
        self._control = control
        self._ended: int | None = None
        self._facts: dict[str, Any] = {}

    def alive(self) -> bool:
        """Whether the relay still runs; a zombie is reaped and counts as dead."""
        if self._ended is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self._ended = -1  # somebody else in this process reaped it
            else:
                self._ended = os.waitstatus_to_exitcode(status) if pid else None
        return self._ended is None

    def update(self, links: Links) -> None:
        """Change what some links do from now on.

        Raises
        ------
        PlatformError
            If a link is not one that the relay was started with, or the relay is dead.
        """
        if "loss" in self.limits and any(link.loss for link in links.values()):
            raise PlatformError(f"loss {self.limits['loss']}", where=f"{self.engine} relay")
        self._change(links)
        self._ask({"update": [(a, b, asdict(link)) for (a, b), link in links.items()]})

    def cut(self, pairs: Collection[tuple[str, str]]) -> None:
        """Let nothing pass in some directions; see `Running.cut`."""
        self._ask({"cut": [self._key(*pair).hex() for pair in pairs]})

    def mend(self, pairs: Collection[tuple[str, str]]) -> None:
        """Let them pass again."""
        self._ask({"mend": [self._key(*pair).hex() for pair in pairs]})

    def facts(self) -> Mapping[str, Any]:
        """What goes into the run's record; the last that was known if the relay is dead."""
        if self.alive():
            with suppress(PlatformError):
                self._ask({"ask": "facts"})
        return {"engine": self.engine, "pid": self.pid, "alive": self.alive(), "limits": self.limits, **self._facts}

    def stop(self) -> None:
        """End the relay and reap it; harmless when it is dead already."""
        with suppress(PlatformError), closing(self._control):
            self._ask({"stop": True})
        deadline = time.monotonic() + _STOP_SECONDS
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._ended = -signal.SIGKILL

    def _ask(self, request: Mapping[str, Any]) -> None:
        try:
            say(self._control, request)
            self._facts = self._hear()
        except OSError as error:
            raise PlatformError(
                f"the relay does not answer: {error}",
                where=f"{self.engine} relay",
                remedy="see facts(): alive tells whether it died",
            ) from error

    def _hear(self) -> dict[str, Any]:
        heard = bytearray()
        while not heard.endswith(b"\n"):
            part = self._control.recv(1 << 16)
            if not part:
                raise ConnectionResetError("it has ended")
            heard += part
        answer: dict[str, Any] = json.loads(heard)
        return answer

    def wait_ready(self) -> None:
        """Return when the relay has taken its place.

        Raises
        ------
        PlatformError
            With the child's own words if it could not.
        """
        self._control.settimeout(_ANSWER_SECONDS)
        try:
            failure = self._hear().get("failure")
        except OSError as error:
            failure = {"what": f"the relay's process ended before it was ready: {error}", "remedy": None}
        if failure:
            raise PlatformError(failure["what"], where=f"{self.engine} relay", remedy=failure["remedy"])


def _child(make: Callable[[], Gate], lines: Mapping[str, Line], control: socket.socket, parent: int, keep: tuple[int, ...]) -> None:
    """Everything that the forked process does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
    close_others((*keep, control.fileno()))
    control = socket.socket(fileno=os.dup(control.detach()))  # a low number: select() takes none above 1023
    try:
        with closing(make()) as gate:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                return
            relay = Relay(gate, lines, control)
            gc.collect()
            gc.disable()
            say(control, {"ready": True})
            relay.serve()
    except EstranError as error:
        say(control, {"failure": {"what": error.what, "remedy": error.remedy}})
    except Exception as error:  # noqa: BLE001 - the fork's boundary: whatever it is, the parent must hear of it
        say(control, {"failure": {"what": f"{type(error).__name__}: {error}", "remedy": None}})


def close_others(keep: tuple[int, ...]) -> None:
    """Close every descriptor but standard ones and ``keep``: a relay must not keep its parent's namespaces alive."""
    low = 2
    for descriptor in sorted(keep):
        os.closerange(low + 1, descriptor)
        low = max(low, descriptor)
    os.closerange(low + 1, os.sysconf("SC_OPEN_MAX"))


@contextmanager
def relaying(
    engine: str,
    make: Callable[[], Gate],
    lines: Mapping[str, Line],
    change: Callable[[Links], None],
    limits: Mapping[str, str],
    key: Callable[[str, str], bytes],
    keep: tuple[int, ...] = (),
) -> Iterator[RelayProcess]:
    """Fork a relay and end it on leaving.

    Parameters
    ----------
    make
        Builds the gate; called in the child, which still is in its parent's namespaces.
    lines
        By ``source>target``; only the child's copy is used.
    change
        The fabric's own `change`, told before the relay.
    key
        Under which the gate's schedule knows a pair.
    keep
        Descriptors that the gate needs.

    Raises
    ------
    PlatformError
        If the relay cannot take its place.
    """
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _child(make, lines, theirs, parent, keep)
        finally:
            os._exit(0)
    theirs.close()
    process = RelayProcess(engine, pid, ours, limits, change, key)
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
