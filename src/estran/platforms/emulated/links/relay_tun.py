"""The delay engine for kernels without netem and NFQUEUE: all packets between hosts cross a TUN device and a process.

In the core namespace a policy rule sends whatever comes from a host into a TUN device; the relay reads packets there,
keeps them until the departures that `relay_core` computes and writes them back, and a second rule lets what comes from
the device go on to its host. Super-packets stay whole (``IFF_VNET_HDR``). It needs no program and no privilege beyond
the namespace. Should the relay die, a black-hole route remains: traffic never passes unshaped. Layouts: linux/if_tun.h,
virtio_net.h, fib_rules.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from estran.errors import PlatformError
from estran.platforms.emulated.links import throwaway
from estran.platforms.emulated.links.engine import Trial
from estran.platforms.emulated.links.relay_core import Schedule, keyed, lines, pair_key, wire_size
from estran.platforms.emulated.links.relay_process import RelayProcess, relaying
from estran.platforms.emulated.network import namespace, netlink
from estran.platforms.emulated.network.netlink import Netlink, Request

if TYPE_CHECKING:
    from estran.platforms.emulated.network.fabric import Fabric

_DEVICE: Final = "estran-relay"
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TUN, _NO_INFO, _VNET_HEADER = 0x1, 0x1000, 0x4000
_CHECKSUM_AND_TSO, _UDP_SEGMENTS = 0xF, 0x60
_VNET_BYTES: Final = 10
_IPV4: Final = 4
_LARGEST: Final = _VNET_BYTES + 65535
_QUEUE_LENGTH: Final = 10_000
_BATCH: Final = 32

_NEW_ROUTE, _DELETE_ROUTE, _NEW_RULE, _DELETE_RULE = 24, 25, 32, 33
_TABLE: Final = 100
_BLACKHOLE: Final = 6
_RULE_INTERFACE, _RULE_PRIORITY, _ROUTE_PRIORITY, _ROUTE_DEVICE = 3, 6, 6, 4

LIMITS: Final = {"capacity": "all links together carry about 2 Gbit/s of full packets, or 40 000 small packets/s, per core"}
REMEDY: Final = "the kernel needs CONFIG_TUN (modprobe tun) and CONFIG_IP_MULTIPLE_TABLES, and in a container --device /dev/net/tun"


def _rule(kind: int, priority: int, table: int, interface: str | None = None) -> Request:
    """A policy rule: what comes from the interface (None: from anywhere) is routed by the table."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, table, 0, 0, 1, 0) + netlink.u32(_RULE_PRIORITY, priority)
    body += b"" if interface is None else netlink.text(_RULE_INTERFACE, interface)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL if kind == _NEW_RULE else 0
    return Request(kind, flags, body, f"set the routing rule of priority {priority}")


def _default(kind: int, metric: int, *, device: int | None) -> Request:
    """A default route of the relay's table: into a device, or (None) into nothing."""
    verdict, scope = (_BLACKHOLE, 0) if device is None else (netlink.RTN_UNICAST, netlink.RT_SCOPE_LINK)
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _TABLE, netlink.RTPROT_STATIC, scope, verdict, 0)
    body += netlink.u32(_ROUTE_PRIORITY, metric) + (b"" if device is None else netlink.u32(_ROUTE_DEVICE, device))
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL if kind == _NEW_ROUTE else 0
    return Request(kind, flags, body, "route all packets into the relay")


def _open_device() -> int:
    """Make the TUN device in the present namespace; it vanishes when the descriptor is closed."""
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PlatformError(f"cannot open /dev/net/tun: {error.strerror}", where="tun", remedy=REMEDY) from error
    try:
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _TUN | _NO_INFO | _VNET_HEADER))
        _offload(device)
    except OSError as error:
        os.close(device)
        raise PlatformError(f"cannot make a TUN device: {error.strerror}", where="tun", remedy=REMEDY) from error
    return device


def _offload(device: int) -> None:
    """Ask for super-packets of TCP, and of UDP where the kernel has them (6.2)."""
    try:
        fcntl.ioctl(device, _TUNSETOFFLOAD, _CHECKSUM_AND_TSO | _UDP_SEGMENTS)
    except OSError:
        fcntl.ioctl(device, _TUNSETOFFLOAD, _CHECKSUM_AND_TSO)


def _up(index: int) -> Request:
    body = struct.pack("=BxHiII", 0, 0, index, netlink.IFF_UP, netlink.IFF_UP) + netlink.u32(netlink.IFLA_TXQLEN, _QUEUE_LENGTH)
    return Request(netlink.RTM_NEWLINK, 0, body, f"bring {_DEVICE} up")


class TunGate:
    """A TUN device of the present namespace, with the routes that lead every packet into it."""

    def __init__(self, schedule: Schedule[bytes]) -> None:
        self.schedule = schedule
        self._refused = 0
        self.device = _open_device()
        try:
            index = socket.if_nametoindex(_DEVICE)
            with Netlink() as kernel:
                kernel.send([_up(index), _default(_NEW_ROUTE, 1, device=index), _default(_NEW_ROUTE, 9, device=None)])
                kernel.send([_rule(_NEW_RULE, 100, netlink.RT_TABLE_MAIN, _DEVICE), _rule(_NEW_RULE, 101, _TABLE)])
        except (OSError, PlatformError):
            os.close(self.device)
            raise

    def fileno(self) -> int:
        """Give the device's descriptor."""
        return self.device

    def next(self) -> float | None:
        """When the next packet leaves."""
        return self.schedule.next()

    def receive(self) -> None:
        """Take in up to a batch of packets."""
        device, read, clock, schedule = self.device, os.read, time.monotonic, self.schedule
        for _ in range(_BATCH):
            try:
                packet = read(device, _LARGEST)
            except BlockingIOError:
                return
            if packet[_VNET_BYTES] >> 4 != _IPV4:
                continue
            size, frames = wire_size(packet[_VNET_BYTES : _VNET_BYTES + 40], len(packet) - _VNET_BYTES)
            schedule.offer(clock(), packet[_VNET_BYTES + 12 : _VNET_BYTES + 20], size, frames, packet)

    def release(self, now: float) -> bool:
        """Let go, in order, what is due."""
        packets = self.schedule.due(now)
        for packet in packets:
            try:
                os.write(self.device, packet)
            except OSError as error:
                # EINVAL is a packet that this kernel does not take back, ENOBUFS a host that is gone: count, carry on.
                if error.errno not in (errno.EINVAL, errno.ENOBUFS, errno.ENETDOWN, errno.EAGAIN):
                    raise
                self._refused += 1
        return bool(packets)

    def close(self) -> None:
        """Remove the device, its routes and rules."""
        os.close(self.device)
        with Netlink() as kernel, suppress(PlatformError):
            kernel.send([_rule(_DELETE_RULE, 101, _TABLE), _rule(_DELETE_RULE, 100, netlink.RT_TABLE_MAIN, _DEVICE)])
            kernel.send([_default(_DELETE_ROUTE, 9, device=None)])

    def facts(self) -> dict[str, Any]:
        """What went through the device unasked or was refused by it."""
        return {"undeclared": self.schedule.undeclared, "refused_packets": self._refused}


def _echo() -> str:
    """Send one datagram into a TUN device of the present (throw-away) namespace and answer it there."""
    near, far = "192.0.2.1", "192.0.2.2"  # RFC 5737: addresses for documentation, never in use
    namespace.set_sysctls({"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"})
    with Netlink() as kernel:
        kernel.send([netlink.add_address(1, near)])
    gate = TunGate(Schedule({}))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((far, 9))
            sender.settimeout(0.2)
            sender.send(b"through the device")
            at = _VNET_BYTES
            packet = throwaway.read(gate.device, _LARGEST)
            while packet[at] >> 4 != _IPV4:  # a new device announces itself over IPv6
                packet = throwaway.read(gate.device, _LARGEST)
            source, target, ports = packet[at + 12 : at + 16], packet[at + 16 : at + 20], packet[at + 20 : at + 24]
            os.write(gate.device, packet[: at + 12] + target + source + ports[2:] + ports[:2] + packet[at + 24 :])
            sender.recv(64)
    finally:
        gate.close()
    return "a packet went through a TUN device and back"


class TunEngine:
    """Delay, jitter, loss and rate by carrying packets through a process.

    Parameters
    ----------
    seed
        Of the jitter and losses of every link.
    """

    name = "tun"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def trial(self) -> Trial:
        """Send one packet through a TUN device and back in a throw-away namespace."""
        return throwaway.trial(_echo, LIMITS, REMEDY)

    @contextmanager
    def start(self, fabric: Fabric) -> Iterator[RelayProcess]:
        """Shape ``fabric.links`` until the context is left.

        Raises
        ------
        PlatformError
            If the kernel has no TUN devices or no policy routing.
        """
        all_lines = lines(fabric.links, self.seed)
        by_address = keyed(fabric.links, {name: host.address for name, host in fabric.hosts.items()}, all_lines)
        core = fabric.core_fd

        def gate() -> TunGate:
            namespace.enter(core)
            return TunGate(Schedule(by_address))

        with relaying(self.name, gate, all_lines, fabric.change, LIMITS, pair_key(fabric), keep=(core,)) as process:
            yield process
