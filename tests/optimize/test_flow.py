"""Optimising by cost models alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from estran.optimize.optimize import Request
from tests.optimize.test_optimize import optimised, rows


def _small(place: Path) -> Path:
    """Of the example with a million devices, forty."""
    shutil.copytree(Path("examples/million-devices"), place / "few")
    file = place / "few" / "experiment.yaml"
    text = file.read_text().replace("[10000, 100000, 1000000]", "[20, 40]").replace("[40, 400, 4000]", "[2, 4]")
    text = text.partition("claims:")[0]  # of other numbers of devices
    file.write_text(text.replace("{warmup: 60s, duration: 10min}", "{warmup: 20s, duration: 60s}"))
    return file


def test_cost_models_alone_are_a_fidelity(tmp_path: Path) -> None:
    file = _small(tmp_path)
    folder, found, _ = optimised(Request(str(file), ("latency",), ("throughput",), fidelities=("flow",), trials=5), tmp_path / "a")
    assert [row["status"] for row in rows(folder.path)] == ["done"] * 5
    run = json.loads((folder.path / rows(folder.path)[0]["folder"] / "run.json").read_text())
    assert run["detail"] == "flow"
    assert found.target == "flow"


def test_cost_models_lead_to_runs_in_virtual_time(tmp_path: Path) -> None:
    file = _small(tmp_path)
    request = Request(str(file), ("latency",), ("throughput",), fidelities=("flow", "simulate"), trials=4, replicates=1)
    folder, found, _ = optimised(request, tmp_path / "a")
    fidelities = [row["fidelity"] for row in rows(folder.path)]
    assert fidelities[:2] == ["flow", "simulate"]
    assert fidelities.count("simulate") <= 4
    assert found.target == "simulate"
    assert any(note.startswith("flow ") and "latency" in note for note in found.notes)
    assert (folder.path / "flow" / "responses.csv").exists()
