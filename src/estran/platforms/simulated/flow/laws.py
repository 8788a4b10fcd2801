"""Costs and spreads as rows of a table that kernels draw from."""

from __future__ import annotations

from typing import get_args

import numpy as np

from estran.errors import RequestError
from estran.platforms.simulated.flow.tables import LAW, Array
from estran.spec.costs import Cost, SpreadKind

_KINDS = get_args(SpreadKind)


class LawTable:
    """Collects costs; row 0 is free."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, int, int, int]] = []
        self._quantiles: list[float] = []
        self.add("", Cost())

    def add(self, what: str, cost: Cost, speed: float = 1.0) -> int:
        """Add a cost on a core of that speed; return its row.

        Raises
        ------
        RequestError
            If it is negative, or has no mean.
        """
        spread = cost.spread
        if cost.time < 0 or cost.each < 0 or any(level < 0 for level in spread.quantiles):
            raise RequestError("takes negative time", where=what, remedy="give 0 or more")
        if spread.kind == "pareto" and spread.parameter <= 1:
            raise RequestError("takes unbounded time: its Pareto shape is 1 or less", where=what, remedy="give a shape above 1")
        kind = _KINDS.index(spread.kind)
        self._rows.append(
            (cost.time / speed, cost.each / speed, spread.parameter, kind, len(self._quantiles), len(spread.quantiles))
        )  # fmt: skip
        self._quantiles += spread.quantiles
        return len(self._rows) - 1

    def table(self) -> Array:
        """All rows, as `estran.platforms.simulated.flow.tables.LAW`."""
        return np.array(self._rows, LAW)

    def quantiles(self) -> Array:
        """Quantiles of all observed spreads, one after the other."""
        return np.array(self._quantiles or [1.0])
