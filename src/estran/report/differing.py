"""Recorded facts that differ, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estran.report.table import bare_table
from estran.reproduce.differences import Differences

if TYPE_CHECKING:
    from rich.console import Console


def print_differences(console: Console, found: Differences) -> None:
    """What differs, most likely to matter first, and how much is the same."""
    from rich.text import Text

    console.print(Text("Recorded facts that differ" if found.changed else "No recorded fact differs", "bold"))
    table = bare_table()
    for column in ("", "fact (A → B)"):
        table.add_column(column, overflow="fold")
    group = None
    for one in found.changed:
        table.add_row(Text(one.group if one.group != group else "", "dim"), Text(str(one)))
        group = one.group
    if found.changed:
        console.print(table)
    same = ", ".join(f"{count} of {group}" for group, count in found.same.items())
    console.print(Text(f"the same: {same or 'nothing'}", "dim"), soft_wrap=True)
