"""The ends of channels that one transport has opened, over whatever lanes it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeAlias

from estran.errors import TransportError
from estran.runtime.acknowledged import AcknowledgedReceiver, AcknowledgedSender
from estran.runtime.clock import Clock
from estran.runtime.lane import Lane
from estran.runtime.latest import LatestReceiver, LatestSender
from estran.runtime.transport import ChannelSpec

SenderEnd: TypeAlias = AcknowledgedSender | LatestSender
ReceiverEnd: TypeAlias = AcknowledgedReceiver | LatestReceiver


class Channels:
    """Opens ends by delivery class, counts for them, and closes them together.

    Parameters
    ----------
    epoch
        Names this incarnation of the transport; positive, below 2**64, and greater than that of any former one of this replica.
    before
        Called before any end says that frames have been processed.
    """

    def __init__(self, clock: Clock, epoch: int, before: Callable[[], None] | None = None) -> None:
        self._clock = clock
        self._epoch = epoch
        self._before = before
        self._senders: dict[str, SenderEnd] = {}
        self._receivers: dict[str, ReceiverEnd] = {}

    def sender(self, spec: ChannelSpec, lane: Lane) -> SenderEnd:
        """Open the producer's end over a lane.

        Raises
        ------
        TransportError
            This transport has opened it before.
        """
        _once(self._senders, spec, lane)
        kind = AcknowledgedSender if spec.delivery == "acknowledged" else LatestSender
        end = self._senders[spec.key] = kind(lane, spec, self._clock, self._epoch)
        return end

    def receiver(self, spec: ChannelSpec, lane: Lane) -> ReceiverEnd:
        """Open the consumer's end over a lane; raises as `sender` does."""
        _once(self._receivers, spec, lane)
        end: ReceiverEnd
        if spec.delivery == "acknowledged":
            end = AcknowledgedReceiver(lane, spec, self._clock, self._epoch, self._before)
        else:
            end = LatestReceiver(lane, spec, self._clock, self._epoch)
        self._receivers[spec.key] = end
        return end

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters per channel key, of whichever ends are here; ``frames`` are those received where the consumer is here."""
        totals: dict[str, Counter[str]] = {}
        for key, end in (*self._senders.items(), *self._receivers.items()):
            count = totals.setdefault(key, Counter(dict.fromkeys(_COUNTED, 0)))
            count["frames"] = count["bytes"] = 0
            count.update(end.counters())
        return totals

    def close(self) -> None:
        """Close every end at once."""
        for end in (*self._senders.values(), *self._receivers.values()):
            end.close()


_COUNTED = ("frames", "bytes", "retransmitted", "duplicates", "dropped", "reordered")


def _once(ends: Mapping[str, object], spec: ChannelSpec, lane: Lane) -> None:
    if spec.key in ends:
        lane.close()
        raise TransportError("this end of the channel is open already", where=spec.key, remedy="open each end of a channel once")
