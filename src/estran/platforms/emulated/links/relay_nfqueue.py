"""The delay engine for kernels without netem but with NFQUEUE: packets wait in the kernel, a process says when they may go.

The relay sees 40 bytes of each packet that the core namespace forwards and answers with a verdict at the departure that
`relay_core` computes; payloads are never copied and super-packets (GSO) stay whole. Should the relay die, packets stop:
traffic never passes unshaped. Message layouts: linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from estran.errors import EstranError
from estran.platforms.emulated.links import queue_rule, throwaway
from estran.platforms.emulated.links.engine import Trial
from estran.platforms.emulated.links.queue_rule import Hook, message
from estran.platforms.emulated.links.relay_core import Schedule, keyed, lines, pair_key, wire_size
from estran.platforms.emulated.links.relay_process import RelayProcess, relaying
from estran.platforms.emulated.network.namespace import enter
from estran.platforms.emulated.network.netlink import attribute

if TYPE_CHECKING:
    from estran.platforms.emulated.network.fabric import Fabric

_QUEUE: Final = 77
_SUBSYSTEM: Final = 3
_PACKET, _VERDICT, _CONFIG = _SUBSYSTEM << 8, _SUBSYSTEM << 8 | 1, _SUBSYSTEM << 8 | 2
_PAYLOAD, _WHOLE_LENGTH = 10, 13
_COPY_RANGE: Final = 40
_LONGEST_QUEUE: Final = 1 << 18
_BATCH: Final = 64
_SO_RCVBUFFORCE: Final = 33
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_DROP, _ACCEPT = (struct.pack(">I", code) for code in (0, 1))

LIMITS: Final = {"capacity": "all links together carry about 3 Gbit/s of full packets, or 40 000 small packets/s, per core"}


def _verdict(verdict: bytes) -> bytes:
    """A verdict message up to the packet's identifier, which follows as four bytes."""
    whole = message(_VERDICT, 0, 0, _QUEUE, attribute(2, verdict + b"\0\0\0\0"))
    return whole[:-4]


class QueueGate:
    """An NFQUEUE of the present namespace, with the rule that fills it."""

    def __init__(self, schedule: Schedule[bytes], hook: Hook = "forward") -> None:
        self.schedule, self._hook = schedule, hook
        self._buffer = bytearray(4096)
        self._payload_at = 0
        self._accept, self._drop = _verdict(_ACCEPT), _verdict(_DROP)
        self._refused = 0
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, queue_rule.NETLINK_NETFILTER)
        self.fileno = self._netlink.fileno
        try:
            self._bind()
            self.rule = queue_rule.add_rule(_QUEUE, hook)
        except (OSError, EstranError):
            self._netlink.close()
            raise

    def _bind(self) -> None:
        netlink = self._netlink
        netlink.bind((0, 0))
        netlink.settimeout(1.0)
        netlink.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        try:
            netlink.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        except PermissionError:
            netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self._configure(attribute(1, struct.pack(">BxH", 1, socket.AF_INET)))
        self._configure(attribute(2, struct.pack(">IB", _COPY_RANGE, 2)) + attribute(3, struct.pack(">I", _LONGEST_QUEUE)))
        # Flag 4 (GSO): without it the kernel would segment and checksum every super-packet before queueing it.
        self._configure(attribute(4, struct.pack(">I", 4)) + attribute(5, struct.pack(">I", 4)))
        netlink.setblocking(False)

    def _configure(self, attributes: bytes) -> None:
        self._netlink.send(message(_CONFIG, 4, 0, _QUEUE, attributes))
        (code,) = struct.unpack_from("=i", self._netlink.recv(4096), 16)
        if code:
            raise OSError(-code, f"the kernel refuses to bind a queue (errno {-code}); is nfnetlink_queue built in?")

    def next(self) -> float | None:
        """When the next packet leaves."""
        return self.schedule.next()

    def receive(self) -> None:
        """Take in up to a batch of queued packets; those that are lost get their verdict at once."""
        buffer, receive, clock, schedule = self._buffer, self._netlink.recv_into, time.monotonic, self.schedule
        dropped = []
        for _ in range(_BATCH):
            try:
                size = receive(buffer)
            except BlockingIOError:
                break
            if buffer[4] | buffer[5] << 8 != _PACKET:
                self._refused += 1  # an error message: the packet of a verdict is gone, with its device
                continue
            at = self._payload_at
            if not at or buffer[at - 2] != _PAYLOAD or at + _COPY_RANGE != size:
                at = self._payload_at = _find(buffer, size, _PAYLOAD)
            identifier = bytes(buffer[24:28])
            length = buffer[at + 2] << 8 | buffer[at + 3] or self._big_length(size)
            wire, frames = wire_size(buffer[at : at + _COPY_RANGE], length)
            if not schedule.offer(clock(), bytes(buffer[at + 12 : at + 20]), wire, frames, identifier):
                dropped.append(self._drop + identifier)
        if dropped:
            self._netlink.send(b"".join(dropped))

    def _big_length(self, size: int) -> int:
        """The length of a packet above 64 KiB, whose header says 0."""
        at = _find(self._buffer, size, _WHOLE_LENGTH)
        return int.from_bytes(self._buffer[at : at + 4], "big")

    def release(self, now: float) -> bool:
        """Let go, in order, what is due."""
        accept = self._accept
        verdicts = [accept + identifier for identifier in self.schedule.due(now)]
        # One send for up to 1000 verdicts: more would not fit the socket's send buffer.
        for start in range(0, len(verdicts), 1000):
            self._netlink.send(b"".join(verdicts[start : start + 1000]))
        return bool(verdicts)

    def close(self) -> None:
        """Unbind the queue and remove the rule."""
        self._netlink.close()
        queue_rule.remove_rule(self.rule, _QUEUE, self._hook)

    def facts(self) -> dict[str, Any]:
        """How the queue is filled, and what went through it unasked."""
        return {"rule": self.rule, "undeclared": self.schedule.undeclared, "refused_verdicts": self._refused}


def _find(buffer: bytearray, size: int, wanted: int) -> int:
    """Where an attribute's content starts."""
    at = 20
    while at + 4 <= size:
        length, kind = struct.unpack_from("=HH", buffer, at)
        if kind == wanted:
            return at + 4
        at += max(4, (length + 3) & ~3)
    raise OSError(f"a queued packet came without attribute {wanted}")


def _echo() -> str:
    """Send one datagram through a queue of the present (throw-away) namespace."""
    schedule: Schedule[bytes] = Schedule({})
    gate = QueueGate(schedule, "output")
    try:
        with throwaway.datagrams("127.0.0.1") as (sender, receiver):
            sender.send(b"through the queue")
            deadline = time.monotonic() + 0.1
            while time.monotonic() < deadline:
                gate.receive()
                if gate.release(time.monotonic()):
                    return f"a packet came through a queue filled by {gate.rule}" if receiver.recv(64) else ""
        raise OSError("a packet sent through the queue never came to the relay")
    finally:
        gate.close()


class NfqueueEngine:
    """Delay, jitter, loss and rate by verdicts on queued packets.

    Parameters
    ----------
    seed
        Of the jitter and losses of every link.
    """

    name = "nfqueue"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def trial(self) -> Trial:
        """Queue, delay and receive one packet in a throw-away namespace."""
        return throwaway.trial(_echo, LIMITS, queue_rule.REMEDY)

    @contextmanager
    def start(self, fabric: Fabric) -> Iterator[RelayProcess]:
        """Shape ``fabric.links`` until the context is left.

        Raises
        ------
        PlatformError
            If the kernel has no queue, or no rule to fill it.
        """
        all_lines = lines(fabric.links, self.seed)
        by_address = keyed(fabric.links, {name: host.address for name, host in fabric.hosts.items()}, all_lines)
        core = fabric.core_fd

        def gate() -> QueueGate:
            enter(core)
            return QueueGate(Schedule(by_address))

        with relaying(self.name, gate, all_lines, fabric.change, LIMITS, pair_key(fabric), keep=(core,)) as process:
            yield process
