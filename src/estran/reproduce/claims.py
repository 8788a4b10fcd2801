"""Whether claims hold: an estimate, its confidence interval, and whether that lies where it is claimed.

A claim is *confirmed* if the whole interval lies where it is claimed, *refuted* if none of it does; else one *cannot tell*.

Runs with the same block share a seed, and so the same data and the same chance. The unit of all intervals is therefore the
block: in each, a measure is averaged over all settings that a claim leaves open, those only that every block has; the spread
between blocks gives the interval (Student's t; of ratios Fieller's), and what the two sides of a difference have in common cancels.
Where there is one block, the intervals that each run has of itself stand in, as if runs were independent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Literal

import numpy as np

from estran.errors import RequestError
from estran.observe.intervals import possible
from estran.observe.stories import Floats
from estran.reproduce.observed import Evidence, Observation
from estran.spec.claims import BARE, CONFIDENCE, Amount, Claim, Measure
from estran.spec.suggest import slip
from estran.study.rows import cell
from estran.study.verdicts import Bounds, fieller, t_quantile
from estran.units import Dimension

Verdict = Literal["confirmed", "refuted", "cannot tell"]
_DIMENSIONS: Final[Mapping[str, Dimension]] = {
    "s": "duration", "fraction": "fraction", "/s": "frequency", "B": "size", "J": "energy", "W": "power",
}  # fmt: skip
_NORMAL: Final = NormalDist().inv_cdf(0.975)
"""What a run's own 95 % interval is made with, nearly."""

Key = tuple[int, tuple[tuple[str, str], ...]]
"""A block, and the levels that a claim leaves open."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim and what runs say of it.

    Attributes
    ----------
    claim
        As text.
    estimate, interval
        Of the left side of the claim; the interval is for the claim's confidence, and None where the spread is not known.
    blocks, runs
        Replicates, and runs of all of them, that it rests on.
    unit
        Of the estimate; empty for a ratio.
    difference
        Whether the estimate is one of two measures: that of two shares is in points.
    reason
        Why one cannot tell, or how the interval was made.
    """

    claim: str
    verdict: Verdict
    estimate: float | None = None
    interval: Bounds | None = None
    blocks: int = 0
    runs: int = 0
    unit: str = ""
    reason: str = ""
    difference: bool = False


@dataclass(frozen=True, slots=True)
class _Value:
    """Of some runs of one block: mean, variance if known, which they are; and the own interval of a single one."""

    mean: float
    variance: float | None
    runs: frozenset[int]
    own: Bounds | None = None


@dataclass(frozen=True, slots=True)
class _Sides:
    """Means of the left and the right side, their covariance (None if not known), and degrees of freedom."""

    means: Bounds
    covariance: Floats | None
    freedom: float


class _Untold(Exception):  # noqa: N818 - no error: it ends an attempt to judge
    """Why one cannot tell."""


def judge_all(evidence: Evidence) -> tuple[Judged, ...]:
    """Judge every claim by what was measured."""
    return tuple(judge(claim, evidence.observations) for claim in evidence.claims)


def judge(claim: Claim, observations: Sequence[Observation]) -> Judged:
    """Judge one claim.

    Parameters
    ----------
    observations
        Finished runs, at most one for a block and setting.

    Raises
    ------
    RequestError
        If the claim's confidence is not 95 % and scipy is not installed.
    """
    other = claim.right if claim.right is not None else claim.bound if isinstance(claim.bound, Measure) else None
    measures = (claim.left,) if other is None else (claim.left, other)
    try:
        found = [_values(measure, observations, measures) for measure in measures]
        keys = _balanced(found)
        unit = _unit(claim, observations)
    except _Untold as why:
        return Judged(str(claim), "cannot tell", reason=str(why))
    sides, how = _sides([[side[key] for key in keys] for side in found], [key[0] for key in keys])
    ratio = claim.operator == "/" or (isinstance(claim.bound, Measure) and _relative(claim))
    estimate, interval = _estimate(sides, len(measures), ratio, claim.confidence)
    runs, blocks = len({run for side in found for key in keys for run in side[key].runs}), len({key[0] for key in keys})
    if len(measures) == len(keys) == 1 and found[0][keys[0]].own is not None and claim.confidence == CONFIDENCE:
        interval = found[0][keys[0]].own  # of a share near 0 or 1 it is not symmetric
    elif interval is not None and estimate is not None and other is None:
        interval = possible(interval, estimate, unit)
    verdict, shown = _verdict(claim, interval), "" if ratio else unit
    return Judged(str(claim), verdict, estimate, interval, blocks, runs, shown, how, other is not None and not ratio)


def _values(measure: Measure, observations: Sequence[Observation], measures: Sequence[Measure]) -> dict[Key, _Value]:
    """Mean, variance and count of a measure in each block, for each setting of what the claim leaves open."""
    wanted = {name: cell(level) for name, level in measure.levels}
    fixed = {name for one in measures for name, _ in one.levels}
    found: defaultdict[Key, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    asked = [
        (number, one)
        for number, one in enumerate(observations)
        if all(one.levels.get(name) == level for name, level in wanted.items())
    ]
    for number, one in asked:
        if measure.response in one.responses:
            rest = tuple(sorted((name, level) for name, level in one.levels.items() if name not in fixed))
            found[one.block, rest].append((number, one.responses[measure.response]))
    if not found:
        levels = " and ".join(f"{name}={level}" for name, level in wanted.items())
        if asked:
            raise _Untold(_unmeasured(measure.response, asked))
        raise _Untold(f"there is no run with {levels}" if levels else "no run")
    return {key: _pooled(several) for key, several in found.items()}


def _unmeasured(response: str, asked: Sequence[tuple[int, Observation]]) -> str:
    """Which response is missing, and which was meant if it is a slip of the pen."""
    near = slip(response, dict.fromkeys(name for _, one in asked for name in one.responses))
    return f"no run measured {response}" + (f"; did you mean {near}?" if near else "")


def _pooled(numbered: Sequence[tuple[int, Mapping[str, Any]]]) -> _Value:
    several, runs = [one for _, one in numbered], frozenset(number for number, _ in numbered)
    mean = math.fsum(float(one["value"]) for one in several) / len(several)
    ends = [(float(low), float(high)) for low, high in (one["ci95"] for one in several if one.get("ci95") is not None)]
    if len(ends) < len(several):
        return _Value(mean, None, runs)
    variances = [((high - low) / 2 / _NORMAL) ** 2 for low, high in ends]
    return _Value(mean, math.fsum(variances) / len(several) ** 2, runs, ends[0] if len(ends) == 1 else None)


def _balanced(found: Sequence[Mapping[Key, Any]]) -> list[Key]:
    """Settings that both sides have, in every block that has any: so that blocks differ by chance only."""
    both = set.intersection(*(set(side) for side in found))
    blocks = {block for block, _ in both}
    whole = [rest for rest in {rest for _, rest in both} if all((block, rest) in both for block in blocks)]
    if not whole:
        raise _Untold("no setting was measured in every replicate" if both else "the two sides share no setting")
    return sorted((block, rest) for block in blocks for rest in whole)


def _sides(values: Sequence[Sequence[_Value]], blocks: Sequence[int]) -> tuple[_Sides, str]:
    """Means of both sides and how far they may be off."""
    groups = sorted(set(blocks))
    table = np.array([[value.mean for value in side] for side in values]).reshape(len(values), len(groups), -1).mean(axis=2)
    means = table.mean(axis=1)
    pair = float(means[0]), float(means[-1])
    if len(groups) > 1:
        covariance = np.cov(np.vstack([table[0], table[-1]])) / len(groups)
        return _Sides(pair, covariance, len(groups) - 1), f"spread of {len(groups)} replicates"
    variances = [[value.variance for value in side if value.variance is not None] for side in values]
    if any(len(known) < len(side) for known, side in zip(variances, values, strict=True)):
        return _Sides(pair, None, math.inf), "one replicate, and no interval of its own: its spread is not known"
    own = [math.fsum(known) / len(known) ** 2 for known in variances]
    return _Sides(pair, np.diag([own[0], own[-1]]), math.inf), "one replicate: by the interval that each run has of itself"


def _estimate(sides: _Sides, count: int, ratio: bool, confidence: float) -> tuple[float | None, Bounds | None]:
    top, bottom = sides.means
    if ratio:
        if bottom == 0:
            return None, None
        interval = None if sides.covariance is None else fieller(sides.means, sides.covariance, _quantile(sides, confidence))
        return top / bottom, interval
    estimate = top - bottom if count > 1 else top
    if sides.covariance is None:
        return estimate, None
    (tt, tb), (_, bb) = sides.covariance
    half = _quantile(sides, confidence) * math.sqrt(max(0.0, tt + bb - 2 * tb if count > 1 else tt))
    return estimate, (estimate - half, estimate + half)


def _quantile(sides: _Sides, confidence: float) -> float:
    """Two-sided quantile of Student's t, or of the normal distribution."""
    if math.isinf(sides.freedom):
        return NormalDist().inv_cdf(0.5 + confidence / 2)
    if confidence == CONFIDENCE:
        return t_quantile(int(sides.freedom))
    try:
        from scipy.special import stdtrit
    except ImportError as error:
        what = f"a confidence of {100 * confidence:.10g} % needs scipy"
        raise RequestError(what, where="claims", remedy="pip install 'estran[study]', or claim at 95 %") from error
    return float(stdtrit(sides.freedom, 0.5 + confidence / 2))


def _relative(claim: Claim) -> bool:
    return claim.tolerance is not None and claim.tolerance.text.endswith("%")


def _verdict(claim: Claim, interval: Bounds | None) -> Verdict:
    if interval is None:
        return "cannot tell"
    (low, high), (least, most) = interval, _claimed(claim)
    if claim.relation in (">", "<"):
        inside = least < low and high < most
        outside = high <= least or low >= most
    else:
        inside = least <= low and high <= most
        outside = high < least or low > most
    return "confirmed" if inside else "refuted" if outside else "cannot tell"


def _claimed(claim: Claim) -> Bounds:
    """Where the estimate is claimed to lie."""
    relative, tolerance = _relative(claim), 0.0 if claim.tolerance is None else claim.tolerance.value
    centre = claim.bound.value if isinstance(claim.bound, Amount) else 1.0 if relative else 0.0
    slack = tolerance * abs(centre) if relative else tolerance
    least = -math.inf if claim.relation in ("<", "<=") else centre - slack
    most = math.inf if claim.relation in (">", ">=") else centre + slack
    return least, most


def _unit(claim: Claim, observations: Sequence[Observation]) -> str:
    """Unit of the left response; one cannot tell where a bound or a tolerance has another."""
    unit = next(str(one.responses[claim.left.response]["unit"]) for one in observations if claim.left.response in one.responses)
    kind = _DIMENSIONS.get(unit)
    absolute = None if claim.tolerance is None or _relative(claim) else claim.tolerance
    for amount in (claim.bound, absolute) if claim.operator != "/" else ():
        if isinstance(amount, Amount) and not _fits(amount, kind):
            raise _Untold(f"{claim.left.response} was measured in {unit or 'no unit'}, not as {amount}")
    return unit


def _fits(amount: Amount, kind: Dimension | None) -> bool:
    return amount.value == 0 or amount.dimension == kind or (amount.dimension is None and kind in BARE)
