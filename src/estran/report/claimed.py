"""Claims on a terminal: which hold, by what estimate, and why of some one cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from estran.errors import EstranError
from estran.report.wording import interval, plain, quantity
from estran.reproduce.claims import Judged, judge_all
from estran.reproduce.observed import evidence

if TYPE_CHECKING:
    from rich.console import Console

MARKS: Final = {"confirmed": ("✓", "green"), "refuted": ("✗", "red"), "cannot tell": ("?", "yellow")}


def print_claims(console: Console, folder: Path) -> None:
    """A line for each claim of a run or a study; nothing where there is none."""
    from rich.text import Text

    try:
        claims = judge_all(evidence(folder))
    except EstranError as error:  # figures are shown whatever is wrong with claims
        console.print(Text(f"claims cannot be judged: {error}", "yellow"), soft_wrap=True)
        return
    for one in claims:
        mark, colour = MARKS[one.verdict]
        line = Text.assemble((f"{mark} {one.verdict}", colour), "  ", (one.claim, "bold"), "  ", (told(one), "dim"))
        console.print(line, soft_wrap=not console.is_terminal)  # a terminal would cut words


def told(one: Judged) -> str:
    """Estimate, interval, and what they rest on."""
    if one.estimate is None:
        return one.reason
    points = one.difference and one.unit == "fraction"
    scale, unit = (100.0, "points") if points else (1.0, one.unit)
    bounds = f" ({interval(scale * one.interval[0], scale * one.interval[1], unit)})" if one.interval else ""
    runs = f"{plain(one.runs)} run{'s' if one.runs != 1 else ''}"
    return f"{quantity(scale * one.estimate, unit)}{bounds} · {runs} · {one.reason}"
