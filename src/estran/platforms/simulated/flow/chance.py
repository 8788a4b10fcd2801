"""Random numbers by counter: the n-th draw of a replica or link is a function of seed, place and n, whoever asks and in what order.

The generator is SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), the normal quantile Wichura's AS 241 (Applied Statistics 37,
1988; relative accuracy 1e-16).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from estran.platforms.simulated.flow.compiling import compiled, inlined
from estran.platforms.simulated.flow.tables import EXPONENTIAL, FIXED, LOGNORMAL, PARETO

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@inlined
def mix(value: Any) -> Any:
    """Scramble 64 bits."""
    z = np.uint64(value)
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@inlined
def stream(seed: Any, place: Any) -> Any:
    """The key of a replica's or link's own random numbers."""
    return mix(np.uint64(seed) + mix(np.uint64(place) + _GOLDEN))


@inlined
def uniform(key: Any, number: Any) -> Any:
    """The draw of that number from the open interval between 0 and 1."""
    bits = mix(np.uint64(key) + np.uint64(number + 1) * _GOLDEN)
    return (np.float64(bits >> np.uint64(11)) + 0.5) * 2.0**-53


@inlined
def _polynomial(r: Any, a: Any, b: Any) -> Any:
    above, below = a[7], b[7]
    for j in range(6, -1, -1):
        above = above * r + a[j]
        below = below * r + b[j]
    return above / below


_CENTRE = (
    (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
     21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
     0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_TAIL = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
     0.0265321895265761230930, 0.00124266094738807843860, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


@compiled
def normal(u: Any) -> Any:
    """Quantile of the standard normal distribution."""
    q = u - 0.5
    if abs(q) <= 0.425:
        return q * _polynomial(0.180625 - q * q, _CENTRE[0], _CENTRE[1])
    r = math.sqrt(-math.log(min(u, 1.0 - u)))
    value = _polynomial(r - 1.6, _MIDDLE[0], _MIDDLE[1]) if r <= 5 else _polynomial(r - 5.0, _TAIL[0], _TAIL[1])
    return value if q > 0 else -value


@compiled
def factor(laws: Any, quantiles: Any, row: Any, u: Any) -> Any:
    """The quantile of a spread's factor; `estran.spec.costs.Spread.factor`, compiled."""
    law = laws[row]
    if law.kind == FIXED:
        return 1.0
    if law.kind == EXPONENTIAL:
        return -math.log1p(-u)
    if law.kind == LOGNORMAL:
        variance = math.log1p(law.parameter * law.parameter)
        return math.exp(math.sqrt(variance) * normal(u) - variance / 2)
    if law.kind == PARETO:
        return (law.parameter - 1) / law.parameter * math.pow(1 - u, -1 / law.parameter)
    place = u * (law.count - 1)
    low = int(place)
    below = quantiles[law.first + low]
    above = quantiles[law.first + min(low + 1, law.count - 1)]
    return below + (above - below) * (place - low)


@inlined
def cost(laws: Any, quantiles: Any, row: Any, items: Any, key: Any, number: Any) -> Any:
    """Seconds of an operation on so many items; nothing for row -1."""
    if row < 0:
        return 0.0
    mean = laws[row].time + laws[row].each * items
    if laws[row].kind != FIXED:
        mean *= factor(laws, quantiles, row, uniform(key, number))
    return mean
