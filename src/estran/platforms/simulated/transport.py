"""Streams in virtual time: what the delivery classes do, without the datagrams of the protocols that do it.

*acknowledged*: nothing is lost and all is in order; a sender is held back while ``capacity`` frames, or more bytes than its
buffers hold, are not known to be processed; what is lost on the way comes a recovery later. *latest*: what the line cannot take
yet is replaced by what is newer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from estran.errors import TransportError
from estran.platforms.simulated.channel import Channel
from estran.platforms.simulated.senders import AcknowledgedSender, LatestSender, opened
from estran.runtime.mailbox import FrameQueue, NewestFrame
from estran.runtime.transport import ChannelSpec, Delivered, Receiver, Sender

CONNECT_PERIOD: Final = 0.01


@dataclass(slots=True)
class _Life:
    """Frames of one life of the producer: those below ``done`` are processed, those below ``taken`` are in the consumer's hands."""

    sender: AcknowledgedSender | LatestSender | None
    done: int = 0
    taken: int = 0


class AcknowledgedReceiver(FrameQueue):
    """Hands out frames in order and tells the producer when they have been processed."""

    def __init__(self, channel: Channel, ends: Ends) -> None:
        super().__init__(channel.spec.key)
        self._channel = channel
        self._ends = ends
        self._lives: deque[_Life] = deque()
        self.ahead = False

    def limit(self, limited: bool) -> None:
        """Whether the producer is held back by frames that are not processed, or by their bytes alone; word of it is on the way."""
        self.ahead = not limited
        self._tell_ahead()

    def _tell_ahead(self) -> None:
        sender, channel = self._ends.sender, self._channel
        if isinstance(sender, AcknowledgedSender) and channel.word(self._tell_ahead):
            channel.loop.call_later(channel.back, sender.look_ahead)

    def done(self, seq: int) -> None:
        """Everything up to and including ``seq`` has been processed."""
        lives = self._lives
        while len(lives) > 1:  # what a former producer has sent is released first; nobody waits for word of it any more
            former = lives[0]
            if former.done <= seq < former.taken:
                former.done = seq + 1
                if former.done == former.taken:
                    lives.popleft()
                return
            lives.popleft()
        life = lives[0] if lives else _Life(None)
        if seq < life.done:
            return
        if seq >= life.taken:
            remedy = "release frames that were received, by their seq"
            raise TransportError(f"frame {seq} is released but has not come", where=self._key, remedy=remedy)
        life.done = seq + 1
        if isinstance(self._ends.sender, AcknowledgedSender) and self._ends.sender is life.sender:
            self._ends.sender.processed(life.done)

    def arrive(self, frame: Delivered) -> None:
        """Take a frame that is there; one that has come before is not handed out again."""
        lives, sender = self._lives, self._ends.sender
        if not lives or lives[-1].sender is not sender:
            if lives and lives[-1].done == lives[-1].taken:
                lives.pop()
            lives.append(_Life(sender))
        life = lives[-1]
        if frame.seq < life.taken:
            self._channel.duplicates += 1
            if frame.seq < life.done and isinstance(sender, AcknowledgedSender):
                sender.processed(life.done)
            return
        life.taken = frame.seq + 1
        self.put((frame,))


class LatestReceiver(NewestFrame):
    """Hands out the newest frame that is there."""

    ahead = True
    """Nobody waits for frames of this class to be processed."""

    def __init__(self, channel: Channel, ends: Ends) -> None:
        super().__init__(channel.spec.key)
        self._channel = channel
        self._ends = ends
        self._life = _Life(None)

    def arrive(self, frame: Delivered) -> None:
        """Take a frame that is there; one that has come before is not handed out again."""
        sender = self._ends.sender
        if isinstance(sender, LatestSender):
            sender.received(frame.seq)
        if self._life.sender is not sender:
            self._life = _Life(sender)
        if frame.seq < self._life.taken:
            self._channel.duplicates += 1
            return
        self._life.taken = frame.seq + 1
        before = self.superseded
        self.put((frame,))
        self._channel.dropped += self.superseded - before


class Ends:
    """The two ends of one channel, as far as they are open."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.sender: AcknowledgedSender | LatestSender | None = None
        self.receiver: AcknowledgedReceiver | LatestReceiver | None = None


Open = Callable[[ChannelSpec], Ends]
"""Finds a channel of the run, making it at the first call."""


class SimulatedTransport:
    """One replica's transport.

    Parameters
    ----------
    ends
        Finds the run's channels.
    """

    def __init__(self, ends: Open) -> None:
        self._find = ends
        self._ours: dict[str, tuple[Ends, list[AcknowledgedSender | LatestSender | AcknowledgedReceiver | LatestReceiver]]] = {}
        self._sent_on: list[Ends] = []

    def abort(self) -> None:
        """Close all ends, without a word; others of the same channels may be opened."""
        for ends, ours in self._ours.values():
            for end in ours:
                end.close()
            if ends.receiver in ours:
                ends.receiver = ends.channel.receiver = None
            if ends.sender in ours:
                ends.sender = ends.channel.sender = None

    async def __aenter__(self) -> SimulatedTransport:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.abort()

    async def sender(self, channel: ChannelSpec) -> Sender:
        """Open the producer's end."""
        ends = self._find(channel)
        _once(ends.sender, channel)
        kind = AcknowledgedSender if channel.delivery == "acknowledged" else LatestSender
        ends.channel.begin_to_count()
        sender = ends.sender = ends.channel.sender = kind(ends.channel)
        self._ours.setdefault(channel.key, (ends, []))[1].append(sender)
        self._sent_on.append(ends)
        if isinstance(sender, AcknowledgedSender):
            sender.look_ahead()
        return sender

    async def receiver(self, channel: ChannelSpec) -> Receiver:
        """Open the consumer's end."""
        ends = self._find(channel)
        _once(ends.receiver, channel)
        kind = AcknowledgedReceiver if channel.delivery == "acknowledged" else LatestReceiver
        receiver = ends.receiver = ends.channel.receiver = kind(ends.channel, ends)
        self._ours.setdefault(channel.key, (ends, []))[1].append(receiver)
        ends.channel.opened.wake()
        if ends.sender is not None:
            ends.channel.loop.call_soon(ends.sender.opened)
            ends.channel.loop.call_soon(ends.sender.met_anew)
        return receiver

    async def connected(self) -> None:
        """Wait until the consumers' ends are open."""
        for ends in self._sent_on:
            await opened(ends.channel)

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters per channel."""
        return {key: dict(ends.channel.stats) for key, (ends, _) in self._ours.items()}


def _once(end: object, spec: ChannelSpec) -> None:
    if end is not None:
        raise TransportError("this end of the channel is open already", where=spec.key, remedy="open each end of a channel once")
