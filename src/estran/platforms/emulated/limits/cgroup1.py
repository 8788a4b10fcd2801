"""CPU and memory limits by cgroup v1, whose controllers may be mounted together or apart."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from estran.errors import PlatformError
from estran.platforms.emulated.limits.cgroup import (
    FOLDER,
    claim,
    counters,
    lower,
    members,
    memberships,
    mounts,
    own_group,
    remove_tree,
)
from estran.platforms.emulated.limits.limiter import Usage

NEEDED: Final[tuple[str, ...]] = ("cpu", "cpuacct", "memory")


class Tree1:
    """A run's groups in the v1 hierarchies, below the groups that this process is in (so no limit set on it is escaped).

    A service is put below the cap only with its own processes: in a v1 cpu group the kernel refuses ``SCHED_FIFO``, so
    what needs it (the relay) stays outside.
    """

    name = "cgroup1"
    nested = True

    def __init__(self, run: str) -> None:
        own = memberships()
        homes: dict[str, Path] = {
            controller: own_group(mount, own[controller])
            for mount in mounts()
            if not mount.v2
            for controller in NEEDED
            if controller in mount.controllers and controller in own
        }
        self._roots = {controller: home / FOLDER / run for controller, home in homes.items()}
        # Controllers mounted together share folders; each is made, joined and removed once.
        self._folders = list(dict.fromkeys(self._roots.values()))
        self._claims: list[int] = []
        self._io_books: dict[str, IoBook] = {}

    def missing(self) -> str | None:
        absent = [controller for controller in NEEDED if controller not in self._roots]
        if absent:
            return f"no cgroup v1 hierarchy with {', '.join(absent)} is mounted"
        for root in self._folders:
            home = root.parent.parent
            if not os.access(home, os.W_OK):
                return f"{home} is not writable for this user"
        return None

    def limits(self) -> dict[str, str]:
        return {"io": "read from the processes: what one reads or writes after the last look at it is not accounted"}

    def make(self, path: str) -> None:
        try:
            for root in self._folders:
                if not root.exists():
                    root.mkdir(parents=True)
                    self._claims.append(claim(root))
                (root / path).mkdir()
            hierarchy = self._file("memory", path, "memory.use_hierarchy")
            if hierarchy.exists() and hierarchy.read_text().strip() == "0":
                hierarchy.write_text("1")  # kernels before 5.11 limit each group alone unless told
        except OSError as error:
            raise PlatformError(f"a group could not be made: {error.strerror}", where=error.filename) from error

    def cap(self, path: str, quota: int, period: int) -> None:
        quota_file, period_file = (self._file("cpu", path, name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        before, period_before = int(quota_file.read_text()), int(period_file.read_text())
        # The kernel checks each write alone against parent and children. On the way a service may only be lower than its
        # aim, and a host only higher.
        by_period, by_quota = before / period, quota / period_before
        period_first = before < 0 or (by_period <= by_quota if "/" in path else by_period >= by_quota)
        writes = [(period_file, period), (quota_file, quota)]
        try:
            for file, value in writes if period_first else reversed(writes):
                file.write_text(str(value))
        except OSError as error:
            raise PlatformError(f"the kernel refused {quota} µs in {period} µs: {error.strerror}", where=str(quota_file)) from error

    def lower(self, path: str) -> None:
        lower(self._file("cpu", path, "cpu.idle"), self._file("cpu", path, "cpu.shares"), "2")

    def limit_memory(self, path: str, size: int) -> None:
        try:
            self._file("memory", path, "memory.limit_in_bytes").write_text(str(size))
            swap = self._file("memory", path, "memory.memsw.limit_in_bytes")
            if swap.exists():
                swap.write_text(str(size))
        except OSError as error:
            raise PlatformError(f"the kernel refused a memory limit of {size} bytes: {error.strerror}", where=path) from error

    def join(self, path: str, pid: int) -> None:
        for root in self._folders:
            try:
                (root / path / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                cause = "it has ended" if error.errno == errno.ESRCH else error.strerror
                raise PlatformError(f"process {pid} could not be put below its limits: {cause}", where=str(root / path)) from error

    def usage(self, path: str) -> Usage:
        stat = counters(self._file("cpu", path, "cpu.stat"))
        read, written = self._io(path)
        return Usage(
            cpu=self._number("cpuacct", path, "cpuacct.usage") * 1e-9,
            memory=self._number("memory", path, "memory.usage_in_bytes"),
            peak=self._number("memory", path, "memory.max_usage_in_bytes"),
            throttled=stat["throttled_time"] * 1e-9,
            read=read,
            written=written,
            periods=stat["nr_periods"],
            held=stat["nr_throttled"],
        )

    def oom_kills(self, path: str) -> int:
        # v1 counts a kill in the victim's own group only.
        top = self._roots["memory"] / path
        controls = (Path(folder) / "memory.oom_control" for folder, _, _ in os.walk(top))
        return sum(counters(control).get("oom_kill", 0) for control in controls)

    def remove(self, path: str) -> None:
        for root in self._folders:
            remove_tree(root / path if path else root)
        if not path:
            while self._claims:
                os.close(self._claims.pop())

    def folders(self, path: str) -> tuple[Path, ...]:
        return tuple(root / path for root in self._folders)

    def _file(self, controller: str, path: str, name: str) -> Path:
        return self._roots[controller] / path / name

    def _number(self, controller: str, path: str, name: str) -> int:
        return int(self._file(controller, path, name).read_text())

    def _io(self, path: str) -> tuple[int, int]:
        # Not from the blkio controller: it does not attribute buffered writes, and counts nothing on recent kernels.
        top = str(self._roots["cpuacct"] / path)
        for folder, _, _ in os.walk(top):
            self._io_books.setdefault(folder, IoBook()).look(members(Path(folder)))
        sums = [book.sums() for folder, book in self._io_books.items() if f"{folder}/".startswith(f"{top}/")]
        return sum(read for read, _ in sums), sum(written for _, written in sums)


class IoBook:
    """Bytes that the processes of one group have moved; only the sum of those that have ended, since a shell's loop starts many."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[int, int]] = {}
        self._ended = (0, 0)

    def look(self, pids: Sequence[int]) -> None:
        """Read what the processes have moved that are in the group now."""
        here = set(pids)
        for pid in [pid for pid in self.running if pid not in here]:
            read, written = self.running.pop(pid)
            self._ended = self._ended[0] + read, self._ended[1] + written
        self.running.update({pid: moved for pid in pids if (moved := _moved(pid)) is not None})

    def sums(self) -> tuple[int, int]:
        """Bytes read and written, of all that have ever been seen."""
        read, written = (sum(moved[way] for moved in self.running.values()) + self._ended[way] for way in (0, 1))
        return read, written


def _moved(pid: int) -> tuple[int, int] | None:
    """Bytes that a process has read from and written to block devices, or None if it is gone or not ours to see."""
    try:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except OSError:
        return None
    return int(fields["read_bytes"]), int(fields["write_bytes"])
