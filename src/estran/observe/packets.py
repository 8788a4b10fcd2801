"""Sees the TCP packets that cross a host's interfaces: a ring in memory that the kernel fills with their headers.

Only headers are copied, packets that carry neither data nor the beginning or end of a connection are passed over in the kernel, and
a reading takes all that came since the last one at once. Times are the kernel's own, so it does not matter when one reads.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
import time
from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

FIN: Final = 1
SYN: Final = 2
RST: Final = 4
ACK: Final = 16

FRAMES: Final = 4096
"""Packets that the ring holds: at 50 ms from reading to reading, 80,000 a second."""

_FRAME: Final = 128
_HEADERS: Final = 80  # where a frame's packet begins: after the kernel's 32 bytes, a link address of 20, and 16 of room, aligned
_SNAP: Final = _FRAME - _HEADERS
_SOL_PACKET: Final = 263
_RX_RING, _STATISTICS, _VERSION = 5, 6, 10
_SO_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 3  # only sockets that take all protocols see what goes out
_ETH_P_IP: Final = 0x0800
_READY: Final = 1
_FEW: Final = 64  # frames that are looked at first: each is in another line of the processor's cache

_LAYOUT: Final = np.dtype(
    {
        "names": ["status", "whole", "start", "seconds", "nanoseconds", "ip", "length", "source", "target",
                  "source_port", "target_port", "sequence", "acknowledged", "offset", "flags"],
        "formats": ["<u4", "<u4", "<u2", "<u4", "<u4", "u1", ">u2", ">u4", ">u4", ">u2", ">u2", ">u4", ">u4", "u1", "u1"],
        "offsets": [0, 4, 14, 16, 20, 80, 82, 92, 96, 100, 102, 104, 108, 112, 113],
        "itemsize": _FRAME,
    }
)  # fmt: skip

Records: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.void]]"
Instruction: TypeAlias = tuple[int, int, int, int]


class Packet(NamedTuple):
    """A TCP packet's headers; addresses are numbers, ``size`` the bytes of data, ``time`` seconds of the run's clock."""

    time: float
    source: int
    source_port: int
    target: int
    target_port: int
    sequence: int
    acknowledged: int
    flags: int
    size: int


class Capture:
    """A packet socket of this process's network namespace, over all its interfaces.

    Parameters
    ----------
    passed_over
        TCP ports whose packets are none of ours, whichever side they are of.
    loopback
        Number of the loopback interface; what leaves by it comes back, and is seen once.

    Raises
    ------
    OSError
        If the kernel refuses: without the right to raw sockets, or without packet sockets.
    """

    def __init__(self, passed_over: Collection[int] = (), loopback: int = 1) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(_ETH_P_ALL))
        try:
            self._socket.setsockopt(_SOL_PACKET, _VERSION, 1)
            self._attach(port_filter(passed_over, loopback))
            block = 1 << 16
            ring = struct.pack("IIII", block, FRAMES * _FRAME // block, _FRAME, FRAMES)
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, ring)
            self._memory = mmap.mmap(self._socket.fileno(), FRAMES * _FRAME, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError:
            self._socket.close()
            raise
        self._frames: Records = np.frombuffer(self._memory, dtype=_LAYOUT)
        self._status = self._frames["status"]
        self._next = 0
        self._socket.setblocking(False)
        self.lost = 0
        """Packets that came while the ring was full."""

    def _attach(self, program: list[Instruction]) -> None:
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
        head = struct.pack("HL", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)

    def fileno(self) -> int:
        """Readable when packets wait."""
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether packets wait."""
        return bool(self._status[self._next] & _READY)

    def read(self, now: float) -> list[Packet]:
        """All packets since the last reading, in order of arrival.

        Parameters
        ----------
        now
            The run's clock, at this moment.
        """
        # The kernel stamps packets by the wall clock. Only its distance from the run's clock at this moment is used.
        shift = now - time.time()
        found: list[Packet] = []
        while (count := self._waiting()) > 0:
            some = self._frames[self._next : self._next + count]
            found += _packets(some.copy(), shift)
            some["status"] = 0  # back to the kernel
            self._next = (self._next + count) % FRAMES
        _, lost = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)) if found else (0, 0)
        self.lost += lost
        return found

    def _waiting(self) -> int:
        """Filled frames from here to the end of the ring, or as many of them as are worth reading at once."""
        for most in (_FEW, FRAMES):
            ready = self._status[self._next : self._next + most] & _READY
            if not ready.all():
                return int(ready.argmin())
        return len(ready)

    def close(self) -> None:
        """Give the ring back."""
        del self._frames, self._status  # the mapping cannot go while an array looks into it
        self._memory.close()
        self._socket.close()


def _packets(records: Records, shift: float) -> Iterable[Packet]:
    times = records["seconds"].astype(np.float64) + shift + records["nanoseconds"] * 1e-9
    # A packet above 64 KiB has no length in its header; the kernel knows it.
    length = np.where(records["length"] > 0, records["length"].astype(np.int64), records["whole"].astype(np.int64))
    size = length - 4 * (records["ip"] & 15).astype(np.int64) - 4 * (records["offset"] >> 4).astype(np.int64)
    columns: list[Any] = [records[name].tolist() for name in Packet._fields[1:-1]]
    return map(Packet._make, zip(times.tolist(), *columns, size.tolist(), strict=True))


def port_filter(passed_over: Collection[int], loopback: int = 1) -> list[Instruction]:
    """A classic BPF program, see `Capture`: IPv4, TCP, first fragments, with data or SYN, FIN or RST, ports not passed over."""
    load_half, load_byte, load_word = 0x28, 0x30, 0x20
    ancillary = 0xFFFFF000
    drop: Instruction = (0x06, 0, 0, 0)
    program: list[Instruction] = [
        (load_half, 0, 0, ancillary), (0x15, 1, 0, _ETH_P_IP), drop,
        (load_word, 0, 0, ancillary + 8), (0x15, 0, 3, loopback),  # not loopback: on
        (load_word, 0, 0, ancillary + 4), (0x15, 0, 1, 4), drop,  # it is, on its way out: seen again as it comes in
        (load_byte, 0, 0, 9), (0x15, 1, 0, 6), drop,  # TCP
        (load_half, 0, 0, 6), (0x45, 0, 1, 0x1FFF), drop,  # no later fragment
        (0xB1, 0, 0, 0),  # X: length of the IP header
    ]  # fmt: skip
    for first, last in _runs(passed_over):
        for side in (0, 2):
            program += [(0x48, 0, 0, side), (0x35, 0, 2, first), (0x25, 1, 0, last), drop]
    return [
        *program,
        (0x50, 0, 0, 13), (0x45, 7, 0, SYN | FIN | RST),  # they count without data
        (0x50, 0, 0, 12), (0x74, 0, 0, 4), (0x64, 0, 0, 2), (0x0C, 0, 0, 0), (0x07, 0, 0, 0),  # X: length of both headers
        (load_half, 0, 0, 2), (0x1D, 1, 0, 0),  # nothing but headers
        (0x06, 0, 0, _SNAP), drop,
    ]  # fmt: skip


def _runs(ports: Collection[int]) -> list[tuple[int, int]]:
    """Ports as runs without gaps, so that the filter stays short."""
    runs: list[tuple[int, int]] = []
    for port in sorted(set(ports)):
        if runs and port == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], port)
        else:
            runs.append((port, port))
    return runs
