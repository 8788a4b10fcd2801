"""The wires of an emulated continuum: one network namespace per host, all joined by a router in the middle.

Each host has one interface, one address and one route, to the core; the core has one interface and one /32 route per
host and forwards. A flat bridge would be simpler but ends at 1024 ports. Whatever makes links slow or lossy comes on
top: see `estran.platforms.emulated.links.engine`.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from estran.errors import PlatformError
from estran.platforms.emulated.network import namespace, netlink
from estran.spec.model import LinkSpec

MTU: Final = 1500
INTERFACE: Final = "eth0"
MOST_HOSTS: Final = 65_000

_GATEWAY: Final = "169.254.1.1"  # link-local: it can clash with no host's address, and nothing needs to own it
_CORE_MAC: Final = netlink.mac("02:00:5e:00:00:01")
# Interface numbers beyond those that the kernel itself gives out (lo, tunl0, sit0). The two ends of a veth must differ:
# with equal numbers the kernel takes an end for a card and may wait a second before it believes that its carrier is there.
_HOST_INDEX: Final = 900
_CORE_INDEX: Final = 1000
_MOST_SEGMENTS: Final = 65535
_GRAIN: Final = 1e-3  # seconds that a bundle of segments may take on the wire
_FRAME: Final = 1538  # bytes of a full one on the wire
_PATIENCE: Final = 20.0
_QUEUE_LENGTH: Final = 1000
_LOOPBACK: Final = 1
_TOGETHER: Final = 200  # hosts built side by side: each needs a socket of its own meanwhile
_SPARE_DESCRIPTORS: Final = _TOGETHER + 64
_CONGESTION: Final = ("cubic", "reno")

_NO_IPV6: Final = "ipv6/conf/all/disable_ipv6"
_NO_METRICS: Final = "ipv4/tcp_no_metrics_save"
_QUIET: Final = {"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"}


@dataclass(frozen=True, slots=True)
class HostNet:
    """A host's place in the fabric.

    Attributes
    ----------
    index
        0 for the first host; addresses follow from it.
    address
        Its only IPv4 address, the same for all that talk to it.
    namespace_fd
        Descriptor of its network namespace.
    interface, interface_index
        Its interface's name and number, inside.
    core_interface, core_index
        Name and number of the other end, in the core.
    """

    name: str
    index: int
    address: str
    namespace_fd: int
    interface: str
    interface_index: int
    core_interface: str
    core_index: int


class Fabric:
    """Hosts in network namespaces of their own, joined by a routing core.

    Call it from a single-threaded process, privileged over its namespaces (`namespace.acquire_privilege`). Nothing of
    it has a name outside that process: the end of the process, however it comes, removes all.

    Parameters
    ----------
    hosts
        Names, unique, in the order of their addresses.
    links
        What was asked of each direction of each link. The fabric only carries it, for engines; packets between any
        two hosts pass at full speed until an engine shapes them.
    subnet
        Where addresses are taken from.
    congestion
        TCP congestion control of all hosts; by default the first of cubic and reno that the kernel allows.

    Raises
    ------
    PlatformError
        If names repeat, links lead to unknown hosts, or the subnet is too small.

    Examples
    --------
    >>> fabric = Fabric(["edge-0", "cloud-0"], {("edge-0", "cloud-0"): LinkSpec(delay=0.01)})
    >>> fabric.address("edge-0", "cloud-0")
    '10.0.0.2'
    """

    def __init__(
        self,
        hosts: Sequence[str],
        links: Mapping[tuple[str, str], LinkSpec],
        subnet: str = "10.0.0.0/8",
        congestion: str | None = None,
    ) -> None:
        self._addresses = dict(zip(hosts, _addresses(len(hosts), subnet), strict=True))
        self._links = dict(links)
        self.hosts: Mapping[str, HostNet] = MappingProxyType({})
        self._asked = congestion
        self._congestion: str | None = None
        self._sysctls: dict[str, str] = {}
        self._resources: ExitStack | None = None
        self._core_fd = -1
        self._check(hosts)

    @property
    def links(self) -> Mapping[tuple[str, str], LinkSpec]:
        """What is asked of each direction of each link now."""
        return MappingProxyType(self._links)

    def _check(self, hosts: Sequence[str]) -> None:
        if len(self._addresses) != len(hosts):
            repeated = sorted({name for name in hosts if list(hosts).count(name) > 1})
            raise PlatformError(f"host names repeat: {', '.join(repeated)}", where="fabric", remedy="give each host its own name")
        for source, target in self._links:
            if source not in self._addresses or target not in self._addresses or source == target:
                raise PlatformError(
                    f"no link can lead from {source!r} to {target!r}", where="fabric", remedy="link two known hosts"
                )

    @property
    def core_fd(self) -> int:
        """Descriptor of the core's network namespace."""
        self._need_up()
        return self._core_fd

    def address(self, source: str, target: str) -> str:
        """The address by which ``source`` reaches ``target``: in a routed star the same for every source."""
        if source not in self._addresses:
            raise PlatformError(f"there is no host {source!r}", where="fabric")
        if target not in self._addresses:
            raise PlatformError(f"there is no host {target!r}", where="fabric")
        return self._addresses[target]

    def change(self, links: Mapping[tuple[str, str], LinkSpec]) -> None:
        """Note what is asked of some links from now on; for engines, whose `update` calls it first.

        How many segments TCP bundles into one packet follows for connections that are opened later.

        Raises
        ------
        PlatformError
            If a link is none of the fabric's, or the kernel refuses; then nothing is noted.
        """
        for source, target in links:
            if (source, target) not in self._links:
                raise PlatformError(f"there is no link from {source!r} to {target!r} to change", where="fabric")
        changed = self._links | dict(links)
        if self._resources is not None:
            before, after = _bounds(self._links), _bounds(changed)
            for host in self.hosts.values():
                bound = after.get(host.name, _MOST_SEGMENTS)
                if bound != before.get(host.name, _MOST_SEGMENTS):
                    with namespace.entered(host.namespace_fd), netlink.Netlink() as own:
                        own.send([netlink.segments_per_packet(host.interface_index, bound)])
        self._links = changed

    def facts(self) -> Mapping[str, Any]:
        """What goes into the run's record."""
        return {"hosts": len(self._addresses), "mtu": MTU, "ipv6": False, "tcp_congestion_control": self._congestion}

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.down()

    def _need_up(self) -> None:
        if self._resources is None:
            raise PlatformError("the fabric is not up", where="fabric", remedy="call up() first, or use it as a context")

    def up(self) -> None:
        """Build all namespaces and wires; on failure nothing is left.

        Raises
        ------
        PlatformError
            If it is up already, or the kernel refuses.
        """
        if self._resources is not None:
            raise PlatformError("the fabric is up already", where="fabric")
        _allow_descriptors(len(self._addresses) + _SPARE_DESCRIPTORS)
        with ExitStack() as resources:
            self._build(resources)
            self._resources = resources.pop_all()

    def down(self) -> None:
        """Give all back. The kernel dismantles the namespaces once no process or socket is left in them."""
        if self._resources is not None:
            self._resources.close()
            self._resources, self.hosts = None, MappingProxyType({})

    def _build(self, resources: ExitStack) -> None:
        hosts: dict[str, HostNet] = {}
        with namespace.returning():
            core_fd = _hold(resources, namespace.create())
            self._congestion = _pin_congestion(self._asked)
            self._sysctls = _QUIET | {"ipv4/tcp_congestion_control": self._congestion}
            if Path("/proc/sys/net", _NO_IPV6).exists():  # else the kernel has no IPv6 to be switched off
                self._sysctls[_NO_IPV6] = "1"
            if Path("/proc/sys/net", _NO_METRICS).exists():  # else connections start from what earlier ones to a host had learned
                self._sysctls[_NO_METRICS] = "1"
            namespace.set_sysctls(self._sysctls | {"ipv4/ip_forward": "1"})
            with netlink.Netlink() as core:
                core.send([netlink.link_up(_LOOPBACK)])
                names = list(self._addresses)
                for start in range(0, len(names), _TOGETHER):
                    hosts |= self._build_hosts(core, start, names[start : start + _TOGETHER], resources)
                _wait_until_running(core, {host.core_index for host in hosts.values()})
        self.hosts, self._core_fd = MappingProxyType(hosts), core_fd

    def _build_hosts(self, core: netlink.Netlink, start: int, names: Sequence[str], resources: ExitStack) -> dict[str, HostNet]:
        hosts = {}
        bounds = _bounds(self._links)
        with ExitStack() as sockets:
            inside = []
            for index, name in enumerate(names, start):
                hosts[name] = _host(name, index, self._addresses[name], _hold(resources, namespace.create()))
                namespace.set_sysctls(self._sysctls)
                inside.append(sockets.enter_context(netlink.Netlink()))
            core.send(request for host in hosts.values() for request in (_wire(host), netlink.link_up(host.core_index)))
            for own, host in zip(inside, hosts.values(), strict=True):
                own.send(_configure(host))
                if host.name in bounds:
                    own.send([netlink.segments_per_packet(host.interface_index, bounds[host.name])])
            core.send(request for host in hosts.values() for request in _attach(host))
        return hosts


def segments(links: Iterable[LinkSpec]) -> int:
    """How many TCP segments a host with these links may hand down as one packet.

    One if any link loses packets, since loss must take single frames; else what the slowest link takes 1 ms to send,
    since a bundle moves as a whole and others wait behind it. To switch segmentation offload off would not do: the
    kernel then cuts bundles after they went through its queues.
    """
    return min((_segments(link) for link in links), default=_MOST_SEGMENTS)


def _segments(link: LinkSpec) -> int:
    if link.loss > 0:
        return 1
    if link.rate is None:
        return _MOST_SEGMENTS
    return min(_MOST_SEGMENTS, max(1, int(link.rate * _GRAIN / (8 * _FRAME))))


def _bounds(links: Mapping[tuple[str, str], LinkSpec]) -> dict[str, int]:
    """Segments per packet of each host that may not use all."""
    leaving: dict[str, list[LinkSpec]] = {}
    for (source, _), link in links.items():
        leaving.setdefault(source, []).append(link)
    bounds = {source: segments(own) for source, own in leaving.items()}
    return {source: bound for source, bound in bounds.items() if bound < _MOST_SEGMENTS}


def _addresses(count: int, subnet: str) -> Iterator[str]:
    network = ipaddress.IPv4Network(subnet)
    if count > min(MOST_HOSTS, network.num_addresses // 256 * 254):
        raise PlatformError(
            f"{count} hosts do not fit into {subnet}", where="fabric", remedy=f"use a larger subnet, and at most {MOST_HOSTS} hosts"
        )
    # No address ends in 0 or 255: tools and readers take those for networks and broadcasts.
    return (str(network[index // 254 * 256 + index % 254 + 1]) for index in range(count))


def _host(name: str, index: int, address: str, descriptor: int) -> HostNet:
    return HostNet(name, index, address, descriptor, INTERFACE, _HOST_INDEX, f"h{index}", _CORE_INDEX + index)


def _mac(host: HostNet) -> bytes:
    return b"\x02\x01" + host.index.to_bytes(4, "big")


def _wire(host: HostNet) -> netlink.Request:
    near = netlink.End(host.core_interface, host.core_index, _CORE_MAC)
    far = netlink.End(host.interface, host.interface_index, _mac(host))
    return netlink.veth(near, far, host.namespace_fd, mtu=MTU, queue_length=_QUEUE_LENGTH)


def _configure(host: HostNet) -> list[netlink.Request]:
    return [
        netlink.link_up(_LOOPBACK),
        netlink.link_up(host.interface_index),
        netlink.add_address(host.interface_index, host.address),
        netlink.add_neighbour(host.interface_index, _GATEWAY, _CORE_MAC),
        netlink.add_route(host.interface_index, None, gateway=_GATEWAY),
    ]


def _attach(host: HostNet) -> list[netlink.Request]:
    return [
        netlink.add_route(host.core_index, host.address),
        netlink.add_neighbour(host.core_index, host.address, _mac(host)),
    ]


def _wait_until_running(core: netlink.Netlink, interfaces: set[int]) -> None:
    """Wait for the ends that came up before their other ends: until the kernel has noticed those, they drop packets."""
    deadline = time.monotonic() + _PATIENCE
    while not interfaces <= core.running():
        if time.monotonic() > deadline:
            raise PlatformError(f"links pass no packets {_PATIENCE:g} s after they came up", where="fabric")
        time.sleep(0.002)
    # The kernel says so before it lets packets pass, but does both under a lock that this request has to wait for.
    core.send([netlink.link_up(_LOOPBACK)])


def _pin_congestion(asked: str | None) -> str:
    """Pin the present namespace's congestion control: the machine's default may differ from one lab to the next."""
    for name in (asked,) if asked is not None else _CONGESTION:
        try:
            namespace.set_sysctls({"ipv4/tcp_congestion_control": name})
        except PlatformError as error:
            # Outside the initial namespace the kernel takes only what net.ipv4.tcp_allowed_congestion_control lists.
            if asked is not None or name == _CONGESTION[-1] or not _forbidden(error):
                raise
        else:
            return name
    raise AssertionError("the last congestion control is either set or refused")


def _forbidden(error: PlatformError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EPERM, errno.ENOENT, errno.EBUSY)


def _hold(resources: ExitStack, descriptor: int) -> int:
    resources.callback(os.close, descriptor)
    return descriptor


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + sum(1 for _ in Path("/proc/self/fd").iterdir())
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise PlatformError(
            f"{needed} open files are needed, {hard} are allowed",
            where="fabric",
            remedy=f"raise the hard limit (ulimit -Hn {needed}) or emulate fewer hosts",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
