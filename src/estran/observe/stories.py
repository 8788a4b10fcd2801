"""The messages of a run as columns of numbers, and the way back from an answer to its source.

Rows are ordered by ``done``; frames that a receiver saw twice are marked, so that everything else can leave them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import duckdb

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
_Key = TypeVar("_Key")

NONE: Final = -1
"""Stands for an absent version, truth or answer."""
_MOST_HOPS: Final = 64
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Stories:
    """Messages, ordered by ``done``. ``stream``, ``origin`` and ``receiver`` are indices into ``names``; ``trace`` is a hash."""

    names: tuple[str, ...]
    trace: NDArray[np.uint64]
    stream: Integers
    origin: Integers
    receiver: Integers
    seq: Integers
    created: Floats
    sent: Floats
    received: Floats
    started: Floats
    done: Floats
    bytes: Integers
    version: Integers
    truth: Integers
    answer: Integers

    def __len__(self) -> int:
        return len(self.trace)

    def select(self, rows: Mask | Integers) -> Stories:
        """Some of the rows, in the order given."""
        return Stories(self.names, *(getattr(self, name)[rows] for name in _COLUMNS))

    def by_service(self, services: Mapping[str, str]) -> tuple[list[str], Integers]:
        """Services, and for each name the index of the service that it is a replica of."""
        known = [services.get(name, name.rpartition("-")[0] or name) for name in self.names]
        listed = sorted(set(known))
        return listed, np.array([listed.index(service) for service in known], dtype=np.int64)


_COLUMNS: Final = tuple(name for name in Stories.__dataclass_fields__ if name != "names")


def load(connection: duckdb.DuckDBPyConnection) -> Stories:
    """Read the messages of a run's database (`Run.database`)."""
    names = _names(connection)
    connection.execute(
        "CREATE TEMP TABLE named AS SELECT unnest($names) AS name, unnest(range($n)) AS code",
        {"names": names or [""], "n": max(len(names), 1)},
    )
    query = """SELECT hash(trace) AS trace, s.code AS stream, o.code AS origin, r.code AS receiver,
               seq, created, sent, received, started, done, bytes,
               coalesce(version, -1) AS version, coalesce(truth, -1) AS truth, coalesce(answer, -1) AS answer
               FROM messages JOIN named s ON stream = s.name JOIN named o ON origin = o.name JOIN named r ON receiver = r.name
               ORDER BY done, received, seq"""
    found = connection.execute(query).fetchnumpy()
    connection.execute("DROP TABLE named")
    return Stories(tuple(names), *(np.ma.getdata(found[name]) for name in _COLUMNS))


def _names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    query = "SELECT DISTINCT unnest([stream, origin, receiver]) AS name FROM messages ORDER BY name"
    return [row[0] for row in connection.execute(query).fetchall()]


def channel_order(stories: Stories, *then: NDArray[Any]) -> tuple[Integers, Mask]:
    """Rows sorted by channel and then by further keys, and where in that order a channel begins."""
    channel = (stories.stream * len(stories.names) + stories.origin) * len(stories.names) + stories.receiver
    order = np.lexsort((*reversed(then), channel))
    sorted_channel = channel[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = sorted_channel[1:] != sorted_channel[:-1]
    return order, begins


def duplicates(stories: Stories) -> Mask:
    """Rows of frames that their receiver had processed before (the same number, handed over at the same time)."""
    order, begins = channel_order(stories, stories.sent, stories.seq, stories.received)
    again = ~begins
    again[1:] &= (stories.seq[order][1:] == stories.seq[order][:-1]) & (stories.sent[order][1:] == stories.sent[order][:-1])
    found = np.zeros(len(stories), dtype=bool)
    found[order] = again
    return found


def missing_before(stories: Stories) -> Integers:
    """How many frames of its channel were sent between each row's frame and the one before it, and never processed.

    Numbers start anew when a sender restarts, which is told from their not growing. Give rows without duplicates.
    """
    order, begins = channel_order(stories, stories.sent, stories.seq)
    seq = stories.seq[order]
    before = np.concatenate(([NONE], seq[:-1]))
    before[begins | (seq <= before)] = NONE
    found = np.zeros(len(stories), dtype=np.int64)
    found[order] = seq - before - 1
    return found


def reordered(stories: Stories) -> Mask:
    """Rows that arrived after one of the same channel that was sent later. Give rows without duplicates."""
    order, _ = channel_order(stories, stories.sent, stories.seq)
    place = np.empty(len(stories), dtype=np.int64)
    place[order] = np.arange(len(stories))
    arrival, _ = channel_order(stories, stories.received, place)
    late = np.zeros(len(stories), dtype=bool)
    if len(stories):
        late[arrival] = place[arrival] < np.maximum.accumulate(place[arrival])
    return late


@dataclass(frozen=True)
class Stage:
    """One part of the way to an answer: ``queueing``, ``transfer`` or ``compute`` at a service, per answer (0 where not passed)."""

    service: str
    kind: str
    seconds: Floats
    passed: int


def stages(stories: Stories, ends: Integers, services: Mapping[str, str]) -> list[Stage]:
    """Split ``done - created`` of some rows into stages that sum to it exactly.

    A hop into a service is *transfer* from ``sent`` to ``received`` and *queueing* from there to ``started``; *compute* lasts until
    the service sent what came of it, or was done. Waiting between that and ``sent``, or between ``created`` and the first
    ``sent``, is *queueing* at the sender. Hops are joined by trace: a message came of the newest one of its trace that its
    sender had begun to process.

    Parameters
    ----------
    stories
        All rows without duplicates, warm-up included.
    ends
        Indices of the rows to explain.
    """
    listed, service_of = stories.by_service(services)
    found: dict[tuple[str, str], tuple[Floats, int]] = {}
    for part in _way(stories, ends):
        _gather(found, len(ends), part, [(name, part.kind) for name in listed], service_of[part.receiver])
    return [Stage(service, kind, seconds, passed) for (service, kind), (seconds, passed) in sorted(found.items())]


def stages_by_link(
    stories: Stories, ends: Integers, services: Mapping[str, str], hosts: Mapping[str, tuple[str, str]]
) -> dict[str, Floats]:
    """Split ``done - created`` as `stages` does, and tell transfer by link instead of by the service that it leads to.

    Parameters
    ----------
    hosts
        Host and layer of every replica. One that is not there is told by its service.

    Returns
    -------
    dict
        Seconds per end of ``queueing at detector``, ``compute at detector``, ``transfer edge → fog`` (layers of the two hosts),
        ``transfer within edge hosts`` (what never left its host).
    """
    listed, service_of = stories.by_service(services)
    places = [hosts.get(name, (name, listed[service_of[code]])) for code, name in enumerate(stories.names)]
    pairs = [_link(one, other) for one in places for other in places]
    links = sorted(set(pairs))
    link_of = np.array([links.index(pair) for pair in pairs], dtype=np.int64).reshape(len(places), len(places))
    found: dict[str, tuple[Floats, int]] = {}
    for part in _way(stories, ends):
        if part.kind == "transfer":
            _gather(found, len(ends), part, links, link_of[part.origin, part.receiver])
        else:
            _gather(found, len(ends), part, [f"{part.kind} at {name}" for name in listed], service_of[part.receiver])
    return {name: seconds for name, (seconds, _) in sorted(found.items())}


def _link(one: tuple[str, str], other: tuple[str, str]) -> str:
    return f"transfer within {one[1]} hosts" if one[0] == other[0] else f"transfer {one[1]} → {other[1]}"


class _Part(NamedTuple):
    """Seconds that some ends (``which``) spent on one hop; what happens at one replica has it as ``origin`` and ``receiver``."""

    kind: str
    origin: Integers
    receiver: Integers
    which: Integers
    seconds: Floats


def _way(stories: Stories, ends: Integers) -> Iterator[_Part]:
    """The parts of the ways to some rows, hop by hop from their ends."""
    upstream = _Upstream(stories)
    created = stories.created[ends]
    which, row, until = np.arange(len(ends)), ends, stories.done[ends]
    for hop in range(_MOST_HOPS):
        here, there = stories.receiver[row], stories.origin[row]
        yield _Part("compute", here, here, which, until - stories.started[row])
        yield _Part("queueing", here, here, which, stories.started[row] - stories.received[row])
        yield _Part("transfer", there, here, which, stories.received[row] - stories.sent[row])
        up = upstream.of(row) if hop < _MOST_HOPS - 1 else np.full(len(row), NONE)
        first = up == NONE
        yield _Part("queueing", there[first], there[first], which[first], stories.sent[row[first]] - created[which[first]])
        on, sent = up[~first], stories.sent[row[~first]]
        until = np.minimum(stories.done[on], sent)
        yield _Part("queueing", there[~first], there[~first], which[~first], sent - until)
        which, row = which[~first], on
        if not len(row):
            break


def _gather(found: dict[_Key, tuple[Floats, int]], count: int, part: _Part, keys: Sequence[_Key], codes: Integers) -> None:
    """Add a part's seconds, one array entry per end, to what was found by key."""
    for one in np.unique(codes):
        mine = codes == one
        total, passed = found.get(keys[one], (np.zeros(count), 0))
        total[part.which[mine]] += part.seconds[mine]
        found[keys[one]] = (total, passed + int(mine.sum()))


class _Upstream:
    """Finds the message that another one came of."""

    def __init__(self, stories: Stories) -> None:
        self._stories = stories
        key = self._key(stories.trace, stories.receiver)
        self._order = np.lexsort((stories.started, key))
        self._sorted = key[self._order]

    @staticmethod
    def _key(trace: NDArray[np.uint64], replica: Integers) -> NDArray[np.uint64]:
        return trace ^ (replica.astype(np.uint64) + np.uint64(1)) * _GOLDEN

    def of(self, rows: Integers) -> Integers:
        """Index of the row that each row came of, or `NONE`."""
        stories = self._stories
        key = self._key(stories.trace[rows], stories.origin[rows])
        low = np.searchsorted(self._sorted, key, "left")
        place = np.searchsorted(self._sorted, key, "right") - 1
        while True:
            too_new = (place >= low) & (stories.started[self._order[place]] > stories.sent[rows])
            if not too_new.any():
                break
            place = place - too_new
        return np.where(place >= low, self._order[place], NONE)
