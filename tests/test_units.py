from __future__ import annotations

import contextlib
import doctest
import math
import re
from dataclasses import dataclass
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from estran import units
from estran.units import Dimension, Duration, Fraction, Rate, parse, pattern, show

DIMENSIONS = get_args(Dimension)
SMALLEST = {
    "duration": 1e-9,
    "rate": 1e-3,
    "size": 1.0,
    "fraction": 1e-6,
    "frequency": 1e-3,
    "power": 1e-3,
    "energy": 1e-3,
}


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(units).failed == 0


@given(st.data(), st.sampled_from(DIMENSIONS))
def test_what_is_shown_can_be_read_again(data, dimension) -> None:
    largest = 1.0 if dimension == "fraction" else 1e13
    value = data.draw(st.one_of(st.just(0.0), st.floats(SMALLEST[dimension], largest)))
    text = show(value, dimension)
    assert math.isclose(parse(text, dimension), value, rel_tol=1e-5)
    assert re.search(pattern(dimension), text)


@given(st.text(max_size=12), st.sampled_from(DIMENSIONS))
def test_any_text_is_a_quantity_or_a_plain_error(text, dimension) -> None:
    with contextlib.suppress(units.QuantityError):
        value = parse(text, dimension)
        assert value >= 0
        assert math.isfinite(value)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("10ms", "duration", 0.01),
        ("35ms", "duration", 0.035),
        ("1.5 min", "duration", 90.0),
        ("7µs", "duration", 7e-6),
        (0, "duration", 0.0),
        ("100Mbit", "rate", 1e8),
        ("1_000kbps", "rate", 1e6),
        ("4GiB", "size", 2.0**32),
        ("4gb", "size", 4e9),
        ("0.1%", "fraction", 0.001),
        (0.25, "fraction", 0.25),
        ("6/min", "frequency", 0.1),
        ("3mW", "power", 0.003),
        ("3MW", "power", 3e6),
        ("2kWh", "energy", 7.2e6),
    ],
)
def test_readings(text, dimension, value) -> None:
    assert parse(text, dimension) == value


@pytest.mark.parametrize(
    ("text", "dimension", "what"),
    [
        ("5", "duration", "has no unit"),
        ("5 parsecs", "duration", "has the unit 'parsecs'"),
        ("-1ms", "duration", "out of range"),
        ("1e999s", "duration", "out of range"),
        ("nan", "fraction", "is not a fraction"),
        ("101%", "fraction", "out of range"),
        ("100MB/s", "rate", "counts bytes"),
        ("100MBps", "rate", "counts bytes"),
        ("4Gb", "size", "counts bits"),
        (True, "frequency", "is not a frequency"),
        ("", "size", "is not a size"),
    ],
)
def test_refusals(text, dimension, what) -> None:
    with pytest.raises(units.QuantityError, match=re.escape(what)) as caught:
        parse(text, dimension)
    assert caught.value.remedy.startswith(("write", "for bytes write"))


@dataclass(frozen=True)
class Declared:
    every: Duration = 1.0
    rate: Rate | None = None
    share: Fraction = 0.0


def test_declared_quantities_are_text_to_pydantic_and_floats_to_msgspec() -> None:
    adapter = TypeAdapter(Declared)
    checked = adapter.validate_python({"every": "20ms", "rate": "1mbit", "share": "5%"})
    assert checked == Declared(0.02, 1e6, 0.05)
    assert msgspec.convert(adapter.dump_python(checked), Declared) == checked
    with pytest.raises(ValidationError, match="more than zero"):
        adapter.validate_python({"rate": "0bit"})
    schema = adapter.json_schema()["properties"]
    assert re.search(schema["every"]["anyOf"][0]["pattern"], "20ms")
    assert not re.search(schema["every"]["anyOf"][0]["pattern"], "20 parsecs")
