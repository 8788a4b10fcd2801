"""What a device's processor has left for services that let others go first.

A device that is emulated by a share of fast cores cannot be preempted: what training has used of a period's quota, an answer in
that period waits for. So a service that yields has a cap of its own, which follows what the others leave, and theirs is the
whole device's: they find it as if they were alone, and together all use what the device has, on the average.
"""

from __future__ import annotations

from typing import Final

LEAST: Final = 0.02
"""Part of the device that is left in any case."""
CREDIT: Final = 0.5
"""Part of what the device gives in a step that may be made up for later: caps give less than they say."""
WANTED: Final = 0.6
"""Part of what was left that must have been used, for the remainder to have been wanted."""
DEBT: Final = 1.0
"""Seconds of the whole device that may be owed at the most."""


class Rest:
    """Follows what is left, from how much has been used.

    Parameters
    ----------
    whole
        The device's share, in local cores.

    Attributes
    ----------
    share
        What is left now, in local cores; more than that where caps have given less than they said.
    """

    def __init__(self, whole: float) -> None:
        self.share = whole
        self._whole = whole
        self._owed = 0.0
        self._last: tuple[float, float, float] | None = None

    def step(self, first: float, yielding: float, now: float) -> float:
        """Take a reading at ``now``, in seconds; return what is left.

        Parameters
        ----------
        first, yielding
            CPU seconds that have been used up to now by those that go first, and by those that yield.
        """
        last, self._last = self._last, (first, yielding, now)
        if last is None or now <= last[2]:
            return self.share
        used, also, passed = first - last[0], yielding - last[1], now - last[2]
        given, wanted = self._whole * passed, also > WANTED * self.share * passed
        self._owed = min(self._owed + given - used - also, CREDIT * given if wanted else 0.0)
        self._owed = max(self._owed, -DEBT * self._whole)
        left = self._whole + (self._owed - used) / passed
        self.share = min(max(left, LEAST * self._whole), (1 + CREDIT) * self._whole)
        return self.share
