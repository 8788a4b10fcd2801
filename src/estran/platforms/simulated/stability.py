"""Tells a service that cannot keep up from one that is merely busy: its processor never rests, and what it takes up gets older.

Let a replica work through messages that were created within ``C`` seconds in ``D`` seconds, its processor busy for a share ``b`` of
them. What it is offered, in processor seconds per second that it has, is then ``b · D / C``: what waits is counted, wherever it
waits, at the replica or at a producer that is held back. Above 1 the wait grows for as long as the run lasts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from estran.platforms.simulated.processor import Processor
from estran.runtime.rows import MessageRow
from estran.spec.plan import Plan, Replica

BUSY: Final = 0.97
"""Share of the time from which a processor counts as never resting."""
GROWTH: Final = 1.01
"""What is offered must exceed what can be done by more than this is by chance."""
MOST_WAITING: Final = 1_000_000
"""Frames waiting for one replica at which a run is not worth going on."""
REMEDY: Final = "send less, or give it a faster device or more replicas; --on simulate prices work by costs: and the calibration"

_STREAM, _RECEIVER = MessageRow._fields.index("stream"), MessageRow._fields.index("receiver")
_CREATED, _DONE = MessageRow._fields.index("created"), MessageRow._fields.index("done")


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a replica: seconds of the run's clock, processor seconds worked off, and its newest message's times."""

    time: float
    worked: float
    created: float
    done: float

    @property
    def age(self) -> float:
        return self.done - self.created


@dataclass(slots=True)
class Gauge:
    """What was seen of one replica.

    Attributes
    ----------
    waiting
        Counts the frames that were sent to it and that it has not processed.
    streams
        Those into it on which nothing is superseded.
    """

    replica: Replica
    layer: str
    processor: Processor
    waiting: Callable[[], int]
    streams: frozenset[str]
    readings: list[Reading] = field(default_factory=list)
    newest: tuple[float, float] | None = None

    def take(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Note the newest message that had to wait for its turn."""
        for row in reversed(rows):
            if row[_STREAM] in self.streams:
                self.newest = row[_CREATED], row[_DONE]
                return

    def look(self, now: float) -> None:
        """Take a reading."""
        if self.newest is not None:
            self.readings.append(Reading(now, self.processor.worked(now), *self.newest))

    def offered(self, begin: float, end: float) -> float | None:
        """Utilisation offered in the second half of a window, in which it was busy throughout; None if it kept up."""
        inside = [one for one in self.readings if begin <= one.time <= end + 1e-9]
        if len(inside) < 3:
            return None
        first, middle, last = inside[0], inside[len(inside) // 2], inside[-1]
        if min(self._busy(first, last), self._busy(middle, last)) < BUSY:
            return None
        if last.age <= max(one.age for one in inside[: len(inside) // 2]):
            return None
        done, created = last.done - middle.done, last.created - middle.created
        offered = self._busy(middle, last) * done / created if created > 0 else float("inf")
        return offered if offered > GROWTH else None

    def _busy(self, first: Reading, last: Reading) -> float:
        return (last.worked - first.worked) / (self.processor.share * (last.time - first.time))

    def told(self, offered: float | None) -> str:
        """Say it; None if there was no time to find out how much is offered."""
        replica = self.replica
        what = "unstable: " if offered is None else f"unstable: utilisation {offered:.2g} "
        age = f", the newest done was {self.readings[-1].age:.3g} s old, and it gets worse" if self.readings else ""
        return (
            f"{what}at {self.layer}/{replica.service.name} ({replica.name} on {replica.host} cannot keep up: {self.waiting()} "
            f"messages wait for it{age})"
        )


class Gauges:
    """Those of a whole run.

    Parameters
    ----------
    alarm
        Told at once of a wait that has outgrown all bounds.
    """

    def __init__(
        self, plan: Plan, processors: Mapping[str, Processor], waiting: Callable[[str], int], alarm: Callable[[str], None]
    ) -> None:
        streams: defaultdict[str, set[str]] = defaultdict(set)
        for channel in plan.channels:
            if channel.delivery == "acknowledged":
                streams[channel.consumer].add(channel.stream)
        self._measure = plan.experiment.measure
        self._alarm = alarm
        self._gauges = {
            name: Gauge(
                plan.replicas[name], plan.hosts[plan.replicas[name].host].layer, processors[name],
                partial(waiting, name), frozenset(into),
            )
            for name, into in streams.items()
        }  # fmt: skip

    def take(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Note rows of messages, all of one receiver."""
        gauge = self._gauges.get(rows[0][_RECEIVER]) if rows else None
        if gauge is not None:
            gauge.take(rows)

    def look(self, replica: str, now: float) -> None:
        """Take a reading of one replica."""
        gauge = self._gauges.get(replica)
        if gauge is None or now < 0:
            return
        gauge.look(now)
        waiting = gauge.waiting()
        if waiting > MOST_WAITING:
            offered = gauge.offered(0.0, now)
            self._alarm(gauge.told(offered))

    def verdicts(self) -> list[str]:
        """What could not keep up over the measured window, one sentence per service: that of the worst replica."""
        begin = self._measure.warmup
        worst: dict[str, tuple[float, str]] = {}
        for gauge in self._gauges.values():
            offered = gauge.offered(begin, begin + self._measure.duration)
            service = gauge.replica.service.name
            if offered is not None and offered > worst.get(service, (0.0, ""))[0]:
                worst[service] = offered, gauge.told(offered)
        return [told for _, told in worst.values()]
