"""Distributions that are read off histograms instead of messages."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.report.histograms import NAME, latencies


def write(
    folder: Path, values: np.ndarray[tuple[int], np.dtype[np.float64]], edges: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    count, _ = np.histogram(values, edges)
    rows = [("latency", "detector", float(a), float(b), int(n)) for a, b, n in zip(edges[:-1], edges[1:], count, strict=True) if n]
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (name VARCHAR, part VARCHAR, low DOUBLE, high DOUBLE, count BIGINT)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COPY t TO $path (FORMAT parquet)", {"path": str(folder / NAME)})


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000))
def test_quantiles_are_those_of_the_values_to_a_bin(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).lognormal(-3, 1, count)
    edges = np.geomspace(1e-6, 1e3, 2000)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(":memory:") as connection:
        write(Path(folder), values, edges)
        (found,) = latencies(connection, Path(folder))
    assert found.messages == count
    assert found.quantiles == sorted(found.quantiles)
    for level, quantile in zip(found.levels, found.quantiles, strict=True):
        low, high = np.quantile(values, level, method="lower"), np.quantile(values, level, method="higher")
        place = max(int(np.ceil(level * count)) - 1, 0)
        near = np.sort(values)[[max(place - 1, 0), min(place + 1, count - 1)]]
        assert min(low, near[0]) / 1.011 <= quantile <= max(high, near[1]) * 1.011


def test_a_folder_without_histograms_has_no_distribution(tmp_path: Path) -> None:
    with duckdb.connect(":memory:") as connection:
        assert latencies(connection, tmp_path) == []


def test_the_median_of_a_known_histogram(tmp_path: Path) -> None:
    write(tmp_path, np.array([0.5, 1.5, 1.5, 2.5]), np.array([0.0, 1.0, 2.0, 3.0]))
    with duckdb.connect(":memory:") as connection:
        (found,) = latencies(connection, tmp_path)
    assert found.at(0.5) == pytest.approx(1.5)
    assert found.at(1.0) == pytest.approx(3.0)
