"""Which resource saturates first: processors of hosts, links between them, and services that work off what arrives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.explain.load import Trend, trend
from estran.explain.table import Table
from estran.observe.queries import Run, open_run
from estran.observe.usage import growth

if TYPE_CHECKING:
    import duckdb

Kind = Literal["cpu", "link", "service"]
SATURATED: Final = 0.95
GROWING: Final = (0.01, 0.5)
"""A queue grows if waiting lengthens by so many seconds a second, and a line explains so much of it (r²)."""
_FEW: Final = 20
"""Messages with fewer than which nothing is said of a queue."""

Key = tuple[Kind, str]
Used = Mapping[Key, tuple[float, bool]]
"""Utilisation of each resource in a run, and whether what waits for it kept growing."""


@dataclass(frozen=True)
class Load:
    """A resource at one level of a factor: mean utilisation over the runs there, and whether it saturates."""

    level: str
    runs: int
    utilisation: float
    saturated: bool


@dataclass(frozen=True)
class Resource:
    """One resource over all runs.

    Attributes
    ----------
    name
        A host (``cpu``), a replica (``service``), or two hosts (``link``: ``edge-0 → fog-0``).
    utilisation, highest
        Mean over all runs, and of the point of the design where it is highest, at the levels in ``where``.
    saturated, growing
        Whether it is at 95 % or more there, or what waits for it keeps growing.
    headroom
        How many times the load at that point it bears, if use grows in proportion: 1 / ``highest``. None where it is not used.
    factors
        At each level of each factor, all others averaged over.
    trends
        Of numeric factors along which its use follows a line: where it saturates by that.
    shared
        Of a link: whether the counter of its host had to be shared out among several links, by the bytes of messages.
    """

    kind: Kind
    name: str
    utilisation: float
    highest: float
    where: Mapping[str, str]
    saturated: bool
    growing: bool
    headroom: float | None
    factors: Mapping[str, tuple[Load, ...]]
    trends: tuple[Trend, ...]
    shared: bool


@dataclass(frozen=True)
class Bottleneck:
    """All resources, the one that saturates first at the beginning, and what cannot be known."""

    runs: int
    resources: tuple[Resource, ...]
    notes: tuple[str, ...]


def bottleneck(table: Table) -> Bottleneck:
    """Find what limits a study's runs.

    Processors: the response ``utilisation@host``. Links: what the sender's network interface counted in the measured window, over
    the rate that was asked. Services: the share of the window in which a replica was computing.

    Raises
    ------
    RequestError
        If no run has any of these figures.
    """
    rows = np.flatnonzero(table.done)
    used: dict[int, Used] = {}
    notes: dict[str, None] = {}
    shared: set[str] = set()
    for number in rows.tolist():
        folder = table.folder.outcome(table.folder.rows[number]).folder
        found = _processors(table, number)
        if folder is not None and (folder / "plan.json").exists():
            found |= _of_run(folder, notes, shared)
        used[number] = found
    if not any(used.values()):
        what = "no run says how much of its hosts, links and services was used"
        raise RequestError(what, where=str(table.folder.path), remedy="study it simulated or emulated, in detail")
    keys = list(dict.fromkeys(key for found in used.values() for key in found))
    resources = [_resource(table, key, used, shared) for key in keys]
    resources.sort(key=lambda one: (-one.growing, -round(one.highest, 2), ("service", "link", "cpu").index(one.kind)))
    return Bottleneck(len(rows), tuple(resources), tuple(notes))


def _processors(table: Table, number: int) -> dict[Key, tuple[float, bool]]:
    found: dict[Key, tuple[float, bool]] = {}
    for name, values in table.responses.items():
        base, _, host = name.partition("@")
        if base == "utilisation" and host and np.isfinite(values[number]):
            found["cpu", host] = (float(values[number]), False)
    return found


def _of_run(folder: Path, notes: dict[str, None], shared: set[str]) -> dict[Key, tuple[float, bool]]:
    """Links and services of one run."""
    run = open_run(folder)
    window = (run.status.warmup, run.status.warmup + run.status.duration)
    with run.database() as connection:
        waits = _waits(connection, window)
        return _services(connection, run, window, waits) | _links(connection, run, window, waits, notes, shared)


Waits = Mapping[tuple[str, str], tuple[bool, bool]]
"""By sender and receiver, of their messages: whether their way, and whether their waiting at the receiver, kept growing."""


def _waits(connection: duckdb.DuckDBPyConnection, window: tuple[float, float]) -> Waits:
    query = """SELECT origin, receiver, count(*), regr_slope(received - sent, sent), regr_r2(received - sent, sent),
                      regr_slope(started - received, received), regr_r2(started - received, received)
               FROM messages WHERE sent >= $a AND sent < $b GROUP BY ALL"""
    found = connection.execute(query, {"a": window[0], "b": window[1]}).fetchall()
    return {(origin, receiver): (_grows(n, *way), _grows(n, *wait)) for origin, receiver, n, *both in found
            for way, wait in [(both[:2], both[2:])]}  # fmt: skip


def _grows(count: int, slope: float | None, r2: float | None) -> bool:
    return count >= _FEW and slope is not None and r2 is not None and slope >= GROWING[0] and r2 >= GROWING[1]


def _services(
    connection: duckdb.DuckDBPyConnection, run: Run, window: tuple[float, float], waits: Waits
) -> dict[Key, tuple[float, bool]]:
    """Share of the window in which each replica computed; an operation that reaches out of the window counts in part."""
    query = """SELECT replica, sum(least(time, $b) - greatest(time - wall, $a)) FROM operations
               WHERE time > $a AND time - wall < $b GROUP BY replica"""
    busy = dict(connection.execute(query, {"a": window[0], "b": window[1]}).fetchall())
    growing = {receiver for (_, receiver), (_, waiting) in waits.items() if waiting}
    span = window[1] - window[0]
    return {("service", name): (min(1.0, busy[name] / span), name in growing) for name in run.replicas if name in busy}


def _links(
    connection: duckdb.DuckDBPyConnection,
    run: Run,
    window: tuple[float, float],
    waits: Waits,
    notes: dict[str, None],
    shared: set[str],
) -> dict[Key, tuple[float, bool]]:
    hosts = {name: host for name, (_, host) in run.replicas.items()}
    growing = {(hosts.get(origin), hosts.get(receiver)) for (origin, receiver), (way, _) in waits.items() if way}
    sent = {host: float(slots.sum()) for host, slots in growth(connection, "tx_bytes", window).items()}
    peers = _peers(run.document("plan"), hosts)
    carried = _carried(connection, hosts)
    found: dict[Key, tuple[float, bool]] = {}
    for link in run.document("plan")["links"]:
        source, target, rate = link["source"], link["target"], link.get("rate")
        if target not in peers[source]:
            continue
        if len(peers[source]) > 1 and carried and (source, target) not in carried:
            continue  # no stream goes that way: there are only acknowledgements
        name = f"{source} → {target}"
        if rate is None:
            notes[f"The use of {name} cannot be known: no rate was asked of it."] = None
            continue
        share = _share(carried, source, target, peers[source])
        if source not in sent or share is None:
            notes[f"The use of {name} cannot be known: its bytes were not counted."] = None
            continue
        if len(peers[source]) > 1:
            shared.add(name)
        found["link", name] = (sent[source] * share * 8 / rate / (window[1] - window[0]), (source, target) in growing)
    return found


def _peers(plan: Mapping[str, Any], hosts: Mapping[str, str]) -> Mapping[str, set[str]]:
    """Hosts that each host exchanges messages with: those at the other ends of its streams."""
    found: dict[str, set[str]] = defaultdict(set)
    for channel in plan["channels"]:
        ends = hosts[channel["producer"]], hosts[channel["consumer"]]
        if ends[0] != ends[1]:
            found[ends[0]].add(ends[1])
            found[ends[1]].add(ends[0])
    return found


def _carried(connection: duckdb.DuckDBPyConnection, hosts: Mapping[str, str]) -> Mapping[tuple[str, str], float]:
    """Bytes that transports sent from host to host over the whole run, by their own count at the sender."""
    query = """SELECT replica, detail->>'channel', max((detail->>'bytes')::DOUBLE) FROM events
               WHERE event = 'channel' GROUP BY ALL"""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for replica, channel, size in connection.execute(query).fetchall():
        _, _, ends = channel.partition("/")
        producer, _, rest = ends.partition("/")
        consumer = rest.rpartition(".")[0]
        if replica == producer and consumer in hosts and producer in hosts:
            found[hosts[producer], hosts[consumer]] += size
    return found


def _share(carried: Mapping[tuple[str, str], float], source: str, target: str, peers: Iterable[str]) -> float | None:
    """Part of what a host sent that went to another; all of it where there is no other."""
    if len(each := {peer: carried.get((source, peer), 0.0) for peer in peers}) == 1:
        return 1.0
    total = sum(each.values())
    return each[target] / total if total else None


def _resource(table: Table, key: Key, used: Mapping[int, Used], shared: set[str]) -> Resource:
    """Runs of which a resource was no part (a service that was elsewhere) do not count in its means."""
    kind, name = key
    rows = np.array([number for number, found in used.items() if key in found])
    values = np.array([used[number][key][0] for number in rows.tolist()])
    grown = np.array([used[number][key][1] for number in rows.tolist()])
    points = table.points[rows]
    means = {point: float(values[points == point].mean()) for point in np.unique(points)}
    top = max(means, key=lambda point: means[point])
    here = points == top
    first = int(rows[here][0])
    highest, growing = means[top], _most(grown[here])
    return Resource(
        kind=kind,
        name=name,
        utilisation=float(values.mean()),
        highest=highest,
        where={factor: table.levels[factor][codes[first]] for factor, codes in table.codes.items()},
        saturated=highest >= SATURATED or growing,
        growing=growing,
        headroom=1 / highest if highest > 0 else None,
        factors={factor: _loads(table, factor, rows, values, grown) for factor in table.codes},
        trends=tuple(found for factor in table.folder.factors() if (found := trend(table, factor, rows, values))),
        shared=name in shared,
    )


def _loads(table: Table, factor: str, rows: NDArray[np.int64], values: Any, grown: Any) -> tuple[Load, ...]:
    codes = table.codes[factor][rows]
    return tuple(
        Load(
            table.levels[factor][code],
            int((codes == code).sum()),
            mean := float(values[codes == code].mean()),
            mean >= SATURATED or _most(grown[codes == code]),
        )
        for code in np.unique(codes).tolist()
    )


def _most(flags: Any) -> bool:
    return bool(flags.mean() > 0.5)
