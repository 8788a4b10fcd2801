"""Probing paths between hosts by their envoys: many at once, but no host by more than it can bear."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta

from estran.errors import PlatformError
from estran.platforms.answers import REMEDY
from estran.platforms.emulated.links.engine import Links
from estran.platforms.emulated.probes.channel import PHASES
from estran.platforms.emulated.probes.plan import Shot, itinerary, patience, segments, wire
from estran.platforms.emulated.probes.verdict import Samples
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.links import envoy_probes
from estran.platforms.remote.links.ground import Pair, Paths
from estran.platforms.remote.together import together
from estran.platforms.remote.told import Count, Fired, Hearing, Volley
from estran.spec.model import LinkSpec

BUDGET: Final = 1.2
MOST_AT_ONCE: Final = 8
BESIDE: Final = 47_000
"""First of the `MOST_AT_ONCE` UDP ports that rules let pass untouched: to probe what a path does by itself."""

MOST_RATE_AT_ONCE: Final = 200e6
"""Bits per second that a host sends, and that it hears, at once; a single faster path is probed alone."""

_MODULE: Final = "estran_probes"
_APART: Final = 1.0
"""Seconds that hosts may begin apart, and that a path may take beyond what was asked."""


async def teach(hosts: Mapping[str, RemoteHost]) -> None:
    """Send the probes' program to the envoys.

    Raises
    ------
    PlatformError
        If one has gone.
    """
    await together({name: host.load(_MODULE, _source()) for name, host in hosts.items()})


@cache
def _source() -> str:
    return Path(envoy_probes.__file__).read_text(encoding="utf-8")


async def probe(
    hosts: Mapping[str, RemoteHost], paths: Paths, links: Links, *, beside: bool = False, budget: float = BUDGET
) -> dict[Pair, Samples]:
    """Send over each direction of ``links`` what tells its delay, jitter, loss and rate, as far as they are asked.

    Delays are told by two clocks: the target's less the source's.

    Parameters
    ----------
    beside
        Probe what the path does by itself, whatever rules there are.
    budget
        Seconds for each group of paths that are probed at once, but for slow ones.

    Raises
    ------
    PlatformError
        If a host goes, or cannot listen.
    """
    found: dict[Pair, Samples] = {}
    for group in rounds(links):
        found.update(await _side_by_side(hosts, paths, group, BESIDE if beside else 0, budget))
    return found


def rounds(links: Links) -> Iterator[dict[Pair, LinkSpec]]:
    """Split links into groups in which no host has too many, or too fast ones; both directions of a pair go together."""
    left = [frozenset(pair) for pair in links]
    left = list(dict.fromkeys(left))
    while left:
        paths: Counter[str] = Counter()
        rates: Counter[tuple[str, str]] = Counter()
        group: dict[Pair, LinkSpec] = {}
        later = []
        for ends in left:
            both = {pair: links[pair] for pair in _directions(ends) if pair in links}
            if _bearable(both, paths, rates):
                group |= both
                paths.update(ends)
                _load(both, rates)
            else:
                later.append(ends)
        yield group
        left = later


def _directions(ends: frozenset[str]) -> tuple[Pair, Pair]:
    first, second = sorted(ends)
    return (first, second), (second, first)


def _load(both: Links, rates: Counter[tuple[str, str]]) -> None:
    for (source, target), link in both.items():
        rates["sends", source] += int(link.rate or 0)
        rates["hears", target] += int(link.rate or 0)


def _bearable(both: Links, paths: Counter[str], rates: Counter[tuple[str, str]]) -> bool:
    for (source, target), link in both.items():
        if max(paths[source], paths[target]) >= MOST_AT_ONCE:
            return False
        before = max(rates["sends", source], rates["hears", target])
        if link.rate and before and before + link.rate > MOST_RATE_AT_ONCE:
            return False
    return True


async def _side_by_side(
    hosts: Mapping[str, RemoteHost], paths: Paths, links: Links, first: int, budget: float
) -> dict[Pair, Samples]:
    shots = {pair: itinerary(link, budget) for pair, link in links.items()}
    ports = await _listen(hosts, links, first)
    seconds = max(shots[pair][-1].at + patience(link) for pair, link in links.items()) + _APART
    token = secrets.randbits(32)
    sends: dict[str, list[Pair]] = defaultdict(list)
    hears: dict[str, list[Pair]] = defaultdict(list)
    for source, target in links:
        sends[source].append((source, target))
        hears[target].append((source, target))
    told: dict[str, Fired] = await together(
        {
            name: hosts[name].call(
                f"{_MODULE}.fire",
                answer=Fired,
                token=token,
                volleys=[_volley(paths.address[pair], ports[pair], shots[pair], links[pair]) for pair in sends[name]],
                hears={str(ports[pair]): len(shots[pair]) for pair in hears[name]},
                seconds=seconds,
            )
            for name in {*sends, *hears}
        }
    )
    for name, fired in told.items():
        if len(fired["sent"]) != len(sends[name]) or fired["heard"].keys() != {str(ports[pair]) for pair in hears[name]}:
            raise PlatformError("it does not tell what became of all probes", where=name, remedy=REMEDY)
    sent = {pair: told[name]["sent"][number] for name, pairs in sends.items() for number, pair in enumerate(pairs)}
    return {pair: _samples(sent[pair], told[pair[1]]["heard"][str(ports[pair])]) for pair in links}


async def _listen(hosts: Mapping[str, RemoteHost], links: Links, first: int) -> dict[Pair, int]:
    hears: dict[str, list[Pair]] = defaultdict(list)
    for source, target in links:
        hears[target].append((source, target))
    opened = await together(
        {
            name: hosts[name].call(f"{_MODULE}.listen", answer=_ports(len(pairs)), count=len(pairs), first=first)
            for name, pairs in hears.items()
        }
    )
    return {pair: port for name, ports in opened.items() for pair, port in zip(hears[name], ports, strict=True)}


def _ports(count: int) -> Any:
    return Annotated[list[Count], Meta(min_length=count, max_length=count)]


def _volley(address: str, port: int, shots: list[Shot], link: LinkSpec) -> dict[str, Any]:
    told = [(round(shot.at, 6), PHASES.index(shot.phase), shot.size) for shot in shots]
    return {"to": [address, port], "shots": told, "segments": segments(link)}


def _samples(sent: Volley, heard: Hearing) -> Samples:
    return Samples(
        sent={phase: count for phase, count in zip(PHASES, sent["sent"], strict=True) if count},
        received={phase: count for phase, count in zip(PHASES, heard["received"], strict=True) if count},
        delays=[delay * 1e-9 for delay in heard["delays"]],
        arrivals=[(when * 1e-9, wire(size)) for when, size in heard["arrivals"]],
        departures=[(when * 1e-9, wire(size) * count) for when, size, count in sent["departures"]],
    )
