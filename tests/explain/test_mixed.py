"""Mixed models: against published figures, and against planted studies with machines and hosts."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.explain.effects import explain
from estran.explain.mixed import fit_mixed
from estran.explain.table import Table
from estran.report.explaining import answer, validity
from tests.explain.planted import table

STUDIES = 200

PENICILLIN = """272326232321 272326232321 252125242420 262325232320 252226222320 242225232219 242023212219 262226242421
242124222220 242124232219 262326242421 252226242420 262426242522 262326232320 262325242422 252225232320
252124232320 252224232319 242123212119 262326242421 252124222218 252225222220 242124222419 242124222118"""
"""Davies, Goldsmith, *Statistical Methods in Research and Production*, 4th edition, 1972, section 6.6: zones (mm) of six samples on
each of 24 plates."""


def test_components_are_those_published_for_crossed_effects() -> None:
    """Bates, *lme4: Mixed-effects modeling with R*, 2010, 2.1.1: plates 0.7169, samples 3.7309, error 0.3024, mean 22.97."""
    y = np.array([int(row[i : i + 2]) for row in PENICILLIN.split() for i in range(0, 12, 2)], dtype=float)
    groups = {"plate": np.repeat(np.arange(24), 6), "sample": np.tile(np.arange(6), 24)}
    found = fit_mixed(np.ones((144, 1)), y, groups)
    assert found.components["plate"] == pytest.approx(0.7169, abs=5e-5)
    assert found.components["sample"] == pytest.approx(3.7309, abs=5e-4)
    assert found.error == pytest.approx(0.3024, abs=5e-5)
    mean = found.estimate(np.ones(1))
    assert (mean.value, mean.error) == pytest.approx((22.9722, 0.8086), abs=1e-4)


def test_tests_in_balanced_designs_are_those_of_the_analysis_of_variance() -> None:
    """Box, Hunter, Hunter, *Statistics for Experimenters*, 1978, chapter 7: four treatments in five blends; F = 1.24, p = 0.34."""
    y = np.array([[89, 84, 81, 87, 79], [88, 77, 87, 92, 81], [97, 92, 87, 89, 80], [94, 79, 85, 84, 88]], dtype=float)
    treatment = np.repeat(np.arange(4), 5)
    matrix = np.column_stack([np.ones(20), *(treatment == k for k in (1, 2, 3))]).astype(float)
    found = fit_mixed(matrix, y.ravel(), {"blend": np.tile(np.arange(5), 4)})
    assert (found.components["blend"], found.error) == pytest.approx((11.79, 18.83), abs=0.01)
    test = found.test(slice(1, 4))
    assert (test.f, test.p) == pytest.approx((1.239, 0.3387), abs=1e-3)
    assert found.estimate(np.array([0.0, 1, 0, 0])).freedom == pytest.approx(12)


def on_machines(rng: np.random.Generator) -> tuple[Table, np.ndarray, set[str]]:
    """A study whose runs were drawn to one of 3 to 6 machines, which differ as much as replicates do or more."""
    factors = {"a": ("x", "y", "z"), "b": ("u", "v")}
    points = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    replicates, count = int(rng.integers(3, 6)), int(rng.integers(3, 7))
    rows = points * replicates
    shift = np.array([0.0, 2.0, 5.0]) * rng.choice([0.0, 1.0])
    machines = rng.integers(count, size=len(rows))
    y = 20 + np.array([shift["xyz".index(row["a"])] for row in rows]) + rng.normal(size=len(rows))
    y += rng.normal(scale=rng.choice([1.0, 2.0]), size=count)[machines] + np.repeat(rng.normal(size=replicates), len(points))
    given = replace(table(factors, points, replicates, y), machines=tuple(f"node-{m}" for m in machines))
    return given, shift, {"b", "a × b"} | (set() if shift.any() else {"a"})


def on_hosts(rng: np.random.Generator) -> tuple[Table, np.ndarray, set[str]]:
    """A study measured on each of 4 to 6 hosts, which differ, and on which the factor does not quite do the same."""
    factors = {"a": ("x", "y", "z"), "b": ("u", "v")}
    points = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    replicates, hosts = int(rng.integers(3, 5)), int(rng.integers(4, 7))
    rows = points * replicates
    shift = np.array([0.0, 2.0, 5.0]) * rng.choice([0.0, 1.0])
    level = np.array(["xyz".index(row["a"]) for row in rows])
    base = 20 + shift[level] + rng.normal(scale=0.7, size=len(rows)) + np.repeat(rng.normal(size=replicates), len(points))
    uneven = rng.normal(scale=rng.choice([0.0, 0.8]), size=(hosts, 3))
    y = base[:, None] + rng.normal(scale=2, size=hosts) + uneven[:, level].T + rng.normal(size=(len(rows), hosts))
    given = table(factors, points, replicates, base)
    columns = {f"energy@edge-{host}": y[:, host] for host in range(hosts)}
    return (
        replace(given, responses=columns, units=dict.fromkeys(columns, "J")),
        shift,
        {"b", "a × b"} | (set() if shift.any() else {"a"}),
    )


@pytest.mark.parametrize(("planted", "response"), [(on_machines, "latency"), (on_hosts, "energy@edge-*")])
def test_intervals_allow_for_few_machines_and_hosts(planted: object, response: str) -> None:
    """Over 200 studies each: intervals hold the truth in 93 % at least; 5 % of studies have false discoveries (± two errors)."""
    rng = np.random.default_rng(2027)
    held = intervals = false = 0
    for _ in range(STUDIES):
        given, shift, nulls = planted(rng)  # type: ignore[operator]
        found = explain(given, response, rng)
        assert found.mixed
        false += any(effect.found and effect.term in nulls for effect in found.effects)
        for effect in found.effects:
            truth = {"a": shift, "b": np.zeros(2)}.get(effect.term, ())
            for level, true in list(zip(effect.levels, truth, strict=True))[1:]:
                low, high = level.difference_ci95
                held += low <= true <= high
                intervals += 1
    assert held / intervals >= 0.93, f"{held} of {intervals} intervals hold the truth"
    assert false <= 0.05 * STUDIES + 2 * (0.05 * 0.95 * STUDIES) ** 0.5, f"false discoveries in {false} of {STUDIES} studies"


def test_hosts_are_told_of_in_words() -> None:
    given, _, _ = on_hosts(np.random.default_rng(1))
    found = explain(given, "energy@edge-*", np.random.default_rng(0))
    assert any(sentence.startswith("Differences between hosts explain") for sentence in answer(found))
    assert any("A mixed model with" in sentence and "hosts" in sentence for sentence in validity(found))


def test_machines_that_follow_a_factor_are_named_not_fitted() -> None:
    given, _, _ = on_machines(np.random.default_rng(1))
    confounded = replace(given, machines=tuple(f"node-{code}" for code in given.codes["b"]), blocks=np.ones_like(given.blocks))
    found = explain(confounded, "latency", np.random.default_rng(0))
    assert "machines" in found.aliased
    assert not found.mixed
