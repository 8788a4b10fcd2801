"""The processes below one, found by their parents and sessions, and signals to all of them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def tree(root: int) -> set[int]:
    """A process, what descends from it, and what shares a session with any of these; those that have ended are left out.

    Parameters
    ----------
    root
        Leads a session of its own, as replicas do.
    """
    known = {pid: (parent, session) for pid, parent, session in _processes()}
    found = {pid for pid, (_, session) in known.items() if root in (pid, session)}
    while more := {pid for pid, (parent, session) in known.items() if parent in found or session in found} - found:
        found |= more
    return found


def _processes() -> list[tuple[int, int, int]]:
    """Pid, parent and session of every process that can be seen."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib costs more than the reads
        if name.isdigit():
            with suppress(OSError, ValueError):
                fields = Path(f"/proc/{name}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    found.append((int(name), int(fields[1]), int(fields[3])))
    return found


def signal_tree(root: int, number: signal.Signals) -> None:
    """Send a signal to a whole tree, again until no process has been born into it meanwhile."""
    signalled: set[int] = set()
    while fresh := tree(root) - signalled:
        for pid in fresh:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        signalled |= fresh
