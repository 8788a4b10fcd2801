"""How busy this machine was while a run was measured: devices keep their speed only while there are processors to spare."""

from __future__ import annotations

from pathlib import Path
from typing import Final

BUSY: Final = 0.95
"""Share of all processors' time above which a moment counts as saturated."""
WORTH_A_WARNING: Final = 0.05


class MachineLoad:
    """Counts the moments in which all processors were busy; `look` is called a few times per second."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._last = self._read()
        self._moments = self._saturated = 0
        self._busy = self._total = 0

    def look(self) -> None:
        """Take in what has happened since the last look."""
        now = self._read()
        busy, total = now[0] - self._last[0], now[1] - self._last[1]
        if total <= 0:
            return
        self._last = now
        self._moments += 1
        self._saturated += busy >= BUSY * total
        self._busy += busy
        self._total += total

    @property
    def mean(self) -> float | None:
        """Mean share of all processors in use, 0 to 1; None before the second look."""
        return self._busy / self._total if self._total else None

    @property
    def warning(self) -> str | None:
        """What the reader of the figures must know, if anything."""
        if not self._moments or self._saturated < WORTH_A_WARNING * self._moments:
            return None
        share = self._saturated / self._moments
        return (
            f"all processors of this machine were busy in {share:.0%} of the measured time: devices may have been slower than asked"
        )

    def _read(self) -> tuple[int, int]:
        fields = [int(field) for field in self._stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
        idle = fields[3] + fields[4]
        return sum(fields) - idle, sum(fields)
