"""Conditions on live metrics: ``accuracy >= 90%``, ``latency_p99 > 120ms``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from estran.spec.model import Until
from estran.units import Dimension, QuantityError, parse

_CONDITION: Final = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*(>=|<=|==|>|<)\s*(\S+)\s*")
_REMEDY: Final = "write a metric, one of >= <= == > <, and a number: accuracy >= 0.9"
_DIMENSIONS: Final[Mapping[str, Dimension]] = {
    "accuracy": "fraction", "latency": "duration", "latency_p50": "duration", "latency_p95": "duration", "latency_p99": "duration",
    "throughput": "frequency", "cpu_seconds": "duration", "energy": "energy", "memory": "size",
}  # fmt: skip
"""Of metrics that every run has; what those of components measure is not known here."""


def read_condition(text: str) -> Until:
    """Read a condition; a bare number is in SI units.

    Raises
    ------
    QuantityError
        If it is none, or the metric can never have such a value.

    Examples
    --------
    >>> read_condition("accuracy >= 90%").value, read_condition("latency > 120ms").value, read_condition("samples > 1e3").value
    (0.9, 0.12, 1000.0)
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise QuantityError(f"{text!r} is not a condition", _REMEDY)
    metric, relation, written = match.groups()
    dimension, value = _DIMENSIONS.get(metric), _number(written)
    if dimension == "fraction":
        value = _number(written.removesuffix("%")) / 100 if written.endswith("%") else value
        if not 0 <= value <= 1 and not math.isnan(value):
            raise _beyond(metric, relation, written, value)
    elif dimension is not None and math.isnan(value):
        try:
            value = parse(written, dimension)
        except QuantityError as error:
            raise QuantityError(f"{metric} is not compared with {written}: {error.what}", error.remedy) from None
    if math.isnan(value):
        raise QuantityError(f"{text!r} is not a condition", _REMEDY)
    return Until(metric, relation, value)  # type: ignore[arg-type]  # the expression admits the five relations only


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan


def _beyond(metric: str, relation: str, written: str, value: float) -> QuantityError:
    """What to say of 50 where 50 % is meant."""
    percent = value if not written.endswith("%") and 2 <= value <= 100 else 90.0
    what = f"{metric} is a share, and {written} is {'more than all' if value > 1 else 'less than nothing'}"
    return QuantityError(what, f"write {metric} {relation} {percent:.6g}% or {metric} {relation} {percent / 100:.6g}")
