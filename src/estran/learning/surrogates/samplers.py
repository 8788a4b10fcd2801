"""Where the parameters of an ensemble come from: samplers over a box, each draw with its importance weight.

The weight of a draw is the density of the uniform distribution over that which it was drawn from: weighted means over draws are
means over the box, whatever the sampler prefers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.mistakes import SettingsError, check_known
from estran.learning.surrogates.space import Space
from estran.units import Fraction

Kind: TypeAlias = Literal["uniform", "latin-hypercube", "sobol", "rare-event", "unbalanced", "importance"]
Draw: TypeAlias = tuple[NDArray[np.float64], float]
"""A position in the unit cube, and its weight."""

BLOCK: Final = 64
"""Points of a Latin hypercube where the ensemble has no end."""


@dataclass(frozen=True)
class Regime:
    """A part of the box that a share of the simulations is drawn from.

    Attributes
    ----------
    share
        Of all simulations.
    region
        Ranges within those of the parameters; what it does not name is whole.
    """

    share: Fraction
    region: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sampler:
    """How parameters are drawn.

    Attributes
    ----------
    kind
        ``uniform``; ``latin-hypercube`` and ``sobol``, which fill the box more evenly; ``rare-event``: a ``share`` of the draws
        lies in a ``region``; ``unbalanced``: ``regimes``, each with its share; ``importance``: a ``share`` of the draws is normal
        about a ``centre``.
    share
        Of ``rare-event`` and ``importance``; the rest is uniform, so that no weight exceeds 1 / (1 - share).
    region
        Of ``rare-event``: ranges within those of the parameters.
    regimes
        Of ``unbalanced``; their shares add up to 1.
    centre
        Of ``importance``: a value of each parameter that it is about.
    spread
        Of ``importance``: standard deviation, as a fraction of each range.
    """

    kind: Kind = "uniform"
    share: Fraction = 0.5
    region: dict[str, tuple[float, float]] = field(default_factory=dict)
    regimes: tuple[Regime, ...] = ()
    centre: dict[str, float] = field(default_factory=dict)
    spread: Fraction = 0.1

    def check(self, space: Space) -> None:
        """Make sure that it fits a space.

        Raises
        ------
        SettingsError
            If not, naming what does not.
        """
        if self.kind in ("latin-hypercube", "sobol") and find_spec("scipy") is None:
            raise SettingsError(f"{self.kind} needs SciPy", where="sampler", remedy="pip install 'estran[study]'")
        needs = {"rare-event": "region", "unbalanced": "regimes", "importance": "centre"}
        wanted = needs.get(self.kind)
        for name in needs.values():
            if bool(getattr(self, name)) != (name == wanted):
                what = f"{self.kind} {'needs' if name == wanted else 'has no'} {name}"
                raise SettingsError(what, where="sampler", remedy=f"{'give' if name == wanted else 'leave out'} {name}")
        if not 0 <= self.share < 1:
            raise SettingsError(f"share is {self.share:g}", where="sampler", remedy="give a fraction below 100%")
        if self.spread <= 0:
            raise SettingsError(f"spread is {self.spread:g}", where="sampler", remedy="give more than 0")
        space.region(self.region, "region") if self.region else None
        self._check_regimes(space)
        for name, value in self.centre.items():
            check_known(name, space.names, kind="parameter", where="centre")
            at = space.names.index(name)
            if not space.low[at] <= value <= space.high[at]:
                raise SettingsError(f"{name} is {value:g}, outside its range", where="centre", remedy="stay within parameters")

    def _check_regimes(self, space: Space) -> None:
        for regime in self.regimes:
            space.region(regime.region, "regimes") if regime.region else None
        if self.regimes and abs(sum(regime.share for regime in self.regimes) - 1) > 1e-6:
            raise SettingsError("the shares do not add up to 1", where="regimes", remedy="let them add up to 100%")


def draws(sampler: Sampler, space: Space, rng: np.random.Generator, *, count: int | None = None) -> Iterator[Draw]:
    """Draw positions without end.

    Parameters
    ----------
    count
        How many will be taken, which is the size of a Latin hypercube.

    Notes
    -----
    Owen, Zhou, *Safe and effective importance sampling*, JASA 95, 2000, for mixing with the uniform distribution. McKay, Beckman,
    Conover 1979 for Latin hypercubes; Sobol' 1967, scrambled as Owen has it.
    """
    if sampler.kind in ("latin-hypercube", "sobol"):
        return ((position, 1.0) for position in _even(sampler.kind, len(space.names), rng, count or BLOCK))
    parts = _parts(sampler, space)
    return _mixed(parts, len(space.names), rng)


def _even(kind: str, dimensions: int, rng: np.random.Generator, block: int) -> Iterator[NDArray[np.float64]]:
    from scipy.stats import qmc

    sobol = qmc.Sobol(dimensions, rng=rng) if kind == "sobol" else None
    while True:
        yield from (qmc.LatinHypercube(dimensions, rng=rng).random(block) if sobol is None else sobol.random(1))


class _Part:
    """Boxes (or the whole, narrowed to a normal distribution in some dimensions) that a share of draws is from."""

    def __init__(
        self, share: float, low: NDArray[np.float64], high: NDArray[np.float64], normal: Mapping[int, tuple[float, float]]
    ):
        self.share, self.low, self.high, self.normal = share, low, high, normal

    def draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        position = rng.uniform(self.low, self.high)
        for at, (mean, spread) in self.normal.items():
            position[at] = rng.normal(mean, spread)
            while not 0 <= position[at] <= 1:
                position[at] = rng.normal(mean, spread)
        return position

    def density(self, position: NDArray[np.float64]) -> float:
        if (position < self.low).any() or (position > self.high).any():
            return 0.0
        found = 1 / float(np.prod(self.high - self.low))
        for at, (mean, spread) in self.normal.items():
            inside = _below((1 - mean) / spread) - _below(-mean / spread)
            away = (position[at] - mean) / spread
            found *= math.exp(-away * away / 2) / (spread * math.sqrt(2 * math.pi) * inside)
        return found


def _below(z: float) -> float:
    """The normal distribution function."""
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _parts(sampler: Sampler, space: Space) -> list[_Part]:
    whole = np.zeros(len(space.names)), np.ones(len(space.names))
    if sampler.kind == "unbalanced":
        boxes = [(regime.share, space.region(regime.region, "regimes") if regime.region else whole) for regime in sampler.regimes]
        return [_Part(share, *box, {}) for share, box in boxes]
    if sampler.kind == "uniform":
        return [_Part(1.0, *whole, {})]
    rest = _Part(1 - sampler.share, *whole, {})
    if sampler.kind == "rare-event":
        return [_Part(sampler.share, *space.region(sampler.region, "region"), {}), rest]
    sides = space.high - space.low
    middles = {space.names.index(name): value for name, value in sampler.centre.items()}
    normal = {at: (float((value - space.low[at]) / sides[at]), sampler.spread) for at, value in middles.items()}
    return [_Part(sampler.share, *whole, normal), rest]


def _mixed(parts: list[_Part], dimensions: int, rng: np.random.Generator) -> Iterator[Draw]:
    shares = np.array([part.share for part in parts])
    shares /= shares.sum()
    while True:
        position = parts[int(rng.choice(len(parts), p=shares))].draw(rng) if len(parts) > 1 else parts[0].draw(rng)
        density = sum(float(share) * part.density(position) for share, part in zip(shares, parts, strict=True))
        yield position, 1 / density
