"""Designs: which levels the runs of a study have. Points are chosen here; seeds and order come with `estran.study.rows`."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.spec.plug_ins import loaded, plug_ins
from estran.study.factors import Factor, counting, settled

Point: TypeAlias = dict[str, Any]
"""A level for each factor."""
GROUP: Final = "estran.designs"
MOST: Final = 100_000
"""Points of a design at the most: beyond, the order of a power was surely not meant."""


def points(kind: str, factors: Sequence[Factor], samples: int | None, rng: np.random.Generator) -> list[Point]:
    """The points of a design.

    Parameters
    ----------
    kind
        One of `KINDS`, or a function ``(factors, samples, rng)`` that an installed package has under this name in the group
        ``estran.designs``: it returns points, each a map of levels by the names of factors; those left out are at their default.
    samples
        Of designs that draw: how many points (``latin``), base points (``sobol``) or trajectories (``morris``); None for the usual.
    rng
        Source of what is drawn.

    Raises
    ------
    RequestError
        If there is no such design, it cannot be made of these factors, takes no ``samples``, or would be too large.
    """
    if kind not in KINDS:
        return _settled(_plugged_in(kind, factors, samples, rng), factors)
    conditional = [factor.name for factor in factors if factor.when]
    if conditional and kind in _EVERYWHERE:
        which = f"{', '.join(conditional)} {_DO[len(conditional) > 1]} not"
        what = f"the design {kind} needs factors that count everywhere, and {which}"
        raise RequestError(
            what, where="--design", remedy="choose full, one-at-a-time or latin, or fix with --set what they hang on"
        )
    return _settled(_chosen(kind, factors, samples, rng), factors)


def notes(kind: str, factors: Sequence[Factor]) -> list[str]:
    """What to know of a design: how it reads ranges, and where factors count."""
    found = [
        f"{factor.name} has a condition: where it does not count it is at {factor.default}, and points that are then alike are one"
        for factor in factors
        if factor.when
    ]
    for factor in factors:
        if factor.range is not None and kind in _LISTED and len(factor.levels) == 2:
            ends = f"{factor.levels[0]} and {factor.levels[1]}"
            found.append(f"{factor.name} is a range: {kind} takes its ends, {ends}; write `levels: 3` for more, or choose latin")
    return found


def _plugged_in(kind: str, factors: Sequence[Factor], samples: int | None, rng: np.random.Generator) -> list[Point]:
    """The points of an installed package's design."""
    found = plug_ins(GROUP)
    if kind not in found:
        names = ", ".join((*KINDS, *sorted(found)))
        raise RequestError(f"there is no design {kind!r}", where="--design", remedy=f"choose {names}, or a CSV file")
    made = [dict(point) for point in loaded(found[kind], "--design")(factors, samples, rng)]
    default = _point(factors, [factor.default for factor in factors])
    if unknown := sorted({name for point in made for name in point} - set(default)):
        raise RequestError(f"the design {kind} has levels for {', '.join(unknown)}, which is no factor", where="--design")
    if not 0 < len(made) <= MOST:
        raise RequestError(f"the design {kind} has {len(made):,} points", where="--design", remedy=f"1 to {MOST:,} can be run")
    return [default | point for point in made]


def _settled(points: list[Point], factors: Sequence[Factor]) -> list[Point]:
    """Points with factors that do not count at their default, each once if any factor has a condition."""
    if not any(factor.when for factor in factors):
        return points
    return list({repr(point): point for point in (settled(point, factors) for point in points)}.values())


def _chosen(kind: str, factors: Sequence[Factor], samples: int | None, rng: np.random.Generator) -> list[Point]:
    if kind in _DRAWN:
        if samples is not None and samples < 1:
            raise RequestError(f"{samples} samples make no design", where="--samples", remedy="give 1 or more")
        return _filled(factors, _DRAWN[kind](len(factors), samples, rng))
    if samples is not None:
        raise RequestError(f"the design {kind} has as many points as it has", where="--samples", remedy="leave it out")
    return _LISTED[kind](factors)


def _full(factors: Sequence[Factor]) -> list[Point]:
    size = int(np.prod([float(len(factor.levels)) for factor in factors]))
    if size > MOST:
        raise RequestError(f"a full design has {size:,} points", where="--design", remedy="choose fraction, latin or morris")
    return [_point(factors, levels) for levels in product(*(factor.levels for factor in factors))]


def _fraction(factors: Sequence[Factor]) -> list[Point]:
    """Half of the combinations of up to five factors with two levels each, fewer of more; every third or so of mixed levels."""
    doe, n = _doe(), len(factors)
    if n < 3:
        raise RequestError(f"{n} factors have no fraction worth its aliases", where="--design", remedy="choose full")
    if all(len(factor.levels) == 2 for factor in factors):
        letters = string.ascii_lowercase[: n - 1]
        signs = doe.fracfact(" ".join([*letters, letters])) if n <= 5 else doe.fracfact_by_res(n, 4)
        return _two_levels(factors, signs)
    sizes = [len(factor.levels) for factor in factors]
    chosen = doe.gsd(sizes, max(2, min(sizes)))
    return [_point(factors, [factor.levels[i] for factor, i in zip(factors, row, strict=True)]) for row in chosen.tolist()]


def _plackett_burman(factors: Sequence[Factor]) -> list[Point]:
    """First and last level of each factor."""
    return _two_levels(factors, _doe().pbdesign(len(factors)))


def _one_at_a_time(factors: Sequence[Factor]) -> list[Point]:
    """The defaults, and every other level of one factor with the defaults of all others.

    A factor with a condition is varied where it counts, beside the first level of each factor that it hangs on that allows it.
    """
    base = _point(factors, [factor.default for factor in factors])
    return [
        base,
        *(
            {**base, **counting(factor, factors), factor.name: level}
            for factor in factors
            for level in factor.levels
            if level != factor.default
        ),
    ]


def _latin(dimensions: int, samples: int | None, rng: np.random.Generator) -> NDArray[np.float64]:
    from scipy.stats import qmc

    drawn = qmc.LatinHypercube(dimensions, rng=rng, optimization="random-cd").random(samples or 10 * dimensions)
    return np.asarray(drawn)


def _sobol(dimensions: int, samples: int | None, rng: np.random.Generator) -> NDArray[np.float64]:
    """Saltelli's sample for Sobol's indices: for each base point, it, its partner, and it with one coordinate of the partner's."""
    from scipy.stats import qmc

    count = samples or 64
    if count & (count - 1):
        raise RequestError(f"{count} is no power of 2", where="--samples", remedy=f"give {2 ** count.bit_length()}")
    pairs = qmc.Sobol(2 * dimensions, rng=rng).random(count)
    first, second = pairs[:, :dimensions], pairs[:, dimensions:]
    mixed = np.repeat(first[:, None, :], dimensions, axis=1)
    each = np.arange(dimensions)
    mixed[:, each, each] = second
    return np.concatenate([first[:, None], mixed, second[:, None]], axis=1).reshape(-1, dimensions)


def _morris(dimensions: int, samples: int | None, rng: np.random.Generator) -> NDArray[np.float64]:
    """Morris's trajectories on four levels: each step moves one coordinate by two thirds."""
    drawn = _doe().morris_sampling(dimensions, samples or 10, num_levels=4, seed=int(rng.integers(2**31)))
    return np.asarray(drawn, dtype=np.float64)


_LISTED: Final[Mapping[str, Callable[[Sequence[Factor]], list[Point]]]] = {
    "full": _full,
    "fraction": _fraction,
    "plackett-burman": _plackett_burman,
    "one-at-a-time": _one_at_a_time,
}
_DRAWN: Final[Mapping[str, Callable[[int, int | None, np.random.Generator], NDArray[np.float64]]]] = {
    "latin": _latin,
    "sobol": _sobol,
    "morris": _morris,
}
_EVERYWHERE: Final = ("fraction", "plackett-burman", "sobol", "morris")
_DO: Final = ("does", "do")
KINDS: Final = (*_LISTED, *_DRAWN)
"""Designs by name."""


def _point(factors: Sequence[Factor], levels: Sequence[Any]) -> Point:
    return {factor.name: level for factor, level in zip(factors, levels, strict=True)}


def _two_levels(factors: Sequence[Factor], signs: NDArray[np.float64]) -> list[Point]:
    return [_point(factors, [f.levels[0 if sign < 0 else -1] for f, sign in zip(factors, row, strict=True)]) for row in signs]


def _filled(factors: Sequence[Factor], places: NDArray[np.float64]) -> list[Point]:
    if len(places) > MOST:
        raise RequestError(f"the design has {len(places):,} points", where="--samples", remedy="give fewer")
    return [_point(factors, [f.at(float(place)) for f, place in zip(factors, row, strict=True)]) for row in places]


def _doe() -> Any:
    """The library of designs, which is an extra."""
    try:
        import pyDOE3
    except ImportError as error:
        raise RequestError("this design needs pyDOE3", where="--design", remedy="pip install 'estran[study]'") from error
    return pyDOE3
