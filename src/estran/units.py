"""Quantities as people write them (``10ms``, ``100mbit``, ``4GiB``, ``0.1%``) to SI floats and back.

Durations are seconds, rates bits per second, sizes bytes, fractions 0 to 1, frequencies per second, energies joules
and powers watts. Prefixes follow networking practice: ``kbit`` is 1000 bit, ``KiB`` is 1024 bytes.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal

Dimension = Literal["duration", "rate", "size", "fraction", "frequency", "power"]

_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*")

_UNITS: Final[dict[Dimension, dict[str, float]]] = {
    "duration": {
        "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
    },
    "rate": {
        "bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12,
        "bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9,
        "bit/s": 1.0, "kbit/s": 1e3, "mbit/s": 1e6, "gbit/s": 1e9,
    },
    "size": {
        "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
        "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40,
    },
    "fraction": {"%": 0.01, "": 1.0},
    "frequency": {"/s": 1.0, "hz": 1.0, "khz": 1e3, "/min": 1 / 60.0, "/h": 1 / 3600.0, "": 1.0},
    "power": {"w": 1.0, "mw": 1e-3, "kw": 1e3},
}  # fmt: skip

_EXAMPLE: Final[dict[Dimension, str]] = {
    "duration": "10ms, 2s or 5min",
    "rate": "100mbit or 1gbit",
    "size": "512KiB or 4GiB",
    "fraction": "0.1% or a number from 0 to 1",
    "frequency": "50/s, 10Hz or 6/min",
    "power": "3.4W",
}

_SHOWN: Final[dict[Dimension, tuple[tuple[float, str], ...]]] = {
    "duration": ((60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "rate": ((1e9, "gbit"), (1e6, "mbit"), (1e3, "kbit"), (1.0, "bit")),
    "size": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "fraction": ((0.01, "%"),),
    "frequency": ((1.0, "/s"),),
    "power": ((1.0, "W"), (1e-3, "mW")),
}


def parse(text: str | int | float, dimension: Dimension) -> float:
    """Read a quantity of one dimension.

    Parameters
    ----------
    text
        ``"10ms"``, ``"100mbit"``, … ; a bare number is taken for fractions and frequencies only, and 0 for all.
    dimension
        What the quantity must be.

    Returns
    -------
    float
        The value in seconds, bits per second, bytes, a fraction of 1, per second, or watts.

    Raises
    ------
    ValueError
        If the text is no such quantity, is negative or not finite, or is a fraction above 1.

    Examples
    --------
    >>> parse("10ms", "duration"), parse("100mbit", "rate"), parse("4GiB", "size"), parse("0.1%", "fraction")
    (0.01, 100000000.0, 4294967296.0, 0.001)
    """
    if isinstance(text, bool):
        raise ValueError(f"{text!r} is not a {dimension}; write {_EXAMPLE[dimension]}")
    match = _NUMBER.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a {dimension}; write {_EXAMPLE[dimension]}")
    number, unit = float(match[1].replace("_", "")), (match[2] or "").lower()
    if unit not in _UNITS[dimension] and not (unit == "" and number == 0):
        trouble = f"has no unit for a {dimension}" if unit == "" else f"has the unit {match[2]!r}, which is not one of a {dimension}"
        raise ValueError(f"{text!r} {trouble}; write {_EXAMPLE[dimension]}")
    value = number * _UNITS[dimension].get(unit, 1.0)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text!r} is out of range: a {dimension} is finite and not negative")
    if dimension == "fraction" and value > 1:
        raise ValueError(f"{text!r} is out of range: a fraction is between 0% and 100%")
    return value


def show(value: float, dimension: Dimension) -> str:
    """Write a quantity in the largest unit that keeps it at or above one.

    Examples
    --------
    >>> show(0.0123, "duration"), show(5e7, "rate"), show(0.001, "fraction")
    ('12.3ms', '50mbit', '0.1%')
    """
    scales = _SHOWN[dimension]
    scale, unit = next(((s, u) for s, u in scales if abs(value) >= s * 0.9999995), scales[-1])
    if value == 0:
        scale, unit = (0.01, "%") if dimension == "fraction" else next((s, u) for s, u in scales if s == 1.0)
    return f"{value / scale:.6g}{unit}"
