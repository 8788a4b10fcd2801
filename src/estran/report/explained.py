"""An explanation on a terminal: the answer in words, the table of effects, the levels, and what to mind."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from estran.explain.explanation import Effect, Explanation
from estran.explain.indices import Indices
from estran.report.beyond import print_beyond
from estran.report.claimed import print_claims
from estran.report.explaining import NEGLIGIBLE, answer, signed, told, validity
from estran.report.pathed import print_paths
from estran.report.study_data import Study
from estran.report.table import bare_table
from estran.report.wording import interval, quantity
from estran.units import minus

BAR = 12


def print_study_explained(console: Console, study: Study) -> None:
    """Each response, then where the time goes, and what no other setting beats."""
    for number, one in enumerate(study.explanations):
        if number:
            console.rule(style="dim")
        if isinstance(one, Indices):
            print_indices(console, one)
        else:
            print_explanation(console, one)
    if study.paths is not None and any(one.response.startswith("latency") for one in study.explanations):
        console.rule(style="dim")
        print_paths(console, study.paths)
    print_beyond(console, study.beyond)
    print_claims(console, study.table.folder.path)


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Words first, then evidence."""
    console.print(Text(f"{explanation.response}  (mean {quantity(explanation.mean, explanation.unit)})", style="bold"))
    for sentence in answer(explanation):
        console.print(f"  {sentence}", highlight=False, soft_wrap=True)
    console.print()
    console.print(_effects(explanation))
    console.print()
    for effect in explanation.effects:
        if effect.levels and effect.found and effect.share >= NEGLIGIBLE:
            console.print(_levels(effect, explanation.unit))
            console.print()
    console.print(Text("What to mind", style="bold"))
    for sentence in validity(explanation):
        console.print(f"  {sentence}", highlight=False, soft_wrap=True)


def print_indices(console: Console, found: Indices) -> None:
    """Words first, then the table."""
    console.print(Text(f"{found.response}  (mean {quantity(found.mean, found.unit)})", style="bold"))
    for sentence in told(found):
        console.print(f"  {sentence}", highlight=False, soft_wrap=True)
    console.print()
    headings = ("first", "total") if found.kind == "sobol" else ("μ", "μ*")
    table = _table("factor", headings[0], "95 % CI", headings[1], "95 % CI")
    if found.kind == "morris":
        table.add_column("σ")
    for index in found.indices:
        cells = [
            cell
            for value, (low, high) in ((index.first, index.first_ci95), (index.total, index.total_ci95))
            for cell in (_index(value, found), f"{_index(low, found)} … {_index(high, found)}")
        ]
        table.add_row(index.factor, *cells, *([] if index.spread is None else [_index(index.spread, found)]))
    console.print(table)


def _index(value: float, found: Indices) -> str:
    return f"{value:.3f}" if found.kind == "sobol" else signed(value, found.unit)


def _effects(explanation: Explanation) -> Table:
    table = _table("term", "share", "", "ω²", "df", "F", "p (Holm)")
    for effect in explanation.effects:
        bar = "█" * round(effect.share * BAR)
        style = "" if effect.found else "dim"
        p = "<0.001" if effect.p_holm < 0.001 else f"{effect.p_holm:.3f}"
        table.add_row(
            effect.term, f"{effect.share:.1%}", bar, f"{effect.omega:.3f}", str(effect.df), f"{effect.f:.4g}", p, style=style
        )
    table.add_row("blocks (seeds)", f"{explanation.blocks:.1%}", "", "", "", "", "", style="dim")
    for kind, share in explanation.random.items():
        table.add_row(kind, f"{share:.1%}", "", "", "", "", "", style="dim")
    table.add_row("not explained", f"{explanation.residual:.1%}", "", "", str(explanation.freedom), "", "", style="dim")
    return table


def _levels(effect: Effect, unit: str) -> Table:
    table = _table(effect.term, "mean", "95 % CI", f"beside {effect.levels[0].name}", "95 % CI")
    for level in effect.levels:
        first = level is effect.levels[0]
        apart = "" if first else signed(level.difference, unit)
        ends = "" if first else " to ".join(signed(end, unit) for end in level.difference_ci95)
        if not first and level.ratio is not None and level.ratio_ci95 is not None:
            apart, ends = (
                minus(f"{100 * (level.ratio - 1):+.3g} %"),
                " to ".join(minus(f"{100 * (end - 1):+.3g} %") for end in level.ratio_ci95),
            )
        table.add_row(level.name, quantity(level.mean, unit), interval(*level.mean_ci95, unit), apart, ends)
    return table


def _table(*columns: str) -> Table:
    table = bare_table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
