"""Channels over eclipse-zenoh: peers that know each other's endpoints, nothing found by scouting.

A process has one session for them, and a second one, as the client of a router, if some of its channels must go through that.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from estran.errors import TransportError
from estran.runtime.bell import Bell
from estran.runtime.channels import Channels
from estran.runtime.clock import Clock
from estran.runtime.lane import Arrival, Datagram
from estran.runtime.launch import Security
from estran.runtime.transport import ChannelSpec, Receiver, Sender
from estran.runtime.zenoh_session import ROUND_TRIP, close_session, open_session

if TYPE_CHECKING:
    import zenoh

_PREFIX = "estran"
_DIRECT_BYTES = 640 << 10
"""Bytes in flight of a whole session up to which a put hardly waits: zenoh's queue takes 16 batches of 64 KB before it does."""

_DIRECT_SECONDS = 0.02
"""More than that may be in flight as long as the link has lately landed it within this time."""

_STALL, _STALL_PER_BYTE, _LONG_STALL = 0.8e-3, 2**-28, 15e-3
"""Seconds after which a put has waited for zenoh's queue rather than just copied."""

_LONG_AGO = 1e8
MATCH_PERIOD = 0.01


class ZenohTransport:
    """A replica's transport; its session is opened on entering the context and closed on leaving it.

    Parameters
    ----------
    listen, connect
        zenoh endpoints, such as ``tcp/10.0.0.7:7450``.
    clock
        Dates the frames' arrival.
    round_trip
        Seconds, at most, of a round trip on any of the links; a longer one than this default needs more patience to connect.
    security
        Certificates for endpoints such as ``tls/10.0.0.7:7450``.
    router, routed
        Endpoint of a router, and the keys of the channels that go through it.
    before
        Called before an acknowledged channel is told that frames have been processed.
    """

    def __init__(
        self,
        listen: Sequence[str],
        connect: Sequence[str],
        clock: Clock,
        *,
        round_trip: float = ROUND_TRIP,
        security: Security | None = None,
        router: str | None = None,
        routed: Collection[str] = (),
        before: Callable[[], None] | None = None,
    ) -> None:
        self._listen, self._connect, self._clock, self._round_trip = tuple(listen), tuple(connect), clock, round_trip
        self._security, self._router, self._routed = security, router, frozenset(routed)
        self._before = before
        self._ways: list[_Way] = []
        self._channels: Channels | None = None
        self._bell: Bell | None = None
        self._sending: list[ZenohLane] = []

    async def __aenter__(self) -> ZenohTransport:
        try:
            direct = await open_session(self._listen, self._connect, self._round_trip, self._security)
            self._ways.append(_Way(direct, routed=False))
            if self._router is not None:
                client = await open_session((), (self._router,), 2 * self._round_trip, self._security, "client")
                self._ways.append(_Way(client, routed=True))
        except BaseException:
            await self.__aexit__()
            raise
        self._bell = Bell()
        self._channels = Channels(self._clock, _epoch(self._clock.now(), str(self._ways[0].session.zid())), self._before)
        return self

    async def __aexit__(self, *exc: object) -> None:
        ways, self._ways = self._ways, []
        if self._channels is not None:
            self._channels.close()
        for way in ways:
            await asyncio.to_thread(close_session, way.session)
        if self._bell is not None:
            self._bell.close()

    async def sender(self, channel: ChannelSpec) -> Sender:
        """Open the producer's end."""
        channels = self._opened()
        lane = self._lane(channel, "data", "answers")
        end = channels.sender(channel, lane)
        self._sending.append(lane)
        return end

    async def receiver(self, channel: ChannelSpec) -> Receiver:
        """Open the consumer's end."""
        return self._opened().receiver(channel, self._lane(channel, "answers", "data"))

    async def connected(self) -> None:
        """Wait until zenoh knows of a subscriber to every channel that is sent on here."""
        for lane in self._sending:
            while not lane.matched():
                await asyncio.sleep(MATCH_PERIOD)

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters per channel."""
        return {} if self._channels is None else self._channels.stats()

    def _opened(self) -> Channels:
        if not self._ways or self._channels is None:
            raise TransportError("the transport is not open", remedy="use it inside `async with`")
        return self._channels

    def _lane(self, channel: ChannelSpec, out: str, back: str) -> ZenohLane:
        assert self._bell is not None
        way = self._ways[-1 if channel.key in self._routed else 0]
        base = f"{_PREFIX}/{channel.key}"
        try:
            return ZenohLane(way, f"{base}/{out}", f"{base}/{back}", self._clock, self._bell, answers=out == "answers")
        except _zenoh_error() as error:
            raise TransportError(
                f"zenoh refuses this key: {error}", where=channel.key, remedy="use letters, digits, . - /"
            ) from error


class Traffic:
    """Bytes in flight over all channels of a session, how fast they land, and how many datagrams wait for threads.

    A router drops what may be dropped as soon as its own queue is full, so no more than that takes may be in flight over it.
    """

    def __init__(self, routed: bool = False) -> None:
        self._routed = routed
        self.flying = 0
        self.queued = 0
        self._bearable = _DIRECT_BYTES
        self._landed = 0
        self._since = 0.0

    def add(self, size: int) -> None:
        """Count bytes that take off, or, if negative, that have landed."""
        self.flying += size
        if size < 0:
            self._landed -= size
            now = monotonic()
            elapsed = now - self._since
            if elapsed > _DIRECT_SECONDS / 2:
                self._bearable = max(int(self._landed / elapsed * _DIRECT_SECONDS), _DIRECT_BYTES)
                self._landed, self._since = 0, now

    def swift(self, size: int) -> bool:
        """Whether a datagram that has just been counted can be put without waiting for long."""
        if self._routed:
            return not self.queued and self.flying <= _DIRECT_BYTES
        return not self.queued and self.flying - size <= self._bearable

    def stalled(self) -> None:
        """A put has waited: the link is not what it was."""
        self._bearable, self._landed, self._since = _DIRECT_BYTES, 0, monotonic()


class _Way:
    """A session with its traffic, directly to others or as the client of a router."""

    def __init__(self, session: zenoh.Session, routed: bool) -> None:
        self.session = session
        self.traffic = Traffic(routed)


class ZenohLane:
    """A publisher one way and a subscriber the other.

    A put waits while zenoh's queue is full, which must not stop the event loop. So as long as little is in flight it is done
    directly, which is quickest, and dropped should the queue be full nevertheless, which is a loss like any other; else it is
    done by a thread that this lane owns and starts when it is first needed.
    """

    def __init__(self, way: _Way, out: str, back: str, clock: Clock, bell: Bell, *, answers: bool) -> None:
        import zenoh

        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._traffic = way.traffic
        self._bell = bell
        self._arrivals: deque[Arrival] = deque()
        self._scheduled = False
        self._closed = False
        self._arrived: Callable[[Sequence[Arrival]], None] | None = None
        self._room: Callable[[], None] | None = None
        self._backlog = 0
        self._taken: deque[int] = deque()
        self._telling = False
        self._queue: queue.SimpleQueue[Datagram | None] | None = None
        self._thread: threading.Thread | None = None
        # Answers go ahead of data on the same link.
        priority = zenoh.Priority.INTERACTIVE_HIGH if answers else zenoh.Priority.DATA
        self._direct = way.session.declare_publisher(out, congestion_control=zenoh.CongestionControl.DROP, priority=priority)
        self._patient: zenoh.Publisher | None = None
        if not answers:
            self._patient = way.session.declare_publisher(out, congestion_control=zenoh.CongestionControl.BLOCK, priority=priority)
        self._matching: Any = self._direct.declare_matching_listener(self._on_matching)
        self._subscriber: Any = way.session.declare_subscriber(back, self._on_sample)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the thread."""
        return self._backlog

    def listen(self, arrived: Callable[[Sequence[Arrival]], None], room: Callable[[], None]) -> None:
        """Have arrivals and hints passed up from now on."""
        self._arrived, self._room = arrived, room
        self._loop.call_soon(self._pass_up)

    def matched(self) -> bool:
        """Whether the other end has been heard of."""
        status: Any = self._direct.matching_status  # zenoh's own annotation says bool, which it is not
        return bool(status.matching)

    def flying(self, size: int) -> None:
        """Count what is in flight over the whole session."""
        self._traffic.add(size)

    def put(self, datagram: Datagram) -> None:
        """Publish it, here or on the thread."""
        if self._closed:
            return
        # Answers are cumulative and asked for again, so they may be dropped.
        if self._patient is None or self._traffic.swift(len(datagram)):
            begun = monotonic()
            with suppress(_zenoh_error()):
                self._direct.put(datagram)
            if monotonic() - begun > min(_STALL + len(datagram) * _STALL_PER_BYTE, _LONG_STALL):
                self._traffic.stalled()
            return
        if self._queue is None:
            self._queue = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=self._work, args=(self._queue, self._patient.put), name="estran-put", daemon=True
            )
            self._thread.start()
        self._backlog += len(datagram)
        self._traffic.queued += 1
        self._queue.put(datagram)

    def close(self) -> None:
        """Stop listening, and let the thread end."""
        self._closed = True
        self._arrived = self._room = None
        if self._queue is not None:
            self._queue.put(None)
        with suppress(_zenoh_error()):
            self._subscriber.undeclare()
            self._matching.undeclare()

    # -- on other threads

    def _work(self, todo: queue.SimpleQueue[Datagram | None], put: Callable[[Datagram], None]) -> None:
        while (datagram := todo.get()) is not None and not self._closed:
            with suppress(_zenoh_error()):
                put(datagram)
            self._taken.append(len(datagram))
            if not self._telling:
                self._telling = True
                self._bell.ring(self._on_taken)

    def _on_sample(self, sample: zenoh.Sample) -> None:
        self._arrivals.append((sample.payload.to_bytes(), self._clock.now()))
        if not self._scheduled:
            self._scheduled = True
            self._bell.ring(self._pass_up)

    def _on_matching(self, status: zenoh.MatchingStatus) -> None:
        if status.matching:
            self._bell.ring(self._hint)

    # -- on the loop

    def _pass_up(self) -> None:
        self._scheduled = False
        batch = []
        while self._arrivals:
            batch.append(self._arrivals.popleft())
        if batch and self._arrived is not None:
            self._arrived(batch)

    def _on_taken(self) -> None:
        self._telling = False
        while self._taken:
            self._backlog -= self._taken.popleft()
            self._traffic.queued -= 1
        self._hint()

    def _hint(self) -> None:
        if self._room is not None:
            self._room()


def _zenoh_error() -> type[Exception]:
    import zenoh

    kind: type[Exception] = zenoh.ZError
    return kind


def _epoch(now: float, session: str) -> int:
    """Later lives of a replica have greater numbers; the session's own random name tells apart what begins at the same time."""
    return int((now + _LONG_AGO) * 1e6) << 12 | int(session, 16) & 0xFFF
