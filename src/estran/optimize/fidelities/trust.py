"""Whether a fidelity deserves to be believed: what pairs of runs, of the same points there and at the highest one, say of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from estran.optimize.fidelities.gaussian import Array

Verdict = Literal["untested", "trusted", "distrusted", "silent"]

ENOUGH: Final = 5
"""Pairs that a verdict needs: five in the opposite order are chance with a probability of 1 in 120."""
AGREEING: Final = 0.3
"""A rank correlation whose interval lies below this is no agreement."""
_HALF: Final = 1.96


@dataclass(frozen=True, slots=True)
class Trust:
    """What is thought of one response at one fidelity.

    Attributes
    ----------
    pairs
        Points that were run both there and at the highest fidelity.
    correlation, interval
        Spearman's, of the pairs' ranks, and its 95 % interval; None where there are too few pairs.
    discrepancy
        Variance of what a straight, rising line through the other pairs leaves of each, as a share of the variance that it has
        without the line, both less the noise of runs: 0 says that the fidelity tells everything, 1 and more that it tells nothing.
        None where pairs are too few, or do not differ by more than noise.
    verdict
        ``silent`` where the response is not measured there or never varies.
    """

    fidelity: str
    response: str
    pairs: int
    verdict: Verdict
    correlation: float | None = None
    interval: tuple[float, float] | None = None
    discrepancy: float | None = None

    @property
    def used(self) -> bool:
        """Whether its runs have a say."""
        return self.verdict in ("untested", "trusted")

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def words(self, highest: str) -> str:
        """In one sentence."""
        if self.verdict == "silent":
            return f"{self.fidelity} says nothing of {self.response}: it is not measured there, or never varies"
        if self.correlation is None or self.interval is None:
            return f"{self.fidelity} is not tested for {self.response}: {_counted(self.pairs)} run both there and on {highest}"
        low, high = self.interval
        figures = f"rank correlation {self.correlation:.2f} (95 % {low:.2f} to {high:.2f}) over {_counted(self.pairs)}"
        if self.discrepancy is not None:
            figures += f"; it misses {100 * min(max(self.discrepancy, 0.0), 1.0):.0f} % of what differs between them"
        if self.verdict == "trusted":
            return f"{self.fidelity} is believed for {self.response}: {figures}"
        return f"{self.fidelity} is misleading for {self.response} and has no say: {figures}"


def _counted(pairs: int) -> str:
    return f"{pairs} point{'' if pairs == 1 else 's'}"


def judged(fidelity: str, response: str, low: Array, high: Array, noise: float) -> Trust:
    """Judge a response at a fidelity.

    It is misleading if the interval of the rank correlation says that there is no agreement, or if it does not help to predict one
    pair from the others (the variance of the discrepancy is as large as the signal) and ranks do not agree either. It takes part
    until that is shown.

    Parameters
    ----------
    low, high
        The response of each pair at this fidelity and at the highest, each the mean over runs, on the scale on which it is
        modelled; shape (pairs,).
    noise
        Variance of ``high`` about its expectation.
    """
    count = len(low)
    if count < ENOUGH:
        return Trust(fidelity, response, count, "untested")
    correlation, interval = ranked(low, high)
    discrepancy = _discrepancy(low, high, noise)
    astray = discrepancy is not None and discrepancy >= 1.0 and correlation < AGREEING
    verdict: Verdict = "distrusted" if astray or interval[1] < AGREEING else "trusted"
    return Trust(fidelity, response, count, verdict, correlation, interval, discrepancy)


def ranked(low: Array, high: Array) -> tuple[float, tuple[float, float]]:
    """Spearman's rank correlation and its 95 % interval.

    By Fisher's transformation with the variance of Bonett and Wright, *Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations*, Psychometrika 65, 2000. A correlation of 1 in n pairs is taken as 1 − 1/n², so that it has an interval.
    0 where one side has no ranks.
    """
    from scipy.stats import rankdata

    one, other = rankdata(low), rankdata(high)
    spread = float(one.std() * other.std())
    found = float(((one - one.mean()) * (other - other.mean())).mean() / spread) if spread > 0 else 0.0
    most = 1 - 1 / len(low) ** 2
    centre = np.arctanh(np.clip(found, -most, most))
    half = _HALF * np.sqrt((1 + min(found**2, most) / 2) / (len(low) - 3))
    return found, (float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def _discrepancy(low: Array, high: Array, noise: float) -> float | None:
    """See `Trust`; each pair is predicted from the others."""
    left = signal = 0.0
    for one in range(len(low)):
        x, y = np.delete(low, one), np.delete(high, one)
        around = x - x.mean()
        slope = max(0.0, float(around @ y) / max(float(around @ around), 1e-300))
        left += (high[one] - y.mean() - slope * (low[one] - x.mean())) ** 2
        signal += (high[one] - y.mean()) ** 2
    signal = signal / len(low) - noise
    return max(left / len(low) - noise, 0.0) / signal if signal > noise else None
