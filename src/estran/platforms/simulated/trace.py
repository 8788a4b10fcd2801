"""The order of events of a simulated run, written as it happens."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from estran.platforms.simulated.loop import VirtualLoop


class TraceFile:
    """One line per event: time in seconds of the run's clock, who, what, details. A context manager.

    Parameters
    ----------
    path
        The file, usually ``trace.txt`` of the run folder.
    """

    def __init__(self, path: Path, loop: VirtualLoop) -> None:
        self._path = path
        self._loop = loop
        self.origin = 0.0

    def __enter__(self) -> TraceFile:
        self._file = self._path.open("w", encoding="utf-8", buffering=1 << 16)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, who: str, what: str, details: str) -> None:
        """Note an event, now."""
        self._file.write(f"{self._loop.time() - self.origin:16.9f}  {who:16}  {what:9}  {details}\n")
