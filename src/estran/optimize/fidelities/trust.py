"""Whether a fidelity deserves to be believed: what pairs of runs, of the same points there and at the highest one, say of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from estran.optimize.fidelities.gaussian import Array

Verdict = Literal["untested", "trusted", "distrusted", "silent"]

ENOUGH: Final = 5
"""Pairs of which a correlation is told."""
BELIEVED: Final = 0.5
"""Least probability that ranks agree, with which a fidelity has a say."""
_KINDS: Final = ((0.8, 0.85), (0.1, 0.5), (0.1, 0.15))
"""Fidelities that agree, that say nothing, and that say the opposite: how many there are taken to be, and how often one of them has
two points in the right order."""
_ALIKE: Final = 0.1
"""Points that differ by less at the lower fidelity, in deviations of the response, are not told apart there."""
_HALF: Final = 1.96


@dataclass(frozen=True, slots=True)
class Trust:
    """What is thought of one response at one fidelity.

    Attributes
    ----------
    pairs
        Points that were run both there and at the highest fidelity.
    agreement
        Probability that it orders points as the highest does (`agreeing`); None where no two pairs can be told apart.
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
    agreement: float | None = None
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
        if self.agreement is None:
            return f"{self.fidelity} is not tested for {self.response}: {_counted(self.pairs)} run both there and on {highest}"
        figures = f"it has the same order with a probability of {self.agreement:.2g}, by {_counted(self.pairs)}"
        if self.correlation is not None and self.interval is not None:
            low, high = self.interval
            figures += f"; rank correlation {self.correlation:.2f} (95 % {low:.2f} to {high:.2f})"
        if self.discrepancy is not None:
            figures += f"; it misses {100 * min(max(self.discrepancy, 0.0), 1.0):.0f} % of what differs between them"
        if self.verdict == "trusted":
            return f"{self.fidelity} is believed for {self.response}: {figures}"
        return f"{self.fidelity} is misleading for {self.response} and has no say: {figures}"


def _counted(pairs: int) -> str:
    return f"{pairs} point{'' if pairs == 1 else 's'}"


def judged(fidelity: str, response: str, low: Array, high: Array, noise: float) -> Trust:
    """Judge a response at a fidelity.

    It is misleading where it is likelier than not that it does not have the order of the highest. Until two pairs can be told apart
    it takes part.

    Parameters
    ----------
    low, high
        The response of each pair at this fidelity and at the highest, each the mean over runs, on the scale on which it is
        modelled; shape (pairs,).
    noise
        Variance of ``high`` about its expectation.
    """
    count, agreement = len(low), agreeing(low, high)
    if agreement is None:
        return Trust(fidelity, response, count, "untested")
    verdict: Verdict = "trusted" if agreement >= BELIEVED else "distrusted"
    if count < ENOUGH:
        return Trust(fidelity, response, count, verdict, agreement)
    correlation, interval = ranked(low, high)
    return Trust(fidelity, response, count, verdict, agreement, correlation, interval, _discrepancy(low, high, noise))


def agreeing(low: Array, high: Array) -> float | None:
    """Probability that a fidelity orders points as the highest does, after what pairs of runs say.

    Bayes' theorem over three kinds of fidelities (`_KINDS`): each two points are in the same order at both, or are not. Of n points
    n - 1 such comparisons are independent at the most, so their likelihood is taken to the power of (n - 1) / comparisons (a
    composite likelihood: Varin, Reid and Firth, *An overview of composite likelihood methods*, Statistica Sinica 21, 2011). Two
    pairs in the opposite order are just enough for doubt, three in the right order for some confidence. None where no two points
    can be told apart.
    """
    one, other = np.triu_indices(len(low), 1)
    apart = low[one] - low[other]
    counted = np.abs(apart) >= _ALIKE
    if not counted.any():
        return None
    same = np.sign(apart[counted]) * np.sign(high[one] - high[other])[counted]
    right = float(((same + 1) / 2).mean())  # a tie is half right
    independent = min(len(low) - 1, int(counted.sum()))
    logs = np.array([np.log(share) + independent * (right * np.log(p) + (1 - right) * np.log(1 - p)) for share, p in _KINDS])
    weights = np.exp(logs - logs.max())
    return float(weights[0] / weights.sum())


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
