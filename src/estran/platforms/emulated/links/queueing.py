"""Requests for the kernel's queueing disciplines: sorting packets by host (htb, u32), bounding queues (bfifo, tbf), netem.

Layouts are those of the kernel's ``include/uapi/linux/{pkt_sched,pkt_cls}.h``.
"""

from __future__ import annotations

import math
import socket
import struct
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final, Literal

from estran.platforms.emulated.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
    nested,
    text,
    u32,
)
from estran.spec.model import LinkSpec

RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTCLASS, RTM_NEWTFILTER = 36, 37, 40, 44

Field = Literal["source", "destination"]

FRAME: Final = 1538
"""Bytes on the wire of a full Ethernet frame: 1500 of IP, 14 of header, 4 of checksum, 20 of preamble and gap."""

_TC: Final = struct.Struct("=BxxxiIII")  # struct tcmsg
_ROOT: Final = 0xFFFFFFFF
_MAJOR: Final = 0x10000  # the root discipline's handle, written 1:
_TCA_KIND, _TCA_OPTIONS, _TCA_STAB = 1, 2, 8
_NANOSECONDS_PER_TICK: Final = 64
_MOST_TICKS: Final = 0xFFFFFFFF
_MOST_MINORS: Final = 0xFFFF

# u32: a table of 256 buckets, keyed on the last byte of an address
_ETH_P_IP: Final = 0x0800
_FILTER_INFO: Final = (1 << 16) | socket.htons(_ETH_P_IP)
_U32_ROOT, _U32_TABLE = 0x80000000, 0x00100000
_U32_CLASSID, _U32_HASH, _U32_LINK, _U32_DIVISOR, _U32_SEL, _U32_POLICE = 1, 2, 3, 4, 5, 6
_U32_TERMINAL: Final = 1  # without it a match ends nothing
_FIELD_OFFSET: Final[dict[Field, int]] = {"source": 12, "destination": 16}  # in an IPv4 header
_PROTOCOL_OFFSET, _PORTS_OFFSET = 8, 20  # words with the protocol, and with ports after a header without options
_PROTOCOLS: Final = {"tcp": 6, "udp": 17}

_DROP, _ANY_SIZE, _RATE_TABLE = 2, 1 << 24, 1024  # TC_ACT_SHOT; a table that the kernel wants, and does not read

# Header bytes of TCP over IPv4 over Ethernet with time stamps, and what each frame costs beyond what the kernel counts
_HEADERS, _SEGMENT, _LARGEST, _BEYOND, _SMALLEST = 66, 1448, 1514, 24, 84
_CELL_LOG: Final = 2  # cells of 4 bytes: the lengths 66 + 1448 n that TCP makes all lie in the middle of one
_SIZE_LOG: Final = 1  # entries are 16 bits wide, but 45 frames are more than 65535 bytes on the wire
_CELLS: Final = (65536 + _LARGEST >> _CELL_LOG) + 1

_NETEM_DIST, _NETEM_RATE = 2, 6
_NETEM_RATE64, _NETEM_LATENCY64, _NETEM_JITTER64 = 8, 10, 11
_DISTRIBUTION_SCALE, _DISTRIBUTION_SIZE = 8192, 4096
_UNLIMITED: Final = 1e12  # bits per second; a frame takes 12 ns


def wire_size(length: int) -> int:
    """Bytes on the wire of a packet that the kernel counts as ``length`` bytes (with its Ethernet header).

    Packets above one frame are bundles of TCP segments that share one header until they are cut: each segment then
    gets its own headers, checksum, preamble and gap.
    """
    if length <= _LARGEST:
        return max(length + _BEYOND, _SMALLEST)
    payload = length - _HEADERS
    return payload + math.ceil(payload / _SEGMENT) * (_HEADERS + _BEYOND)


@cache
def _size_table() -> bytes:
    middle = 1 << _CELL_LOG - 1
    sizes = [wire_size((cell << _CELL_LOG) + middle) + 1 >> _SIZE_LOG for cell in range(_CELLS)]
    base = struct.pack("=BBhiIIII", _CELL_LOG, _SIZE_LOG, 0, 0, 1, 0, 0, _CELLS)
    return nested(_TCA_STAB, attribute(1, base), attribute(2, struct.pack(f"={_CELLS}H", *sizes)))


def _message(interface: int, handle: int, parent: int, info: int = 0) -> bytes:
    return _TC.pack(0, interface, handle, parent, info)


def sort_by(interface: int, field: Field) -> list[Request]:
    """Sort what leaves an interface into classes by one address of each packet; others pass untouched.

    Bytes are counted as on an Ethernet wire (`wire_size`) from here on.
    """
    root = _message(interface, _MAJOR, _ROOT) + text(_TCA_KIND, "htb")
    root += nested(_TCA_OPTIONS, attribute(2, struct.pack("=5I", 3, 1, 0, 0, 0))) + _size_table()
    any_packet = _selector(0, _FIELD_OFFSET[field], 0xFF, bytes(4), bytes(4), 0)
    link = attribute(_U32_SEL, any_packet) + u32(_U32_LINK, _U32_TABLE) + u32(_U32_HASH, _U32_ROOT)
    return [
        Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, root, f"queue packets by class (htb) on interface {interface}"),
        _filter(interface, _U32_TABLE, u32(_U32_DIVISOR, 256), f"make a table of hosts (u32) on interface {interface}"),
        _filter(interface, 0, link, f"look packets up in the table of hosts (u32) on interface {interface}"),
    ]


def _filter(interface: int, handle: int, options: bytes, purpose: str) -> Request:
    body = _message(interface, handle, _MAJOR, _FILTER_INFO) + text(_TCA_KIND, "u32") + nested(_TCA_OPTIONS, options)
    return Request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body, purpose)


def _selector(
    flags: int, hash_offset: int, hash_mask: int, mask: bytes, value: bytes, offset: int, *more: tuple[bytes, bytes, int]
) -> bytes:
    """A u32 match of words (struct tc_u32_sel), and where the word to hash lies for a linked table."""
    header = struct.pack("=BBBxHHhh", flags, 0, 1 + len(more), 0, 0, 0, hash_offset) + struct.pack(">I", hash_mask)
    return header + b"".join(mask + value + struct.pack("=ii", offset, 0) for mask, value, offset in ((mask, value, offset), *more))


def assign(interface: int, field: Field, address: str, minor: int, police: bytes = b"") -> Request:
    """Put packets from or to an address into a class of `sort_by`'s root; with `police`, only some of them."""
    return _assign(interface, field, address, minor, f"assign {address} to class {minor} on interface {interface}", police)


def police(rate: float, queue: int) -> bytes:
    """Drop what would find no room in a queue of so many bytes in front of a line of a rate, for `assign`.

    A token bucket whose tokens are the room that is left. With this before it, netem, which only counts packets, keeps the line's
    rate and its queue is bounded all the same.
    """
    bytes_per_second = _bytes_per_second(rate)
    spec = struct.pack("=BBHhHI", _CELL_LOG, 1, 0, 0, 0, min(bytes_per_second, 0xFFFFFFFF))
    ticks = min(_MOST_TICKS, round(queue / bytes_per_second * 1e9 / _NANOSECONDS_PER_TICK))
    parameters = struct.pack("=IiIII", 0, _DROP, 0, ticks, _ANY_SIZE) + spec + bytes(len(spec)) + struct.pack("=iiI", 0, 0, 0)
    wide = attribute(8, struct.pack("=Q", bytes_per_second))
    return nested(_U32_POLICE, attribute(1, parameters), attribute(2, bytes(_RATE_TABLE)), wide)


@dataclass(frozen=True, slots=True)
class Lane:
    """Traffic that is told by a port of its source (``from``) or target (``to``).

    Attributes
    ----------
    ports
        How many from ``port`` on: a power of two that divides it.
    """

    protocol: Literal["tcp", "udp"]
    side: Literal["from", "to"]
    port: int
    ports: int = 1


def let_pass(interface: int, field: Field, address: str, lane: Lane) -> Request:
    """Let a lane of the traffic from or to an address pass untouched; comes before `assign` for that address."""
    shift = 16 if lane.side == "from" else 0
    mask, value = (0xFFFF & -lane.ports) << shift, lane.port << shift
    port = struct.pack(">I", mask), struct.pack(">I", value), _PORTS_OFFSET
    protocol = struct.pack(">I", 0xFF << 16), struct.pack(">I", _PROTOCOLS[lane.protocol] << 16), _PROTOCOL_OFFSET
    purpose = f"let {lane.protocol} {lane.side} port {lane.port} pass, for {address} on interface {interface}"
    return _assign(interface, field, address, 0, purpose, b"", protocol, port)


def _assign(
    interface: int, field: Field, address: str, minor: int, purpose: str, more: bytes, *keys: tuple[bytes, bytes, int]
) -> Request:
    packed = socket.inet_aton(address)
    selector = _selector(_U32_TERMINAL, 0, 0, b"\xff\xff\xff\xff", packed, _FIELD_OFFSET[field], *keys)
    bucket = _U32_TABLE | packed[3] << 12
    options = u32(_U32_CLASSID, _MAJOR | minor) + attribute(_U32_SEL, selector) + u32(_U32_HASH, bucket) + more
    return _filter(interface, 0, options, purpose)


def limit_class(interface: int, minor: int, rate: float | None, burst: float) -> Request:
    """Make a class or change its rate.

    Parameters
    ----------
    rate
        Bits per second, or None for no limit.
    burst
        Seconds at the rate that may be sent at once after idling.
    """
    bytes_per_second = _bytes_per_second(rate)
    ticks = min(_MOST_TICKS, max(1, round(burst * 1e9 / _NANOSECONDS_PER_TICK)))
    spec = struct.pack("=BBHhHI", 0, 1, 0, 0, 0, min(bytes_per_second, 0xFFFFFFFF))
    parameters = attribute(1, spec + spec + struct.pack("=5I", ticks, ticks, 10 * FRAME, 0, 0))
    wide = struct.pack("=Q", bytes_per_second)
    body = _message(interface, _MAJOR | minor, _MAJOR) + text(_TCA_KIND, "htb")
    body += nested(_TCA_OPTIONS, parameters, attribute(6, wide), attribute(7, wide))
    return Request(RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_REPLACE, body, f"limit class {minor} of interface {interface}")


def sign(interface: int, minor: int, first: int, second: int) -> Request:
    """Make a class that no packet goes to, whose rates are two numbers (32 bits) by which rules are known again."""
    specs = [struct.pack("=BBHhHI", 0, 1, 0, 0, 0, number & 0xFFFFFFFF) for number in (first, second)]
    parameters = attribute(1, b"".join(specs) + struct.pack("=5I", 1, 1, 10 * FRAME, 0, 0))
    body = _message(interface, _MAJOR | minor, _MAJOR) + text(_TCA_KIND, "htb") + nested(_TCA_OPTIONS, parameters)
    return Request(RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_EXCL, body, f"sign the rules of interface {interface}")


def bound_queue(interface: int, minor: int, size: int) -> Request:
    """Bound a class's queue to ``size`` bytes."""
    body = _message(interface, 0, _MAJOR | minor) + text(_TCA_KIND, "bfifo") + attribute(_TCA_OPTIONS, struct.pack("=I", size))
    return Request(
        RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, f"bound the queue (bfifo) of class {minor}, interface {interface}"
    )


def pace(interface: int, minor: int, rate: float, burst: int, limit: int) -> Request:
    """Limit the rate of a class with a token bucket (tbf), which cuts larger bundles of segments apart.

    Parameters
    ----------
    rate
        Bits per second.
    burst
        Bytes that may leave at once after idling; no packet may be larger.
    limit
        Bytes that may wait.
    """
    bytes_per_second = _bytes_per_second(rate)
    spec = struct.pack("=BBHhHI", 0, 1, 0, 0, 0, min(bytes_per_second, 0xFFFFFFFF))
    ticks = min(_MOST_TICKS, max(1, round(burst / bytes_per_second * 1e9 / _NANOSECONDS_PER_TICK)))
    options = attribute(1, spec + bytes(len(spec)) + struct.pack("=III", limit, ticks, 0))
    options += attribute(4, struct.pack("=Q", bytes_per_second)) + u32(6, burst)
    body = _message(interface, 0, _MAJOR | minor) + text(_TCA_KIND, "tbf") + nested(_TCA_OPTIONS, options)
    purpose = f"limit the rate (tbf) of class {minor}, interface {interface}"
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, purpose)


def impair(interface: int, minor: int, link: LinkSpec, limit: int) -> Request:
    """Make a class's packets take their time on the wire, delay and lose them, with netem.

    Jitter is normal, as `LinkSpec` says. netem alone would let packets overtake each other; with a rate, which is
    beyond all need where the link has none, it never lets one leave before its predecessor.

    Parameters
    ----------
    limit
        Packets under way at once.
    """
    options = struct.pack("=6I", 0, limit, round(link.loss * 0xFFFFFFFF), 0, 0, 0)
    options += attribute(_NETEM_LATENCY64, struct.pack("=q", round(link.delay * 1e9)))
    options += attribute(_NETEM_JITTER64, struct.pack("=q", round(link.jitter * 1e9)))
    if link.jitter > 0:
        options += attribute(_NETEM_DIST, _normal())
    options += _netem_rate(_bytes_per_second(link.rate))
    body = _message(interface, 0, _MAJOR | minor) + text(_TCA_KIND, "netem") + attribute(_TCA_OPTIONS, options)
    return Request(
        RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, f"delay packets (netem) of class {minor}, interface {interface}"
    )


def _netem_rate(rate: int) -> bytes:
    narrow = attribute(_NETEM_RATE, struct.pack("=IiIi", min(rate, 0xFFFFFFFF), 0, 0, 0))
    return narrow + attribute(_NETEM_RATE64, struct.pack("=Q", rate))


def _bytes_per_second(rate: float | None) -> int:
    return max(1, round((_UNLIMITED if rate is None else rate) / 8))


@cache
def _normal() -> bytes:
    """The inverse normal distribution as netem wants it: equally likely values, in 8192ths of a standard deviation."""
    normal = NormalDist()
    values = [normal.inv_cdf((i + 0.5) / _DISTRIBUTION_SIZE) for i in range(_DISTRIBUTION_SIZE)]
    shrunk = math.sqrt(sum(value * value for value in values) / len(values))  # cut tails: restore the deviation
    return struct.pack(f"={len(values)}h", *(round(value / shrunk * _DISTRIBUTION_SCALE) for value in values))


def unsort(interface: int) -> Request:
    """Remove what `sort_by` made, with all its classes and queues; packets that wait in them are lost."""
    return Request(RTM_DELQDISC, 0, _message(interface, 0, _ROOT), f"remove the queues of interface {interface}")
