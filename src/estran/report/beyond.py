"""Bottleneck, trade-offs, what-ifs and further runs on a terminal: words first, then the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console
from rich.text import Text

from estran.explain.beyond import Beyond
from estran.explain.bottleneck import Bottleneck, Resource
from estran.explain.further import Further
from estran.explain.pareto import Front
from estran.explain.whatif import Prediction
from estran.report.explaining import difference, signed
from estran.report.table import bare_table
from estran.report.wording import count, interval, plain, quantity

MOST = 6
"""Lines of a table at the most."""
_WHAT = {"cpu": "the processor of", "link": "the link", "service": "the service"}


def print_beyond(console: Console, beyond: Beyond) -> None:
    """All parts that there are."""
    for prediction in beyond.predictions:
        _section(console, f"What if: {prediction.response}", predicted(prediction))
    if beyond.bottleneck is not None:
        _section(console, "What limits", limiting(beyond.bottleneck))
        _print_resources(console, beyond.bottleneck)
    if beyond.front is not None:
        _section(console, "What trades against what", traded(beyond.front))
        _print_front(console, beyond.front)
    for number, further in enumerate(beyond.further):
        words = list(advised(further))
        kept = words if number == 0 or len(words) <= len(further.gains) else words[: len(words) - len(further.gains)]
        _section(console, f"What to run next for {further.response}", kept)
    if beyond.written is not None:
        path, runs = beyond.written
        how = f"estran study FILE --design {path} --replicates 1 --seed {beyond.seed}"
        _section(console, "", [f"{count(runs, 'run')} → {path}  ({how})"])
    if beyond.why:
        _section(console, "", beyond.why)


def predicted(found: Prediction) -> Iterator[str]:
    """A prediction in words."""
    unit = found.unit
    yield (
        f"At {_levels(found.setting)}: {quantity(found.mean, unit)} (95 % CI {interval(*found.mean_ci95, unit)}); "
        f"a single run lies in {interval(*found.run_pi95, unit)}, 19 times of 20."
    )
    ends = " to ".join(signed(end, unit) for end in found.change_ci95)
    yield f"Beside {_levels(found.first)}: {signed(found.change, unit)} (95 % CI {ends})."
    for name in found.between:
        yield f"{name}={found.setting[name]} was not measured: it is taken from a curve through its neighbours."


def limiting(found: Bottleneck) -> Iterator[str]:
    """What saturates, or would first, in words."""
    full = [one for one in found.resources if one.saturated]
    for one in full[:3]:
        how = ", and what waits for it keeps growing" if one.growing else ""
        yield f"{_named(one)} is saturated: {quantity(one.highest, 'fraction')} used at {_levels(one.where)}{how}."
    first = found.resources[0]
    if not full and first.headroom is not None:
        yield (
            f"{_named(first)} is used most, {quantity(first.highest, 'fraction')} at {_levels(first.where)}: it saturates at about "
            f"{plain(first.headroom, 2)} × that load, if use grows in proportion."
        )
    for trend in first.trends:
        if trend.knee is not None:
            yield f"Along {trend.factor} it is saturated from {trend.knee} on."
        elif trend.full is not None:
            fullest = max(first.factors[trend.factor], key=lambda load: load.utilisation)
            yield f"Along {trend.factor} its use follows a line, which is full at {plain(trend.full, 2)} × {fullest.level}."
    yield from found.notes


def traded(found: Front) -> Iterator[str]:
    """The front in words."""
    best = [one for one in found.candidates if one.on_front]
    ways = ", ".join(
        f"{name} {'high' if high else 'low'}" for name, high in zip(found.responses, found.higher_is_better, strict=True)
    )
    yield f"{len(best)} of {len(found.candidates)} points are beaten by no other in all of: {ways}."
    unsure = [one for one in found.candidates if one.confidence is not None and 0.05 < one.confidence < 0.95]
    if unsure:
        yield f"Of {count(len(unsure), 'point')} it is not sure whether they belong to these."
    if found.candidates[0].confidence is None:
        yield "How sure that is cannot be known from one replicate."
    if found.left_out:
        yield f"{count(found.left_out, 'point')} did not measure all of these."


def advised(found: Further) -> Iterator[str]:
    """What further runs would gain, in words."""
    if found.missing:
        yield f"{count(len(found.missing), 'run')} of the design failed or did not measure it: make them again (estran resume)."
    if found.telling:
        terms = "; ".join(f"{name} from {' and '.join(twins)}" for name, twins in found.told.items())
        yield f"To tell {terms}: add {'; '.join(_levels(point) for point in found.telling)}."
    if found.untold:
        yield f"More runs than these are needed to tell {', '.join(found.untold)} apart from others."
    if not found.narrowing:
        yield "Runs differ by nothing that the model does not explain: more of them would narrow nothing."
        return
    runs = sum(times for _, times in found.narrowing)
    before, after = (difference(half, found.unit) for half in found.prediction)
    where = "; ".join(f"{_levels(point)}{f' ({times} times)' if times > 1 else ''}" for point, times in found.narrowing)
    more = " after these" if found.telling else ""
    yield f"{count(runs, 'more run')}{more} would narrow the mean at a point from ±{before} to ±{after}, best at {where}."
    for name, halves in found.gains.items():
        now, then = (difference(half, found.unit) for half in halves)
        yield f"{name}: its least certain difference is known to ±{now}, then to ±{then}."


def _print_resources(console: Console, found: Bottleneck) -> None:
    table = bare_table()
    for name in ("resource", "mean", "highest", "at", ""):
        table.add_column(name, overflow="fold")
    for one in found.resources[:MOST]:
        said = ", ".join(word for word, holds in (("saturated", one.saturated), ("shared out", one.shared)) if holds)
        name = f"{one.kind} {one.name}"
        table.add_row(name, quantity(one.utilisation, "fraction"), quantity(one.highest, "fraction"), _levels(one.where), said)
    console.print(table)


def _print_front(console: Console, found: Front) -> None:
    table = bare_table()
    for name in ("point", *found.responses, "sure"):
        table.add_column(name, overflow="fold")
    shown = sorted(found.candidates, key=lambda one: (one.rank, -(one.confidence or 0.0)))[:MOST]
    for one in shown:
        values = [quantity(mean, unit) for mean, unit in zip(one.means, found.units, strict=True)]
        sure = "" if one.confidence is None else f"{one.confidence:.0%}"
        table.add_row(_levels(one.levels), *values, sure, style="" if one.on_front else "dim")
    console.print(table)
    if more := len(found.candidates) - len(shown):
        console.print(f"and {count(more, 'point')} more on the page", highlight=False)


def _section(console: Console, title: str, sentences: Iterable[str]) -> None:
    console.print()
    if title:
        console.print(Text(title, style="bold"))
    for sentence in sentences:
        console.print(f"  {sentence}", highlight=False, soft_wrap=True, markup=False)


def _named(one: Resource) -> str:
    text = f"{_WHAT[one.kind]} {one.name}"
    return text[0].upper() + text[1:]


def _levels(levels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={text}" for name, text in levels.items())
