"""Static charts as SVG: axes with round ticks, points with intervals, lines, bands. Every mark says in a tooltip what it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from estran.report.markup import tag, text
from estran.report.wording import plain, scaled

WIDTH, HEIGHT = 360.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 46.0
LINES = 6
"""Lines that can be told apart by colour, dash and shape."""
_LETTER = 6.6
_NAMED = 8
"""Levels that are named on an axis; of more, round numbers are."""


@dataclass(frozen=True)
class Axis:
    """From values to places on one side of a chart.

    Attributes
    ----------
    low, high
        Values at its ends; ``log`` ones are positive.
    ticks
        Values and what is written there.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    title: str
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between the ends, from 0 to 1; what lies beyond is put on the end."""
        low, high, at = (map(math.log, (self.low, self.high, max(value, self.low)))) if self.log else (self.low, self.high, value)
        return min(1.0, max(0.0, (at - low) / (high - low)))


def numbers(values: Iterable[float], name: str, unit: str, *, zero: bool = False, most: int = 5) -> Axis:
    """An axis with round ticks in the scale that suits the largest value."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        spread = abs(high) * 0.05 or 1.0
        low, high = low - spread, high + spread
    room = 0.06 * (high - low)
    low, high = (low if zero and low == 0 else low - room), high + room
    scale, shown = scaled(max(abs(low), abs(high)), unit)
    title = f"{name} ({shown})" if shown else name
    return Axis(low, high, tuple((tick * scale, _written(tick)) for tick in nice(low / scale, high / scale, most)), title)


def nice(low: float, high: float, most: int) -> list[float]:
    """At the most so many round values between two others: multiples of 1, 2, 2.5 or 5 times a power of ten.

    Examples
    --------
    >>> nice(0.3, 9.7, 5), nice(-1.0, 1.0, 5)
    ([2.0, 4.0, 6.0, 8.0], [-1.0, -0.5, 0.0, 0.5, 1.0])
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (power * factor for factor in (1, 2, 2.5, 5, 10, 20, 25, 50))
    step = next(step for step in steps if math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) < most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def levels(places: Sequence[float], names: Sequence[str], title: str, unit: str = "") -> Axis:
    """An axis with a tick at each level of a factor; of logarithms where they span powers of ten. Not all names may fit."""
    low, high = min(places), max(places)
    log = len(names) <= _NAMED and low > 0 and high / low >= 50
    if low == high:
        low, high = low - 0.5, high + 0.5
    room = (high / low) ** 0.07 if log else 0.07 * (high - low)
    axis = Axis(low / room, high * room, (), title, True) if log else Axis(low - room, high + room, (), title)
    if len(names) > _NAMED:
        round_ones = nice(axis.low, axis.high, 5)
        return Axis(axis.low, axis.high, tuple((tick, f"{_written(tick)}{unit}") for tick in round_ones), title)
    kept: list[tuple[float, str]] = []
    end = -LEFT
    inside = WIDTH - LEFT - RIGHT
    for place, name in sorted(zip(places, names, strict=True)):
        label = cut(name, 12)
        half = len(label) * _LETTER / 2
        if (at := axis.share(place) * inside) - half > end:
            kept.append((place, label))
            end = at + half + 4
    return Axis(axis.low, axis.high, tuple(kept), title, log)


def slots(names: Sequence[str], title: str) -> Axis:
    """An axis with a place for each of some things without order."""
    most = max(3, int((WIDTH - LEFT - RIGHT) / len(names) / _LETTER))
    every = math.ceil(len(names) * 3 * _LETTER / (WIDTH - LEFT - RIGHT))  # of very many only some are named
    ticks = tuple((float(i), cut(name, most * every)) for i, name in enumerate(names) if i % every == 0)
    return Axis(-0.5, len(names) - 0.5, ticks, title)


def _written(tick: float) -> str:
    return plain(tick, 4)


class Plot:
    """A chart to draw in; marks lie over each other in the order in which they are drawn."""

    def __init__(self, x: Axis, y: Axis, *, width: float = WIDTH, height: float = HEIGHT) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self._drawn: list[str] = []
        self._bottom = height - BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where values lie in the picture."""
        across = LEFT + self.x.share(x) * (self.width - LEFT - RIGHT)
        return across, self._bottom - self.y.share(y) * (self._bottom - TOP)

    def line(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """Straight from point to point."""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (self.at(*point) for point in points))
        self._drawn.append(f'<path class="p-line {style}" d="M{path}"/>')

    def steps(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """Across at the height of one point to the next, then up."""
        placed = [self.at(*point) for point in points]
        path = f"M{placed[0][0]:.1f} {placed[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in placed[1:])
        self._drawn.append(f'<path class="p-line {style}" d="{path}"/>')

    def band(self, points: Sequence[tuple[float, float, float]], style: str) -> None:
        """Between two heights at each place."""
        path = [self.at(x, low) for x, low, _ in points] + [self.at(x, high) for x, _, high in reversed(points)]
        self._drawn.append(f'<path class="p-band {style}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in path)}Z"/>')

    def whisker(self, x: float, low: float, high: float, style: str, *, shift: float = 0.0) -> None:
        """An interval of heights."""
        (place, bottom), (_, top) = self.at(x, low), self.at(x, high)
        place += shift
        path = f"M{place:.1f} {bottom:.1f}V{top:.1f}M{place - 3:.1f} {bottom:.1f}h6M{place - 3:.1f} {top:.1f}h6"
        self._drawn.append(f'<path class="p-whisker {style}" d="{path}"/>')

    def across(self, low: float, high: float, y: float, style: str) -> None:
        """An interval of places."""
        (left, height), (right, _) = self.at(low, y), self.at(high, y)
        path = f"M{left:.1f} {height:.1f}H{right:.1f}M{left:.1f} {height - 3:.1f}v6M{right:.1f} {height - 3:.1f}v6"
        self._drawn.append(f'<path class="p-whisker {style}" d="{path}"/>')

    def dot(self, x: float, y: float, style: str, said: str = "", *, shape: int = 0, shift: float = 0.0, size: float = 4.0) -> None:
        """A mark in one of six shapes."""
        place, height = self.at(x, y)
        title = tag("title", text(said)) if said else ""
        self._drawn.append(f'<path class="p-dot {style}" d="{outline(place + shift, height, shape, size)}">{title}</path>')

    def note(self, x: float, y: float, said: str, *, below: bool = False) -> None:
        """A word beside a point, above it or below; to the left of it where it would run out of the picture."""
        place, height = self.at(x, y)
        over = place + 8 + len(said) * _LETTER > self.width
        anchor = "end" if over else None
        self._drawn.append(
            tag(
                "text",
                text(said),
                x=f"{place - 7 if over else place + 7:.1f}",
                y=f"{height + 15 if below else max(TOP + 8, height - 6):.1f}",
                class_="p-note",
                text_anchor=anchor,
            )
        )

    def guide(self, *, x: float | None = None, y: float | None = None) -> None:
        """A dashed line across the picture, if its value lies in it."""
        if y is not None and self.y.low <= y <= self.y.high:
            height = self.at(self.x.low, y)[1]
            self._drawn.append(f'<path class="p-guide" d="M{LEFT} {height:.1f}H{self.width - RIGHT}"/>')
        if x is not None and self.x.low <= x <= self.x.high:
            place = self.at(x, self.y.low)[0]
            self._drawn.append(f'<path class="p-guide" d="M{place:.1f} {TOP}V{self._bottom}"/>')

    def svg(self, said: str) -> str:
        """The picture; ``said`` tells those who cannot see it what it shows."""
        middle, half = (LEFT + self.width - RIGHT) / 2, (TOP + self._bottom) / 2
        titles = _label(middle, self.height - 6, cut(self.x.title, 48), "p-title", "middle") + tag(
            "text",
            text(cut(self.y.title, 30)),
            class_="p-title",
            text_anchor="middle",
            transform=f"translate(11 {half:.1f}) rotate(-90)",
        )
        return tag(
            "svg",
            self._grid() + "".join(self._drawn) + titles,
            class_="plot",
            role="img",
            aria_label=said,
            viewBox=f"0 0 {self.width:.0f} {self.height:.0f}",
        )

    def _grid(self) -> str:
        drawn = ""
        for value, name in self.y.ticks:
            height = self.at(self.x.low, value)[1]
            drawn += f'<path class="p-grid" d="M{LEFT} {height:.1f}H{self.width - RIGHT}"/>'
            drawn += _label(LEFT - 6, height + 4, name, "p-tick", "end")
        for value, name in self.x.ticks:
            place = self.at(value, self.y.low)[0]
            drawn += f'<path class="p-grid" d="M{place:.1f} {self._bottom}v4"/>'
            half = len(name) * _LETTER / 2
            anchor = "end" if place + half > self.width else "middle"
            drawn += _label(
                min(place + half if anchor == "end" else place, self.width - 1), self._bottom + 17, name, "p-tick", anchor
            )
        return drawn + f'<path class="p-axis" d="M{LEFT} {self._bottom}H{self.width - RIGHT}"/>'


def outline(x: float, y: float, shape: int, size: float) -> str:
    """A path of one of six shapes round a point."""
    s = size
    shapes = (
        f"M{x - s:.1f} {y:.1f}a{s} {s} 0 1 0 {2 * s} 0a{s} {s} 0 1 0 {-2 * s} 0Z",
        f"M{x - s:.1f} {y - s:.1f}h{2 * s}v{2 * s}h{-2 * s}Z",
        f"M{x:.1f} {y - s * 1.3:.1f}l{s * 1.2:.1f} {s * 2.2:.1f}h{-s * 2.4:.1f}Z",
        f"M{x:.1f} {y - s * 1.4:.1f}l{s * 1.4:.1f} {s * 1.4:.1f}l{-s * 1.4:.1f} {s * 1.4:.1f}l{-s * 1.4:.1f} {-s * 1.4:.1f}Z",
        f"M{x:.1f} {y + s * 1.3:.1f}l{s * 1.2:.1f} {-s * 2.2:.1f}h{-s * 2.4:.1f}Z",
        f"M{x - s:.1f} {y - s / 3:.1f}h{2 * s}v{s / 1.5:.1f}h{-2 * s}Z",
    )
    return shapes[shape % len(shapes)]


def line_style(number: int) -> str:
    """Classes that tell one line from others by colour and dash."""
    return f"layer-{number % LINES} dash-{number % LINES}"


def key(names: Sequence[str]) -> str:
    """What stands for which line, in the order of `line_style`."""
    items = []
    for i, name in enumerate(names):
        mark = f'<path class="p-line" d="M0 7H30"/><path class="p-dot" d="{outline(15, 7, i, 3.5)}"/>'
        items.append(
            tag("li", tag("svg", mark, class_=f"sample {line_style(i)}", viewBox="0 0 30 14", aria_hidden="true"), text(name))
        )
    return tag("ul", *items, class_="key")


def cut(shown: str, most: int) -> str:
    """Text that is no longer than so many letters."""
    return shown if len(shown) <= most else shown[: max(1, most - 1)] + "…"


def _label(x: float, y: float, shown: str, style: str, anchor: str) -> str:
    return tag("text", text(shown), x=f"{x:.1f}", y=f"{y:.1f}", class_=style, text_anchor=anchor)
