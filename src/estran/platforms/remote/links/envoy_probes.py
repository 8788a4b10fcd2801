"""The two ends of probes between hosts, in their envoys: datagrams that say when they were sent, and are stamped on arrival.

Times are nanoseconds of each host's own monotonic clock.
"""

# Runs where neither Estran nor a new Python is, see `estran.platforms.remote.envoy`.
from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from typing import Any

RECORD = struct.Struct("=IqBxH")  # token, when it was sent, phase, bytes of the IP packet
PHASES = ("delay", "loss", "rate")
HEADERS = 28
TIMESTAMPS, SEGMENT, BUFFER_BY_FORCE = 35, 103, 33
BUFFER = 8 << 20

sockets: dict[int, socket.socket] = {}
lock = threading.Lock()


def listen(envoy: Any, data: bytes, count: int, first: int) -> list[int]:
    """Open sockets that hear probes, and say their ports: ``first`` and those after it, or any if that is 0."""
    ports = []
    for number in range(count):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        try:
            receiver.setsockopt(socket.SOL_SOCKET, BUFFER_BY_FORCE, BUFFER)
        except PermissionError:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        receiver.setblocking(False)
        receiver.bind(("0.0.0.0", first and first + number))  # noqa: S104 - who else sends there is told by the token
        ports.append(receiver.getsockname()[1])
        with lock:
            sockets[ports[-1]] = receiver
    return ports


class Heard:
    """What came to one socket."""

    def __init__(self, receiver: socket.socket, token: int, expected: int) -> None:
        self.receiver = receiver
        self.token = token
        self.missing = expected
        self.received = [0, 0, 0]
        self.delays: list[int] = []
        self.arrivals: list[tuple[int, int]] = []

    def take(self, ahead: int) -> None:
        """Take in all that is there; the kernel's stamps are wall-clock time, ``ahead`` of the monotonic clock."""
        while True:
            try:
                content, ancillary, _, _ = self.receiver.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if len(content) < RECORD.size:
                continue
            token, sent, phase, size = RECORD.unpack_from(content)
            if token != self.token:
                continue
            came = stamp(ancillary) - ahead
            self.missing -= 1
            self.received[phase] += 1
            if phase == 0:
                self.delays.append(came - sent)
            elif phase == 2:
                self.arrivals.append((came, size))

    def told(self) -> dict[str, Any]:
        """As JSON can say it."""
        return {"received": self.received, "delays": self.delays, "arrivals": self.arrivals}


def stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When the kernel took a datagram in, or now if it does not say."""
    for _, kind, value in ancillary:
        if kind == TIMESTAMPS:
            seconds, nanoseconds = struct.unpack("=qq" if len(value) == 16 else "=ll", value)
            return int(seconds * 1000000000 + nanoseconds)
    return time.time_ns()


class Volley:
    """What is to be sent to one target."""

    def __init__(self, to: list[Any], token: int, shots: list[list[Any]], segments: int) -> None:
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.setblocking(False)
        self.token = token
        self.shots = shots
        try:
            self.sender.connect((to[0], to[1]))
        except OSError:  # no way there, so nothing will come
            self.shots = []
        self.segments = segments
        self.next = 0
        self.sent = [0, 0, 0]
        self.departures: list[tuple[int, int, int]] = []

    def due(self, since: float) -> float | None:
        """Send what is due by now, and say when the next is; None after the last."""
        while self.next < len(self.shots) and self.shots[self.next][0] <= since:
            first = self.next
            while (
                self.next < len(self.shots)
                and self.next - first < self.segments
                and self.shots[self.next][0] <= since
                and self.shots[self.next][1:] == self.shots[first][1:]
            ):
                self.next += 1
            self.send(self.shots[first][1], self.shots[first][2], self.next - first)
        return self.shots[self.next][0] if self.next < len(self.shots) else None

    def send(self, phase: int, size: int, count: int) -> None:
        """Send some packets of one kind, at once where the kernel can cut them apart."""
        payload = size - HEADERS
        if count > 1 and not self.cut(payload):
            self.segments = 1
        now = time.monotonic_ns()
        record = RECORD.pack(self.token, now, phase, size).ljust(payload, b"\0")
        self.sent[phase] += count
        if phase == 2:
            self.departures.append((now, size, count))
        for _ in range(count if self.segments == 1 else 1):
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                self.sender.send(record if self.segments == 1 else record * count)

    def cut(self, payload: int) -> bool:
        """Whether the kernel cuts what is sent at once into packets of this size."""
        try:
            self.sender.setsockopt(socket.IPPROTO_UDP, SEGMENT, payload)
        except OSError:
            return False
        return True


def fire(
    envoy: Any, data: bytes, token: int, volleys: list[dict[str, Any]], hears: dict[str, int], seconds: float
) -> dict[str, Any]:
    """Send everything at its time and take in what comes, until all has come or time is over; the sockets are closed then.

    Parameters
    ----------
    hears
        Packets to expect, by port.
    """
    with contextlib.ExitStack() as resources:
        sending = [Volley(volley["to"], token, volley["shots"], volley["segments"]) for volley in volleys]
        heard = {}
        for port, expected in hears.items():
            with lock:
                receiver = sockets.pop(int(port))
            heard[port] = Heard(resources.enter_context(receiver), token, expected)
        for volley in sending:
            resources.enter_context(volley.sender)
        arrivals = resources.enter_context(contextlib.closing(select.epoll()))
        by_number = {hearing.receiver.fileno(): hearing for hearing in heard.values()}
        for number in by_number:
            arrivals.register(number, select.EPOLLIN)
        ahead = time.time_ns() - time.monotonic_ns()
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            dues = [due for due in (volley.due(time.monotonic() - start) for volley in sending) if due is not None]
            if not dues and all(hearing.missing <= 0 for hearing in heard.values()):
                break
            wait = min(dues + [seconds]) - (time.monotonic() - start)
            for number, _ in arrivals.poll(max(0.0, min(wait, 0.5))):
                by_number[number].take(ahead)
        return {
            "sent": [{"sent": volley.sent, "departures": volley.departures} for volley in sending],
            "heard": {port: hearing.told() for port, hearing in heard.items()},
        }
