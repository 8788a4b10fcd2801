"""What a notebook shows of an experiment, a run, a study or an optimisation: parts of a page that has colours of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import numpy as np

from estran.explain.explanation import Explanation
from estran.explain.indices import Indices
from estran.explain.table import SHOWN, Table
from estran.observe.intervals import possible, student
from estran.optimize.answer import Answer
from estran.report import drawing
from estran.report.explaining import answer, told
from estran.report.folder import Response, RunFolder, gathered
from estran.report.markup import table, tag, text
from estran.report.topology import arrange
from estran.report.verdict import cause, ordered
from estran.report.wording import NONE, count, interval, quantity
from estran.study.rows import cell

MOST_POINTS: Final = 30
MOST_RESPONSES: Final = 20
_FEW: Final = (12.706, 4.303, 3.182, 2.776, 2.571)
"""Student's t for a 95 % interval with 1 to 5 degrees of freedom."""


def experiment(
    name: str, title: str, levels: Mapping[str, Sequence[Any]], chosen: Mapping[str, Any], plan: Mapping[str, Any]
) -> str:
    """An experiment: its hosts and streams, and its factors with the level in force.

    Parameters
    ----------
    levels, chosen
        Of each factor, its levels, and the one in force.
    plan
        As JSON, see `estran.run.prepare.plain_plan`; empty where there are too many hosts to plan one by one.
    """
    found = gathered(Path(), {"run": {"experiment": name}, "plan": plan})
    rows = [[text(factor), text(cell(chosen[factor])), text(", ".join(map(cell, of)))] for factor, of in levels.items()]
    factors = table(["factor", "level", "levels"], rows) if rows else ""
    return _whole(_head(None, name, title), _topology(found), factors)


def run(found: RunFolder) -> str:
    """A run: its hosts and streams, and its responses with their intervals; or why it failed."""
    facts = [str(found.run.get("id", "")), str(found.run.get("platform", "")), f"seed {found.run.get('seed', '?')}"]
    facts += [f"{name}={cell(level)}" for name, level in found.factors.items()]
    main = [one for one in ordered(found.responses.values()) if "@" not in one.name]
    left = len(found.responses) - len(main[:MOST_RESPONSES])
    more = tag("p", text(f"And {count(left, 'response')} more in .responses."), class_="muted") if left else ""
    body = _responses(main[:MOST_RESPONSES]) + more if main else ""
    return _whole(_head(found.status, found.name, " · ".join(facts)), _failure(found), _topology(found), body)


def study(found: Table) -> str:
    """A study: its best-known responses at each point, with intervals over replicates."""
    asked, done = found.folder.asked, int(found.done.sum())
    failed = f", {found.runs - done} failed or to be made" if done < found.runs else ""
    said = f"{asked.design} on {asked.on} · {done} of {count(found.runs, 'run')} done{failed}"
    names = [name for name in SHOWN if name in found.responses] or sorted(found.responses)[:4]
    rows = []
    for point in np.unique(found.points)[:MOST_POINTS]:
        inside = np.flatnonzero(found.points == point)
        levels = [found.levels[name][found.codes[name][inside[0]]] for name in found.levels]
        cells = [_spread([found.responses[name][i] for i in inside if found.done[i]], found.units.get(name, "")) for name in names]
        rows.append([*map(text, levels), *map(text, cells)])
    left = len(np.unique(found.points)) - len(rows)
    more = tag("p", text(f"And {count(left, 'point')} more."), class_="muted") if left else ""
    body = table([*found.levels, *names], rows, caption="Means, with 95 % confidence intervals where there are replicates")
    return _whole(_head(None, asked.experiment, said), body, more)


def explained(found: Iterable[Explanation | Indices]) -> str:
    """What drives each response, in words and as a table."""
    return _whole(*(_explained(one) for one in found))


def optimum(found: Answer) -> str:
    """What an optimisation found: its sentence, and the points that no other beats."""
    shown = [one for one in found.candidates if one.on_front or one.point in (0, found.recommended)]
    factors = list(shown[0].levels) if shown else []
    rows = []
    for one in shown[:MOST_POINTS]:
        roles = [word for word, is_so in (("recommended", one.point == found.recommended), ("default", one.point == 0)) if is_so]
        figures = [_within(one.means[k], one.ci95[k], found.units[k]) for k in range(len(found.responses))]
        rows.append([text(", ".join(roles)), *(text(cell(one.levels[name])) for name in factors), *map(text, figures)])
    notes = tag("ul", *(tag("li", text(note)) for note in found.notes), class_="muted") if found.notes else ""
    body = table(["", *factors, *found.responses], rows, caption="Points that no other beats") if rows else ""
    return _whole(_head(None, found.experiment, f"optimised on {found.target}"), tag("p", text(found.sentence)), body, notes)


def _whole(*parts: str) -> str:
    return tag("div", f"<style>{_style()}</style>", *parts, class_="estran")


@cache
def _style() -> str:
    return files("estran.report").joinpath("assets/inline.css").read_text(encoding="utf-8").strip()


def _head(status: str | None, name: str, said: str) -> str:
    shown = tag("span", text(status), class_="status") if status is not None else ""
    return tag("p", shown, tag("strong", text(name)), " ", tag("span", text(said), class_="muted"))


def _topology(found: RunFolder) -> str:
    if not found.hosts:
        return ""
    failure = str((found.failure or {}).get("service") or "")
    return tag("div", drawing.draw(arrange(found), failed=frozenset({failure} - {""})), class_="scroll")


def _failure(found: RunFolder) -> str:
    if found.failure is None:
        return ""
    where = " · ".join(f"{name} {found.failure[name]}" for name in ("phase", "host", "service") if found.failure.get(name))
    what, points = cause(str(found.failure.get("what") or "no cause was recorded"))
    remedy = found.failure.get("remedy")
    return (
        tag("p", tag("strong", text(f"Failed in {where}: " if where else "Failed: ")), text(what))
        + (tag("ul", *(tag("li", text(point)) for point in points)) if points else "")
        + (tag("p", text(f"→ {remedy}")) if remedy else "")
    )


def _responses(found: Sequence[Response]) -> str:
    rows = [
        [
            text(one.name),
            text(quantity(one.value, one.unit, 4)),
            text(interval(one.low, one.high, one.unit)),
            text(NONE if one.n is None else f"{one.n:,}"),
        ]
        for one in found
    ]
    return table(["response", "value", "95 % confidence interval", "n"], rows, numeric=frozenset({1, 2, 3}))


def _explained(found: Explanation | Indices) -> str:
    title = tag("h4", text(f"{found.response} (mean {quantity(found.mean, found.unit)})"))
    if isinstance(found, Indices):
        return title + "".join(tag("p", text(one)) for one in told(found))
    rows = [
        [text(one.term), text(f"{one.share:.1%}"), text("< 0.001" if one.p_holm < 1e-3 else f"{one.p_holm:.3f}")]
        for one in found.effects
    ]
    evidence = table(["effect", "share of variance", "p (Holm)"], rows, numeric=frozenset({1, 2}))
    return title + "".join(tag("p", text(one)) for one in answer(found)) + evidence


def _spread(values: Sequence[float], unit: str) -> str:
    """The mean with its interval."""
    known = [float(value) for value in values if math.isfinite(value)]
    if len(known) < 2:
        return quantity(known[0], unit) if known else NONE
    freedom = len(known) - 1
    half = (_FEW[freedom - 1] if freedom <= len(_FEW) else student(freedom)) * stdev(known) / math.sqrt(len(known))
    return _within(mean(known), possible((mean(known) - half, mean(known) + half), mean(known), unit), unit)


def _within(value: float, ends: tuple[float, float] | None, unit: str) -> str:
    return quantity(value, unit) if ends is None else f"{quantity(value, unit)} ({interval(*ends, unit)})"
