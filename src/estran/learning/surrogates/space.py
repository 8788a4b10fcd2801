"""The space of a simulator's parameters: a box, seen as the unit cube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estran.learning.mistakes import SettingsError, check_known

Box = Mapping[str, tuple[float, float]]
"""Least and greatest value by name."""


@dataclass(frozen=True, eq=False)
class Space:
    """A box with named sides.

    Examples
    --------
    >>> space = Space.of({"x": (0.0, 2.0), "k": (1.0, 5.0)})
    >>> space.values(np.array([0.5, 0.25])).tolist(), space.position(np.array([1.0, 2.0])).tolist()
    ([1.0, 2.0], [0.5, 0.25])
    """

    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, box: Box, where: str = "parameters") -> Space:
        """Read a box.

        Raises
        ------
        SettingsError
            If it has no side, or one that is not a range of finite numbers.
        """
        if not box:
            raise SettingsError("there is none", where=where, remedy="give ranges, like {x: [0, 1]}")
        for name, (least, greatest) in box.items():
            if not (np.isfinite(least) and np.isfinite(greatest) and least < greatest):
                raise SettingsError(f"{name} is [{least:g}, {greatest:g}]", where=where, remedy="give [least, greatest]")
        low, high = (np.array([side[end] for side in box.values()], dtype=np.float64) for end in (0, 1))
        return cls(tuple(box), low, high)

    def values(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Parameters at a position in the unit cube."""
        return np.asarray(self.low + position * (self.high - self.low))

    def position(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where in the unit cube parameters are."""
        return np.asarray((values - self.low) / (self.high - self.low))

    def region(self, box: Box, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corner, in the unit cube, of a box within this one; sides that it does not name are whole.

        Raises
        ------
        SettingsError
            If it names what is no side, or reaches beyond this box.
        """
        corners = np.zeros(len(self.names)), np.ones(len(self.names))
        Space.of(box, where)
        for name, side in box.items():
            check_known(name, self.names, kind="parameter", where=where)
            at = self.names.index(name)
            for corner, value in zip(corners, side, strict=True):
                corner[at] = (value - self.low[at]) / (self.high[at] - self.low[at])
            if corners[0][at] < 0 or corners[1][at] > 1:
                raise SettingsError(
                    f"{name} reaches beyond [{self.low[at]:g}, {self.high[at]:g}]", where=where, remedy="stay within parameters"
                )
        return corners
