"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.report.wording import NONE, count, interval, plain, quantity, spread, together


def _shown(text: str) -> str:
    return text.replace("\u202f", " ")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0123, "s", "12.3 ms"),
        (1.5e-7, "s", "0.15 µs"),
        (0, "s", "0 s"),
        (90, "s", "90 s"),
        (9.4812e7, "bit/s", "94.8 Mbit/s"),
        (0.8712, "fraction", "87.1 %"),
        (912.44, "J", "912 J"),
        (200, "/s", "200 /s"),
        (3, "", "3"),
        (-0.002, "s", "−2 ms"),
        (None, "s", NONE),
        (float("nan"), "s", NONE),
        (float("inf"), "B", NONE),
    ],
)
def test_quantity(value: float | None, unit: str, shown: str) -> None:
    assert _shown(quantity(value, unit)) == shown


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_plain_keeps_three_digits(value: float) -> None:
    read = float(plain(value).replace(",", "").replace("−", "-"))
    assert abs(read - value) <= max(abs(value) * 0.0051, 0.5 if abs(value) >= 1000 else 0.0)


def test_an_interval_tells_a_shared_unit_once() -> None:
    assert _shown(interval(0.011, 0.012, "s")) == "11 to 12 ms"
    assert _shown(interval(0.0009, 0.0012, "s")) == "900 µs to 1.2 ms"
    assert interval(None, 1.0, "s") == NONE
    assert together("5", "→", "6") == "5 → 6"


def test_spread_tells_a_range_only_where_it_is_wide() -> None:
    assert _shown(spread([0.005, 0.00501], "s")) == "5.01 ms"
    assert _shown(spread([0.005, 0.006, 0.007], "s")) == "6 ms (5 to 7 ms)"
    assert spread([], "s") == NONE


def test_count() -> None:
    assert (count(1, "host"), count(1200, "host")) == ("1 host", "1,200 hosts")
