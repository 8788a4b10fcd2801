"""How kernels add to what is measured."""

from __future__ import annotations

from typing import Any

from estran.platforms.simulated.flow.compiling import compiled, inlined
from estran.platforms.simulated.flow.tables import SLOTS


@inlined
def slot_of(window: Any, time: Any) -> Any:
    """The slot of the measured window that a time falls into; -1 outside."""
    if time < window[0] or time >= window[1]:
        return -1
    return min(int((time - window[0]) * window[2]), SLOTS - 1)


@inlined
def add_span(window: Any, table: Any, row: Any, column: Any, start: Any, end: Any) -> Any:
    """Add the time from start to end to the slots that it covers; return how much lies within the window."""
    low, high = max(start, window[0]), min(end, window[1])
    if low >= high:
        return 0.0
    first = min(int((low - window[0]) * window[2]), SLOTS - 1)
    last = min(int((high - window[0]) * window[2]), SLOTS - 1)
    if first == last:
        table[row, first, column] += high - low
        return high - low
    _spread(window, table, row, column, low, high, first, last)
    return high - low


@compiled
def _spread(window: Any, table: Any, row: Any, column: Any, low: Any, high: Any, first: Any, last: Any) -> None:
    width = 1.0 / window[2]
    table[row, first, column] += window[0] + (first + 1) * width - low
    for slot in range(first + 1, last):
        table[row, slot, column] += width
    table[row, last, column] += high - (window[0] + last * width)
