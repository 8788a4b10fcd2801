"""What the doctor found, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from estran.platforms.emulated.survey import Rung, Survey
from estran.units import show


def print_checkup(found: Survey) -> None:
    """Print the ladders, what was chosen, and why."""
    console = Console(emoji=False)
    console.print(
        f"{found.cores} cores, {show(round(found.memory / 2**30, 1) * 2**30, 'size')} of memory; {'; '.join(found.notes)}",
        highlight=False,
    )
    _print_ladder(console, "Links (delay, jitter, rate, loss), best first", found.engines)
    _print_ladder(console, "CPU shares and memory limits, best first", found.limiters)
    verdict = ("This machine can emulate experiments.", "green") if found.usable else ("Nothing can be emulated here.", "bold red")
    console.print(Text.assemble("\n", verdict))


def _print_ladder(console: Console, title: str, rungs: Sequence[Rung]) -> None:
    console.print(Text.assemble("\n", (title, "bold")))
    for rung in rungs:
        mark = ("→ ", "bold green") if rung.chosen else ("  ", "")
        state = ("chosen", "bold green") if rung.chosen else ("works", "") if rung.works else ("does not work here", "dim")
        console.print(Text.assemble(mark, (f"{rung.name:9}", "bold"), state))
        lines = [Text(rung.why), *(Text(f"{topic}: {limit}", style="dim") for topic, limit in rung.limits.items())]
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 11)), highlight=False)
