"""The last rung: a TCP relay between loopback addresses, for machines that allow no namespaces at all.

The relay listens at every pair's address, accepts for the target, and passes bytes on at the departures that
`relay_core` computes, charged as the Ethernet frames that would carry them. A stream that gets ahead of its line is not
read until the line has caught up, so that senders feel the rate. What this cannot do is said in `LIMITS`.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from estran.errors import PlatformError
from estran.platforms.emulated.links import throwaway
from estran.platforms.emulated.links.engine import Trial
from estran.platforms.emulated.links.relay_core import (
    FULL_FRAME,
    MSS,
    Line,
    Schedule,
    generator,
    lines,
    queue_seconds,
    stream_wire_size,
)
from estran.platforms.emulated.links.relay_process import RelayProcess, relaying
from estran.platforms.emulated.network.loopback_fabric import LoopbackFabric
from estran.spec.model import LinkSpec

if TYPE_CHECKING:
    from estran.platforms.emulated.network.fabric import Fabric

LIMITS: Final = {
    "loss": "cannot be emulated on TCP; set it to 0",
    "protocols": "only TCP connections to declared ports are delayed; anything else passes unshaped or not at all",
    "isolation": "hosts share one network: services must listen on their own host's address and use the addresses given",
    "connect": "a connection is accepted one round trip too early, also when nothing listens behind it (then it is reset)",
}
REMEDY: Final = "the loopback interface must be up and own 127.0.0.0/8, as on Linux"

_GRAIN: Final = 1e-3
_UNLIMITED_WINDOW: Final = 16 << 20
_SLACK: Final = 16 << 10
_CHUNK: Final = 1 << 16
_ACCEPTS: Final = 16
_EVENTS: Final = 64
_ABORT: Final = struct.pack("ii", 1, 0)
_CONNECT_FRAME: Final = 84


def window(link: LinkSpec) -> int:
    """Bytes of one stream that may be under way: what the line holds, and what may wait before it."""
    if link.rate is None:
        return _UNLIMITED_WINDOW
    return int(link.rate / 8 * (link.delay + queue_seconds(link))) + _SLACK


def chunk(link: LinkSpec) -> int:
    """Bytes to read at once: what the line takes 1 ms to send, so that streams share it fairly."""
    if link.rate is None:
        return _CHUNK
    return min(_CHUNK, max(1, int(link.rate * _GRAIN / (8 * FULL_FRAME))) * MSS)


class Flow:
    """One direction of a connection: from a socket over a line to another socket."""

    __slots__ = ("ended", "key", "line", "reading", "sink", "source", "under_way", "waiting")

    def __init__(self, source: socket.socket, sink: socket.socket, key: bytes, line: Line) -> None:
        self.source, self.sink, self.key, self.line = source, sink, key, line
        self.under_way = 0
        self.waiting: deque[bytes] = deque()
        self.reading = False
        self.ended = False


@dataclass(frozen=True, slots=True)
class Door:
    """Where a source host knocks to reach a target host's port."""

    listener: socket.socket
    source_address: str
    target: tuple[str, int]
    forth: tuple[bytes, Line]
    back: tuple[bytes, Line]


@dataclass(frozen=True, slots=True)
class Parcel:
    """Bytes that leave at their departure; none of them: the stream's end; with an action: that instead."""

    flow: Flow
    content: bytes = b""
    action: Callable[[], None] | None = None


class LoopbackGate:
    """All doors of a fabric and the connections through them."""

    def __init__(self, fabric: LoopbackFabric, all_lines: Mapping[str, Line]) -> None:
        keyed = {name.encode(): line for name, line in all_lines.items()}
        self.schedule: Schedule[Parcel] = Schedule(keyed, lossless=True)
        self._epoll = select.epoll()
        self._doors: dict[int, Door] = {}
        self._sources: dict[int, Flow] = {}
        self._sinks: dict[int, Flow] = {}
        self.connections = self.failed = 0
        for a, b in fabric.links:
            for port in fabric.ports(b):
                self._open_door(fabric, a, b, port, all_lines)

    def _open_door(self, fabric: LoopbackFabric, a: str, b: str, port: int, all_lines: Mapping[str, Line]) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
            listener.bind((fabric.address(a, b), port))
            listener.listen(128)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise PlatformError(f"cannot listen for {a} → {b}:{port}: {error.strerror}", where="loopback", remedy=REMEDY) from error
        forth, back = f"{a}>{b}", f"{b}>{a}"
        target = (fabric.address(b, b), port)
        unshaped = Line(LinkSpec(), generator(0, b, a))
        self._doors[listener.fileno()] = Door(
            listener,
            fabric.address(a, a),
            target,
            (forth.encode(), all_lines[forth]),
            (back.encode(), all_lines.get(back, unshaped)),
        )
        self._epoll.register(listener, select.EPOLLIN)

    def fileno(self) -> int:
        """Give the epoll descriptor, which is readable when anything is."""
        return self._epoll.fileno()

    def next(self) -> float | None:
        """When the next bytes leave."""
        return self.schedule.next()

    def receive(self) -> None:
        """Accept, read and write what is possible."""
        for number, event in self._epoll.poll(0, _EVENTS):
            if number in self._doors:
                self._accept(self._doors[number])
                continue
            if event & select.EPOLLOUT and number in self._sinks:
                self._write(self._sinks[number])
            if (
                event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)
                and number in self._sources
                and self._sources[number].reading
            ):
                self._read(self._sources[number])

    def _accept(self, door: Door) -> None:
        for _ in range(_ACCEPTS):
            try:
                near, _ = door.listener.accept()
            except BlockingIOError:
                return
            far = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            for end in (near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
            forth, back = Flow(near, far, *door.forth), Flow(far, near, *door.back)
            for flow in (forth, back):
                self._sources[flow.source.fileno()] = flow
                self._sinks[flow.sink.fileno()] = flow
            self.connections += 1
            self._offer(Parcel(forth, action=self._connect(forth, back, door)), _CONNECT_FRAME, 1)
            self._watch(forth, True)

    def _connect(self, forth: Flow, back: Flow, door: Door) -> Callable[[], None]:
        def connect() -> None:
            if forth.sink.fileno() < 0:
                return
            far = forth.sink
            try:
                far.bind((door.source_address, 0))
                far.connect(door.target)
            except BlockingIOError:
                pass
            except OSError:
                self.failed += 1
                self._offer(Parcel(back, action=lambda: self._abort(forth)), _CONNECT_FRAME, 1)
                return
            self._watch(back, True)

        return connect

    def _offer(self, parcel: Parcel, size: int, frames: int) -> None:
        self.schedule.offer(time.monotonic(), parcel.flow.key, size, frames, parcel)

    def _watch(self, flow: Flow, reading: bool) -> None:
        """Listen, or not, for what a flow's source has to say, and for room in it for what it must still take."""
        flow.reading = reading and not flow.ended
        source = flow.source
        if source.fileno() < 0:
            return
        opposite = self._sinks[source.fileno()]
        events = (select.EPOLLIN if flow.reading else 0) | (select.EPOLLOUT if opposite.waiting else 0)
        try:
            if events:
                self._epoll.modify(source, events)
            else:
                self._epoll.unregister(source)  # a mask of 0 would still report a hang-up, again and again
        except FileNotFoundError:
            if events:
                self._epoll.register(source, events)

    def _read(self, flow: Flow) -> None:
        try:
            content = flow.source.recv(chunk(flow.line.link))
        except BlockingIOError:
            return
        except OSError:
            flow.ended = True
            self._watch(flow, False)
            self._offer(Parcel(flow, action=lambda: self._abort(flow)), _CONNECT_FRAME, 1)
            return
        flow.ended = not content
        flow.under_way += len(content)
        self._offer(Parcel(flow, content), *stream_wire_size(len(content)))
        if flow.ended or flow.under_way >= window(flow.line.link):
            self._watch(flow, False)

    def release(self, now: float) -> bool:
        """Pass on what is due."""
        parcels = self.schedule.due(now)
        for parcel in parcels:
            if parcel.action is not None:
                parcel.action()
            elif parcel.flow.sink.fileno() >= 0:
                parcel.flow.waiting.append(parcel.content)
                if len(parcel.flow.waiting) == 1:
                    self._write(parcel.flow)
        return bool(parcels)

    def _write(self, flow: Flow) -> None:
        waiting = flow.waiting
        try:
            while waiting:
                content = waiting[0]
                if not content:
                    self._finish(flow)
                    return
                sent = flow.sink.send(content)
                flow.under_way -= sent
                if sent < len(content):
                    waiting[0] = content[sent:]
                else:
                    waiting.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._abort(flow)
            return
        self._balance(flow)

    def _balance(self, flow: Flow) -> None:
        """Ask for room in the sink if bytes wait for it; read on if the stream is no longer ahead of its line."""
        opposite = self._sources.get(flow.sink.fileno())
        if opposite is not None:
            self._watch(opposite, opposite.reading)
        if not flow.reading and not flow.ended and flow.under_way < window(flow.line.link):
            self._watch(flow, True)

    def _finish(self, flow: Flow) -> None:
        """Pass a stream's end on; close the connection when both directions have ended."""
        flow.waiting.clear()
        opposite = self._sources.get(flow.sink.fileno())
        with suppress(OSError):
            flow.sink.shutdown(socket.SHUT_WR)
        if opposite is not None and opposite.ended and not opposite.under_way and not opposite.waiting:
            self._close(flow)
        elif opposite is not None:
            self._watch(opposite, opposite.reading)

    def _abort(self, flow: Flow) -> None:
        """Reset both ends."""
        for end in (flow.source, flow.sink):
            if end.fileno() >= 0:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._close(flow)

    def _close(self, flow: Flow) -> None:
        for end in (flow.source, flow.sink):
            self._sources.pop(end.fileno(), None)
            self._sinks.pop(end.fileno(), None)
            end.close()

    def close(self) -> None:
        """Close all doors and connections."""
        for flow in list(self._sources.values()):
            self._close(flow)
        for door in self._doors.values():
            door.listener.close()
        self._epoll.close()

    def facts(self) -> dict[str, Any]:
        """How many connections came, and how many found nothing listening."""
        return {"connections": self.connections, "unanswered": self.failed}


def _echo() -> str:
    """Connect over a pair's address."""
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.16.1.2", 0))
        listener.listen(1)
        client.settimeout(0.2)
        client.bind(("127.16.1.1", 0))
        client.connect(listener.getsockname())
        server, (peer, _) = listener.accept()
        server.close()
    return f"connected from {peer} to 127.16.1.2"


class LoopbackEngine:
    """Delay, jitter and rate of TCP streams between loopback addresses; loss is refused.

    Parameters
    ----------
    seed
        Of the jitter of every link.
    """

    name = "loopback"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def trial(self) -> Trial:
        """Connect between two addresses below 127.0.0.0/8."""
        return throwaway.trial_here(_echo, LIMITS, REMEDY)

    @contextmanager
    def start(self, fabric: Fabric | LoopbackFabric) -> Iterator[RelayProcess]:
        """Shape ``fabric.links`` until the context is left.

        Raises
        ------
        PlatformError
            If a link asks for loss, a pair's address cannot be listened on, or the fabric is one of namespaces.
        """
        if not isinstance(fabric, LoopbackFabric):
            raise PlatformError("the loopback engine needs a loopback fabric", where="loopback", remedy="see ladder.Choice.fabric")
        lossy = [f"{a} → {b}" for (a, b), link in fabric.links.items() if link.loss]
        if lossy:
            raise PlatformError(
                f"loss on {', '.join(lossy[:3])} {LIMITS['loss']}", where="loopback", remedy="use an engine with namespaces"
            )
        all_lines = lines(fabric.links, self.seed, lossless=True)
        with relaying(
            self.name, lambda: LoopbackGate(fabric, all_lines), all_lines, fabric.change, LIMITS, lambda a, b: f"{a}>{b}".encode()
        ) as process:
            yield process
