"""What to do when a host is lost, or cannot do what it is asked for."""

from __future__ import annotations

from typing import Final

LOST: Final = "see whether the host still runs; results that it sent before are kept"

_KNOWN: Final = {
    "No space left on device": "free some space on it",
    "Disk quota exceeded": "free some space there, or have your quota raised",
    "Read-only file system": "see why its disk cannot be written to (dmesg), and whether it must be replaced",
    "Too many open files": "raise its limit of open files (ulimit -n)",
    "Cannot allocate memory": "end what else needs memory there",
}
"""By what kernels say."""


def remedy_of(said: str) -> str | None:
    """What to do about what a host says, if that is known."""
    return next((remedy for words, remedy in _KNOWN.items() if words in said), None)
