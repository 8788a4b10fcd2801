"""An optimisation on a terminal: the answer in words, the best points, what it cost."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from estran.report.optimum.tables import chance, level, seen_at
from estran.report.optimum.view import Asked, Optimum, Role, Seen
from estran.report.table import bare_table
from estran.report.wording import NONE, count, quantity

MOST = 12
"""Points that are listed; the page has all."""
LEVELS = 24
"""Columns that levels need beside figures; where there are fewer they stand below, and figures may wrap."""
_WIDEST = 1000
_MARKS: dict[Role, str] = {"best": "→ best", "default": "default", "front": "", "rest": ""}


def print_optimum(console: Console, optimum: Optimum) -> None:
    """Words first, then the table of points, then what was spent."""
    for sentence in optimum.answer:
        console.print(sentence, highlight=False, soft_wrap=True)
    shown = [one for one in reversed(optimum.shown) if one.role != "rest"]
    if shown:
        console.print()
        _print_points(console, optimum, shown[:MOST])
        if len(shown) > MOST:
            console.print(f"  and {count(len(shown) - MOST, 'point')} more on the front: see the page", style="dim")
    console.print(f"± half of the 95 % interval; {optimum.ahead}: how likely no other point beats it", style="dim")
    console.print()
    console.print(_spent(optimum))
    for one in optimum.spent:
        if one.trust:
            console.print(f"  {one.fidelity}: {one.trust}", highlight=False, soft_wrap=True)
    if optimum.minding:
        console.print(Text("What to mind", style="bold"))
    for sentence in optimum.minding:
        console.print(f"  {sentence}", highlight=False, soft_wrap=True)
    if optimum.recommended is not None:
        console.print(f"→ {optimum.run_command}", highlight=False, soft_wrap=True)


def _print_points(console: Console, optimum: Optimum, shown: list[Seen]) -> None:
    """The table of points; on a narrow terminal their levels below it."""
    table = _points(optimum, shown, beside=True)
    if console.measure(table, options=console.options.update(width=_WIDEST)).minimum <= console.width:
        console.print(table)
        return
    console.print(_points(optimum, shown, beside=False))
    for one in shown:
        console.print(f"point {one.number}: {_levels(one, optimum)}", highlight=False, markup=False)


def _points(optimum: Optimum, shown: list[Seen], *, beside: bool) -> Table:
    limited, several = any(one.limit for one in optimum.asked), len(optimum.spent) > 1
    table = bare_table()
    table.add_column("", no_wrap=True)
    for name in ("point", *(asked.response for asked in optimum.asked), optimum.ahead, *(["limits"] if limited else [])):
        table.add_column(name, justify="right", no_wrap=beside, overflow="fold")
    if beside:
        table.add_column("levels", overflow="fold", min_width=LEVELS)
    if several:
        table.add_column("seen at", overflow="fold")
    for one in shown:
        cells = [_MARKS[one.role], str(one.number), *(_figure(one, asked, " " if beside else "\n") for asked in optimum.asked)]
        cells += [chance(one.on_front), *([chance(one.feasible)] if limited else [])]
        cells += [_levels(one, optimum)] if beside else []
        cells += [seen_at(one)] if several else []
        table.add_row(*cells, style="bold" if one.role == "best" else "")
    return table


def _levels(one: Seen, optimum: Optimum) -> str:
    return "  ".join(f"{factor.name}={level(one, factor)}" for factor in optimum.factors)


def _figure(one: Seen, asked: Asked, gap: str) -> str:
    """A mean, and half of its interval."""
    found = one.figures.get(asked.response)
    if found is None:
        return NONE
    half = (
        ""
        if found.ci95 is None or found.ci95[0] == found.ci95[1]
        else f"{gap}± {quantity((found.ci95[1] - found.ci95[0]) / 2, asked.unit, 2)}"
    )
    return quantity(found.mean, asked.unit) + half


def _spent(optimum: Optimum) -> Table:
    table = bare_table()
    for name in ("fidelity", "runs", "points", "failed", "ended early", "time of runs", "each"):
        table.add_column(name, overflow="fold", no_wrap=name == "fidelity")
    for one in optimum.spent:
        numbers = (one.runs, one.points, one.failed, one.pruned)
        table.add_row(one.fidelity, *(f"{number:,}" for number in numbers), quantity(one.seconds, "s"), quantity(one.each, "s"))
    return table
