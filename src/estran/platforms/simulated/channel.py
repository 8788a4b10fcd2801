"""One channel of a simulated run: the model that its two ends share, between them the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.network import ANSWER, ANSWER_PERIOD, ENVELOPE, HEADERS, PIECE, Network, Window, on_wire
from estran.platforms.simulated.tcp import Connection, Landed
from estran.runtime.transport import ChannelSpec, Delivered
from estran.runtime.waiting import Waiters

Trace = Callable[[str, str], None]
"""Takes what happens to whom and its details, when it happens."""

_WINDOWS: Final = {
    "acknowledged": {"floor": 128 << 10, "initial": 512 << 10, "queueing": 0.02},
    "latest": {"floor": 4 << 10, "initial": 64 << 10, "queueing": 0.01},
}
"""Those of `estran.runtime.acknowledged` and `estran.runtime.latest`."""
_COUNTED: Final = ("frames", "bytes", "retransmitted", "duplicates", "dropped", "reordered")


class Hands(Protocol):
    """What the two replicas of a channel spend on a message, and how long that takes beside the network; seconds."""

    def sending(self) -> None:
        """Charge the producer for one message."""
        ...

    def extra(self) -> float:
        """Draw what a message takes beside the line's own delay and rate."""
        ...

    def wake(self) -> float:
        """Draw how long an idle consumer takes to notice a message."""
        ...

    def receiving(self) -> None:
        """Charge the consumer for one message."""
        ...

    def answered(self) -> None:
        """Charge the producer for an acknowledgement."""
        ...


class Inlet(Protocol):
    """A consumer's end."""

    def arrive(self, frame: Delivered) -> None:
        """Take a frame that is there."""
        ...


class Channel:
    """The model of one channel.

    Parameters
    ----------
    hosts
        Source and target; the same one twice for a channel within a host, which takes no network.
    """

    def __init__(
        self,
        spec: ChannelSpec,
        network: Network,
        clock: VirtualClock,
        hosts: tuple[str, str],
        connection: Connection,
        hands: Hands,
        trace_sender: Trace | None,
        trace_receiver: Trace | None,
    ) -> None:
        self.spec = spec
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.hands = hands
        self.frames = self.bytes = self.dropped = 0
        self.opened = Waiters()
        self.receiver: Inlet | None = None
        there, back = network.link(*hosts), network.link(*hosts[::-1])
        self.back = back.delay
        shape = _WINDOWS[spec.delivery]
        self.window = Window(
            there, there.delay + back.delay, floor=int(shape["floor"]), initial=int(shape["initial"]), queueing=shape["queueing"]
        )
        self._trace_sender, self._trace_receiver = trace_sender, trace_receiver
        self._connection = connection
        self._here, self._there = network.counted(hosts[0]), network.counted(hosts[1])
        self._local = hosts[0] == hosts[1]
        self._answered = self._arrived = self._noticed = -1.0

    @property
    def stats(self) -> dict[str, int]:
        """What was counted."""
        return dict.fromkeys(_COUNTED, 0) | {"frames": self.frames, "bytes": self.bytes, "dropped": self.dropped}

    def taken(self, seq: int, size: int) -> None:
        """The producer has handed a frame over."""
        self.frames += 1
        self.bytes += size
        self.hands.sending()
        if self._trace_sender is not None:
            self._trace_sender("sends", f"{self.spec.key} #{seq}, {size} B")

    def put(self, size: int, last: bool, landed: Landed) -> None:
        """Put bytes of a frame on the network, ``last`` if none of it follow; told when they will be there."""
        self.window.launched(size)

        def lands(there: float) -> None:
            self.window.lands(there + self.back, size)
            landed(there)

        if self._local:
            lands(self.loop.time())
        else:
            self._connection.send(size + ENVELOPE if last else size, lands)

    def deliver(self, seq: int, data: bytes, there: float) -> None:
        """Have a frame arrive at the consumer once its last byte is there (by the loop's time)."""
        now = self.loop.time()
        if not self._local:
            self._count(now, on_wire(len(data)))
        hands = self.hands
        self._arrived = arrived = max(there + hands.extra(), self._arrived)
        self._noticed = noticed = max(arrived + hands.wake(), self._noticed)
        self.loop.call_at(noticed, self._hand_over, seq, data, arrived)

    def _count(self, now: float, size: int) -> None:
        self._here.sent += size
        self._there.received += size
        if now - self._answered >= ANSWER_PERIOD:
            self._answered = now
            self._there.sent += ANSWER + HEADERS
            self._here.received += ANSWER + HEADERS

    def _hand_over(self, seq: int, data: bytes, arrived: float) -> None:
        if self._trace_receiver is not None:
            self._trace_receiver("notices", f"{self.spec.key} #{seq}")
        self.hands.receiving()
        if self.receiver is not None:
            self.receiver.arrive(Delivered(seq, memoryview(data), arrived - self.clock.origin))


class Pump:
    """Moves frames of one sender onto the network, as fast as the window lets them.

    Parameters
    ----------
    supply
        The next frame (number and bytes), or None.
    """

    def __init__(self, channel: Channel, supply: Callable[[], tuple[int, bytes] | None]) -> None:
        self._channel = channel
        self._supply = supply
        self._frame: tuple[int, bytes] | None = None
        self._started = 0
        self._blocked = False

    def go(self) -> None:
        """Send what may be sent now, and come back when more may."""
        if self._blocked or self._channel.receiver is None:
            return
        while True:
            if self._frame is None:
                self._frame, self._started = self._supply(), 0
            if self._frame is None or not self._advance(*self._frame):
                return

    def _advance(self, seq: int, data: bytes) -> bool:
        """Send of one frame what the window has room for; False if it has none."""
        channel, window = self._channel, self._channel.window
        left = len(data) - self._started
        room = window.room(channel.loop.time())
        if room < left:
            # A window that is smaller than a piece is used as a whole, or nothing would ever go.
            if room < min(left, PIECE, window.size):
                self._blocked = True
                window.wait(self._come_back)
                return False
            left = room
        self._started += left
        if self._started < len(data):
            channel.put(left, False, _nobody)
        else:
            self._frame = None
            channel.put(left, True, partial(channel.deliver, seq, data))
        return True

    def _come_back(self, when: float) -> None:
        self._channel.loop.call_at(when, self._unblock)

    def _unblock(self) -> None:
        self._blocked = False
        self.go()


def _nobody(there: float) -> None:
    """Nobody waits for a part of a frame."""
