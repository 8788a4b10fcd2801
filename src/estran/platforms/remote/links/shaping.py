"""Links between real hosts, shaped where packets leave: one htb per interface, with a class per host that packets go to.

In a class a token bucket (tbf) keeps the rate, and netem below it delays and loses. What goes elsewhere, and the SSH connections
between the hosts, passes untouched. Sorting, sizes on the wire and netem's settings are those of emulated links.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.base import LinkMeasure, Problem, Verification
from estran.platforms.emulated.links import queueing
from estran.platforms.emulated.links.engine import Links
from estran.platforms.emulated.links.traffic import queue_size
from estran.platforms.emulated.network.netlink import Request
from estran.platforms.emulated.probes.verdict import Samples, judge
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.links import ground
from estran.platforms.remote.links.arithmetic import Base, added, bases, burst, expected, packets, shortfalls
from estran.platforms.remote.links.ground import Pair, Paths
from estran.platforms.remote.links.probing import probe, teach
from estran.platforms.remote.together import together
from estran.spec.model import LinkSpec

LIMITS: Final[Mapping[str, str]] = {
    "delay": "half of the round trip is taken for each direction's own delay, since hosts have no common clock",
    "rate": "a full frame that comes after idling passes without its time on the wire",
    "loss": "segments that the host's kernel sends as one bundle are lost together",
    "queue": "beside what is under way, a delayed link with a rate holds 0.1 s of full frames; small packets fill it sooner",
    "seed": "the kernel draws jitter and losses itself: they differ from run to run whatever the experiment's seed",
}

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
    base = bases(wanted, await probe(used, paths, both))
    measured_at = time.monotonic()
    rules = {pair: added(link, base[pair]) for pair, link in wanted.items()}
    removals: dict[str, list[Sequence[str]]] = defaultdict(list)
    try:
        sources = dict.fromkeys(source for source, _ in wanted)
        await together({name: _shape(hosts, name, paths, rules, removals[name]) for name in sources})
        yield ShapedLinks(used, paths, wanted, base, rules, measured_at)
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
        requests = queueing.sort_by(index, "destination")
        for minor, (target, rule) in enumerate(targets.items(), 1):
            requests += _class(index, minor, paths.address[source, target], rule, _ssh_ports(host, hosts[target]))
        await ground.shape(host, requests)


def _ssh_ports(host: RemoteHost, target: RemoteHost) -> dict[str, int]:
    """The ports of both hosts' SSH servers, if they are reached so: ``from`` the host's own, ``to`` the target's."""
    told = {"from": host.facts["ssh"], "to": target.facts["ssh"]}
    return {side: int(connection.split()[3]) for side, connection in told.items() if connection}


def _class(index: int, minor: int, address: str, rule: LinkSpec, ssh: Mapping[str, int]) -> list[Request]:
    requests = [queueing.limit_class(index, minor, None, 1.0)]
    for side, port in ssh.items():
        requests.append(queueing.let_pass(index, "destination", address, port, "from" if side == "from" else "to"))
    requests.append(queueing.assign(index, "destination", address, minor))
    if rule.rate is not None:
        requests.append(queueing.pace(index, minor, rule.rate, burst(rule.rate), queue_size(rule.rate)))
    if rule.delay or rule.jitter or rule.loss:
        unpaced = replace(rule, rate=None)
        requests.append(queueing.impair(index, minor, unpaced, packets(rule), paced=rule.rate is not None))
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
    measured_at: float

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
            if left:
                measures.update({pair: self._judge(pair, samples) for pair, samples in (await self._probe(left)).items()})
        return Verification(tuple(measures[pair] for pair in self.links), (), self.facts())

    async def _probe(self, links: Links) -> dict[Pair, Samples]:
        return await probe(self.hosts, self.paths, links)

    def _judge(self, pair: Pair, samples: Samples) -> LinkMeasure:
        link, base = self.links[pair], self.base[pair]
        # The clocks are as far apart as before the rules were there, but for what they drifted since.
        samples.delays = [delay - base.ahead for delay in samples.delays]
        found = judge(*pair, expected(link, base), samples, frame=0)
        asked: dict[str, float | None] = {name: value or None for name, value in asdict(link).items()}
        complaint = found.complaint and "; ".join([*shortfalls(link, base), found.complaint])
        return replace(found, asked=asked, complaint=complaint)

    def facts(self) -> dict[str, Any]:
        """For the run's record: by what means links are shaped, what the paths do by themselves, and what was added."""
        if not self.links:
            return {}
        timely = any(rule.delay or rule.jitter or rule.loss for rule in self.rules.values())
        told = {
            f"{a} → {b}": {
                "base": asdict(self.base[a, b]),
                "added": asdict(self.rules[a, b]),
                "interface": self.paths.interface[a, b][1],
            }
            for a, b in self.links
        }
        engine = "netem and tbf, where packets leave" if timely else "tbf, where packets leave"
        age = time.monotonic() - self.measured_at
        return {"links": {"engine": engine, "limits": dict(LIMITS), "paths": told, "clocks_compared_s_ago": age}}
