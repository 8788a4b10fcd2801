"""Sobol's and Morris's indices of functions whose indices are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.errors import RequestError
from estran.explain.indices import explain_by_indices
from estran.report.explaining import told
from estran.study.design import points
from estran.study.factors import Factor
from tests.explain.planted import table

RANGES: dict[str, tuple[Any, ...]] = dict.fromkeys("abc", (-1.0, 1.0))
FACTORS = tuple(Factor(name, levels) for name, levels in RANGES.items())


def ishigami(point: dict[str, Any]) -> float:
    a, b, c = (np.pi * point[name] for name in "abc")
    return float(np.sin(a) + 7 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a))


def test_sobol_indices_are_those_of_the_ishigami_function() -> None:
    """Ishigami, Homma 1990: first .314, .442, 0; total .558, .442, .244."""
    drawn = points("sobol", FACTORS, 2048, np.random.default_rng(0))
    found = explain_by_indices(table(RANGES, drawn, 1, [ishigami(p) for p in drawn], "sobol"), "latency", np.random.default_rng(1))
    wanted = {"a": (0.3139, 0.5576), "b": (0.4424, 0.4424), "c": (0.0, 0.2437)}
    for index in found.indices:
        assert (index.first, index.total) == pytest.approx(wanted[index.factor], abs=0.03)
        for truth, (low, high) in zip(wanted[index.factor], (index.first_ci95, index.total_ci95), strict=True):
            assert low - 0.01 <= truth <= high + 0.01
    assert [index.factor for index in found.indices] == ["a", "b", "c"]


def test_morris_tells_linear_curved_and_null_factors_apart() -> None:
    drawn = points("morris", FACTORS, 40, np.random.default_rng(0))
    values = [3 * p["a"] + 4 * (p["a"] > 0) * p["b"] for p in drawn]
    found = explain_by_indices(table(RANGES, drawn, 1, values, "morris"), "latency", np.random.default_rng(1))
    by_name = {index.factor: index for index in found.indices}
    assert by_name["c"].total == by_name["c"].spread == 0
    assert (by_name["b"].spread or 0) > 1
    linear = explain_by_indices(table(RANGES, drawn, 1, [3 * p["a"] for p in drawn], "morris"), "latency", np.random.default_rng(1))
    assert linear.indices[0].first == pytest.approx(6.0)  # from one end of the range to the other
    assert linear.indices[0].spread == pytest.approx(0, abs=1e-9)


def test_morris_tells_changes_between_levels_without_order_as_they_are() -> None:
    ranges: dict[str, tuple[Any, ...]] = {"a": (-1.0, 1.0), "b": ("near", "far")}
    drawn = points("morris", tuple(Factor(name, levels) for name, levels in ranges.items()), 10, np.random.default_rng(0))
    values = [3 * p["a"] + 4 * (p["b"] == "far") for p in drawn]
    found = explain_by_indices(table(ranges, drawn, 1, values, "morris"), "latency", np.random.default_rng(1))
    by_name = {index.factor: index for index in found.indices}
    assert by_name["a"].first == pytest.approx(6.0)
    assert by_name["b"].first == pytest.approx(4.0)
    assert [sentence.split(" by ")[1] for sentence in told(found)] == ["6\u202fs over its range.", "4\u202fs from level to level."]


def test_replicates_are_averaged_and_broken_samples_counted() -> None:
    pytest.importorskip("pyDOE3")
    drawn = points("morris", FACTORS, 6, np.random.default_rng(0))
    values = np.array([p["a"] for p in drawn] * 2)
    given = table(RANGES, drawn, 2, values, "morris")
    given.done[5] = False
    found = explain_by_indices(given, "latency", np.random.default_rng(0))
    assert (found.samples, found.lost) == (5, 1)
    given.done[:] = np.arange(len(given.done)) < 4
    with pytest.raises(RequestError, match="0 of 6 samples are complete"):
        explain_by_indices(given, "latency", np.random.default_rng(0))
