"""Recorded facts that differ, on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from estran.report.table import bare_table
from estran.reproduce.differences import Changed, Differences

if TYPE_CHECKING:
    from rich.console import Console

MOST_LINES: Final = 12
"""Of a group."""


def print_differences(console: Console, found: Differences) -> None:
    """What differs, most likely to matter first, and how much is the same."""
    from rich.text import Text

    console.print(Text("Recorded facts that differ" if found.changed else "No recorded fact differs", "bold"))
    table = bare_table()
    for column in ("", "fact (A → B)"):
        table.add_column(column, overflow="fold")
    group = ""
    for one in _shown(found):
        table.add_row(Text(one.group if one.group != group else "", "dim"), Text(str(one)))
        group = one.group
    if found.changed:
        console.print(table)
    for group, count in Counter(one.group for one in found.changed).items():
        if count > MOST_LINES:
            console.print(Text(f"and {count - MOST_LINES} more of {group}: see --json", "dim"))
    same = ", ".join(f"{count} of {group}" for group, count in found.same.items())
    console.print(Text(f"the same: {same or 'nothing'}", "dim"), soft_wrap=True)


def _shown(found: Differences) -> Iterator[Changed]:
    counts: Counter[str] = Counter()
    for one in found.changed:
        counts[one.group] += 1
        if counts[one.group] <= MOST_LINES:
            yield one
