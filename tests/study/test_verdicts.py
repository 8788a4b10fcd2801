"""Verdicts on predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.study.verdicts import Tolerance, error, judge, t_quantile

TENTH = Tolerance(0.10, 0.0)
values = st.lists(st.floats(0.5, 2), min_size=2, max_size=12)


@given(values, st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(emulated: list[float], unit: float) -> None:
    rng = np.random.default_rng(1)
    simulated = [value * rng.lognormal(0, 0.05) for value in emulated]
    one = error(simulated, emulated)
    other = error([value * unit for value in simulated], [value * unit for value in emulated])
    assert one.relative == pytest.approx(other.relative, abs=1e-9)
    assert judge(one, TENTH) == judge(other, TENTH)


@given(values)
def test_a_perfect_prediction_is_valid_and_a_doubled_one_invalid(emulated: list[float]) -> None:
    """Whatever the replicates' own spread: what a pair has in common cancels."""
    perfect, doubled = error(emulated, emulated), error([2 * value for value in emulated], emulated)
    assert perfect.absolute == 0
    assert judge(perfect, Tolerance(0.10, 1e-12)) == "valid"
    if perfect.relative_ci95 is not None:
        assert judge(doubled, TENTH) in ("invalid", "cannot tell")
        assert doubled.relative == pytest.approx(1)


@given(values, st.floats(0.01, 0.5), st.floats(0.0, 0.5))
def test_a_wider_margin_never_makes_a_valid_prediction_less_so(emulated: list[float], margin: float, more: float) -> None:
    rng = np.random.default_rng(2)
    found = error([value * rng.lognormal(0.02, 0.1) for value in emulated], emulated)
    if judge(found, Tolerance(margin, 0.0)) == "valid":
        assert judge(found, Tolerance(margin + more, 0.0)) == "valid"
    if judge(found, Tolerance(margin + more, 0.0)) == "invalid":
        assert judge(found, Tolerance(margin, 0.0)) == "invalid"


def test_one_pair_cannot_tell() -> None:
    assert judge(error([1.0], [1.0]), TENTH) == "cannot tell"


def test_what_cannot_be_told_from_nothing_is_judged_by_its_difference() -> None:
    zero = error([0.0, 1e-6, 0.0], [0.0, 0.0, 1e-6])
    assert zero.relative_ci95 is None
    assert judge(zero, TENTH) == "cannot tell"
    assert judge(zero, Tolerance(0.10, 1e-3)) == "valid"
    nothing = error([0.0, 0.0], [0.0, 0.0])
    assert nothing.relative is None
    assert judge(nothing, Tolerance(0.10, 1e-3)) == "valid"


def test_accuracy_is_judged_in_points() -> None:
    point = Tolerance(None, 0.01)
    assert judge(error([0.905, 0.901, 0.903], [0.900, 0.899, 0.898]), point) == "valid"
    assert judge(error([0.95, 0.951, 0.952], [0.900, 0.899, 0.898]), point) == "invalid"
    assert judge(error([0.93, 0.88, 0.91], [0.900, 0.899, 0.898]), point) == "cannot tell"


@pytest.mark.parametrize(("bias", "n"), [(0.0, 5), (0.08, 5), (0.3, 3), (-0.2, 10)])
def test_the_interval_covers_the_planted_error_as_often_as_it_says(bias: float, n: int) -> None:
    """2000 validations with 8 % of common and 3 % of own spread: 95 % within 3 standard errors (of 0.5 %)."""
    rng = np.random.default_rng([round(1000 * (1 + bias)), n])
    covered = 0
    for _ in range(2000):
        common = 1 + 0.08 * rng.normal(size=n)
        emulated = 10 * (common + 0.03 * rng.normal(size=n))
        simulated = 10 * (1 + bias) * (common + 0.03 * rng.normal(size=n))
        bounds = error(simulated.tolist(), emulated.tolist()).relative_ci95
        assert bounds is not None
        covered += bounds[0] <= bias <= bounds[1]
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_wrong_model_is_hardly_ever_called_valid() -> None:
    """An error of just the margin is called valid in no more than one validation of forty, as a two-sided 95 % interval says."""
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(1000):
        emulated = 10 + rng.normal(size=5) * 0.2
        simulated = 11 + rng.normal(size=5) * 0.2
        called += judge(error(simulated.tolist(), emulated.tolist()), TENTH) == "valid"
    assert called / 1000 <= 0.025 + 3 * math.sqrt(0.025 / 1000)


def test_students_quantiles() -> None:
    """Tables of any textbook."""
    for freedom, quantile in {1: 12.706, 2: 4.303, 4: 2.776, 5: 2.571, 6: 2.447, 10: 2.228, 30: 2.042}.items():
        assert t_quantile(freedom) == pytest.approx(quantile, abs=2e-3)
