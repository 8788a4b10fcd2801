"""Parallel coordinates: an axis for each factor and each goal, a line for each point (Inselberg, The Visual Computer 1, 1985)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estran.report.markup import tag, text
from estran.report.plots import cut, outline

HEIGHT, TOP, BOTTOM, SIDE = 300.0, 40.0, 14.0, 46.0
APART = 132.0
"""Between two axes."""
_NAME, _TICK = 19, 11
"""Letters of an axis' name, and of what stands at its ticks."""


@dataclass(frozen=True)
class Scale:
    """One axis.

    Attributes
    ----------
    ticks
        Where something is written, from 0 at the bottom to 1, and what.
    goal
        Whether it shows a goal, in which case the better end is at the top.
    """

    name: str
    ticks: tuple[tuple[float, str], ...]
    goal: bool = False


@dataclass(frozen=True)
class Thread:
    """A point's line.

    Attributes
    ----------
    places
        On each axis, from 0 to 1; None where the factor does not count at the point: the line passes the axis without a mark.
    style
        Classes; of several ones the first says what it is: ``front``, ``default``, ``best`` or ``rest``.
    shape
        Of its marks.
    """

    places: tuple[float | None, ...]
    style: str
    said: str
    shape: int = 0
    reachable: bool = False


def parallel(scales: Sequence[Scale], threads: Sequence[Thread], said: str) -> str:
    """The picture; later lines lie over earlier ones. The keyboard comes to those that are ``reachable``."""
    width = 2 * SIDE + APART * (len(scales) - 1) + 30
    drawn = "".join(_thread(thread) for thread in threads)
    axes = "".join(_axis(place, scale) for place, scale in enumerate(scales))
    picture = tag(
        "svg",
        drawn + axes,
        class_="plot parallel",
        role="group",
        aria_label=said,
        viewBox=f"0 0 {width:.0f} {HEIGHT:.0f}",
        width=f"{width:.0f}",
    )
    return tag("div", picture, class_="scroll", tabindex="0", role="region", aria_label="parallel coordinates")


def _across(place: int) -> float:
    return SIDE + APART * place


def _up(share: float) -> float:
    return HEIGHT - BOTTOM - min(1.0, max(0.0, share)) * (HEIGHT - BOTTOM - TOP)


def _axis(place: int, scale: Scale) -> str:
    x = _across(place)
    drawn = f'<path class="p-axis" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
    drawn += tag("text", text(cut(scale.name, _NAME)), x=f"{x:.1f}", y="16", class_="p-title", text_anchor="middle")
    if scale.goal:
        drawn += tag("text", "▲ better", x=f"{x:.1f}", y="30", class_="p-tick", text_anchor="middle")
    for share, name in scale.ticks:
        y = _up(share)
        drawn += f'<path class="p-axis" d="M{x - 3:.1f} {y:.1f}h6"/>'
        drawn += tag("text", text(cut(name, _TICK)), x=f"{x + 7:.1f}", y=f"{y + 4:.1f}", class_="p-tick p-over")
    return drawn


def _thread(thread: Thread) -> str:
    at = [(_across(i), _up(share)) for i, share in enumerate(thread.places) if share is not None]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    marks = "".join(f'<path class="p-dot" d="{outline(x, y, thread.shape, 3.2)}"/>' for x, y in at)
    attributes = {"tabindex": "0", "role": "img", "aria_label": thread.said} if thread.reachable else {}
    line = f'<path class="p-line" d="M{path}"/>'
    wide = f'<path class="p-catch" d="M{path}"/>' if thread.reachable else ""
    return tag("g", tag("title", text(thread.said)), line, wide, marks, class_=f"thread {thread.style}", **attributes)
