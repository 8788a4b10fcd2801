"""Quantities as people write them (``10ms``, ``100mbit``, ``4GiB``, ``0.1%``) to SI floats and back.

Durations are seconds, rates bits per second, sizes bytes, fractions 0 to 1, frequencies per second, energies joules
and powers watts. Prefixes follow networking practice: ``kbit`` is 1000 bit, ``KiB`` is 1024 bytes.

A dataclass declares a quantity with `Duration`, `Rate`, `Size`, `Fraction`, `Frequency`, `Power` or `Energy`: plain floats to
Python and msgspec, but pydantic also reads them from text.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

Dimension = Literal["duration", "rate", "size", "fraction", "frequency", "power", "energy"]

_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s].*?)?\s*")

_UNITS: Final[dict[Dimension, dict[str, float]]] = {
    "duration": {
        "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0,
        "d": 86400.0,
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
    "power": {"w": 1.0, "mW": 1e-3, "kw": 1e3, "MW": 1e6},
    "energy": {"j": 1.0, "mJ": 1e-3, "kj": 1e3, "MJ": 1e6, "wh": 3600.0, "kwh": 3.6e6},
}  # fmt: skip

_EXAMPLE: Final[dict[Dimension, str]] = {
    "duration": "10ms, 2s or 5min",
    "rate": "100mbit or 1gbit",
    "size": "512KiB or 4GiB",
    "fraction": "0.1% or a number from 0 to 1",
    "frequency": "50/s, 10Hz or 6/min",
    "power": "3.4W",
    "energy": "5J or 2kWh",
}

_SHOWN: Final[dict[Dimension, tuple[tuple[float, str], ...]]] = {
    "duration": ((60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "rate": ((1e9, "gbit"), (1e6, "mbit"), (1e3, "kbit"), (1.0, "bit")),
    "size": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "fraction": ((0.01, "%"),),
    "frequency": ((1.0, "/s"),),
    "power": ((1.0, "W"), (1e-3, "mW")),
    "energy": ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ")),
}


class QuantityError(ValueError):
    """A text is no quantity of the dimension that was asked for; ``remedy`` says what to write."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


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
        The value in seconds, bits per second, bytes, a fraction of 1, per second, watts, or joules.

    Raises
    ------
    QuantityError
        (a ValueError) If the text is no such quantity, is negative or not finite, or is a fraction above 1.

    Examples
    --------
    >>> parse("10ms", "duration"), parse("100mbit", "rate"), parse("4GiB", "size"), parse("0.1%", "fraction")
    (0.01, 100000000.0, 4294967296.0, 0.001)
    """
    remedy = f"write {_EXAMPLE[dimension]}"
    match = None if isinstance(text, bool) else _NUMBER.fullmatch(str(text))
    if match is None:
        raise QuantityError(f"{text!r} is not a {dimension}", remedy)
    number, unit = float(match[1].replace("_", "")), match[2] or ""
    value = _scaled(number, _scale(text, number, unit, dimension))
    if not math.isfinite(value) or value < 0:
        raise QuantityError(f"{text!r} is out of range: a {dimension} is finite and not negative", remedy)
    if dimension == "fraction" and value > 1:
        raise QuantityError(f"{text!r} is out of range: a fraction is between 0% and 100%", remedy)
    return value


def _scale(text: object, number: float, unit: str, dimension: Dimension) -> float:
    """Size of a unit in SI, told apart by case only where case means something: ``mW``/``MW``, ``b``/``B``."""
    scales, folded, remedy = _UNITS[dimension], unit.lower(), f"write {_EXAMPLE[dimension]}"
    if dimension == "rate" and folded in ("b/s", "kb/s", "mb/s", "gb/s", "bps", "kbps", "mbps", "gbps") and "B" in unit:
        bits = show(number * 8 * scales[folded.replace("b/s", "bps")], "rate")
        raise QuantityError(f"{text!r} counts bytes, and a rate is in bits", f"write {bits}")
    if dimension == "size" and re.fullmatch("[KMGT]b", unit):
        raise QuantityError(f"{text!r} counts bits, and a size is in bytes", f"for bytes write {unit[:-1]}B")
    if unit in scales:
        return scales[unit]
    if folded in scales:
        return scales[folded]
    if unit == "" and number == 0:
        return 1.0
    if unit == "":
        raise QuantityError(f"{text!r} has no unit for a {dimension}", remedy)
    raise QuantityError(f"{text!r} has the unit {unit!r}, which is not one of a {dimension}", remedy)


def _scaled(number: float, scale: float) -> float:
    """Multiply so that ``35ms`` becomes the float nearest to 0.035."""
    return number * scale if scale >= 1 else number / round(1 / scale)


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


def minus(text: str) -> str:
    """A number, or a sentence of numbers, with the sign that people read; files have the hyphen.

    Examples
    --------
    >>> minus(f"{-0.5:+.1f} to {0.25:+.2f}")
    '−0.5 to +0.25'
    """
    return text.replace("-", "−")


def pattern(dimension: Dimension) -> str:
    """Regular expression (ECMA flavour, anchored) of the texts that `parse` reads, for a JSON Schema."""
    exact = [re.escape(unit).replace("/", r"\/") for unit in sorted(_UNITS[dimension], key=len, reverse=True) if unit]
    either_case = ["".join(f"[{c}{c.upper()}]" if c.isascii() and c.islower() else c for c in unit) for unit in exact]
    optional = "?" if "" in _UNITS[dimension] else ""
    return rf"^\s*\+?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*({'|'.join(either_case)}){optional}\s*$|^0$"


class Quantity:
    """Marks a float as a quantity, so that pydantic reads it from text and describes it in a JSON Schema.

    Parameters
    ----------
    dimension
        What it measures.
    positive
        Whether zero is refused.
    """

    __slots__ = ("dimension", "positive")

    def __init__(self, dimension: Dimension, *, positive: bool = False) -> None:
        self.dimension = dimension
        self.positive = positive

    def __repr__(self) -> str:
        return f"Quantity({self.dimension!r}{', positive=True' if self.positive else ''})"

    def read(self, value: Any) -> float:
        """Parse one value; raises `QuantityError`."""
        if not isinstance(value, str | int | float):
            raise QuantityError(f"{value!r} is not a {self.dimension}", f"write {_EXAMPLE[self.dimension]}")
        number = parse(value, self.dimension)
        if self.positive and number == 0:
            raise QuantityError(f"{value!r} is out of range: it must be more than zero", f"write {_EXAMPLE[self.dimension]}")
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """Called by pydantic: read text or number with `read`."""
        from pydantic_core import PydanticCustomError, core_schema

        def read(value: Any) -> float:
            try:
                return self.read(value)
            except QuantityError as error:
                raise PydanticCustomError("quantity", "{what}", {"what": error.what, "remedy": error.remedy}) from None

        return core_schema.no_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        """Called by pydantic: a text with a unit, or a bare number where the dimension has none."""
        bare: dict[str, Any] = {"type": "number", "minimum": 0}
        if self.dimension not in ("fraction", "frequency"):
            bare["maximum"] = 0
        elif self.dimension == "fraction":
            bare["maximum"] = 1
        if self.positive:
            bare["exclusiveMinimum"] = 0
        texts = {
            "type": "string",
            "pattern": pattern(self.dimension),
            "examples": _EXAMPLE[self.dimension].split(" or ")[0].split(", "),
        }
        return {"anyOf": [texts, bare]}


Duration: TypeAlias = Annotated[float, Quantity("duration")]
"""Seconds, written ``10ms``."""
Rate: TypeAlias = Annotated[float, Quantity("rate", positive=True)]
"""Bits per second, written ``100mbit``; never zero."""
Size: TypeAlias = Annotated[float, Quantity("size")]
"""Bytes, written ``4GiB``."""
Fraction: TypeAlias = Annotated[float, Quantity("fraction")]
"""From 0 to 1, written ``0.1%`` or ``0.001``."""
Frequency: TypeAlias = Annotated[float, Quantity("frequency", positive=True)]
"""Per second, written ``50/s``; never zero."""
Power: TypeAlias = Annotated[float, Quantity("power")]
"""Watts, written ``3.4W``."""
Energy: TypeAlias = Annotated[float, Quantity("energy")]
"""Joules, written ``5J``."""
