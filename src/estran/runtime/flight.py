"""How much may be under way: round-trip estimates, and a window that fills the link without queueing on it."""

from __future__ import annotations

from collections import deque

MIN_INTERVAL = 0.03
MAX_INTERVAL = 0.5
_FORGET = 10.0


class Flight:
    """Window of bytes in flight, steered by delay: it grows while acknowledgements come back as fast as on an idle link.

    The network below is reliable while a connection lasts, so loss says nothing about congestion; a growing round trip does.

    Parameters
    ----------
    initial, floor, ceiling
        Bytes.
    queueing
        Seconds of queueing on the way that are accepted (half the idle round trip is, in any case).
    """

    def __init__(self, initial: int, floor: int, ceiling: int, queueing: float) -> None:
        self.window = float(initial)
        self.round_trip = 0.0
        self._initial = initial
        self._floor = floor
        self._ceiling = ceiling
        self._queueing = queueing
        self._variation = 0.0
        self._recent: deque[float] = deque(maxlen=4)
        self._least = [float("inf"), float("inf")]
        self._rate = 0.0
        self._turn = 0.0
        self._shrunk = 0.0

    @property
    def rate(self) -> float:
        """Bytes per second that have landed lately; 0 at first."""
        return self._rate

    @property
    def interval(self) -> float:
        """Seconds without a sign of the peer after which to ask."""
        if not self.round_trip:
            return 2 * MIN_INTERVAL
        return min(max(self.round_trip + 4 * self._variation + 0.02, MIN_INTERVAL), MAX_INTERVAL)

    def sample(self, round_trip: float, rate: float, now: float) -> None:
        """Take one measurement: seconds, and the bytes per second that landed meanwhile.

        Jacobson's estimator for the round trip; the least one of the last 10 to 20 s is the idle link's.
        """
        round_trip = max(round_trip, 1e-6)
        if not self.round_trip:
            self.round_trip, self._variation = round_trip, round_trip / 2
        else:
            self._variation += (abs(self.round_trip - round_trip) - self._variation) / 4
            self.round_trip += (round_trip - self.round_trip) / 8
        if now - self._turn > _FORGET:
            self._turn = now
            self._least = [round_trip, self._least[0]]
        self._least[0] = min(self._least[0], round_trip)
        self._rate += (rate - self._rate) / 8
        self._recent.append(round_trip)

    def landed(self, size: int, limited: bool, now: float) -> None:
        """Adapt after ``size`` bytes have arrived; ``limited``: the window has been holding data back."""
        if not self._recent:
            return
        idle = min(self._least)
        accepted = self._queueing + idle / 2
        # One late answer may be a busy processor's doing; several in a row are a queue.
        late = min(self._recent)
        if late - idle <= accepted:
            if limited:
                useful = max(2 * self._rate * idle, self._initial)
                self.window = max(self.window, min(self.window + size, useful, self._ceiling))
        elif now - self._shrunk > late:
            self._shrunk = now
            self.window = max(self.window * (idle + accepted) / late, self._floor)

    def interrupted(self) -> None:
        """Start over after an outage."""
        self.window = float(min(self.window, self._initial))
