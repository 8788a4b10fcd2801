"""What components print, line by line to the log of the replica that printed it."""

from __future__ import annotations

import io
from collections.abc import Callable

from estran.platforms.simulated.loop import RANK


class Printed(io.TextIOBase):
    """Stands in for standard output while a run is simulated; what is not a replica's goes where it went before.

    Parameters
    ----------
    lines
        Takes a rank and one line.
    """

    def __init__(self, before: io.TextIOBase, lines: Callable[[int, str], None]) -> None:
        self._before = before
        self._lines = lines
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        """Take text; whole lines go on."""
        rank = RANK.get()
        if rank < 0:
            return self._before.write(text)
        *whole, rest = (self._begun.get(rank, "") + text).split("\n")
        self._begun[rank] = rest
        for line in whole:
            self._lines(rank, line)
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True

    def flush(self) -> None:
        """Pass it on."""
        self._before.flush()

    def close_lines(self) -> None:
        """Let go of lines that were begun and not ended."""
        for rank, rest in self._begun.items():
            if rest:
                self._lines(rank, rest)
        self._begun.clear()
