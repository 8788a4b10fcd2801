"""Tables of an optimisation's page: points, fidelities, trials."""

from __future__ import annotations

from collections.abc import Sequence

from estran.report.markup import table, tag, text, wrapped
from estran.report.optimum.charts import written
from estran.report.optimum.view import Asked, Optimum, Role, Seen
from estran.report.wording import NONE, count, interval, quantity
from estran.study.factors import Factor

MOST_TRIALS = 300
MOST_POINTS = 40
_ROLE: dict[Role, str] = {"best": "recommended", "default": "default", "front": "front", "rest": ""}


def points(optimum: Optimum, shown: Sequence[Seen]) -> str:
    """Points with their levels, figures, how sure their place is, and what they cost."""
    factors = [factor.name for factor in optimum.factors]
    limited = any(one.limit for one in optimum.asked)
    heads = ["point", *(_head(asked) for asked in optimum.asked)]
    heads += [optimum.ahead, *(["keeps limits"] if limited else []), *factors, "seen at", "runs cost"]
    rows = [
        [
            text(f"{one.number} {_ROLE[one.role]}" + (", front" if one.role == "default" and not one.beaten else "")),
            *(text(figure(one, asked)) for asked in optimum.asked),
            text(chance(one.on_front)),
            *([text(chance(one.feasible))] if limited else []),
            *(wrapped(level(one, factor)) for factor in optimum.factors),
            tag("span", text(seen_at(one)), class_="whole"),
            text(quantity(one.seconds, "s")),
        ]
        for one in shown[:MOST_POINTS]
    ]
    left = len(shown) - MOST_POINTS
    more = tag("p", text(f"And {count(left, 'point')} more: trials.csv has all."), class_="muted") if left > 0 else ""
    numeric = {*range(1, len(heads) - len(factors) - 2), len(heads) - 1}
    return table(heads, rows, numeric=frozenset(numeric), caption="Points") + more


def fidelities(optimum: Optimum) -> str:
    """What was spent at each fidelity."""
    whole = sum(one.seconds for one in optimum.spent) or 1.0
    rows = [
        [
            text(one.fidelity),
            text(f"{one.runs:,}"),
            text(f"{one.points:,}"),
            text(", ".join(_losses(one.failed, one.pruned)) or "none"),
            text(quantity(one.seconds, "s")),
            text(f"{100 * one.seconds / whole:.0f} %"),
            text(quantity(one.each, "s")),
            wrapped(one.trust),
        ]
        for one in optimum.spent
    ]
    heads = ["fidelity", "runs done", "points", "failed or ended early", "time of runs", "share", "each", "how far it is trusted"]
    return table(heads, rows, numeric=frozenset({1, 2, 4, 5, 6}), caption="Fidelities")


def trials(optimum: Optimum) -> str:
    """Every trial, the newest first."""
    rows = [
        [
            text(one.number),
            text(one.point),
            text(one.fidelity),
            text(one.status),
            *(text(quantity(one.figures.get(asked.response), asked.unit)) for asked in optimum.asked),
            text(quantity(one.seconds, "s")),
            wrapped(": ".join(part for part in (one.what, one.failure or one.why) if part)),
        ]
        for one in reversed(optimum.trials[-MOST_TRIALS:])
    ]
    heads = ["trial", "point", "fidelity", "status", *(asked.response for asked in optimum.asked), "took", "why this run"]
    numeric = frozenset({0, 1, *range(4, len(heads) - 1)})
    left = len(optimum.trials) - MOST_TRIALS
    more = tag("p", text(f"And {count(left, 'trial')} before: trials.csv has all."), class_="muted") if left > 0 else ""
    return table(heads, rows, numeric=numeric, caption="Trials") + more


def figure(one: Seen, asked: Asked) -> str:
    """A mean with its interval."""
    found = one.figures.get(asked.response)
    if found is None:
        return NONE
    return quantity(found.mean, asked.unit) + (f" ({interval(*found.ci95, asked.unit)})" if found.ci95 else "")


def level(one: Seen, factor: Factor) -> str:
    """A factor's level; in brackets where it does not count."""
    shown = written(factor, one)
    return f"({shown})" if factor.name in one.idle else shown


def seen_at(one: Seen) -> str:
    """Fidelities with their runs: ``emulate × 3, simulate × 1``."""
    return ", ".join(f"{fidelity} × {runs}" for fidelity, runs in [*one.runs.items()][::-1] if runs) or NONE


def chance(share: float | None) -> str:
    """A probability."""
    return NONE if share is None else "> 99 %" if share > 0.99 else "< 1 %" if share < 0.01 else f"{100 * share:.0f} %"


def _head(asked: Asked) -> str:
    way = "" if asked.minimize is None else " ↓" if asked.minimize else " ↑"
    return asked.response + way


def _losses(failed: int, pruned: int) -> list[str]:
    return [f"{number} {word}" for number, word in ((failed, "failed"), (pruned, "ended early")) if number]
