"""The layout of everything that the compiled kernels work on: arrays of records, one per message, hop, channel, link or replica.

A *hop* leads from one output of a service to one input of another; its *channels* are numbered through over all hops. A
*station* is what has a queue: the replicas of one service, or a group of links that several senders share. Stations are cut into
a fixed number of *parts*, each of which one thread works on at a time, so that results do not depend on the number of threads.

Few arrays of wide records, and not many of numbers: what a kernel hands on to another is copied array by array, and what it
needs of one link then lies in one line of the cache.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

PAIRED, ALL, ROTATE = 0, 1, 2
"""Routings."""

FIXED, EXPONENTIAL, LOGNORMAL, PARETO, OBSERVED = 0, 1, 2, 3, 4
"""Kinds of spread, in the order of `estran.spec.costs.SpreadKind`."""

STEADY, POISSON, BURSTY, DIURNAL, REPLAY = 0, 1, 2, 3, 4
"""Arrival processes."""

SLOTS: Final = 30
"""Pieces of the measured window for which sums are kept, for confidence intervals."""

MESSAGE: Final = np.dtype([("time", "f8"), ("created", "f8"), ("place", "i4"), ("channel", "i4")])
"""A message that waits or leaves. ``place``: replica, or place in a group of links. A departure has 1 as its ``channel`` if it is a
model that is published, else 0."""

HOP: Final = np.dtype(
    [(name, "i8") for name in (
        "routing", "first", "fan", "latest", "size_law", "extra_law", "held_first", "turn_first", "rows", "models",
        "direct", "direct_shift", "shared", "shared_shift", "onward", "random",
    )]
    + [(name, "f8") for name in ("bits", "packets", "extra")]
)  # fmt: skip
"""A hop: ``direct``, ``shared`` and ``onward`` are the rows of the sender's outbox for messages straight to the consumer, to the
shared link, and from there to the consumer; ``…_shift`` turns a place into its part; ``held_first`` is -1 for acknowledged streams;
``rows`` are per message; ``models`` is 1 if they are models for a predictor; ``extra`` are fixed seconds, and ``extra_law`` -1,
unless they vary; ``random`` is 1 if sizes or these do."""

LINK: Final = np.dtype(
    [(name, "f8") for name in ("delay", "jitter", "per_bit", "loss", "free", "last")] + [("draws", "i8"), ("share", "i8")]
)
"""A directed link. ``free``: when it will have taken what it was given; ``last``: when the last message arrived; ``share``: its
place in its group, -1 for a link that only one replica sends over."""

CHANNEL: Final = np.dtype([("target", "i4"), ("link", "i4")])
"""A channel: consumer replica, and link or -1 within one host."""

LAW: Final = np.dtype(
    [("time", "f8"), ("each", "f8"), ("parameter", "f8"), ("kind", "i8"), ("first", "i8"), ("count", "i8")]
)  # fmt: skip
"""A cost ``(time + each · n) · factor`` in seconds on the device; ``first`` and ``count`` find its quantiles."""

HELD: Final = np.dtype([("sent", "f8"), ("created", "f8")])
"""The newest message that waits at the sender of a latest stream; NaN for none."""

REPLICA: Final = np.dtype(
    [(name, "f8") for name in ("busy", "model", "next_publication")]
    + [(name, "i8") for name in ("draws", "device", "learned", "published_rows")]
)
"""A replica that serves. ``busy``: seconds of work within the measured window; ``model``: publication time of the model in service,
or NaN; ``device``: row of its laws."""

# Columns of a station's sums, by slot: of messages *created* then (up to STALE), and of what happened then.
MESSAGES, QUEUEING, COMPUTE, LATENCY, STALE_MESSAGES, STALE, DONE, BUSY, WAITING, PUBLISHED = range(10)
# Columns of a hop's sums: of messages created then (up to DROPPED), and of what happened then.
SENT, ARRIVED, TRANSFER, DROPPED, LINK_BUSY, LINK_WAITING = range(6)
COLUMNS: Final = 10
# A station's counts over the whole run.
ENTERED, LEFT, SUPERSEDED, BATCHES, LOADS = range(5)
# A hop's counts over the whole run.
HOP_SENT, HOP_DELIVERED, HOP_LOST, HOP_SUPERSEDED = range(4)
COUNTS: Final = 5
# Rows of histograms: of latency by slot, then these, then transfer by hop.
QUEUEING_SHAPE, COMPUTE_SHAPE, STALE_SHAPE, TRANSFER_SHAPES = SLOTS, SLOTS + 1, SLOTS + 2, SLOTS + 3


class Wires(NamedTuple):
    """Hops, channels and links, with the state of the links; random laws; a seed of one number."""

    hops: Array
    channels: Array
    links: Array
    laws: Array
    quantiles: Array
    seed: Array
    held: Array
    turns: Array
    """To whom the next message goes (rotate), by place from ``turn_first``."""
    order: Array
    """When the channel's last message arrived, by channel; empty if nothing can overtake."""


class Out(NamedTuple):
    """What a station's part has sent in one step: a row of messages for each receiving part, ``filled`` of it so far."""

    filled: Array
    messages: Array


class Sums(NamedTuple):
    """What one part has measured.

    ``window``: begin, end, slots per second. ``table``, shape (1 + hops, SLOTS, COLUMNS), and ``counts``, shape (1 + hops, COUNTS):
    the station's own first, then one row per hop. ``shapes``: histograms, shape (SLOTS + 3 + hops, BINS).
    """

    window: Array
    table: Array
    counts: Array
    shapes: Array


class Source(NamedTuple):
    """Replicas that create messages.

    ``numbers``: rate, rows per message, and what the process needs besides. By replica: ``due``, when the next message leaves (-1
    before the first); ``draws``, random numbers used, or rows of a trace; ``left``, messages still to come, empty without limit;
    ``clock``, internal time of a diurnal process; ``lasting``, what is left of a burst or pause.
    """

    numbers: Array
    kind: Array
    due: Array
    draws: Array
    left: Array
    clock: Array
    lasting: Array
    bursting: Array
    trace: Array


class Station(NamedTuple):
    """Replicas that serve messages.

    ``numbers``: servers per replica, messages per batch at most, seconds to linger, seconds and rows between publications (0 for
    none). ``flags``: whether samples wait for the first model, whether it has models, whether it trains, whether it publishes.
    ``laws``: rows of laws by device, for main operation, second operation, loading or snapshot, taking, waking; -1 for none.
    ``free``: when each server is free, shape (replicas, servers). ``previous``: scratch, position of a channel's message, by
    channel; empty if no data comes by latest streams.
    """

    numbers: Array
    flags: Array
    laws: Array
    replicas: Array
    free: Array
    previous: Array


class Rules(NamedTuple):
    """What a station needs to know of hops and costs."""

    hops: Array
    laws: Array
    quantiles: Array


class Bench(NamedTuple):
    """Where a station's part puts what it works on: departures, positions put off, and how many there are of both.

    The rest is scratch: when messages are obsolete, a batch, the samples and the models of one replica.
    """

    departures: Array
    deferred: Array
    tally: Array
    until: Array
    taken: Array
    data: Array
    models: Array
