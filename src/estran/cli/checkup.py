"""What the doctor found, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from estran.platforms.emulated.survey import Rung, Survey
from estran.units import show


def print_checkup(found: Survey) -> None:
    """Print the ladders, what was chosen, and why."""
    console = Console()
    console.print(f"{found.cores} cores, {show(found.memory, 'size')} of memory; {'; '.join(found.notes)}", highlight=False)
    console.print(_ladder("Links (delay, jitter, rate, loss), best first", found.engines))
    console.print(_ladder("CPU shares and memory limits, best first", found.limiters))
    verdict = ("This machine can emulate experiments.", "green") if found.usable else ("Nothing can be emulated here.", "bold red")
    console.print(Text(*verdict))


def _ladder(title: str, rungs: Sequence[Rung]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=False)
    for column in ("", "rung", "what was found", "limits"):
        table.add_column(column)
    for rung in rungs:
        mark = (
            Text("→ chosen", style="bold green")
            if rung.chosen
            else Text("works" if rung.works else "no", style="" if rung.works else "dim")
        )
        limits = "\n".join(f"{topic}: {limit}" for topic, limit in rung.limits.items())
        table.add_row(mark, rung.name, rung.why, limits)
    return table
