"""A comparison on a terminal: differences with their intervals and verdicts, and whether conclusions agree."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from estran.explain.compare import Comparison, Conclusion, Difference
from estran.report.explaining import signed
from estran.report.table import bare_table
from estran.report.wording import NONE, plain, quantity
from estran.units import minus

_STYLES = {"better": "green", "worse": "red", "equivalent": "", "cannot tell": "yellow", "higher": "cyan", "lower": "cyan"}


def print_comparison(console: Console, found: Comparison, *, parts: bool) -> None:
    """Print what differs, and for two studies what both conclude.

    Parameters
    ----------
    parts
        Whether responses of one service, stream or host (``latency@detector``) are shown too.
    """
    console.print(Text.assemble(("A", "bold"), f" {found.a}\n", ("B", "bold"), f" {found.b}"), soft_wrap=True)
    pairs = max(difference.pairs for difference in found.differences)
    about = f"{pairs} pairs of runs" if pairs > 1 else "two runs, by the interval that each has of itself"
    lost = f" · without a partner: {found.unmatched[0]} of A, {found.unmatched[1]} of B" if any(found.unmatched) else ""
    console.print(
        Text(f"{about} · equivalent: within ±{plain(100 * found.margin)} % by two one-sided tests at 5 %{lost}", style="dim")
    )
    table = bare_table()
    table.add_column("response", no_wrap=True)
    for column in ("A", "B", "B beside A (95 % CI)"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("B is", no_wrap=True)
    shown = [one for one in found.differences if parts or "@" not in one.response]
    for one in shown:
        values = quantity(one.a, one.unit), quantity(one.b, one.unit)
        table.add_row(one.response, *values, apart(one), Text(one.verdict, style=_STYLES[one.verdict]))
    console.print(table)
    if left := len(found.differences) - len(shown):
        console.print(f"and {left} of single services, streams and hosts: name them with --response, or see --json", style="dim")
    for one in shown:
        if one.needed is not None:
            console.print(_needed(one), highlight=False, soft_wrap=True)
    for conclusion in found.conclusions:
        console.print(_conclusion(conclusion), highlight=False, soft_wrap=True)


def apart(one: Difference) -> str:
    """How far B is from A, with its interval: in percent, or in the unit where percent would mislead."""
    if one.unit == "fraction" or one.relative is None or (one.relative_ci95 is None and one.absolute_ci95 is not None):
        ends = one.absolute_ci95
        if ends is None:
            return f"{signed(one.absolute, one.unit)} ({NONE})"
        low, high = (signed(end, one.unit) for end in ends)
        if low.split()[1:] == high.split()[1:]:
            low = low.split()[0]
        return f"{signed(one.absolute, one.unit)} ({low} to {high})"
    shares = one.relative_ci95
    shown = NONE if shares is None else f"{100 * shares[0]:+.1f} to {100 * shares[1]:+.1f}"
    return minus(f"{100 * one.relative:+.1f} % ({shown})")


def _needed(one: Difference) -> str:
    times = f"{plain(max(1.1, one.needed or 1.0), 2)} times"
    how = f"{times} as many runs" if one.pairs > 1 else f"runs {times} as long"
    return f"{one.response}: about {how} would tell, if means and spread stay as they are"


def _conclusion(one: Conclusion) -> str:
    sides = [
        ", ".join(f"{term} {share:.0%}" for term, share in side.items() if share >= 0.01) or "nothing" for side in (one.a, one.b)
    ]
    if one.agree:
        return (
            f"{one.response}: both find that it is driven by {sides[0]} (A), {sides[1]} (B)"
            if one.a
            else f"{one.response}: no effect"
        )
    return f"{one.response}: conclusions differ: {sides[0]} (A), {sides[1]} (B)"
