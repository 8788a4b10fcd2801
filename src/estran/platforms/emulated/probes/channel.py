"""A probe's two sockets at the ends of one direction of a link: datagrams between namespaces, else a stream over loopback."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from estran.platforms.emulated.links.relay_core import FULL_FRAME, MSS, stream_wire_size
from estran.platforms.emulated.network.loopback_fabric import PROBE_PORT
from estran.platforms.emulated.network.namespace import entered
from estran.platforms.emulated.probes.plan import SMALL, UDP_HEADERS, Phase, Shot, wire
from estran.platforms.emulated.probes.verdict import Samples

if TYPE_CHECKING:
    from estran.platforms.emulated.network.fabric import Fabric

PHASES: Final[tuple[Phase, ...]] = ("delay", "loss", "rate")

_RECORD: Final = struct.Struct("=dBxH")  # when it was sent, phase, bytes of the whole record
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS, _UDP_SEGMENT = 33, 35, 103
_TIMESPEC: Final = struct.Struct("=qq")
_ANCILLARY: Final = socket.CMSG_SPACE(_TIMESPEC.size)
_RECEIVE_BUFFER: Final = 8 << 20
_STREAM_READ: Final = 1 << 18


class Channel(Protocol):
    """One direction under test."""

    samples: Samples
    lossless: bool
    frame: int

    def fileno(self) -> int:
        """The receiving end."""
        ...

    def send(self, shots: Sequence[Shot]) -> None:
        """Send packets of one phase and size, now."""
        ...

    def receive(self) -> None:
        """Take in all that has come."""
        ...

    def close(self) -> None:
        """Close both ends."""
        ...


class DatagramChannel:
    """UDP from namespace to namespace, with arrivals stamped by the kernel: the probe's own load does not count."""

    lossless = False
    frame = wire(SMALL)

    def __init__(self, fabric: Fabric, source: str, target: str, segments: int) -> None:
        self.samples = Samples()
        self._segments = segments
        with entered(fabric.hosts[target].namespace_fd):
            self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with entered(fabric.hosts[source].namespace_fd):
            self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            self._receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:
            self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._receiver.setblocking(False)
        self._receiver.bind((fabric.address(source, target), 0))
        self._sender.connect(self._receiver.getsockname())
        # The kernel stamps arrivals in wall-clock time; this is how far that is ahead of the monotonic clock.
        self._ahead = time.time() - time.monotonic()

    def fileno(self) -> int:
        """Give the receiver's descriptor."""
        return self._receiver.fileno()

    def send(self, shots: Sequence[Shot]) -> None:
        """Send datagrams; several at once as segments of one where the link is fast."""
        phase, payload = shots[0].phase, shots[0].size - UDP_HEADERS
        if self._segments > 1:
            self._sender.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, payload)
        for batch in _batched(shots, self._segments):
            now = time.monotonic()
            record = _RECORD.pack(now, PHASES.index(phase), payload).ljust(payload, b"\0")
            if phase == "rate":
                self.samples.departures.append((now, wire(shots[0].size) * len(batch)))
            self.samples.sent[phase] = self.samples.sent.get(phase, 0) + len(batch)
            with suppress(BlockingIOError, ConnectionRefusedError):
                self._sender.send(record * len(batch))

    def receive(self) -> None:
        """Take in all datagrams that have come."""
        receive, samples = self._receiver.recvmsg, self.samples
        while True:
            try:
                content, ancillary, _, _ = receive(2048, _ANCILLARY)
            except BlockingIOError:
                return
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            sent, number, payload = _RECORD.unpack_from(content)
            take(samples, PHASES[number], sent, seconds + nanoseconds * 1e-9 - self._ahead, wire(payload + UDP_HEADERS))

    def close(self) -> None:
        """Close both ends."""
        self._receiver.close()
        self._sender.close()


def _batched(shots: Sequence[Shot], size: int) -> list[Sequence[Shot]]:
    return [shots[start : start + size] for start in range(0, len(shots), size)]


def take(samples: Samples, phase: Phase, sent: float, came: float, size: int) -> None:
    """Count one packet."""
    samples.received[phase] = samples.received.get(phase, 0) + 1
    if phase == "delay":
        samples.delays.append(came - sent)
    elif phase == "rate":
        samples.arrivals.append((came, size))


def _share_of_stream(size: int) -> int:
    """Bytes on the wire for a record amid a stream of full segments."""
    return round(size * FULL_FRAME / MSS)


class StreamChannel:
    """TCP through the loopback relay: nothing can be lost, and arrivals are when this process reads them."""

    lossless = True
    frame = stream_wire_size(SMALL)[0]

    def __init__(self, fabric: Fabric, source: str, target: str) -> None:
        self.samples = Samples()
        self._unsent, self._heard = bytearray(), bytearray()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((fabric.address(target, target), PROBE_PORT))
            listener.listen(1)
            listener.settimeout(2.0 + 10 * fabric.links[source, target].delay)
            self._sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._sender.settimeout(2.0)
            self._sender.connect((fabric.address(source, target), PROBE_PORT))
            self._receiver, _ = listener.accept()
        for end in (self._sender, self._receiver):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setblocking(False)

    def fileno(self) -> int:
        """Give the receiver's descriptor."""
        return self._receiver.fileno()

    def send(self, shots: Sequence[Shot]) -> None:
        """Send records; what the stream does not take now goes first next time."""
        phase = shots[0].phase
        for shot in shots:
            # Records that fill a segment: what is more would be a frame of its own, with all its headers.
            now, size = time.monotonic(), min(shot.size, MSS)
            self._unsent += _RECORD.pack(now, PHASES.index(phase), size).ljust(size, b"\0")
            if phase == "rate":
                self.samples.departures.append((now, _share_of_stream(size)))
        self.samples.sent[phase] = self.samples.sent.get(phase, 0) + len(shots)
        with suppress(BlockingIOError):
            del self._unsent[: self._sender.send(self._unsent)]

    def receive(self) -> None:
        """Take in all whole records that have come."""
        with suppress(BlockingIOError):
            self._heard += self._receiver.recv(_STREAM_READ)
        came = time.monotonic()
        while len(self._heard) >= _RECORD.size:
            sent, number, size = _RECORD.unpack_from(self._heard)
            if len(self._heard) < size:
                break
            del self._heard[:size]
            take(self.samples, PHASES[number], sent, came, _share_of_stream(size))

    def close(self) -> None:
        """Close both ends."""
        self._sender.close()
        self._receiver.close()
