"""Kernel counters of one host: cgroup v1 or v2 files, processes, and the network namespace's interfaces.

Files stay open and are read again with one ``pread`` each, so that a sample costs microseconds. What a source yields are
pairs of metric and value: ``cpu_seconds``, ``rx_bytes``, ``tx_bytes``, ``read_bytes``, ``write_bytes`` (cumulative), ``memory`` and
``memory_peak`` (bytes).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Protocol

from estran.errors import EstranError

Value = tuple[str, float]

_BUFFER: Final = 65536
_TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Source(Protocol):
    """Something that can be read again and again."""

    def read(self) -> Iterator[Value]:
        """Read all counters once."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


def _one(metric: str, scale: float = 1.0) -> Callable[[bytes], Iterator[Value]]:
    def parse(text: bytes) -> Iterator[Value]:
        yield metric, int(text) * scale

    return parse


def _cpu_stat(text: bytes) -> Iterator[Value]:
    for line in text.splitlines():
        if line.startswith(b"usage_usec "):
            yield "cpu_seconds", int(line[11:]) * 1e-6
            return


def _io_stat(text: bytes) -> Iterator[Value]:
    totals = {b"rbytes": 0, b"wbytes": 0}
    for field in text.split():
        key, _, value = field.partition(b"=")
        if key in totals:
            totals[key] += int(value)
    yield "read_bytes", float(totals[b"rbytes"])
    yield "write_bytes", float(totals[b"wbytes"])


def _blkio(text: bytes) -> Iterator[Value]:
    totals = {b"Read": 0, b"Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in totals:
            totals[words[1]] += int(words[2])
    yield "read_bytes", float(totals[b"Read"])
    yield "write_bytes", float(totals[b"Write"])


CGROUP_FILES: Final[Mapping[str, Callable[[bytes], Iterator[Value]]]] = {
    "cpu.stat": _cpu_stat,
    "cpuacct.usage": _one("cpu_seconds", 1e-9),
    "memory.current": _one("memory"),
    "memory.peak": _one("memory_peak"),
    "memory.usage_in_bytes": _one("memory"),
    "memory.max_usage_in_bytes": _one("memory_peak"),
    "io.stat": _io_stat,
    "blkio.throttle.io_service_bytes_recursive": _blkio,
}
"""What is read of a cgroup's folder, of either version. A v1 ``cpu.stat`` has no ``usage_usec`` and yields nothing."""


class CgroupCounters:
    """Counters of the groups that a host's services are in.

    Parameters
    ----------
    folders
        One folder with cgroup v2; one for each of cpuacct, memory and blkio with v1 (in any order, the same one twice is fine).

    Raises
    ------
    EstranError
        If no folder has a counter of processor time.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        found = {name: Path(folder) / name for folder in folders for name in CGROUP_FILES if (Path(folder) / name).exists()}
        if not ({"cpuacct.usage", "cpu.stat"} & set(found)):
            raise EstranError(
                "no processor time is accounted in these control groups",
                where=", ".join(folders),
                remedy="give the group's folder of cgroup v2, or its cpuacct folder of v1",
            )
        self._files = [(os.open(path, os.O_RDONLY | os.O_CLOEXEC), CGROUP_FILES[name]) for name, path in found.items()]

    def read(self) -> Iterator[Value]:
        """Read all counters once."""
        for fd, parse in self._files:
            yield from parse(os.pread(fd, _BUFFER, 0))

    def close(self) -> None:
        """Close the files."""
        for fd, _ in self._files:
            os.close(fd)
        self._files = []


class ProcessCounters:
    """Sums over processes, where there are no control groups. Memory is the sum of resident sets: shared pages count again.

    Parameters
    ----------
    pids
        The processes, or none for those that are found at every reading.
    find
        Finds them; by default all descendants of this process.
    """

    def __init__(self, pids: Sequence[int] = (), find: Callable[[], Sequence[int]] = lambda: descendants(os.getpid())) -> None:
        self._pids = tuple(pids)
        self._find = find
        self._open: dict[int, tuple[int, ...]] = {}
        self._last: dict[int, tuple[float, float, float]] = {}
        self._ended = [0.0, 0.0, 0.0]
        self._peak = 0.0

    def read(self) -> Iterator[Value]:
        """Read all counters once; what ended processes had used stays in the sums."""
        memory = 0.0
        pids = self._pids or self._find()
        for pid in self._open.keys() - set(pids):
            self._forget(pid)
        for pid in pids:
            with suppress(OSError):  # it has just ended
                memory += self._read(pid)
        for pid in [pid for pid in self._last if pid not in self._open]:
            self._ended = [total + part for total, part in zip(self._ended, self._last.pop(pid), strict=True)]
        self._peak = max(self._peak, memory)
        totals = [ended + sum(parts) for ended, parts in zip(self._ended, zip(*self._last.values(), strict=True), strict=False)]
        yield from zip(("cpu_seconds", "read_bytes", "write_bytes"), totals or self._ended, strict=True)
        yield "memory", memory
        yield "memory_peak", self._peak

    def _read(self, pid: int) -> float:
        if pid not in self._open:
            self._open[pid] = _open_all(pid)
        stat, statm, io = self._open[pid]
        try:
            fields = os.pread(stat, 4096, 0).rpartition(b")")[2].split()
            pages = int(os.pread(statm, 256, 0).split()[1])
            lines = dict(line.split(b": ") for line in os.pread(io, 1024, 0).splitlines())
            cpu = (int(fields[11]) + int(fields[12])) * _TICK
            blocks = float(lines[b"read_bytes"]), float(lines[b"write_bytes"])
        except (OSError, IndexError, KeyError, ValueError):  # it is ending: files of it that can still be read are empty or cut
            self._forget(pid)
            return 0.0
        self._last[pid] = (cpu, *blocks)
        return float(pages * _PAGE)

    def _forget(self, pid: int) -> None:
        for fd in self._open.pop(pid):
            os.close(fd)

    def close(self) -> None:
        """Close the files."""
        for pid in list(self._open):
            self._forget(pid)


class NetworkCounters:
    """Bytes over all interfaces but loopback, of the network namespace that this process is in when it is made; since then."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        self._before = self._counted()

    def read(self) -> Iterator[Value]:
        """Read all counters once."""
        received, sent = self._counted()
        yield "rx_bytes", float(received - self._before[0])
        yield "tx_bytes", float(sent - self._before[1])

    def _counted(self) -> tuple[int, int]:
        received = sent = 0
        for line in os.pread(self._fd, _BUFFER, 0).splitlines()[2:]:
            name, _, fields = line.partition(b":")
            if name.strip() != b"lo":
                words = fields.split()
                received, sent = received + int(words[0]), sent + int(words[8])
        return received, sent

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _open_all(pid: int) -> tuple[int, ...]:
    with ExitStack() as opened:
        fds = []
        for name in ("stat", "statm", "io"):
            fds.append(os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC))
            opened.callback(os.close, fds[-1])
        opened.pop_all()
    return tuple(fds)


def descendants(pid: int) -> list[int]:
    """Processes below one, as far as they can be seen."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        own = children(waiting.pop())
        found += own
        waiting += own
    return found


def children(pid: int) -> list[int]:
    """Processes that one has started, as far as they can be seen."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
