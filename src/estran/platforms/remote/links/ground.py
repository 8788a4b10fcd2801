"""Over what links between real hosts can be shaped: addresses, interfaces, privilege, what the kernels can do; and why not."""

from __future__ import annotations

import base64
import errno
import ipaddress
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from estran.errors import PlatformError
from estran.platforms.answers import REMEDY, decoded
from estran.platforms.base import Problem
from estran.platforms.emulated.links import queueing
from estran.platforms.emulated.links.engine import Links
from estran.platforms.emulated.network.netlink import Request
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.links import envoy_queues
from estran.platforms.remote.together import together
from estran.platforms.remote.told import Refusal, Way
from estran.spec.model import LinkSpec

Pair = tuple[str, str]

_MODULE: Final = "estran_queues"
_LOOPBACK: Final = 1
_SEND_TIMEOUT: Final = 20.0
_NO_LINKS: Final = "or ask nothing of its links"


@dataclass(frozen=True, slots=True)
class Paths:
    """The ways between hosts.

    Attributes
    ----------
    address
        IPv4 address by which the first of a pair reaches the second.
    interface
        Index and name of the interface by which the first sends to the second.
    signatures
        By host: two numbers by which its envoy's rules are known from those of others.
    """

    address: Mapping[Pair, str]
    interface: Mapping[Pair, tuple[int, str]]
    signatures: Mapping[str, tuple[int, int]]


def asked(links: Links) -> dict[Pair, LinkSpec]:
    """The links of which something is asked."""
    return {pair: link for pair, link in links.items() if link != LinkSpec()}


async def survey(
    hosts: Mapping[str, RemoteHost],
    address: Callable[[str, str], str],
    links: Links,
    behind: Collection[str] = (),
    worst: Links = MappingProxyType({}),
) -> tuple[Paths, list[Problem]]:
    """Find the ways that links go, and what stands against shaping them; changes nothing on the hosts.

    Parameters
    ----------
    links
        What is asked of directions, or may be.
    worst
        What more may be asked of some later.
    address
        By which address the first host reaches the second.
    behind
        Hosts that others cannot reach by themselves (NAT).

    Raises
    ------
    PlatformError
        If a host goes.
    """
    wanted = {**asked(links), **{pair: links[pair] for pair in worst}}
    addresses = {pair: address(*pair) for one in wanted for pair in (one, one[::-1]) if set(pair) <= set(hosts)}
    issues = [problem for pair in wanted for problem in _unreachable(pair, hosts, addresses, behind)]
    usable = {pair: link for pair, link in wanted.items() if not _unreachable(pair, hosts, addresses, behind)}
    by_source: dict[str, dict[str, list[LinkSpec]]] = defaultdict(dict)
    for (source, target), link in usable.items():
        by_source[source][target] = [link, worst.get((source, target), link)]
    looks = {
        name: _look(hosts[name], {far: addresses[name, far] for far in targets}, [one for both in targets.values() for one in both])
        for name, targets in by_source.items()
    }
    interface, signatures = {}, {}
    for name, (found, signature, more) in (await together(looks)).items():
        interface.update({(name, target): way for target, way in found.items()})
        signatures[name] = signature
        issues += more
    return Paths(addresses, interface, signatures), issues


def _unreachable(
    pair: Pair, hosts: Mapping[str, RemoteHost], addresses: Mapping[Pair, str], behind: Collection[str]
) -> list[Problem]:
    where = f"link {pair[0]} → {pair[1]}"
    for name in pair:
        if name not in hosts:
            return [Problem(f"{name} has no envoy", where, _NO_LINKS.removeprefix("or "))]
        if name in behind:
            what = f"links of {name}, which is behind NAT, are not shaped: nothing here could measure the way to it"
            return [Problem(what, where, "shape the link where the host is not behind NAT, " + _NO_LINKS)]
    try:
        ipaddress.IPv4Address(addresses[pair])
    except ValueError:
        what = f"{addresses[pair]} is no IPv4 address; links over IPv6 are not shaped"
        return [Problem(what, where, f"give {pair[1]} an IPv4 address in the inventory, {_NO_LINKS}")]
    return []


async def _look(
    host: RemoteHost, addresses: Mapping[str, str], links: Sequence[LinkSpec]
) -> tuple[dict[str, tuple[int, str]], tuple[int, int], list[Problem]]:
    """The interface for each target, the envoy's signature, and what a host cannot do."""
    await host.load(_MODULE, _source())
    found: dict[str, Way] = await host.call(f"{_MODULE}.look", answer=dict[str, Way], targets=dict(addresses))
    if found.keys() != addresses.keys():
        raise PlatformError("it does not say how packets leave for the other hosts", where=host.name, remedy=REMEDY)
    issues = []
    for target, way in found.items():
        where = f"link {host.name} → {target}"
        if way.error is not None:
            issues.append(Problem(f"no route to {addresses[target]}: {way.error}", where, "check the inventory's address"))
        elif way.local:
            remedy = "emulate what is to share a machine (--on emulate), " + _NO_LINKS
            issues.append(Problem(f"{addresses[target]} is {host.name} itself", where, remedy))
    ways = {target: (way.index, way.interface) for target, way in found.items() if not way.local}
    taken = {way.interface: way for way in found.values() if way.handle}
    issues += [_taken(host.name, name, way.kind, way.handle) for name, way in taken.items()]
    if ways and (issue := await _trial(host, links)) is not None:
        issues.append(issue)
    signature = next((way.signature for way in found.values() if way.error is None), (0, 0))
    return ways, signature, issues


def _taken(host: str, interface: str, kind: str, handle: int) -> Problem:
    what = f"{interface} has a queueing discipline of its own ({kind} {handle >> 16:x}:), which Estran does not replace"
    remedy = f"remove it if nothing there needs it (sudo tc qdisc del dev {interface} root), {_NO_LINKS}"
    return Problem(what, host, remedy)


async def _trial(host: RemoteHost, links: Sequence[LinkSpec]) -> Problem | None:
    """Shape a throw-away network of the host as the links ask, in kind."""
    requests = queueing.sort_by(_LOOPBACK, "destination")
    requests.append(queueing.limit_class(_LOOPBACK, 1, None, 1.0))
    if any(link.rate for link in links):
        requests.append(queueing.pace(_LOOPBACK, 1, 1e6, queueing.FRAME, 10 * queueing.FRAME))
    if any(link.delay or link.jitter or link.loss for link in links):
        requests.append(queueing.limit_class(_LOOPBACK, 2, None, 1.0))
        requests.append(queueing.impair(_LOOPBACK, 2, LinkSpec(0.01, 0.001, 1e6, 0.01), 10))
        requests.append(queueing.assign(_LOOPBACK, "destination", "127.0.0.2", 2, queueing.police(1e6, 10 * queueing.FRAME)))
    try:
        refused = await _as_root(host, ["try"], requests)
    except PlatformError as error:
        return Problem(error.what, host.name, error.remedy or _NO_LINKS)
    if refused is None:
        return None
    return Problem(_why(refused), host.name, _remedy(refused.errno))


def _why(refused: Refusal) -> str:
    return f"the kernel refuses to {refused.purpose}: {refused.error}"


def _remedy(number: int) -> str:
    if number in (errno.ENOENT, errno.EOPNOTSUPP):
        package = "the kernel's further modules (on Ubuntu linux-modules-extra, on Fedora and RHEL kernel-modules-extra)"
        return f"install {package}, so that sch_netem, sch_tbf, sch_htb, cls_u32 and act_police can be loaded, {_NO_LINKS}"
    return f"let the user run sudo there without a password, or give the container CAP_NET_ADMIN and CAP_SYS_ADMIN, {_NO_LINKS}"


async def shape(host: RemoteHost, index: int, requests: Sequence[Request]) -> None:
    """Give an interface queueing disciplines; what an envoy that was killed left there is removed before.

    Raises
    ------
    PlatformError
        If the kernel refuses, or there is no way to be root.
    """
    refused = await _as_root(host, ["send", str(index)], requests)
    if refused is not None:
        raise PlatformError(_why(refused), where=host.name, remedy=_remedy(refused.errno))


async def removal(host: RemoteHost, index: int) -> list[str]:
    """The command that removes what was put on an interface; what it needs is on the host."""
    return [*_root(host), *await _program(host), "remove", str(index)]


@cache
def _source() -> str:
    return Path(envoy_queues.__file__).read_text(encoding="utf-8")


async def _program(host: RemoteHost) -> list[str]:
    place = f"{host.facts['scratch']}/queues.py"
    await host.put_bytes(_source().encode(), place)
    return [host.facts["executable"], place]


def _root(host: RemoteHost) -> list[str]:
    return [] if host.facts["uid"] == 0 else ["sudo", "-n"]


async def _as_root(host: RemoteHost, words: Sequence[str], requests: Sequence[Request]) -> Refusal | None:
    """Have requests sent, return what was refused, if anything was."""
    told = [[request.kind, request.flags, base64.b64encode(request.body).decode(), request.purpose] for request in requests]
    try:
        argv = [*_root(host), *await _program(host), *words]
        done = await host.run(argv, stdin=json.dumps(told).encode(), timeout=_SEND_TIMEOUT)
    except PlatformError as error:
        raise _not_root(host, error.what) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _not_root(host, said[-1] if said else f"exit status {done.returncode}")
    found: Refusal = decoded(done.stdout, Refusal, host.name)
    return found if found.purpose else None


def _not_root(host: RemoteHost, said: str) -> PlatformError:
    return PlatformError(f"shaping links needs root there: {said}", where=host.name, remedy=_remedy(errno.EPERM))
