"""One channel of a simulated run: the model that its two ends share, between them the network."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.network import ANSWER, ANSWER_PERIOD, ENVELOPE, HEADERS, PIECE, Network, Window, on_wire
from estran.platforms.simulated.tcp import Connection, Landed
from estran.runtime.flight import MIN_INTERVAL
from estran.runtime.transport import ChannelSpec, Delivered
from estran.runtime.waiting import Waiters

Trace = Callable[[str, str], None]
"""Takes what happens to whom and its details, when it happens."""

_WINDOWS: Final = {
    "acknowledged": {"floor": 128 << 10, "initial": 512 << 10, "queueing": 0.02},
    "latest": {"floor": 4 << 10, "initial": 64 << 10, "queueing": 0.01},
}
"""Those of `estran.runtime.acknowledged` and `estran.runtime.latest`."""
SLACK: Final = 0.02
"""Seconds beyond a round trip after which an unanswered frame is asked for, as `estran.runtime.flight` has it."""
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
    """A consumer's end; ``ahead``: its producer need not wait for frames to be processed."""

    ahead: bool

    def arrive(self, frame: Delivered) -> None:
        """Take a frame that is there."""
        ...


class Outlet(Protocol):
    """A producer's end."""

    def repeat(self) -> None:
        """Send again what the consumer may not have."""
        ...

    def unblock(self) -> None:
        """There may be more room than there was."""
        ...


class Channel:
    """The model of one channel.

    Parameters
    ----------
    hosts
        Source and target; the same one twice for a channel within a host, which takes no network.

    Attributes
    ----------
    life
        Counts new connections and new ends: what was under way in a former one does not arrive.
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
        self.begin_to_count()
        self.opened = Waiters()
        self.receiver: Inlet | None = None
        self._network, self._hosts = network, hosts
        self.sender: Outlet | None = None
        self.life = 0
        self._held: list[Callable[[], None]] = []
        self._noticing: deque[tuple[int, int, bytes, float]] = deque()
        self._paused: list[tuple[int, int, bytes, float]] | None = None
        self.damaged: Callable[[], bool] | None = None
        self._shape_window()
        self._trace_sender, self._trace_receiver = trace_sender, trace_receiver
        self.connect(connection)
        self._here, self._there = network.counted(hosts[0]), network.counted(hosts[1])
        self._local = hosts[0] == hosts[1]
        self._answered = self._arrived = self._noticed = -1.0

    def begin_to_count(self) -> None:
        """A producer begins, maybe anew."""
        self.frames = self.bytes = self.dropped = self.retransmitted = self.duplicates = self.corrupted = 0

    def connect(self, connection: Connection) -> None:
        """Send by this connection from now on."""
        self._connection = connection
        connection.on_restored.append(self._restored)
        connection.on_renewed.append(self.renew)
        connection.on_reshaped.append(self.reshape)

    def reshape(self) -> None:
        """Go on with a window for the line as it is now."""
        self._shape_window()
        if self.sender is not None:
            self.sender.unblock()

    def renew(self) -> None:
        """Nothing is known of what was under way, by a new connection or to a new end: the producer repeats what it must."""
        self.life += 1
        self._held.clear()
        self._shape_window()
        if self.sender is not None:
            self.sender.repeat()

    def _shape_window(self) -> None:
        there, back = self._network.link(*self._hosts), self._network.link(*self._hosts[::-1])
        self.back = back.delay
        self._patience = max(there.delay + back.delay + SLACK, MIN_INTERVAL)
        shape = _WINDOWS[self.spec.delivery]
        self.window = Window(
            there, there.delay + back.delay, floor=int(shape["floor"]), initial=int(shape["initial"]), queueing=shape["queueing"]
        )

    def word(self, told: Callable[[], None]) -> bool:
        """Whether word of what the consumer does reaches the producer; else it does when the connection is there again."""
        if not self._connection.cut or self._local:
            return True
        self._held.append(told)
        return False

    def _restored(self) -> None:
        held, self._held = self._held, []
        for told in held:
            told()

    def pause(self, paused: bool) -> None:
        """The consumer takes nothing from now on, since it stands still; or it takes what has come meanwhile."""
        if paused:
            self._paused = []
            return
        waiting, self._paused = self._paused or [], None
        for life, seq, data, arrived in waiting:
            self._hand_over(life, seq, data, arrived)

    @property
    def stats(self) -> dict[str, int]:
        """What was counted."""
        return dict.fromkeys(_COUNTED, 0) | {
            "frames": self.frames, "bytes": self.bytes, "retransmitted": self.retransmitted, "duplicates": self.duplicates,
            "dropped": self.dropped, "corrupted": self.corrupted,
        }  # fmt: skip

    def taken(self, seq: int, size: int) -> None:
        """The producer has handed a frame over."""
        self.frames += 1
        self.bytes += size
        self.hands.sending()
        if self._trace_sender is not None:
            self._trace_sender("sends", f"{self.spec.key} #{seq}, {size} B")

    def put(self, size: int, last: bool, landed: Landed) -> None:
        """Put bytes of a frame on the network, ``last`` if none of it follow; told when they will be there."""
        window = self.window
        window.launched(size)

        def lands(there: float) -> None:
            window.lands(there + self.back, size)
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
        if self.damaged is not None and (again := self._repeated(seq, data, there)):
            if again < 0:
                return
            there += again
        hands = self.hands
        self._arrived = arrived = max(there + hands.extra(), self._arrived)
        self._noticed = noticed = max(arrived + hands.wake(), self._noticed)
        # Of several that are noticed at one instant the loop may call any first.
        self._noticing.append((self.life, seq, data, arrived))
        self.loop.call_at(noticed, self._notice)

    def _notice(self) -> None:
        self._hand_over(*self._noticing.popleft())

    def _repeated(self, seq: int, data: bytes, there: float) -> float:
        """Seconds that a frame takes longer as it comes damaged and is sent again; below 0 if that is not done here.

        Of acknowledged frames later ones wait; of those of which the newest counts, this one is given up if there is a newer one.
        """
        assert self.damaged is not None
        late = 0.0
        while self.damaged():
            self.corrupted += 1
            if self.spec.delivery == "latest":
                self.loop.call_at(there + self._patience, self._offer_again, self.life, seq, data)
                return -1.0
            self.retransmitted += 1
            late += self._patience
        return late

    def _offer_again(self, life: int, seq: int, data: bytes) -> None:
        if life != self.life or seq < self.frames - 1:
            self.dropped += 1
        else:
            self.retransmitted += 1
            self.deliver(seq, data, self.loop.time())

    def _count(self, now: float, size: int) -> None:
        self._here.sent += size
        self._there.received += size
        if now - self._answered >= ANSWER_PERIOD:
            self._answered = now
            self._there.sent += ANSWER + HEADERS
            self._here.received += ANSWER + HEADERS

    def _hand_over(self, life: int, seq: int, data: bytes, arrived: float) -> None:
        if life != self.life:
            return
        if self._paused is not None:
            self._paused.append((life, seq, data, arrived))
            return
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
        self._channel.loop.call_at(when, self.unblock)

    def unblock(self) -> None:
        """There may be room again."""
        self._blocked = False
        self.go()

    def forget(self) -> None:
        """Begin again with what is supplied next."""
        self._frame, self._started, self._blocked = None, 0, False


def _nobody(there: float) -> None:
    """Nobody waits for a part of a frame."""
