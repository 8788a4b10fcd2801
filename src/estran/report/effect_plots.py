"""Pictures of an explanation: shares, means at levels, where factors meet, distributions, residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from estran.explain.evidence import Cell, Evidence, Residual
from estran.explain.explanation import Effect, Explanation, Level
from estran.explain.indices import Indices
from estran.report.explaining import signed
from estran.report.markup import tag, text
from estran.report.plots import LINES, Axis, Plot, key, levels, line_style, numbers, slots
from estran.report.wording import interval, plain, quantity
from estran.units import minus

MOST_MARKS = 12
"""Levels of a factor that are marked one by one; of more a line and a band are drawn."""
MOST_POINTS = 400
"""Residuals that are drawn; of more every second, third, … and all outliers."""


@dataclass(frozen=True)
class Bar:
    """A share or another size with its interval; ``said`` is its value in words."""

    name: str
    value: float
    low: float
    high: float
    said: str
    found: bool = True


def bars(entries: Sequence[Bar]) -> str:
    """A row for each: name, bar from 0 with its interval, value."""
    low = min([0.0, *(min(bar.value, bar.low) for bar in entries)])
    high = max([1e-12, *(max(bar.value, bar.high) for bar in entries)])

    def at(value: float) -> float:
        return (value - low) / (high - low) * 1000

    rows = []
    for bar in entries:
        left, right = sorted((at(0.0), at(bar.value)))
        start, end = at(bar.low), at(bar.high)
        drawn = f'<rect x="{left:.1f}" y="4" width="{max(1.0, right - left):.1f}" height="12"/>'
        if bar.low < bar.high:
            drawn += f'<path class="p-whisker" d="M{start:.1f} 10H{end:.1f}M{start:.1f} 6V14M{end:.1f} 6V14"/>'
        picture = (
            '<svg class="bar" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" '
            f'aria-label="{text(f"{bar.name}: {bar.said}")}">{tag("title", text(f"{bar.name}: {bar.said}"))}{drawn}</svg>'
        )
        name, value = tag("span", text(bar.name), class_="bar-name"), tag("span", text(bar.said), class_="bar-total")
        rows.append(tag("div", name, picture, value, class_="bar-row wide-name" + ("" if bar.found else " dim")))
    return tag("div", *rows, class_="bars effects")


def effect_bars(effects: Sequence[Effect], evidence: Evidence) -> str:
    """Shares of terms, with their intervals."""
    return bars(
        [
            Bar(
                effect.term,
                effect.share,
                *evidence.shares_ci95.get(effect.term, (effect.share, effect.share)),
                percent(effect.share),
                effect.found,
            )
            for effect in effects
        ]
    )


def index_bars(found: Indices) -> str:
    """Both indices of each factor, with their intervals."""
    sobol = found.kind == "sobol"
    names = (
        ("alone (first order)", "with interactions (total)") if sobol else ("μ, the mean change", "μ*, the mean size of changes")
    )
    blocks = []
    for name, values in zip(
        names, ([(i.first, i.first_ci95) for i in found.indices], [(i.total, i.total_ci95) for i in found.indices]), strict=True
    ):
        entries = [
            Bar(index.factor, value, *ends, percent(value) if sobol else signed(value, found.unit))
            for index, (value, ends) in zip(found.indices, values, strict=True)
        ]
        blocks.append(tag("div", tag("h4", text(name)), bars(entries)))
    return tag("div", *blocks, class_="grid")


def main_effect(effect: Effect, explanation: Explanation, places: Mapping[str, float] | None, unit: str) -> str:
    """Means at a factor's levels; on a numeric axis where levels are numbers."""
    shown = ordered(effect.levels, places)
    x = _axis([level.name for level in shown], places, effect.term, unit)
    y = numbers([end for level in shown for end in (*level.mean_ci95, level.mean)], explanation.response, explanation.unit)
    at = [places[level.name] if places else float(i) for i, level in enumerate(shown)]
    plot = Plot(x, y)
    plot.guide(y=explanation.mean)
    if len(shown) > MOST_MARKS:
        plot.band([(place, *level.mean_ci95) for place, level in zip(at, shown, strict=True)], "layer-0")
    plot.line([(place, level.mean) for place, level in zip(at, shown, strict=True)], "layer-0" if places else "layer-0 thin")
    for place, level in zip(at, shown, strict=True):
        said = (
            f"{effect.term} {level.name}: {quantity(level.mean, explanation.unit)} ({interval(*level.mean_ci95, explanation.unit)})"
        )
        if len(shown) <= MOST_MARKS:
            plot.whisker(place, *level.mean_ci95, "layer-0")
            plot.dot(place, level.mean, "layer-0", said)
    told = ", ".join(f"{level.name} {quantity(level.mean, explanation.unit)}" for level in shown[:MOST_MARKS])
    return plot.svg(f"{explanation.response} at the levels of {effect.term}: {told}.")


def interaction(term: str, cells: Sequence[Cell], explanation: Explanation, evidence: Evidence) -> str:
    """A line for each level of one factor over the levels of the other, which is the one with more levels."""
    one, other = term.split(" × ")
    firsts, seconds = list(dict.fromkeys(cell.one for cell in cells)), list(dict.fromkeys(cell.other for cell in cells))
    turned = len(seconds) > len(firsts)
    across, apart = (other, one) if turned else (one, other)
    means = {((cell.other, cell.one) if turned else (cell.one, cell.other)): cell for cell in cells}
    places, lines = evidence.places.get(across), _some(firsts if turned else seconds, evidence.places.get(apart))
    along = seconds if turned else firsts
    if places:
        along = sorted(along, key=lambda name: places[name])
    shown = [means[name, line] for line in lines for name in along]
    ends = [end for cell in shown for end in cell.ci95]
    plot = Plot(_axis(along, places, across, evidence.units.get(across, "")), numbers(ends, explanation.response, explanation.unit))
    at = [places[name] if places else float(i) for i, name in enumerate(along)]
    for number, line in enumerate(lines):
        style, shift = line_style(number), (number - (len(lines) - 1) / 2) * 4
        row = [means[name, line] for name in along]
        plot.line([(place, cell.mean) for place, cell in zip(at, row, strict=True)], style)
        for place, name, cell in zip(at, along, row, strict=True) if len(along) <= MOST_MARKS else ():
            said = (
                f"{across} {name}, {apart} {line}: {quantity(cell.mean, explanation.unit)} "
                f"({interval(*cell.ci95, explanation.unit)})"
            )
            plot.whisker(place, *cell.ci95, style, shift=shift)
            plot.dot(place, cell.mean, style, said, shape=number, shift=shift)
    said = f"{explanation.response} over {across}, a line for each level of {apart}: {', '.join(lines)}."
    return key([_of(apart, line) for line in lines]) + plot.svg(said)


def distribution(factor: str, explanation: Explanation, evidence: Evidence) -> str:
    """Share of runs within a value, a line for each level of a factor, or for each third of many."""
    groups = grouped(evidence.values[factor], evidence.places.get(factor))
    x = numbers([value for values in groups.values() for value in values], explanation.response, explanation.unit)
    plot = Plot(x, numbers([0.0, 1.0], "share of runs", "fraction", zero=True))
    for number, values in enumerate(groups.values()):
        points = [(x.low, 0.0), *((value, (i + 1) / len(values)) for i, value in enumerate(values)), (x.high, 1.0)]
        plot.steps(points, line_style(number))
        middle = len(values) // 2
        plot.dot(values[middle], (middle + 1) / len(values), line_style(number), shape=number)
    medians = ", ".join(f"{name} {quantity(values[len(values) // 2], explanation.unit)}" for name, values in groups.items())
    said = f"Distribution of {explanation.response} over runs at the levels of {factor}; medians: {medians}."
    return key([_of(factor, name) for name in groups]) + plot.svg(said)


def grouped(values: Mapping[str, tuple[float, ...]], places: Mapping[str, float] | None) -> dict[str, list[float]]:
    """Values at each level; of numeric factors with many levels in three groups of about as many levels, sorted."""
    if places and len(values) > LINES:
        names = sorted(values, key=lambda name: places[name])
        third = [names[len(names) * i // 3 : len(names) * (i + 1) // 3] for i in range(3)]
        return {f"{part[0]} … {part[-1]}": sorted(value for name in part for value in values[name]) for part in third}
    return {name: list(found) for name, found in list(values.items())[:LINES]}


def residual_plots(explanation: Explanation, evidence: Evidence) -> list[tuple[str, str]]:
    """Titles and pictures: over what was fitted, over the order of runs, and against normal quantiles."""
    outliers = frozenset(explanation.diagnosis.outliers)
    step = -(-len(evidence.residuals) // MOST_POINTS)
    shown = [one for i, one in enumerate(evidence.residuals) if i % step == 0 or one.run in outliers]
    y = numbers([2.5, -2.5, *(one.studentised for one in shown)], "residual (sd)", "")
    fitted = Plot(numbers([one.fitted for one in shown], f"fitted {explanation.response}", explanation.unit), y)
    order = Plot(numbers([float(one.run) for one in shown], "run, in the order made", ""), y)
    quantiles = Plot(numbers([2.0, -2.0, *(one.normal for one in shown)], "normal quantile", ""), y)
    ends = max(quantiles.x.low, y.low), min(quantiles.x.high, y.high)
    quantiles.line([(ends[0], ends[0]), (ends[1], ends[1])], "p-even")
    if explanation.diagnosis.drift is not None:
        order.guide(x=explanation.diagnosis.drift[0] + 0.5)
    for plot in (fitted, order):
        plot.guide(y=0.0)
    for one in shown:
        _residual(one, explanation, ((fitted, one.fitted), (order, float(one.run)), (quantiles, one.normal)), one.run in outliers)
    marked = f" Outliers: run {', '.join(map(str, sorted(outliers)))}." if outliers else ""
    return [
        ("over what was fitted", fitted.svg(f"Residuals of {explanation.response} over fitted values.{marked}")),
        ("in the order of runs", order.svg(f"Residuals of {explanation.response} in the order of runs.{marked}")),
        ("if they were normal", quantiles.svg(f"Residuals of {explanation.response} against normal quantiles.{marked}")),
    ]


def _residual(one: Residual, explanation: Explanation, where: Sequence[tuple[Plot, float]], outlier: bool) -> None:
    said = f"run {one.run}: {plain(one.studentised)} standard deviations from {quantity(one.fitted, explanation.unit)}"
    for plot, x in where:
        if outlier:
            plot.dot(x, one.studentised, "p-out", said, shape=3, size=4.5)
            plot.note(x, one.studentised, f"run {one.run}")
        else:
            plot.dot(x, one.studentised, "layer-0 light", said, size=2.6)


def ordered(found: Sequence[Level], places: Mapping[str, float] | None) -> list[Level]:
    """Levels along the axis of numbers, or as they are."""
    return sorted(found, key=lambda level: places[level.name]) if places else list(found)


def percent(share: float) -> str:
    """A share in per cent with a digit behind the point where it is small."""
    shown = f"{100 * share:.1f}" if abs(share) < 0.1 else f"{100 * share:.0f}"
    return f"{minus(shown)}\u202f%"


def _axis(names: Sequence[str], places: Mapping[str, float] | None, title: str, unit: str) -> Axis:
    return levels([places[name] for name in names], names, title, unit) if places else slots(names, title)


def _of(factor: str, level: str) -> str:
    """A level with its factor, where that is no burden; the heading above says it too."""
    return f"{factor} {level}" if len(factor) <= 16 else level


def _some(names: Sequence[str], places: Mapping[str, float] | None) -> list[str]:
    """As many as can be told apart; of numbers the ends and what lies evenly between."""
    along = sorted(names, key=lambda name: places[name]) if places else list(names)
    if len(along) <= LINES:
        return along
    return [along[round(i * (len(along) - 1) / 2)] for i in range(3)] if places else along[:LINES]
