"""What drives a response, as plain values: effects, their levels, and what stands behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from estran.explain.diagnostics import Diagnosis
from estran.explain.shape import Shape

ALPHA: Final = 0.05


@dataclass(frozen=True)
class Level:
    """The mean at one level of a factor, all others averaged over, and the difference from the factor's first level.

    Attributes
    ----------
    ratio, ratio_ci95
        To the first level, where the response was transformed: the mean is then what the mean of transformed values stands for.
    """

    name: str
    mean: float
    mean_ci95: tuple[float, float]
    difference: float
    difference_ci95: tuple[float, float]
    ratio: float | None = None
    ratio_ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Effect:
    """What one term explains.

    Attributes
    ----------
    term
        A factor's name, or ``one × other``.
    share
        Of the total sum of squares (η²); ``omega`` is ω², which allows for what chance alone would explain; ``cohen`` is Cohen's f.
    p, p_holm
        Of the test that the term explains nothing; and adjusted by Holm's method over all terms of the response.
    levels
        Of a main effect.
    shape
        How the mean follows a numeric factor of three levels or more.
    """

    term: str
    df: int
    share: float
    omega: float
    cohen: float
    f: float
    p: float
    p_holm: float
    levels: tuple[Level, ...]
    shape: Shape | None = None

    @property
    def found(self) -> bool:
        """Whether it can be told from chance."""
        return self.p_holm < ALPHA

    @property
    def widest(self) -> tuple[Level, Level] | None:
        """The levels with the least and the greatest mean."""
        if not self.levels:
            return None
        return min(self.levels, key=lambda one: one.mean), max(self.levels, key=lambda one: one.mean)


@dataclass(frozen=True)
class Explanation:
    """What factors do to one response.

    Attributes
    ----------
    runs, missing
        Runs that count, and runs of the design that do not: they failed, or did not measure it.
    effects
        From the one that explains most to the one that explains least.
    blocks, residual
        Shares of the total that differences between blocks, and nothing in the model, explain.
    robust, permuted
        Whether intervals allow for unequal variances, and p-values are from permutations; and why.
    detectable
        Smallest difference between two levels of a factor that a study like this finds four times of five, by factor; where the
        response was transformed, as a share of the first level.
    power
        Of the response, that was fitted: 1 for itself, 0 for its logarithm.
    random
        Of a mixed model: the share that each kind of random effect explains (``hosts``, ``machines``, ``runs``,
        ``hosts × factor``); ``blocks`` has a field of its own. Empty for a linear model with fixed blocks.
    groups
        How many hosts and machines there were.
    counting
        Of each factor with a condition, the number of these runs in which it counted.
    """

    response: str
    unit: str
    runs: int
    missing: int
    mean: float
    effects: tuple[Effect, ...]
    blocks: float
    residual: float
    freedom: int
    robust: bool
    permuted: bool
    aliased: Mapping[str, tuple[str, ...]]
    unfitted: tuple[str, ...]
    detectable: Mapping[str, float]
    diagnosis: Diagnosis
    power: float = 1.0
    random: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    counting: Mapping[str, int] = field(default_factory=dict)

    @property
    def mixed(self) -> bool:
        """Whether a mixed model was fitted."""
        return bool(self.groups)


def plain(explanation: Any) -> dict[str, Any]:
    """An explanation, indices or a comparison, as JSON; what is not finite is null."""
    from dataclasses import asdict

    return {"schema": 1, **_finite(asdict(explanation))}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
