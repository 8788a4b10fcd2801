"""Two runs or two studies beside each other: how far responses differ, and whether conclusions agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from estran.errors import RequestError
from estran.explain.better import higher_is_better
from estran.explain.effects import explain
from estran.explain.explanation import ALPHA, Explanation
from estran.explain.table import Table, read_table
from estran.observe.queries import open_run
from estran.study.verdicts import error

Verdict = Literal["better", "worse", "higher", "lower", "equivalent", "cannot tell"]
Bounds = tuple[float, float]


NOTABLE: Final = 0.05
"""A share of the variance, and a difference between two shares, that conclusions are compared by."""


@dataclass(frozen=True)
class Difference:
    """One response of B beside A.

    Attributes
    ----------
    a, b
        Means over what is compared.
    pairs
        Runs of both sides that had the same levels and the same block, and measured it; 1 for two runs.
    absolute_ci95
        Of B − A, and ``relative_ci95`` of B / A − 1; None where the spread is not known.
    equivalence
        p-value of the two one-sided tests that B / A − 1 lies outside the margin; None where the spread or the ratio is not known.
    needed
        Where it cannot be told: how many times as many runs (or how many times as long ones) would tell, four times of five, if
        means and spread stay as they are; None where that cannot be said.
    """

    response: str
    unit: str
    pairs: int
    a: float
    b: float
    absolute: float
    absolute_ci95: Bounds | None
    relative: float | None
    relative_ci95: Bounds | None
    verdict: Verdict
    equivalence: float | None = None
    needed: float | None = None


@dataclass(frozen=True)
class Conclusion:
    """What each side's factors do to one response: the terms that were found, with their shares, the largest first."""

    response: str
    a: Mapping[str, float]
    b: Mapping[str, float]

    @property
    def agree(self) -> bool:
        """Whether both find the terms that matter, and put those that are apart on both sides in the same order.

        Matter: a share of `NOTABLE` or more on either side. Apart: by as much.
        """
        terms = [term for term in {**self.a, **self.b} if max(self.a.get(term, 0.0), self.b.get(term, 0.0)) >= NOTABLE]
        if any(term not in self.a or term not in self.b for term in terms):
            return False
        apart = [(self.a[one] - self.a[other], self.b[one] - self.b[other]) for one, other in combinations(terms, 2)]
        return not any(min(abs(left), abs(right)) >= NOTABLE and left * right < 0 for left, right in apart)


@dataclass(frozen=True)
class Comparison:
    """All responses that both sides measured, and for two studies the conclusions.

    Attributes
    ----------
    margin
        Relative difference that counts as none.
    unmatched
        Runs of A and of B without a partner.
    """

    a: str
    b: str
    margin: float
    differences: tuple[Difference, ...]
    conclusions: tuple[Conclusion, ...]
    unmatched: tuple[int, int]


def compare(a: Path, b: Path, *, responses: tuple[str, ...] = (), margin: float = 0.05, seed: int = 0) -> Comparison:
    """Compare two run folders, or two folders of studies.

    Runs of studies are compared in pairs: those with the same levels and the same block, which share a seed if the studies began
    with the same. What a pair has in common cancels. Two single runs are compared by the intervals that each has of itself.

    Raises
    ------
    RequestError
        If the two are not of one kind, have no run in common, or no response.
    """
    if not margin > 0:
        raise RequestError(f"a margin of {margin:g} tolerates nothing", where="--margin", remedy="write --margin 5%")
    kinds = [_kind(path) for path in (a, b)]
    if kinds[0] != kinds[1]:
        raise RequestError(f"{a} is a {kinds[0]}, {b} a {kinds[1]}", where="compare", remedy="give two runs, or two studies")
    if kinds[0] == "run":
        differences, tables, unmatched = _runs(a, b, margin), None, (0, 0)
    else:
        tables = (read_table(a), read_table(b))
        differences, unmatched = _studies(*tables, margin)
    known = {difference.response for difference in differences}
    if absent := [name for name in responses if name not in known]:
        raise RequestError(f"not measured on both sides: {', '.join(absent)}", where="--response", remedy="leave it out")
    chosen = tuple(difference for difference in differences if not responses or difference.response in responses)
    if not chosen:
        raise RequestError("no response was measured on both sides", where="compare", remedy="see why: estran show RUN")
    conclusions = tuple(_conclusions(tables, [one.response for one in chosen], seed)) if tables else ()
    return Comparison(str(a), str(b), margin, chosen, conclusions, unmatched)


def _kind(path: Path) -> str:
    for name, kind in (("run.json", "run"), ("study.json", "study")):
        if (path / name).exists():
            return kind
    raise RequestError(
        "this is neither a run nor a study",
        where=str(path),
        remedy="give a folder with run.json or study.json; an optimisation has one for each fidelity",
    )


def _runs(a: Path, b: Path, margin: float) -> list[Difference]:
    left, right = open_run(a).responses, open_run(b).responses
    return [_of_runs(name, left[name], right[name], margin) for name in left if name in right]


def _of_runs(name: str, left: Mapping[str, Any], right: Mapping[str, Any], margin: float) -> Difference:
    a, b = float(left["value"]), float(right["value"])
    halves = [_half(left), _half(right)]
    absolute, relative = b - a, (b - a) / a if a else None
    ends, shares, tested = None, None, None
    if None not in halves:
        half = math.hypot(*(half for half in halves if half is not None))
        ends = (absolute - half, absolute + half)
        shares = None if not a else _ordered(ends[0] / a, ends[1] / a)
        spreads = [float(part) / _NORMAL for part in halves if part is not None]
        tested = _equivalence(a, b, lambda share: math.hypot(spreads[1], share * spreads[0]), margin, math.inf)
    judged = "equivalent" if a == b == 0 else verdict(name, ends, tested)  # of nothing no ratio can be tested
    needed = _needed(absolute, a, half / _NORMAL, margin) if judged == "cannot tell" and ends is not None else None
    return Difference(name, left["unit"], 1, a, b, absolute, ends, relative, shares, judged, tested, needed)


_NORMAL: Final = 1.959964


def _equivalence(a: float, b: float, spread: Callable[[float], float], margin: float, freedom: float) -> float | None:
    """The greater p-value of two one-sided tests, that B / A is at most 1 − margin and at least 1 + margin.

    Schuirmann, *A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence of average
    bioavailability*, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987; of a ratio of means, as Sasabuchi does, Biometrika
    67, 1980. Both are rejected at 5 % exactly if the 90 % interval (Fieller's, of pairs) lies within the margin.

    Parameters
    ----------
    spread
        Standard error of B − share × A.
    """
    from scipy.stats import norm, t

    if a == 0:
        return None
    worst = 0.0
    for side in (-1, 1):
        share = 1 + side * margin
        off, error = side * (share * a - b) * math.copysign(1, a), spread(share)
        if error == 0:
            worst = max(worst, 0.0 if off > 0 else 1.0)
        else:
            worst = max(worst, float(norm.sf(off / error) if math.isinf(freedom) else t.sf(off / error, freedom)))
    return worst


def _needed(absolute: float, a: float, error: float, margin: float) -> float | None:
    """How many times as much data would tell, with normal quantiles: that they differ, or are equivalent, whichever is less."""
    alike, apart = margin * abs(a) - abs(absolute), abs(absolute)
    factors = [(quantile * error / room) ** 2 for quantile, room in ((1.645 + 0.842, alike), (_NORMAL + 0.842, apart)) if room > 0]
    return max(1.0, min(factors)) if factors and error > 0 else None


def _half(response: Mapping[str, Any]) -> float | None:
    ends = response.get("ci95")
    return None if ends is None else (float(ends[1]) - float(ends[0])) / 2


def _studies(a: Table, b: Table, margin: float) -> tuple[list[Difference], tuple[int, int]]:
    shared = [name for name in a.levels if name in b.levels]
    places = [_keys(table, shared) for table in (a, b)]
    common = [key for key in places[0] if key in places[1]]
    if not shared or not common:
        remedy = "compare studies of the same factors and levels"
        raise RequestError("the two studies have no point in common", where="compare", remedy=remedy)
    rows = [np.array([side[key] for key in common]) for side in places]
    found = []
    for name in a.responses:
        if name in b.responses:
            left, right = a.responses[name][rows[0]], b.responses[name][rows[1]]
            both = a.done[rows[0]] & b.done[rows[1]] & np.isfinite(left) & np.isfinite(right)
            if both.any():
                found.append(_of_pairs(name, a.units.get(name, ""), left[both], right[both], margin))
    return found, (a.runs - len(common), b.runs - len(common))


def _keys(table: Table, names: list[str]) -> dict[tuple[Any, ...], int]:
    """Row of each combination of levels and block; of the first, where a factor that only one study has repeats it."""
    keys: dict[tuple[Any, ...], int] = {}
    for row in range(table.runs):
        keys.setdefault((*(table.levels[name][table.codes[name][row]] for name in names), int(table.blocks[row])), row)
    return keys


def _of_pairs(name: str, unit: str, left: Any, right: Any, margin: float) -> Difference:
    found = error(right.tolist(), left.tolist())
    ends, shares = found.absolute_ci95, found.relative_ci95
    n, a, b = len(left), float(left.mean()), float(right.mean())
    tested, needed = None, None
    if n > 1:
        tested = _equivalence(a, b, lambda share: float((right - share * left).std(ddof=1)) / math.sqrt(n), margin, n - 1)
    judged = verdict(name, ends, tested)
    if judged == "cannot tell" and n > 1:
        needed = _needed(b - a, a, float((right - left).std(ddof=1)) / math.sqrt(n), margin)
    return Difference(name, unit, n, a, b, found.absolute, ends, found.relative, shares, judged, tested, needed)


def verdict(name: str, absolute: Bounds | None, equivalence: float | None) -> Verdict:
    """*Equivalent* if both one-sided tests reject at 5 %, better or worse if the 95 % interval of the difference excludes 0."""
    if absolute == (0.0, 0.0) or (equivalence is not None and absolute is not None and equivalence < ALPHA):
        return "equivalent"
    if absolute is None or absolute[0] <= 0 <= absolute[1]:
        return "cannot tell"
    high, good = absolute[0] > 0, higher_is_better(name)
    if good is None:
        return "higher" if high else "lower"
    return "better" if high == good else "worse"


def _conclusions(tables: tuple[Table, Table], names: list[str], seed: int) -> list[Conclusion]:
    """For the responses that vary on both sides of factorial studies; those with too few runs to explain have none."""
    if any(table.folder.asked.design in ("sobol", "morris") for table in tables):
        return []
    found = []
    for name in names:
        if "@" in name or not all(table.varies(name) for table in tables):
            continue
        try:
            sides = [_shares(explain(table, name, np.random.default_rng(seed))) for table in tables]
        except RequestError:
            continue
        found.append(Conclusion(name, *sides))
    return found


def _shares(explanation: Explanation) -> dict[str, float]:
    ranked = sorted((effect for effect in explanation.effects if effect.found), key=lambda effect: -effect.share)
    return {effect.term: effect.share for effect in ranked}


def _ordered(one: float, other: float) -> Bounds:
    return (one, other) if one <= other else (other, one)
