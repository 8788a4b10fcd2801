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
from estran.platforms.remote.links.arithmetic import Base, added, ahead, bases, burst, expected, packets, shortfalls, timed
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
    hosts: Mapping[str, RemoteHost], address: Callable[[str, str], str], links: Links, behind: Collection[str] = ()
) -> AsyncIterator[ShapedLinks]:
    """Measure the paths of links, and add to them what is asked until the context is left; see `problems` for the parameters.

    If this process dies the hosts' envoys remove the rules.

    Raises
    ------
    PlatformError
        On entering, if links cannot be shaped, the first reason why not; nothing is left then.
    """
    wanted = ground.asked(links)
    paths, found = await ground.survey(hosts, address, wanted, behind)
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
        sources = dict.fromkeys(source for source, _ in wanted)
        await together({name: _shape(hosts, name, paths, rules, removals[name]) for name in sources})
        yield ShapedLinks(used, paths, wanted, base, rules)
    finally:
        await together({name: _remove(hosts[name], commands) for name, commands in removals.items()})


async def _shape(hosts: Mapping[str, RemoteHost], source: str, paths: Paths, rules: Links, removals: list[Sequence[str]]) -> None:
    host = hosts[source]
    by_interface: dict[int, dict[str, LinkSpec]] = defaultdict(dict)
    for pair, rule in rules.items():
        if pair[0] == source and rule != LinkSpec():
            by_interface[paths.interface[pair][0]][pair[1]] = rule
    for index, targets in by_interface.items():
        command = await ground.removal(host, index)
        await host.undo(command)
        removals.append(command)
        requests = [*queueing.sort_by(index, "destination"), queueing.sign(index, SIGNED & 0xFFFF, *paths.signatures[source])]
        for minor, (target, rule) in enumerate(targets.items(), 1):
            requests += _class(index, minor, paths.address[source, target], rule, _untouched(host, hosts[target]))
        await ground.shape(host, index, requests)


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
    if timely:
        requests.append(queueing.impair(index, minor, rule, packets(rule)))
    elif rule.rate is not None:
        requests.append(queueing.pace(index, minor, rule.rate, burst(rule.rate), queue_size(rule.rate)))
    return requests


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
    """Links that are shaped, what their paths do by themselves, and what was added."""

    hosts: Mapping[str, RemoteHost]
    paths: Paths
    links: Links
    base: Mapping[Pair, Base]
    rules: Links

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
