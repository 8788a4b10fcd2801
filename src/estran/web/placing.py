"""Where the page's drawing of a deployment has its boxes, and which way its arrows go: each through its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from estran.report.topology import Box
from estran.web.drawing import Arrow, Drawing

APART: Final = 470.0
"""Pixels from the middle of a layer to the next one's: room for what is said of arrows."""
BOX, LANE = 214.0, 262.0
"""Widths of a box, and of the lane round it."""
HEAD, CHIP, BETWEEN = 56.0, 60.0, 22.0
ROW: Final = 52.0
"""From one label to the next one below it."""
SAID: Final = 62.0
"""Half of the level part of an arrow, on which its label stands."""
POINT: Final = 10.0
"""Length of an arrow's head."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A box's or a chip's place: its lane, its middle, and its extent from top to bottom."""

    lane: int
    x: float
    y: float
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Way:
    """What an arrow connects; those of one slot share a label, and the level part that it stands on."""

    identity: str
    source: str
    target: str
    slot: str


@dataclass(frozen=True, slots=True)
class Route:
    """A drawn way: the paths of its line and of its head, and its label's place."""

    line: str
    head: str
    x: float
    y: float
    anchor: str


class Placing:
    """A drawing in the plane.

    Attributes
    ----------
    spots
        Of boxes and chips, by identity.
    routes
        Of the planned arrows, by identity.
    """

    def __init__(self, drawing: Drawing) -> None:
        self._columns = [boxes for _, boxes in drawing.topology.lanes]
        self.tall = max((_height(boxes) for boxes in self._columns), default=0.0)
        self.spots = _spots(drawing, self._columns, self.tall)
        self._levels: dict[tuple[int, ...], list[float]] = {}
        self._ends: set[tuple[str, int, bool]] = set()
        self._lowest = 0.0
        self.routes = self.add(_ways(drawing.arrows))

    @property
    def width(self) -> float:
        """From the left edge of the first lane to what stands beside the last."""
        last = len(self._columns) - 1
        return last * APART + LANE / 2 + (APART - BOX / 2 if (last, last + 1) in self._levels else LANE / 2)

    @property
    def bottom(self) -> float:
        """Lower edge of all boxes and labels."""
        return max([self.tall, *(level + ROW / 2 for levels in self._levels.values() for level in levels)])

    @property
    def top(self) -> float:
        """Upper edge of them."""
        return min([0.0, *(level - ROW / 2 for levels in self._levels.values() for level in levels)])

    def add(self, ways: Iterable[Way]) -> dict[str, Route]:
        """Find the way of further arrows, round the labels of those that there are already."""
        wanted = list(ways)
        for way in wanted:
            self._ends |= {(way.source, self._side(way, True), True), (way.target, self._side(way, False), False)}
        levels = self._place(wanted)
        return {way.identity: self._route(way, levels[way.slot], turn) for turn, way in enumerate(wanted)}

    def _place(self, ways: Sequence[Way]) -> dict[str, float]:
        """The height of each slot: no two labels in the same gap between lanes lie on each other."""
        gaps: dict[tuple[int, ...], dict[str, list[float]]] = {}
        for way in ways:
            middle = (self.spots[way.source].y + self.spots[way.target].y) / 2
            gaps.setdefault(self._gap(way), {}).setdefault(way.slot, []).append(middle)
        found: dict[str, float] = {}
        for gap, slots in sorted(gaps.items(), key=lambda one: one[0][1] - one[0][0]):
            taken = self._levels.setdefault(gap, [])
            middles = sorted((fmean(middles), slot) for slot, middles in slots.items())
            if gap[1] - gap[0] > 1:
                floor = (self.tall + max(_height(boxes) for boxes in self._columns[gap[0] + 1 : gap[1]])) / 2
                self._lowest = max(self._lowest, floor + ROW / 2)
                levels = [self._lowest + ROW * i for i in range(len(middles))]
                self._lowest = levels[-1] + ROW
            elif taken:
                levels = _between([middle for middle, _ in middles], taken)
            else:
                levels = _spread([middle for middle, _ in middles])
            found |= {slot: level for level, (_, slot) in zip(levels, middles, strict=True)}
            taken.extend(levels)
        return found

    def _gap(self, way: Way) -> tuple[int, int]:
        """The lanes between which a label stands: of an arrow within a lane, right of that."""
        first, last = sorted((self.spots[way.source].lane, self.spots[way.target].lane))
        return (first, max(last, first + 1))

    def _side(self, way: Way, out: bool) -> int:
        """On which side of its box an arrow begins or ends: 1 is right."""
        start, end = self.spots[way.source].lane, self.spots[way.target].lane
        return 1 if start == end or (end > start) == out else -1

    def _end(self, way: Way, out: bool) -> tuple[float, float]:
        """Where an arrow begins or ends; apart from those of the other direction."""
        node, side = (way.source if out else way.target), self._side(way, out)
        spot = self.spots[node]
        aside = 8.0 if (node, side, not out) in self._ends else 0.0
        return spot.x + side * BOX / 2, spot.y + (-aside if out else aside)

    def _route(self, way: Way, level: float, turn: int) -> Route:
        (x1, y1), (x2, y2) = self._end(way, True), self._end(way, False)
        start, end = self.spots[way.source], self.spots[way.target]
        if start.lane == end.lane:
            far = x1 + 34.0 + 14.0 * (turn % 3)
            line = f"M{_at(x1, y1)}C{_at(far, y1)} {_at(far, y1)} {_at(far, level)}S{_at(far, y2)} {_at(x2 + POINT, y2)}"
            return Route(line, _head(x2, y2, -1), far + 8.0, level, "start")
        to = 1 if end.lane > start.lane else -1
        middle = (x1 + x2) / 2
        if abs(end.lane - start.lane) == 1:
            first, last = middle - to * SAID, middle + to * SAID
        else:
            first, last = start.x + to * (APART - LANE / 2 - 6.0), end.x - to * (APART - LANE / 2 - 6.0)
        line = f"M{_at(x1, y1)}{_curve(x1, y1, first, level)}H{last:.1f}{_curve(last, level, x2 - to * POINT, y2)}"
        return Route(line, _head(x2, y2, to), middle, level, "middle")


def _ways(arrows: Sequence[Arrow]) -> list[Way]:
    """Arrows that have no label of their own pass through that of their stream."""
    told = {(arrow.stream, arrow.lanes): arrow.identity for arrow in arrows if arrow.told}
    return [
        Way(arrow.identity, arrow.source, arrow.target, arrow.identity if arrow.told else told[arrow.stream, arrow.lanes])
        for arrow in arrows
    ]


def _spots(drawing: Drawing, columns: Sequence[list[Box]], tall: float) -> dict[str, Spot]:
    named = {id(box): identity for identity, box in drawing.boxes}
    spots: dict[str, Spot] = {}
    for lane, boxes in enumerate(columns):
        top, x = (tall - _height(boxes)) / 2, lane * APART
        for box in boxes:
            identity, height = named[id(box)], _height([box])
            spots[identity] = Spot(lane, x, top + HEAD / 2, top, height)
            for index in range(len(box.chips)):
                begun = top + HEAD + index * CHIP
                spots[f"{identity}.{index}"] = Spot(lane, x, begun + (CHIP - 12.0) / 2, begun, CHIP - 12.0)
            top += height + BETWEEN
    return spots


def _height(boxes: Sequence[Box]) -> float:
    return sum(HEAD + len(box.chips) * CHIP for box in boxes) + BETWEEN * max(0, len(boxes) - 1)


def _spread(middles: Sequence[float]) -> list[float]:
    """Levels at least a row apart, on the average where they are wanted; ``middles`` ascend."""
    spread = [middles[0]]
    for middle in middles[1:]:
        spread.append(max(middle, spread[-1] + ROW))
    back = fmean(spread) - fmean(middles)
    return [level - back for level in spread]


def _between(middles: Sequence[float], taken: Sequence[float]) -> list[float]:
    """For each the free level next to where it is wanted."""
    found: list[float] = []
    for middle in middles:
        used = [*taken, *found]
        near = [middle, *(level + side * ROW for level in used for side in (-1, 1))]
        free = [level for level in near if all(abs(level - other) >= ROW - 1e-6 for other in used)]
        found.append(min(free, key=lambda level, middle=middle: abs(level - middle)))  # type: ignore[misc]
    return found


def _at(x: float, y: float) -> str:
    return f"{x:.1f} {y:.1f}"


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = (x2 - x1) * 0.55
    return f"C{_at(x1 + bend, y1)} {_at(x2 - bend, y2)} {_at(x2, y2)}"


def _head(x: float, y: float, to: int) -> str:
    return f"M{_at(x, y)}L{_at(x - to * (POINT + 2), y - 6)}V{y + 6:.1f}Z"
