"""A run of which a worker is killed, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from tests.run.experiments import estran, record, run_folder

Query = Callable[[str, str, str], list[tuple[float, ...]]]
"""Rows of a table: its name, columns and condition, in the order of time."""


def killed_and_back(folder: Path, text: str, parts: str, timeout: float = 60) -> tuple[Query, list[float]]:
    """Run an experiment of whose workers ``worker-2`` is killed once; how to ask for its tables, and when that worker was ready."""
    (folder / "parts.py").write_text(parts)
    (folder / "experiment.yaml").write_text(text)
    done = estran("run", "experiment.yaml", "--on", "emulate", cwd=folder, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("worker-2" in warning and "restarted" in warning for warning in record(folder)["warnings"])
    tables = run_folder(folder)

    def query(table: str, what: str, where: str) -> list[tuple[float, ...]]:
        return duckdb.sql(f"SELECT {what} FROM '{tables / table}.parquet' WHERE {where} ORDER BY time").fetchall()

    starts = [time for (time,) in query("events", "time", "event = 'ready' AND replica = 'worker-2'")]
    assert len(starts) == 2
    return query, starts
