"""Where frames wait at a consumer's end until they are taken: all of them in order, or the newest only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from estran.runtime.transport import Delivered
from estran.runtime.waiting import Waiters, closed


class _Mailbox:
    """What both kinds share: who waits, who is told, and the end.

    Parameters
    ----------
    key
        The channel's, for messages.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._closed = False
        self._waiters = Waiters()
        self._arrived: Callable[[], None] | None = None

    def receive_nowait(self) -> Delivered | None:
        """The next frame if one is there."""
        raise NotImplementedError

    async def receive(self) -> Delivered:
        """The next frame; waits for one."""
        while (frame := self.receive_nowait()) is None:
            if self._closed:
                raise closed(self._key)
            await self._waiters.wait()
        return frame

    def close(self) -> None:
        """Stop at once; whoever waits gets a `TransportError`."""
        self._closed = True
        self._waiters.wake()

    def _tell(self) -> None:
        self._waiters.wake()
        if self._arrived is not None:
            self._arrived()


class FrameQueue(_Mailbox):
    """Hands out frames in order."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._frames: deque[Delivered] = deque()

    def receive_nowait(self) -> Delivered | None:
        """The next frame if one is there."""
        return self._frames.popleft() if self._frames else None

    def notify(self, arrived: Callable[[], None] | None) -> None:
        """Have this called whenever frames have come."""
        self._arrived = arrived
        if arrived is not None and self._frames:
            arrived()

    def put(self, frames: Sequence[Delivered]) -> None:
        """Take frames that have come, in order."""
        self._frames.extend(frames)
        self._tell()


class NewestFrame(_Mailbox):
    """Hands out the newest frame that is there.

    Attributes
    ----------
    superseded
        Frames that nobody took before newer ones came.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.superseded = 0
        self._newest: Delivered | None = None

    def receive_nowait(self) -> Delivered | None:
        """The newest frame if one is there."""
        newest, self._newest = self._newest, None
        return newest

    def notify(self, arrived: Callable[[], None] | None) -> None:
        """Have this called whenever frames have come."""
        self._arrived = arrived
        if arrived is not None and self._newest is not None:
            arrived()

    def done(self, seq: int) -> None:
        """Nothing to do: a frame of this class is acknowledged when it has come."""

    def limit(self, limited: bool) -> None:
        """Nothing to do: nobody waits for frames of this class to be processed."""

    def put(self, frames: Sequence[Delivered]) -> None:
        """Take frames that have come; the last one replaces all others."""
        self.superseded += len(frames) - 1 + (self._newest is not None)
        self._newest = frames[-1]
        self._tell()
