"""The seam to the network: channels that carry frames from one replica to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

Buffer: TypeAlias = bytes | bytearray | memoryview
Frame: TypeAlias = Sequence[Buffer]
"""What crosses a channel: one logical message as one or more buffers (header first, then raw arrays)."""


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One channel as its two ends see it.

    Attributes
    ----------
    key
        Unique in the run.
    delivery
        ``acknowledged``: every frame is processed once and in order, whatever the network does, as long as both ends live; a
        receiver that is restarted may see again at most one window of frames. ``latest``: a newer frame replaces older ones that
        the network has not taken yet; the newest always arrives in the end.
    capacity
        Frames that may be sent and not yet processed.
    """

    key: str
    delivery: Literal["latest", "acknowledged"]
    capacity: int = 1024


class Sender(Protocol):
    """The producer's end."""

    async def ready(self) -> None:
        """Return when the consumer's end has answered; what is sent before waits for it, so this need not be called."""
        ...

    async def send(self, frame: Frame) -> int:
        """Take a frame and return its sequence number (from 0); (acknowledged) waits while ``capacity`` are unprocessed."""
        ...

    def has_room(self, size: int) -> bool:
        """Whether `send` would take a frame of so many bytes without waiting."""
        ...

    async def room(self, size: int) -> None:
        """Return when it would."""
        ...

    async def drain(self) -> None:
        """Return when everything sent has been processed (acknowledged) or received (latest)."""
        ...

    def on_renewal(self, renewed: Callable[[], None]) -> None:
        """Have this called whenever a consumer's end answers that knows less than was sent before.

        That is one that began anew: what the former one has processed (acknowledged) or received (latest, but for the newest) is
        not sent again.
        """
        ...


@runtime_checkable
class Corruptible(Protocol):
    """A `Sender` whose frames can be damaged on purpose."""

    def corrupt(self, damaged: Callable[[], bool] | None) -> None:
        """Have frames damaged on their way when this says so; None for never.

        What is damaged is noticed by its checksum and not handed out: an acknowledged frame is sent again, as is the newest one.
        """
        ...


class Delivered(msgspec.Struct, gc=False):
    """A frame at the consumer's end: reassembled, with the clock's time of its complete arrival."""

    seq: int
    data: memoryview
    received: float


class Receiver(Protocol):
    """The consumer's end. Frames come in order; each must be released by ``done`` when it has been processed."""

    async def receive(self) -> Delivered:
        """The next frame; waits for one."""
        ...

    def receive_nowait(self) -> Delivered | None:
        """The next frame if one is there (latest: the newest, dropping older ones)."""
        ...

    def notify(self, arrived: Callable[[], None] | None) -> None:
        """Have this called on the event loop whenever frames have come, and at once if some are there; None for nobody."""
        ...

    def done(self, seq: int) -> None:
        """Everything up to and including ``seq`` has been processed."""
        ...

    def limit(self, limited: bool) -> None:
        """Whether the producer is held back by ``capacity`` frames that are not processed, as at first, or by their bytes alone."""
        ...


class Transport(Protocol):
    """Moves frames between the replicas of a run. An async context manager: what it opened is closed on exit."""

    async def __aenter__(self) -> Transport: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def sender(self, channel: ChannelSpec) -> Sender: ...

    async def receiver(self, channel: ChannelSpec) -> Receiver: ...

    async def connected(self) -> None:
        """Wait until the consumer's end of every channel that is sent on here can be reached."""
        ...

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Per channel key: frames, bytes, retransmitted, duplicates, dropped (latest), reordered."""
        ...
