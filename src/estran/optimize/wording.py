"""The gain over the default in one sentence."""

from __future__ import annotations

from estran.optimize.gain import Gain
from estran.optimize.goals import SI, Goals
from estran.optimize.standing import Standing
from estran.units import minus, show


def sentence(goals: Goals, gains: tuple[Gain, ...], best: Standing | None, default: Standing | None) -> str:
    """The gain in words: goals that differ from the default first, then those that cannot be told from it.

    Examples: ``latency_p99 142ms → 61ms (−57 %, 95 % −64 … −49 %) at the same accuracy (−0.1 points, cannot be told from 0)``.
    """
    if best is None:
        return "no point is likely to keep all limits" if goals.limits else "no run was done"
    if best.point.number == 0:
        return "nothing that was tried is better than the default"
    if not gains:
        return "there is nothing to compare with: the default and the recommended point share no finished run"
    told = [gain for gain in gains if gain.better is not None]
    same = [gain for gain in gains if gain.better is None]
    parts = ", ".join(_change(gain) for gain in told)
    if not told:
        parts = "no goal can be told from the default's"
        return f"{parts}: {', '.join(_change(gain) for gain in same)}"
    if same:
        parts += f" at the same {' and '.join(f'{gain.response} ({_little(gain)})' for gain in same)}"
    if default is not None and any(violation > 0 for violation in default.broken):
        parts += "; the default breaks a limit"
    return parts


def value(number: float, unit: str) -> str:
    """A response's value with its unit."""
    if unit in SI and (number > 0 or SI[unit] == "fraction"):
        return show(number, SI[unit]) if number >= 0 else minus(f"{number:.4g}")
    return f"{minus(f'{number:.4g}')} {unit}".strip()


def _change(gain: Gain) -> str:
    return f"{gain.response} {_rounded(gain.default, gain.unit)} → {_rounded(gain.recommended, gain.unit)} ({_little(gain)})"


def _little(gain: Gain) -> str:
    """The difference and its interval: in points of fractions, else relative to the default."""
    found, note = gain.difference, ", cannot be told from 0" if gain.better is None else ""
    if gain.unit == "fraction":
        bounds = found.absolute_ci95
        said = "" if bounds is None or bounds[0] == bounds[1] else f", 95 % {_signed(100 * bounds[0])} … {_signed(100 * bounds[1])}"
        return f"{_signed(100 * found.absolute)} points{said}{note if bounds else ', of a single pair'}"
    if found.relative is None:
        return f"{_signed(found.absolute)} {gain.unit}{note}".strip()
    bounds = found.relative_ci95
    digits = _digits(bounds)
    ends = [_signed(100 * bound, digits) for bound in bounds or ()]
    said = "" if bounds is None or bounds[0] == bounds[1] else f", 95 % {ends[0]} … {ends[1]} %"
    return f"{_signed(100 * found.relative, digits)} %{said}{note if found.absolute_ci95 else ', of a single pair'}"


def _digits(bounds: tuple[float, float] | None) -> int:
    """How many tell the ends of an interval, shares that are shown in percent, apart: two, or up to four."""
    if bounds is None or bounds[0] == bounds[1]:
        return 2
    return next((digits for digits in (2, 3) if _signed(100 * bounds[0], digits) != _signed(100 * bounds[1], digits)), 4)


def _signed(number: float, digits: int = 2) -> str:
    text = f"{abs(number):.{digits}g}" if abs(number) < 100 else f"{abs(number):.0f}"
    return f"{'−' if number < 0 else '+'}{text}"


def _rounded(number: float, unit: str) -> str:
    return value(float(f"{number:.3g}"), unit)
