"""Raw rtnetlink from the standard library: batches of requests for links, addresses, routes and neighbours.

Layouts are those of the kernel's ``include/uapi/linux/{netlink,rtnetlink,if_link,if_addr,neighbour,veth}.h``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from estran.errors import PlatformError

NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
SOL_NETLINK: Final = 270
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLM_F_DUMP: Final = 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG: Final = 1
NLA_F_NESTED: Final = 0x8000
NLA_TYPE_MASK: Final = 0x3FFF

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH = 16, 20, 24, 28

RTM_GETLINK: Final = 18
IFF_UP: Final = 0x1
IFLA_OPERSTATE, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS = 16, 29, 8
_UP: Final = b"\6"  # IF_OPER_UP
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_TXQLEN, IFLA_LINKINFO = 1, 3, 4, 13, 18
IFLA_NET_NS_FD, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_GSO_MAX_SEGS = 28, 31, 32, 40
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT: Final = 0x80
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RTN_UNICAST = 254, 4, 253, 0, 1
RTNH_F_ONLINK: Final = 4

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")  # struct ndmsg

_BATCH_BYTES: Final = 64 * 1024  # well below the default send buffer, so that a batch is never refused for its size
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024

_REMEDIES: Final = {
    errno.EPERM: "run as root, or without root on a kernel that allows user namespaces; `estran doctor` tells which",
    errno.ENOENT: "load the kernel module that provides it (modprobe), or use another engine; `estran doctor` lists them",
    errno.EOPNOTSUPP: "this kernel was built without it; `estran doctor` lists what this machine can emulate",
    errno.ENOBUFS: "the kernel ran out of buffer space; emulate fewer hosts or free memory",
    errno.ENOMEM: "emulate fewer hosts or free memory",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the kernel.

    Attributes
    ----------
    kind
        Message type, such as `RTM_NEWLINK`.
    flags
        ``NLM_F_*`` beyond `NLM_F_REQUEST`.
    body
        The family's fixed header and the attributes.
    purpose
        What it is for, to complete "the kernel refused to …".
    """

    kind: int
    flags: int
    body: bytes
    purpose: str


def attribute(kind: int, payload: bytes) -> bytes:
    """Encode one attribute, padded to four bytes.

    Raises
    ------
    ValueError
        If the payload is longer than an attribute can hold (65531 bytes).
    """
    length = _ATTRIBUTE.size + len(payload)
    if length > 0xFFFF:
        raise ValueError(f"an attribute of {len(payload)} bytes does not fit into 16 bits")
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Encode an attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Decode a row of attributes into (kind, payload), flags stripped from the kind.

    Raises
    ------
    ValueError
        If the data ends within an attribute.
    """
    offset = 0
    while offset < len(data):
        if offset + _ATTRIBUTE.size > len(data):
            raise ValueError("netlink data ends within an attribute's header")
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            raise ValueError(f"netlink attribute of {length} bytes does not fit into the {len(data) - offset} that are left")
        yield kind & NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + (-length % 4)


def u32(kind: int, value: int) -> bytes:
    """Encode a 32-bit attribute."""
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    """Encode a string attribute, with its final zero."""
    return attribute(kind, value.encode() + b"\0")


class Netlink:
    """A netlink socket; it acts on the network namespace in which it was opened, wherever its owner goes later.

    Parameters
    ----------
    family
        Of messages: rtnetlink, or what the kernel knows of sockets.
    """

    def __init__(self, family: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sequence = 0
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            # Without the cap each answer repeats its request, and a batch's answers overflow the receive buffer.
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def send(self, requests: Iterable[Request]) -> None:
        """Have the kernel do all requests, in order, in as few system calls as possible.

        Raises
        ------
        PlatformError
            For the first request that the kernel refused, with its own words; the cause is an `OSError`. Requests
            after it in the same batch may have been done.
        """
        batch: list[Request] = []
        size = 0
        for request in requests:
            if batch and size + len(request.body) > _BATCH_BYTES:
                self._send(batch)
                batch, size = [], 0
            batch.append(request)
            size += len(request.body) + _HEADER.size
        if batch:
            self._send(batch)

    def running(self) -> set[int]:
        """The numbers of the interfaces of which the kernel has noticed that both their ends are up.

        The interface flags would not do: they call one running also while the kernel has not looked yet.

        Raises
        ------
        PlatformError
            If the kernel refuses.
        """
        body = _LINK.pack(0, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
        answers = self.dump(Request(RTM_GETLINK, NLM_F_DUMP, body, "list the interfaces"))
        return {_LINK.unpack_from(answer)[2] for answer in answers if _state(answer) == _UP}

    def dump(self, request: Request) -> list[bytes]:
        """All that the kernel answers to a request with `NLM_F_DUMP`.

        Raises
        ------
        PlatformError
            If the kernel refuses.
        """
        body = request.body
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), request.kind, request.flags | NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        found: list[bytes] = []
        for kind, flags, _, answer in self._messages():
            if kind == NLMSG_ERROR:
                raise _refused(*_answer(flags, answer), request)
            if kind == NLMSG_DONE:
                return found
            found.append(answer)
        raise AssertionError("a row of messages ends with its own end mark")

    def _send(self, batch: Sequence[Request]) -> None:
        # Errors are always answered; asking only the last request for an acknowledgement tells when all are through.
        first = self._sequence + 1
        self._sequence += len(batch)
        parts = []
        for number, request in enumerate(batch, first):
            flags = request.flags | NLM_F_REQUEST | (NLM_F_ACK if number == self._sequence else 0)
            parts.append(_HEADER.pack(_HEADER.size + len(request.body), request.kind, flags, number, 0))
            parts.append(request.body + b"\0" * (-len(request.body) % 4))
        self._socket.send(b"".join(parts))
        refusal: tuple[int, str, Request] | None = None
        for number, code, words in self._answers(self._sequence):
            if code and refusal is None:
                refusal = code, words, batch[number - first]
        if refusal is not None:
            raise _refused(*refusal)

    def _answers(self, last: int) -> Iterator[tuple[int, int, str]]:
        """Sequence number, errno (0: done) and the kernel's text, up to the answer to ``last``."""
        for kind, flags, number, body in self._messages():
            if kind == NLMSG_ERROR:
                yield number, *_answer(flags, body)
            if number == last:
                return

    def _messages(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, sequence number and body of each message as it comes; waits for the next one without end."""
        while True:
            data = self._socket.recv(_RECEIVE_BUFFER)
            offset = 0
            while offset < len(data):
                length, kind, flags, number, _ = _HEADER.unpack_from(data, offset)
                yield kind, flags, number, data[offset + _HEADER.size : offset + length]
                offset += length + (-length % 4)


def _state(link: bytes) -> bytes | None:
    return dict(attributes(link[_LINK.size :])).get(IFLA_OPERSTATE)


def _answer(flags: int, body: bytes) -> tuple[int, str]:
    code = -struct.unpack_from("=i", body)[0]
    if not flags & NLM_F_ACK_TLVS:
        return code, ""
    echoed = _HEADER.size if flags & NLM_F_CAPPED or not code else _HEADER.unpack_from(body, 4)[0]
    texts = dict(attributes(body[4 + echoed :]))
    return code, texts.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


def _refused(code: int, words: str, request: Request) -> PlatformError:
    reason = os.strerror(code) + (f" ({words})" if words else "")
    error = PlatformError(f"the kernel refused to {request.purpose}: {reason}", remedy=_REMEDIES.get(code))
    error.__cause__ = OSError(code, reason)
    return error


def mac(text_form: str) -> bytes:
    """Turn ``02:00:00:00:00:01`` into its six bytes."""
    return bytes.fromhex(text_form.replace(":", ""))


@dataclass(frozen=True, slots=True)
class End:
    """One end of a veth pair.

    Attributes
    ----------
    index
        The interface's number, chosen by the caller so that it need not be looked up.
    address
        Six bytes.
    """

    name: str
    index: int
    address: bytes


def veth(near: End, far: End, far_namespace: int, *, mtu: int, queue_length: int) -> Request:
    """Create a pair, the near end here and the far end in the namespace open at the descriptor ``far_namespace``.

    The ends come up later: creating a pair with `IFF_UP` set is refused, since no end can be up before both exist.
    """
    peer = _LINK.pack(0, 0, far.index, 0, 0) + _end(far, mtu, queue_length) + u32(IFLA_NET_NS_FD, far_namespace)
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, peer)))
    body = _LINK.pack(0, 0, near.index, 0, 0) + _end(near, mtu, queue_length) + info
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"create the link {near.name} to {far.name}")


def _end(end: End, mtu: int, queue_length: int) -> bytes:
    # One queue: by default the kernel makes one per processor, each with its own memory and queueing discipline.
    queues = u32(IFLA_NUM_TX_QUEUES, 1) + u32(IFLA_NUM_RX_QUEUES, 1)
    named = text(IFLA_IFNAME, end.name) + attribute(IFLA_ADDRESS, end.address)
    return named + u32(IFLA_MTU, mtu) + u32(IFLA_TXQLEN, queue_length) + queues


def link_up(index: int) -> Request:
    """Bring an interface up."""
    return Request(RTM_NEWLINK, 0, _LINK.pack(0, 0, index, IFF_UP, IFF_UP), f"bring interface {index} up")


def segments_per_packet(index: int, most: int) -> Request:
    """Bound how many segments TCP hands down as one packet; 1 makes every packet a frame on the wire."""
    body = _LINK.pack(0, 0, index, 0, 0) + u32(IFLA_GSO_MAX_SEGS, most)
    return Request(RTM_NEWLINK, 0, body, f"set the segments per packet of interface {index} to {most}")


def add_address(index: int, address: str) -> Request:
    """Give an interface a /32 IPv4 address."""
    packed = socket.inet_aton(address)
    body = _ADDRESS.pack(socket.AF_INET, 32, 0, RT_SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, f"give interface {index} the address {address}")


def add_route(index: int, address: str | None, *, gateway: str | None = None) -> Request:
    """Route one address (None: everything) through an interface, to a gateway if one is named."""
    scope = RT_SCOPE_LINK if gateway is None else RT_SCOPE_UNIVERSE
    flags = 0 if gateway is None else RTNH_F_ONLINK  # the gateway's address lies in no subnet of the interface
    length = 0 if address is None else 32
    body = _ROUTE.pack(socket.AF_INET, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, flags)
    body += b"" if address is None else attribute(RTA_DST, socket.inet_aton(address))
    body += b"" if gateway is None else attribute(RTA_GATEWAY, socket.inet_aton(gateway))
    body += u32(RTA_OIF, index)
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body, f"route {address or 'everything'} through interface {index}")


def add_neighbour(index: int, address: str, hardware: bytes) -> Request:
    """Fix an address's hardware address for good: no ARP, and no share of the kernel's limited neighbour cache."""
    body = _NEIGHBOUR.pack(socket.AF_INET, index, NUD_PERMANENT, 0, RTN_UNICAST)
    body += attribute(NDA_DST, socket.inet_aton(address)) + attribute(NDA_LLADDR, hardware)
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, f"fix the neighbour {address} of interface {index}")
