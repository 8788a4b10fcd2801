"""Pictures of an optimisation: the front, the progress over what was spent, and all points in parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from estran.report.markup import tag, text
from estran.report.optimum.parallel import Scale, Thread, parallel
from estran.report.optimum.view import CALLED, SHAPES, STYLES, Asked, Optimum, Role, Seen
from estran.report.plots import Axis, Plot, nice, numbers, outline
from estran.report.wording import interval, plain, quantity, scaled
from estran.spec.ranges import Range
from estran.study.factors import Factor
from estran.study.rows import cell

MOST_POINTS = 300
"""Points in a picture; of more, the front and those with the best first goal."""
MOST_NAMED = 7
"""Levels that are written at an axis of parallel coordinates."""


def front(optimum: Optimum) -> str:
    """A picture for each two goals, of which a list chooses one; for a single goal the points in the order of trials."""
    goals = optimum.goals
    if len(goals) == 1:
        return tag("div", tag("figure", _single(optimum, goals[0])), class_="fronts")
    pairs = list(combinations(goals, 2))
    names = [f"{one.response} × {other.response}" for one, other in pairs]
    drawn = [
        tag("figure", tag("h3", text(name)), _pair(optimum, *pair), data_of="front", data_name=name)
        for name, pair in zip(names, pairs, strict=True)
    ]
    options = "".join(tag("option", text(name), value=name) for name in names)
    chooser = tag("p", tag("label", "Goals: ", f'<select data-choose="front">{options}</select>'), hidden="hidden")
    return (chooser if len(pairs) > 1 else "") + tag("div", *drawn, class_="fronts")


def marks(optimum: Optimum) -> str:
    """Which mark stands for what."""
    shown = optimum.shown
    roles: tuple[Role, ...] = ("best", "default", "front", "rest")
    items = [_mark(STYLES[role], SHAPES[role], CALLED[role]) for role in roles if any(one.role == role for one in shown)]
    if any(one.fidelity != optimum.highest for one in shown):
        items.append(_mark("p-dim hollow", 0, f"hollow: not seen at {optimum.highest}, by figures of a lower fidelity"))
    return tag("ul", *items, class_="key")


def _mark(style: str, shape: int, called: str) -> str:
    mark = f'<path class="p-dot {style}" d="{outline(8, 7, shape, 4)}"/>'
    return tag("li", tag("svg", mark, class_="sample short", viewBox="0 0 16 14", aria_hidden="true"), text(called))


def progress(optimum: Optimum) -> str:
    """The hypervolume, or the best so far, over the time that runs took."""
    found = optimum.progress
    if len(found.steps) < 2:
        return ""
    whole = max(sum(one.seconds for one in optimum.spent), found.steps[-1][0])
    plot = Plot(
        numbers([0.0, whole], "time of runs", "s", zero=True),
        numbers([value for _, value in found.steps], found.name, found.unit),
        width=560,
    )
    plot.steps([*found.steps, (whole, found.steps[-1][1])], "layer-1")
    for spent, value in found.steps:
        plot.dot(spent, value, "layer-1 light", f"{quantity(value, found.unit)} after {quantity(spent, 's')}", size=2.6)
    return plot.svg(f"{found.name} over the time of runs: {quantity(found.steps[-1][1], found.unit)} after {quantity(whole, 's')}.")


def coordinates(optimum: Optimum) -> str:
    """All points with their levels and goals."""
    shown = _some(optimum.shown)
    goals = [_goal_scale(goal, shown) for goal in optimum.goals]
    scales = [*(_factor_scale(factor) for factor in optimum.factors), *(scale for scale, _ in goals)]
    threads = [
        Thread(
            (
                *(_place(factor, one) for factor in optimum.factors),
                *(axis.share(one.figures[goal.response].mean) for goal, (_, axis) in zip(optimum.goals, goals, strict=True)),
            ),
            f"{one.role} {STYLES[one.role]}",
            told(optimum, one),
            SHAPES[one.role],
            one.role != "rest",
        )
        for one in shown
    ]
    named = ", ".join(scale.name for scale in scales)
    return parallel(scales, threads, f"Parallel coordinates of {len(shown)} points over {named}.")


def told(optimum: Optimum, one: Seen) -> str:
    """A point in words."""
    levels = ", ".join(f"{factor.name} {written(factor, one)}" for factor in optimum.factors if factor.name not in one.idle)
    figures = ", ".join(
        f"{asked.response} {quantity(figure.mean, asked.unit)}"
        + (f" ({interval(*figure.ci95, asked.unit)})" if figure.ci95 else "")
        for asked in optimum.asked
        if (figure := one.figures.get(asked.response)) is not None
    )
    runs = ", ".join(f"{count} × {fidelity}" for fidelity, count in one.runs.items() if count)
    return f"Point {one.number}, {CALLED[one.role]}: {levels}. {figures}. Seen {runs}."


def written(factor: Factor, one: Seen) -> str:
    """The level of a factor at a point, to three digits where it is from a range."""
    level = one.levels[factor.name]
    if factor.range is None or factor.range.whole:
        return cell(level)
    return f"{plain(factor.range.number(level))}{factor.range.unit}"


def _pair(optimum: Optimum, across: Asked, up: Asked) -> str:
    shown = _some(optimum.shown)
    axes = [_axis(goal, shown) for goal in (across, up)]
    plot = Plot(*axes, width=420, height=320)
    edge = [one for one in shown if not one.beaten]
    _staircase(plot, across, up, edge)
    for one in shown:
        x, y = (one.figures[goal.response] for goal in (across, up))
        style, strong = STYLES[one.role], one.role != "rest"
        if strong and x.ci95:
            plot.across(*x.ci95, y.mean, style)
        if strong and y.ci95:
            plot.whisker(x.mean, *y.ci95, style)
        plot.dot(x.mean, y.mean, _filled(optimum, one), told(optimum, one), shape=SHAPES[one.role], size=4.5 if strong else 3)
    for role, word in (("default", "default"), ("best", "recommended")):
        for one in (one for one in shown if one.role == role):
            plot.note(one.figures[across.response].mean, one.figures[up.response].mean, word, below=role == "default")
    said = f"{up.response} over {across.response}: {len(edge)} of {len(optimum.points)} points on the front."
    return plot.svg(said)


def _filled(optimum: Optimum, one: Seen) -> str:
    """A mark's classes: hollow where the point was not seen at the fidelity that counts."""
    return STYLES[one.role] + ("" if one.fidelity == optimum.highest else " hollow")


def _staircase(plot: Plot, across: Asked, up: Asked, edge: Sequence[Seen]) -> None:
    """What the points of the front leave to none: steps from one to the next, on the side of the worse."""
    ways = [1.0 if goal.minimize else -1.0 for goal in (across, up)]
    places = sorted(
        ((one.figures[across.response].mean, one.figures[up.response].mean) for one in edge), key=lambda at: ways[0] * at[0]
    )
    path: list[tuple[float, float]] = []
    for x, y in places:
        if path and ways[1] * y >= ways[1] * path[-1][1]:
            continue
        path += [(x, path[-1][1]), (x, y)] if path else [(x, y)]
    if len(path) > 1:
        plot.line(path, "p-edge")


def _single(optimum: Optimum, goal: Asked) -> str:
    shown = _some(optimum.shown)
    y = _axis(goal, shown)
    plot = Plot(numbers([float(one.number) for one in shown], "point, in the order of asking", ""), y, width=560, height=300)
    for one in shown:
        figure = one.figures[goal.response]
        if figure.ci95 and one.role != "rest":
            plot.whisker(one.number, *figure.ci95, STYLES[one.role])
        size = 3.0 if one.role == "rest" else 4.5
        plot.dot(one.number, figure.mean, _filled(optimum, one), told(optimum, one), shape=SHAPES[one.role], size=size)
        if one.role in ("best", "default"):
            plot.note(one.number, figure.mean, "recommended" if one.role == "best" else "default", below=one.role == "best")
    return plot.svg(f"{goal.response} of {len(shown)} points.")


def _axis(goal: Asked, shown: Sequence[Seen]) -> Axis:
    """An axis for the means, and for no more of intervals than leaves the means apart."""
    means = [one.figures[goal.response].mean for one in shown]
    ends = [end for one in shown if one.role != "rest" for end in one.figures[goal.response].ci95 or ()]
    room = 0.4 * (max(means) - min(means))
    return numbers([*means, *(min(max(means) + room, max(min(means) - room, end)) for end in ends)], goal.response, goal.unit)


def _some(points: Sequence[Seen]) -> list[Seen]:
    """No more than can be drawn: of points without a role those that come first."""
    spare = len(points) - MOST_POINTS
    if spare <= 0:
        return list(points)
    rest = [one for one in points if one.role == "rest"][: -spare or None]
    return [*rest, *(one for one in points if one.role != "rest")]


def _factor_scale(factor: Factor) -> Scale:
    if factor.range is None:
        levels = [cell(level) for level in factor.levels]
        step = -(-len(levels) // MOST_NAMED)
        return Scale(factor.name, tuple((_slot(i, len(levels)), level) for i, level in enumerate(levels) if i % step == 0))
    return Scale(
        factor.name, tuple((factor.range.place(value), f"{plain(value)}{factor.range.unit}") for value in _round(factor.range))
    )


def _round(found: Range) -> list[float]:
    """Round numbers to write at the axis of a range."""
    if not found.log:
        return nice(found.low, found.high, 5)
    powers = range(math.floor(math.log10(found.low)), math.ceil(math.log10(found.high)) + 1)
    most = math.log10(found.high / found.low)
    digits = (1,) if most > 3 else (1, 3) if most > 1.9 else (1, 2, 5)
    ticks = [float(f"{digit * 10.0**power:.12g}") for power in powers for digit in digits]
    return [tick for tick in ticks if found.low * 0.999 <= tick <= found.high * 1.001]


def _place(factor: Factor, one: Seen) -> float | None:
    if factor.name in one.idle:
        return None
    level = one.levels[factor.name]
    if factor.range is not None:
        return factor.range.place(level)
    return _slot([cell(each) for each in factor.levels].index(cell(level)), len(factor.levels))


def _slot(index: int, count: int) -> float:
    return index / (count - 1) if count > 1 else 0.5


class _Turned:
    """An axis of which the better end is at the top."""

    def __init__(self, axis: Axis, minimize: bool) -> None:
        self._axis, self._minimize = axis, minimize

    def share(self, value: float) -> float:
        """Where a value lies, 1 at the better end."""
        share = self._axis.share(value)
        return 1 - share if self._minimize else share


def _goal_scale(goal: Asked, shown: Sequence[Seen]) -> tuple[Scale, _Turned]:
    means = [one.figures[goal.response].mean for one in shown] or [0.0]
    axis = numbers(means, goal.response, goal.unit)
    turned = _Turned(axis, bool(goal.minimize))
    scale, unit = scaled(max(map(abs, means)), goal.unit)
    ticks = [
        (turned.share(tick * scale), f"{plain(tick, 4)} {unit}".strip()) for tick in nice(axis.low / scale, axis.high / scale, 5)
    ]
    return Scale(goal.response, tuple(ticks), True), turned
