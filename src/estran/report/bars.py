"""Stacked horizontal bars as SVG and a table behind them: where the time of a message went."""

from __future__ import annotations

from estran.report.markup import tag, text
from estran.report.stages import Leg, Stage
from estran.report.wording import quantity

PARTS = ("queueing", "transfer", "compute")
WIDTH, BAR = 1000.0, 20.0


def key() -> str:
    """The legend of the three parts."""
    words = {"queueing": "queueing (at the sender and at the receiver)", "transfer": "transfer", "compute": "compute"}
    return tag("ul", *(tag("li", f'<span class="swatch part-{part}"></span>', text(words[part])) for part in PARTS), class_="key")


def stacked(legs: list[Leg]) -> str:
    """One block per service and stream: its mean message and its slowest 1 % on a common scale."""
    scale = max((stage.total for leg in legs for stage in (leg.mean, leg.slowest)), default=0.0) or 1.0
    return tag("div", *(_block(leg, scale) for leg in legs), class_="bars")


def _block(leg: Leg, scale: float) -> str:
    heading = tag("h4", text(leg.service), tag("span", text(f" ← {leg.stream} · {leg.messages:,} messages"), class_="muted"))
    return tag("div", heading, _row("mean", leg.mean, scale), _row("slowest 1 %", leg.slowest, scale), class_="bar-block")


def _row(name: str, stage: Stage, scale: float) -> str:
    values = [max(0.0, getattr(stage, part)) for part in PARTS]
    said = ", ".join(f"{part} {quantity(value, 's')}" for part, value in zip(PARTS, values, strict=True))
    left, drawn = 0.0, ""
    for part, value in zip(PARTS, values, strict=True):
        width = value / scale * WIDTH
        drawn += f'<rect class="part-{part}" x="{left:.2f}" y="0" width="{max(0.0, width):.2f}" height="{BAR}"/>'
        left += width
    bar = (
        f'<svg class="bar" viewBox="0 0 {WIDTH:.0f} {BAR:.0f}" preserveAspectRatio="none" role="img" aria-label="{text(said)}">'
        f"{tag('title', text(said))}{drawn}</svg>"
    )
    return tag(
        "div",
        tag("span", text(name), class_="bar-name"),
        bar,
        tag("span", text(quantity(stage.total, "s")), class_="bar-total"),
        class_="bar-row",
    )
