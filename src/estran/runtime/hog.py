"""A process that takes memory and keeps it: ``python -I -S hog.py BYTES``, once it reads a line; then it says ``taken``."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import signal
import sys

PR_SET_PDEATHSIG = 1
LAST = "-999"
"""The kernel, when it must kill something for memory, kills this after all others; only root may ask for that."""


def main() -> None:
    """Entry point; ends with its parent, or when its standard input does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - starts quicker
        file.write(LAST)
    if not sys.stdin.readline():
        return
    taken = mmap.mmap(-1, int(sys.argv[1]))
    for at in range(0, len(taken), mmap.PAGESIZE):
        taken[at] = 1
    print("taken", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
