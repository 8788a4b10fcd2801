"""The trade-offs of a study: what no other setting beats, as pictures of two responses each, and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from estran.explain.pareto import Candidate, Front
from estran.report.markup import table, tag, text, wrapped
from estran.report.plots import Plot, cut, numbers
from estran.report.wording import count, interval, quantity

MOST_ROWS = 40
MOST_DRAWN = 400
"""Settings in a picture: those of the front, and of the others the nearest to it."""
_SIZE = (420.0, 320.0)


def levels(of: Mapping[str, str]) -> str:
    """A setting in words."""
    return ", ".join(f"{name} {level}" for name, level in of.items())


def pictures(front: Front) -> str:
    """A picture for each two responses, of which a list chooses one."""
    numbered = _numbered(front)
    pairs = list(combinations(range(len(front.responses)), 2))
    names = [f"{front.responses[one]} × {front.responses[other]}" for one, other in pairs]
    drawn = [
        tag(
            "figure",
            tag("h3", text(name)),
            _picture(front, one, other, numbered),
            data_of="front",
            data_name=name,
        )
        for name, (one, other) in zip(names, pairs, strict=True)
    ]
    options = "".join(tag("option", text(name), value=name) for name in names)
    chooser = tag("p", tag("label", "Responses: ", f'<select data-choose="front">{options}</select>'), hidden="hidden")
    return (chooser if len(pairs) > 1 else "") + tag("div", *drawn, class_="fronts")


def candidate_table(front: Front) -> str:
    """Settings with their means, those of the front first and with the numbers that they have in pictures."""
    numbered = _numbered(front)
    ranked = sorted(front.candidates, key=lambda one: (numbered.get(id(one), len(numbered) + 1), one.rank))
    factors = list(front.candidates[0].levels)
    rows = [
        [
            text(numbered.get(id(one), "")),
            *(wrapped(one.levels[name]) for name in factors),
            *(
                text(quantity(mean, unit) + (f" ({interval(*ends, unit)})" if ends else ""))
                for mean, unit, ends in zip(one.means, front.units, one.ci95, strict=True)
            ),
            text("" if one.confidence is None else f"{one.confidence:.0%}"),
        ]
        for one in ranked[:MOST_ROWS]
    ]
    heads = ["front", *factors, *front.responses, "on the front in"]
    shown = table(heads, rows, numeric=frozenset(range(1 + len(factors), len(heads))))
    left = len(ranked) - MOST_ROWS
    return shown + (tag("p", text(f"And {count(left, 'setting')} more, all beaten by others."), class_="muted") if left > 0 else "")


def _numbered(front: Front) -> dict[int, int]:
    """Numbers of those on the front, in the order of the first response."""
    best = sorted((one for one in front.candidates if one.on_front), key=lambda one: one.means[0])
    return {id(one): number for number, one in enumerate(best, 1)}


def _picture(front: Front, i: int, j: int, numbered: Mapping[int, int]) -> str:
    drawn = sorted(front.candidates, key=lambda one: one.rank)[:MOST_DRAWN]
    best = [one for one in drawn if one.on_front]
    spans = [_span([one.means[k] for one in drawn], [end for one in best for end in one.ci95[k] or ()]) for k in (i, j)]
    axes = [numbers(span, front.responses[k], front.units[k]) for span, k in zip(spans, (i, j), strict=True)]
    plot = Plot(*axes, width=_SIZE[0], height=_SIZE[1])
    for one in drawn:
        if not one.on_front:
            plot.dot(one.means[i], one.means[j], "p-dim", _said(front, one), size=3)
    edge = _edge(front, i, j, drawn)
    if len(edge) > 1:
        plot.line([(one.means[i], one.means[j]) for one in edge], "p-edge")
    for one in best:
        (across, up) = one.ci95[i], one.ci95[j]
        if across:
            plot.across(*across, one.means[j], "layer-1")
        if up:
            plot.whisker(one.means[i], *up, "layer-1")
        plot.dot(one.means[i], one.means[j], "layer-1", _said(front, one), size=4.5)
    taken: list[tuple[float, float]] = []
    for one in best:
        place = plot.at(one.means[i], one.means[j])
        if all(abs(place[0] - x) > 14 or abs(place[1] - y) > 11 for x, y in taken):
            plot.note(one.means[i], one.means[j], str(numbered[id(one)]))
            taken.append(place)
    said = f"{front.responses[j]} over {front.responses[i]}: {len(best)} of {count(len(front.candidates), 'setting')} on the front."
    return plot.svg(said)


def _span(means: list[float], ends: list[float]) -> list[float]:
    """What an axis must hold: all means, and of intervals no more than leaves the means apart."""
    low, high = min(means), max(means)
    room = 0.4 * (high - low)
    return [low, high, *(min(high + room, max(low - room, end)) for end in ends)]


def _edge(front: Front, i: int, j: int, drawn: list[Candidate]) -> list[Candidate]:
    """Those that no other beats in these two responses alone, along the first."""
    signs = [-1.0 if front.higher_is_better[k] else 1.0 for k in (i, j)]
    found: list[Candidate] = []
    for one in sorted(drawn, key=lambda one: (signs[0] * one.means[i], signs[1] * one.means[j])):
        if not found or signs[1] * one.means[j] < signs[1] * found[-1].means[j]:
            found.append(one)
    return found


def _said(front: Front, one: Candidate) -> str:
    means = ", ".join(
        f"{name} {quantity(mean, unit)}" for name, mean, unit in zip(front.responses, one.means, front.units, strict=True)
    )
    return f"{cut(levels(one.levels), 160)}: {means}{_sure(one)}"


def _sure(one: Candidate) -> str:
    return "" if one.confidence is None else f"; on the front in {one.confidence:.0%} of resamples"
