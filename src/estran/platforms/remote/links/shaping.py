"""Links between real hosts, shaped where packets leave: one htb per interface, with a class per host that packets go to.

In a class netem delays, loses, and keeps the rate, with a policer before it that bounds its queue; where only a rate is asked, a
token bucket (tbf) keeps it. What goes elsewhere passes untouched, and so does SSH between the hosts. Sorting, sizes on the wire and
netem's settings are those of emulated links.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.base import LinkMeasure, Problem, Verification
from estran.platforms.emulated.links import queueing
from estran.platforms.emulated.links.engine import Links
from estran.platforms.emulated.links.queueing import Lane
from estran.platforms.emulated.links.traffic import queue_size
from estran.platforms.emulated.network.netlink import Request
from estran.platforms.emulated.probes.verdict import Samples, judge
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.links import ground
from estran.platforms.remote.links.arithmetic import Base, added, ahead, bases, burst, expected, held, packets, shortfalls, timed
from estran.platforms.remote.links.envoy_queues import SIGNED
from estran.platforms.remote.links.ground import Pair, Paths
from estran.platforms.remote.links.probing import BESIDE, MOST_AT_ONCE, probe, teach
from estran.platforms.remote.together import together
from estran.spec.model import LinkSpec

LIMITS: Final[Mapping[str, str]] = {
    "delay": "paths are taken to be as quick one way as the other at their best, since hosts have no common clock",
    "rate": "on a link without delay a full frame that comes after idling passes without its time on the wire",
    "loss": "segments that the host's kernel sends as one bundle are lost together",
    "seed": "the kernel draws jitter and losses itself: they differ from run to run whatever the experiment's seed",
}

CLOCKS: Final = 0.4
"""Seconds in which clocks are compared."""

_ATTEMPTS: Final = 2


async def problems(
    hosts: Mapping[str, RemoteHost], address: Callable[[str, str], str], links: Links, behind: Collection[str] = ()
) -> list[Problem]:
    """What stands against shaping links as asked, and what to do about it; nothing where nothing is asked.

    Raises
    ------
    PlatformError
        If a host goes.
    """
    _, found = await ground.survey(hosts, address, links, behind)
    return found


@asynccontextmanager
async def shaped(
    hosts: Mapping[str, RemoteHost],
    address: Callable[[str, str], str],
    links: Links,
    behind: Collection[str] = (),
    worst: Links = MappingProxyType({}),
) -> AsyncIterator[ShapedLinks]:
    """Measure the paths of links, and add to them what is asked until the context is left; see `problems` for the parameters.

    If this process dies the hosts' envoys remove the rules.

    Parameters
    ----------
    worst
        Directions that may be changed meanwhile, whether something is asked of them or not, and what they may have to do then.

    Raises
    ------
    PlatformError
        On entering, if links cannot be shaped, the first reason why not; nothing is left then.
    """
    wanted = {**ground.asked(links), **{pair: links.get(pair, LinkSpec()) for pair in worst}}
    paths, found = await ground.survey(hosts, address, wanted, behind, worst)
    if found:
        first = found[0]
        raise PlatformError(first.what, where=first.where, remedy=first.remedy)
    used = {name: hosts[name] for pair in wanted for name in pair}
    await teach(used)
    both = {pair: wanted.get(pair, LinkSpec()) for one in wanted for pair in (one, one[::-1])}
    base = bases(wanted, await probe(used, paths, both, beside=True))
    rules = {pair: added(link, base[pair]) for pair, link in wanted.items()}
    removals: dict[str, list[Sequence[str]]] = defaultdict(list)
    try:
        classes = _classes(paths, {pair: rule for pair, rule in rules.items() if rule != LinkSpec() or pair in worst})
        sources = dict.fromkeys(source for source, _ in classes)
        await together({name: _shape(hosts, name, paths, rules, classes, removals[name]) for name in sources})
        yield ShapedLinks(used, paths, ground.asked(links), base, rules, classes)
    finally:
        await together({name: _remove(hosts[name], commands) for name, commands in removals.items()})


def _classes(paths: Paths, pairs: Collection[Pair]) -> dict[Pair, tuple[int, int]]:
    """The interface of each direction, and the number of its class there."""
    found: dict[Pair, tuple[int, int]] = {}
    for pair in pairs:
        index = paths.interface[pair][0]
        found[pair] = index, 1 + sum(pair[0] == other[0] and index == taken for other, (taken, _) in found.items())
    return found


async def _shape(
    hosts: Mapping[str, RemoteHost],
    source: str,
    paths: Paths,
    rules: Links,
    classes: Mapping[Pair, tuple[int, int]],
    removals: list[Sequence[str]],
) -> None:
    host = hosts[source]
    by_interface: dict[int, list[Request]] = defaultdict(list)
    for (near, target), (index, minor) in classes.items():
        if near == source:
            rule, untouched = rules[near, target], _untouched(host, hosts[target])
            by_interface[index] += _class(index, minor, paths.address[near, target], rule, untouched)
    for index, requests in by_interface.items():
        command = await ground.removal(host, index)
        await host.undo(command)
        removals.append(command)
        signed = queueing.sign(index, SIGNED & 0xFFFF, *paths.signatures[source])
        await ground.shape(host, index, [*queueing.sort_by(index, "destination"), signed, *requests])


def _untouched(host: RemoteHost, target: RemoteHost) -> list[Lane]:
    """What passes between two hosts as if there were no rules: SSH to and from their servers, and probes of the path itself."""
    lanes = [Lane("udp", "to", BESIDE, MOST_AT_ONCE)]
    if connection := host.facts["ssh"]:
        lanes.append(Lane("tcp", "from", int(connection.split()[3])))
    if connection := target.facts["ssh"]:
        lanes.append(Lane("tcp", "to", int(connection.split()[3])))
    return lanes


def _class(index: int, minor: int, address: str, rule: LinkSpec, untouched: Sequence[Lane]) -> list[Request]:
    requests = [queueing.limit_class(index, minor, None, 1.0)]
    requests += [queueing.let_pass(index, "destination", address, lane) for lane in untouched]
    timely = timed(rule)
    bound = queueing.police(rule.rate, queue_size(rule.rate)) if timely and rule.rate is not None else b""
    requests.append(queueing.assign(index, "destination", address, minor, bound))
    if rule != LinkSpec():
        requests.append(_does(index, minor, rule))
    return requests


def _does(index: int, minor: int, rule: LinkSpec) -> Request:
    """Make a class do to packets what a rule says, whatever it did before."""
    if timed(rule):
        return queueing.impair(index, minor, rule, packets(rule))
    if rule.rate is not None:
        return queueing.pace(index, minor, rule.rate, burst(rule.rate), queue_size(rule.rate))
    return queueing.bound_queue(index, minor, queue_size(None))


async def _remove(host: RemoteHost, commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        try:
            done = await host.run(command)
        except PlatformError:
            return  # the host has gone from us, and its envoy removes them
        if done.returncode:
            raise PlatformError(
                f"could not remove the queueing rules: {done.stderr.decode(errors='replace').strip()}",
                where=host.name,
                remedy="sudo tc qdisc del dev … root",
            )


@dataclass(frozen=True, slots=True)
class ShapedLinks:
    """Links that are shaped, what their paths do by themselves, and what was added.

    Attributes
    ----------
    classes
        Interface and class of each direction that can be changed.
    """

    hosts: Mapping[str, RemoteHost]
    paths: Paths
    links: Links
    base: Mapping[Pair, Base]
    rules: Links
    classes: Mapping[Pair, tuple[int, int]]

    async def change(self, states: Mapping[Pair, LinkSpec | None]) -> None:
        """Let directions do other things to packets from now on, or let nothing pass (None) but SSH and probes of the path.

        Where a delay comes to a rate that is new, packets are counted that may wait, and not bytes.

        Raises
        ------
        PlatformError
            If a direction cannot be changed, or its kernel refuses.
        """
        requests: dict[tuple[str, int], list[Request]] = defaultdict(list)
        for pair, link in states.items():
            if pair not in self.classes:
                raise PlatformError("is not shaped, so that nothing can be changed of it", where=f"link {pair[0]} → {pair[1]}")
            index, minor = self.classes[pair]
            rule = None if link is None else added(link, self.base[pair])
            if rule is None:
                request = queueing.bound_queue(index, minor, 0)
            elif timed(rule) and rule.rate is not None and rule.rate != self.rules[pair].rate:
                request = queueing.impair(index, minor, rule, held(rule))
            else:
                request = _does(index, minor, rule)
            requests[pair[0], index].append(request)
        await together({(name, index): ground.shape(self.hosts[name], index, sent) for (name, index), sent in requests.items()})

    async def verify(self) -> Verification:
        """Probe every direction again, twice where it seems wrong, and compare with what was asked of it.

        Raises
        ------
        PlatformError
            If a host goes.
        """
        measures: dict[Pair, LinkMeasure] = {}
        for _ in range(_ATTEMPTS):
            left = {pair: self.links[pair] for pair in self.links if pair not in measures or not measures[pair].ok}
            both = {pair: LinkSpec() for one in left for pair in (one, one[::-1])}
            clocks = await probe(self.hosts, self.paths, both, beside=True, budget=CLOCKS)
            found = await probe(self.hosts, self.paths, left)
            measures.update({pair: self._judge(pair, found[pair], ahead(pair, clocks)) for pair in left})
        return Verification(tuple(measures[pair] for pair in self.links), (), self.facts())

    def _judge(self, pair: Pair, samples: Samples, ahead: float) -> LinkMeasure:
        link, base = self.links[pair], self.base[pair]
        samples.delays = [delay - ahead for delay in samples.delays]
        found = judge(*pair, expected(link, base), samples, frame=0)
        asked: dict[str, float | None] = {name: value or None for name, value in asdict(link).items()}
        complaint = found.complaint and "; ".join([*shortfalls(link, base), found.complaint])
        return replace(found, asked=asked, complaint=complaint)

    def facts(self) -> dict[str, Any]:
        """For the run's record: by what means links are shaped, what the paths do by themselves, and what was added."""
        if not self.links:
            return {}
        timely = any(timed(rule) for rule in self.rules.values())
        told = {
            f"{a} → {b}": {
                "base": asdict(self.base[a, b]),
                "added": asdict(self.rules[a, b]),
                "interface": self.paths.interface[a, b][1],
            }
            for a, b in self.links
        }
        engine = "netem, where packets leave" if timely else "tbf, where packets leave"
        return {"links": {"engine": engine, "limits": dict(LIMITS), "paths": told}}
