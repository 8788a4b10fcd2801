"""CPU and memory limits by cgroup v2, at the top of the hierarchy as root, or in a delegated group."""

from __future__ import annotations

import errno
import os
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

NEEDED: Final = ("cpu", "memory")
OPTIONAL: Final = ("io",)
DELEGATE: Final = "start it with `systemd-run --user --scope -p Delegate=yes estran …`"


class Tree2:
    """A run's groups in the v2 hierarchy.

    Processes live in the leaves only. Where the group to build in has processes itself (any but the true root may not, if
    it hands controllers to children), this process moves into a leaf of it first, and back in the end.
    """

    name = "cgroup2"
    nested = False

    def __init__(self, run: str) -> None:
        found = [mount for mount in mounts() if mount.v2]
        self._own = self._home = None if not found else own_group(found[0], memberships().get("", "/"))
        if found and not (found[0].path / "cgroup.events").exists() and os.access(found[0].path / "cgroup.procs", os.W_OK):
            self._home = found[0].path  # the true root, and it is ours
        self._run = run
        self._claim: int | None = None
        self._leaf: Path | None = None
        self._handed: list[str] = []

    @property
    def _root(self) -> Path:
        if self._home is None:
            raise PlatformError("no cgroup v2 hierarchy is mounted")
        return self._home / FOLDER / self._run

    def missing(self) -> str | None:
        if self._home is None:
            return "no cgroup v2 hierarchy is mounted"
        available = (self._home / "cgroup.controllers").read_text().split()
        absent = [controller for controller in NEEDED if controller not in available]
        if absent:
            return f"the controllers {', '.join(absent)} are not available in {self._home}; {DELEGATE}"
        if not os.access(self._home / "cgroup.subtree_control", os.W_OK):
            return f"{self._home} is not delegated to this user; {DELEGATE}"
        return None

    def limits(self) -> dict[str, str]:
        if self._home is not None and "io" not in (self._home / "cgroup.controllers").read_text().split():
            return {"io": "no io controller: block input and output are not accounted"}
        return {}

    def make(self, path: str) -> None:
        root = self._root
        try:
            if not root.exists():
                self._hand_down(root.parent.parent)
                root.mkdir(parents=True)
                self._claim = claim(root)
                for group in (root.parent, root):
                    self._enable(group)
            (root / path).mkdir()
            if "/" not in path:
                self._enable(root / path)
        except OSError as error:
            raise PlatformError(f"a group could not be made: {error.strerror}", where=str(root / path)) from error

    def _hand_down(self, home: Path) -> None:
        before = (home / "cgroup.subtree_control").read_text().split()
        try:
            self._enable(home)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            self._step_aside(home)
        self._handed = [c for c in (home / "cgroup.subtree_control").read_text().split() if c not in before]

    def _step_aside(self, home: Path) -> None:
        """Move this process into a leaf, as a group that hands controllers down may hold no process."""
        leaf = home / f"{FOLDER}-{os.getpid()}"
        leaf.mkdir()
        self._leaf = leaf
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        try:
            self._enable(home)
        except OSError as error:
            others = members(home)
            self._step_back()
            raise PlatformError(
                f"processes {others} are in the same group, which can therefore hand no controllers to children",
                where=str(home),
                remedy=DELEGATE,
            ) from error

    def _step_back(self) -> None:
        if self._leaf is not None and self._home is not None:
            for pid in members(self._leaf):
                (self._home / "cgroup.procs").write_text(str(pid))
            self._leaf.rmdir()
            self._leaf = None

    @staticmethod
    def _enable(group: Path) -> None:
        available = (group / "cgroup.controllers").read_text().split()
        wanted = [f"+{controller}" for controller in (*NEEDED, *OPTIONAL) if controller in available]
        (group / "cgroup.subtree_control").write_text(" ".join(wanted))

    def cap(self, path: str, quota: int, period: int) -> None:
        file = self._root / path / "cpu.max"
        try:
            file.write_text(f"{quota} {period}")
        except OSError as error:
            raise PlatformError(f"the kernel refused {quota} µs in {period} µs: {error.strerror}", where=str(file)) from error

    def lower(self, path: str) -> None:
        lower(self._root / path / "cpu.idle", self._root / path / "cpu.weight", "1")

    def limit_memory(self, path: str, size: int) -> None:
        group = self._root / path
        try:
            (group / "memory.max").write_text(str(size))
            if (group / "memory.swap.max").exists():
                (group / "memory.swap.max").write_text("0")
        except OSError as error:
            raise PlatformError(f"the kernel refused a memory limit of {size} bytes: {error.strerror}", where=path) from error

    def join(self, path: str, pid: int) -> None:
        file = self._root / path / "cgroup.procs"
        try:
            file.write_text(str(pid))
        except OSError as error:
            cause = "it has ended" if error.errno == errno.ESRCH else error.strerror
            raise PlatformError(f"process {pid} could not be put below its limits: {cause}", where=str(file)) from error

    def usage(self, path: str) -> Usage:
        group = self._root / path
        stat = counters(group / "cpu.stat")
        read, written = self._io(group / "io.stat")
        memory = int((group / "memory.current").read_text())
        # memory.peak came with Linux 5.19; before that the highest reading is not known to the kernel.
        peak = int((group / "memory.peak").read_text()) if (group / "memory.peak").exists() else memory
        return Usage(
            cpu=stat["usage_usec"] * 1e-6,
            memory=memory,
            peak=peak,
            throttled=stat["throttled_usec"] * 1e-6,
            read=read,
            written=written,
            periods=stat["nr_periods"],
            held=stat["nr_throttled"],
        )

    @staticmethod
    def _io(file: Path) -> tuple[int, int]:
        if not file.exists():
            return 0, 0
        fields = [field.partition("=") for field in file.read_text().split() if "=" in field]
        return tuple(sum(int(value) for key, _, value in fields if key == name) for name in ("rbytes", "wbytes"))  # type: ignore[return-value]

    def oom_kills(self, path: str) -> int:
        return counters(self._root / path / "memory.events").get("oom_kill", 0)

    def remove(self, path: str) -> None:
        if self._home is None:
            return
        remove_tree(self._root / path if path else self._root)
        if not path:
            if self._claim is not None:
                os.close(self._claim)
                self._claim = None
            self._take_back(self._home)

    def folders(self, path: str) -> tuple[Path, ...]:
        return (self._root / path,)

    def _take_back(self, home: Path) -> None:
        """Undo what was done to the group that we built in, unless another run still builds in it."""
        if self._handed and not (home / FOLDER).exists():
            (home / "cgroup.subtree_control").write_text(" ".join(f"-{controller}" for controller in self._handed))
            self._handed = []
        if not self._handed:
            self._step_back()
