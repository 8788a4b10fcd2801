"""Whole simulated runs, in this process or in one of their own."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from estran.run.prepare import Simulation, prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from tests.run.experiments import command, environment

REPEATABLE = ("responses.json", "messages.parquet", "metrics.parquet", "operations.parquet", "events.parquet", "trace.txt")
"""Files of a run folder that a seed determines to the byte, and the logs with them."""


def simulate(
    folder: Path,
    text: str,
    modules: Mapping[str, str] | None = None,
    *,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    trace: bool = False,
    calibration: str = "none",
) -> Path:
    """Run an experiment in this process; return the run folder, however it ended."""
    file = written(folder, text, modules)
    simulation = Simulation(calibration, trace=trace)
    prepared = prepare(str(file), overrides=overrides, seed=seed, on="simulate", simulation=simulation)
    return execute(prepared, out=folder / "runs", progress=QuietProgress())[0]


def written(folder: Path, text: str, modules: Mapping[str, str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, source in (modules or {}).items():
        (folder / f"{name}.py").write_text(source)
    file = folder / "experiment.yaml"
    file.write_text(text)
    return file


def started(folder: Path, *options: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a run of the folder's experiment in a process of its own; it prints its result as JSON."""
    argv = command(["run", "experiment.yaml", "--on", "simulate", "--json", *options])
    return subprocess.Popen(
        argv, cwd=folder, env=environment(folder, env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str], timeout: float = 60) -> Path:
    """Wait for a run that was started; return its folder."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, out + err
    return Path(process.args[-1]) if not out else Path(str(json.loads(out)["folder"]))  # type: ignore[arg-type,index]


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def value(folder: Path, response: str) -> float:
    return float(json.loads((folder / "responses.json").read_text())[response]["value"])


def rows(folder: Path, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Query the run's tables by their names."""
    with duckdb.connect(":memory:") as connection:
        for table in ("messages", "metrics", "operations", "events"):
            connection.execute(f"CREATE VIEW {table} AS FROM '{folder / table}.parquet'")
        return connection.execute(query, parameters).fetchall()


def digests(folder: Path) -> dict[str, str]:
    """What must be the same in each repetition, by file."""
    files = [folder / name for name in REPEATABLE if (folder / name).exists()]
    files += sorted((folder / "logs").glob("*.log"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
