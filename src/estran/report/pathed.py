"""Where the time goes, on a terminal: in words, then the stages, then what changes are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.text import Text

from estran.explain.paths import Change, Paths
from estran.report.explaining import signed
from estran.report.table import bare_table
from estran.report.wording import quantity

SMALL = 0.005
"""Stages with less than this share, of the mean and at the 99th percentile and of all changes, are told together."""
MOST = 3
"""Changes that are told in words."""


def print_paths(console: Console, paths: Paths) -> None:
    """Words first, then evidence."""
    console.print(Text("Where the time goes", style="bold"))
    for sentence in told(paths):
        console.print(f"  {sentence}", highlight=False, soft_wrap=True, markup=False)
    if paths.overall.runs:
        console.print()
        _print_stages(console, paths)
        if paths.changes:
            console.print()
            _print_changes(console, paths)
    for note in paths.notes:
        console.print(f"  {note}", highlight=False, soft_wrap=True, markup=False)


def told(paths: Paths) -> Iterator[str]:
    """What matters most: the largest stages, and what the largest changes are made of."""
    overall = paths.overall
    if not overall.runs:
        yield "No finished run could be read."
        return
    mean, tail = _largest(overall.mean), _largest(overall.tail)
    yield (
        f"The mean message takes {quantity(overall.latency, 's')}, {_of(overall.mean, mean, overall.latency)} of it {mean}; "
        f"the 99th percentile is {quantity(overall.p99, 's')}, {_of(overall.tail, tail, overall.p99)} of it {tail}."
    )
    certain = [change for change in paths.changes if change.tail_shares or change.mean_shares]
    for change in sorted(certain, key=lambda one: -max(abs(one.mean), abs(one.tail)))[:MOST]:
        yield _sentence(change)
    vague = [factor for factor in paths.factors if not any(change.factor == factor for change in certain)]
    if vague:
        yield f"What {', '.join(vague)} {'does' if len(vague) == 1 else 'do'} to latency cannot be told from nothing."


def _sentence(change: Change) -> str:
    """``transfer fog → cloud explains 81 % of the p99 increase from delay=10ms to delay=80ms``."""
    tail = bool(change.tail_shares)
    shares, whole = (change.tail_shares, change.tail) if tail else (change.mean_shares, change.mean)
    intervals = change.tail_shares_ci95 if tail else change.mean_shares_ci95
    stage = _largest(shares)
    low, high = intervals[stage]
    what = f"the {'p99' if tail else 'mean'} {'increase' if whole > 0 else 'decrease'}"
    between = f"from {change.factor}={change.low} to {change.factor}={change.high} ({signed(whole, 's')})"
    return f"{stage} explains {_percent(shares[stage])} (95 % CI {_percent(low)} to {_percent(high)}) of {what} {between}."


def _print_stages(console: Console, paths: Paths) -> None:
    overall = paths.overall
    table = bare_table()
    table.add_column("stage", overflow="fold")
    for name in ("mean", "", "p99", ""):
        table.add_column(name, justify="right")
    shown, hidden = _shown(paths), len(overall.mean)
    for stage in shown:
        mean, tail = overall.mean[stage], overall.tail[stage]
        cells = (
            quantity(mean, "s"),
            _of(overall.mean, stage, overall.latency),
            quantity(tail, "s"),
            _of(overall.tail, stage, overall.p99),
        )
        table.add_row(Text(stage), *cells)
    table.add_row("all", quantity(overall.latency, "s"), "", quantity(overall.p99, "s"), "", style="bold")
    hidden -= len(shown)
    table.caption = f"and {hidden} of less than {SMALL:.1%}" if hidden else None
    console.print(table)


def _print_changes(console: Console, paths: Paths) -> None:
    table = bare_table()
    table.add_column("change", overflow="fold")
    for name in ("mean", "p99"):
        table.add_column(name, justify="right")
        table.add_column("made of", overflow="fold")
    for change in paths.changes:
        cells = (
            signed(round(change.mean, 9), "s"),  # less than a nanosecond is rounding
            _made_of(change.mean_shares),
            signed(round(change.tail, 9), "s"),
            _made_of(change.tail_shares),
        )
        table.add_row(Text(f"{change.factor}: {change.low} → {change.high}"), *(Text(cell) for cell in cells))
    console.print(table)


def _made_of(shares: Mapping[str, float]) -> str:
    """The two largest shares."""
    if not shares:
        return "not told from 0"
    first = sorted(shares, key=lambda stage: -abs(shares[stage]))[:2]
    return ", ".join(f"{stage} {_percent(shares[stage])}" for stage in first if abs(shares[stage]) >= SMALL)


def _shown(paths: Paths) -> list[str]:
    """Stages worth telling, the largest first."""
    overall = paths.overall

    def weight(stage: str) -> float:
        wholes = ((overall.mean[stage], overall.latency), (overall.tail[stage], overall.p99))
        shares = [part / whole for part, whole in wholes if whole > 0]
        shares += [change.mean_shares.get(stage, 0.0) for change in paths.changes]
        shares += [change.tail_shares.get(stage, 0.0) for change in paths.changes]
        return max(map(abs, shares), default=0.0)

    return sorted((stage for stage in overall.mean if weight(stage) >= SMALL), key=lambda stage: -overall.mean[stage])


def _largest(stages: Mapping[str, float]) -> str:
    return max(stages, key=lambda stage: stages[stage])


def _of(stages: Mapping[str, float], stage: str, whole: float) -> str:
    return _percent(stages[stage] / whole) if whole > 0 else "–"


def _percent(share: float) -> str:
    return f"{'−' if round(share * 100) < 0 else ''}{abs(share) * 100:.0f} %"
