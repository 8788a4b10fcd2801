"""Whose sockets are whose: the command replicas that an agent started, their processes, and the TCP ports that these hold."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from estran.observe.counters import children, descendants

LISTENING: Final = "0A"
_TABLES: Final = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_MARK: Final = b"ESTRAN_REPLICA="


class Owners:
    """Finds the replicas behind processes and ports of this network namespace.

    A connection can only be looked up while it is there. On a host of which one command replica is all there is to see, there is
    nothing to look up.

    Parameters
    ----------
    replicas
        The command replicas of this host.
    agent
        The process that started them.
    alone
        Whether nobody else uses the network here.
    """

    def __init__(self, replicas: Sequence[str], agent: int | None = None, *, alone: bool = True) -> None:
        self._replicas = tuple(replicas)
        self._alone = alone
        self._agent = os.getpid() if agent is None else agent
        self._named: dict[int, str] = {}

    @property
    def only(self) -> str | None:
        """The replica, where there is nothing else."""
        return self._replicas[0] if self._alone and len(self._replicas) == 1 else None

    def processes(self, replica: str) -> list[int]:
        """All processes of a replica that run now."""
        return [pid for top, name in self._tops() if name == replica for pid in (top, *descendants(top))]

    def of_ports(self, ports: Collection[int], *, listening: bool) -> dict[int, str]:
        """The replica behind each of these local ports; those that cannot be told are absent."""
        if not ports or self.only is not None:
            return dict.fromkeys(ports, self.only or "")
        inodes = {inode: port for port, inode in sockets(listening=listening) if port in ports}
        found: dict[int, str] = {}
        for top, name in self._tops():
            for pid in (top, *descendants(top)):
                for inode in _held(pid) & inodes.keys():
                    found.setdefault(inodes[inode], name)
        return found

    def _tops(self) -> Iterator[tuple[int, str]]:
        """The first process of each replica; a process says by its environment whose it is, once it has become its command."""
        for pid in children(self._agent):
            if pid not in self._named:
                with suppress(OSError):
                    self._named.update((pid, name) for name in _names(pid) if name in self._replicas)
            if pid in self._named:
                yield pid, self._named[pid]


def sockets(*, listening: bool) -> Iterator[tuple[int, int]]:
    """Local port and inode of the TCP sockets of this network namespace that listen, or that do not."""
    for table in _TABLES:
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                if (words[3] == LISTENING) == listening:
                    yield int(words[1].rpartition(":")[2], 16), int(words[9])


def _names(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if entry.startswith(_MARK):
            yield entry[len(_MARK) :].decode(errors="replace")


def _held(pid: int) -> set[int]:
    """Inodes of the sockets that a process holds."""
    held: set[int] = set()
    with suppress(OSError):  # it has just ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    held.add(int(target[8:-1]))
    return held
