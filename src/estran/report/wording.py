"""Numbers as people read them: three significant digits, a unit, no false precision."""

from __future__ import annotations

import math

from estran.units import minus

NONE = "–"
_SPACE = "\u202f"

_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bit/s": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "B/s": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")),
    "J": ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ")),
    "W": ((1e3, "kW"), (1.0, "W"), (1e-3, "mW")),
}
_ALIASES = {"seconds": "s", "bytes": "B", "joules": "J", "watts": "W", "fraction": "fraction", "1": "", "bps": "bit/s"}


def plain(value: float, digits: int = 3) -> str:
    """A bare number with ``digits`` significant digits, thousands kept whole.

    Examples
    --------
    >>> plain(0.012345), plain(8000), plain(-2.0)
    ('0.0123', '8,000', '−2')
    """
    if not math.isfinite(value):
        return NONE
    if abs(value) >= 10**digits or value == int(value):
        return minus(f"{value:,.0f}") if value else "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = minus(f"{value:.{places}f}")
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with its unit in the scale that suits it; ``None`` becomes a dash.

    Examples
    --------
    >>> quantity(0.0123, "s").replace(chr(0x202F), " "), quantity(0.87, "fraction").replace(chr(0x202F), " "), quantity(None, "s")
    ('12.3 ms', '87 %', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    unit = _ALIASES.get(unit, unit)
    if unit in ("fraction", "%"):
        return f"{plain(value * (100 if unit == 'fraction' else 1), digits)}{_SPACE}%"
    scale, shown = scaled(value, unit)
    return f"{plain(value / scale, digits)}{_SPACE}{shown}" if shown else plain(value / scale, digits)


def scaled(value: float, unit: str) -> tuple[float, str]:
    """The scale in which a value of a unit is best told, and the name of the unit there.

    Examples
    --------
    >>> scaled(0.0123, "s"), scaled(0.5, "fraction"), scaled(12.0, "models")
    ((0.001, 'ms'), (0.01, '%'), (1.0, 'models'))
    """
    unit = _ALIASES.get(unit, unit)
    if unit == "fraction":
        return 0.01, "%"
    if unit not in _SCALES:
        return 1.0, unit
    if value == 0:
        return next((s, u) for s, u in _SCALES[unit] if s == 1.0)
    return next(((s, u) for s, u in _SCALES[unit] if abs(value) >= s * 0.9995), _SCALES[unit][-1])


def interval(low: float | None, high: float | None, unit: str = "") -> str:
    """Both ends of a confidence interval, or a dash."""
    if low is None or high is None:
        return NONE
    return together(quantity(low, unit), "to", quantity(high, unit))


def together(first: str, word: str, last: str) -> str:
    """Two quantities with a word between, their unit told once where they share it.

    Examples
    --------
    >>> together(quantity(0.005, "s"), "→", quantity(0.0052, "s")).replace(chr(0x202F), " ")
    '5 → 5.2 ms'
    """
    number, _, unit = first.partition(_SPACE)
    return f"{number} {word} {last}" if unit and unit == last.partition(_SPACE)[2] else f"{first} {word} {last}"


def spread(values: list[float], unit: str) -> str:
    """The median, and the range where it is worth telling (more than 2 % of the median)."""
    if not values:
        return NONE
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    if ordered[-1] - ordered[0] <= 0.02 * abs(middle):
        return quantity(middle, unit)
    return f"{quantity(middle, unit)} ({interval(ordered[0], ordered[-1], unit)})"


def count(number: int, noun: str) -> str:
    """A number of things: ``1 host``, ``4 hosts``, ``2 replicas``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
