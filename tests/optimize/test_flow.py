"""Optimising by cost models alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from estran.optimize.optimize import Request
from tests.optimize.test_optimize import optimised, rows


def test_cost_models_alone_are_a_fidelity(tmp_path: Path) -> None:
    shutil.copytree(Path("examples/million-devices"), tmp_path / "few")
    file = tmp_path / "few" / "experiment.yaml"
    text = file.read_text().replace("[10000, 100000, 1000000]", "[20, 40]").replace("[40, 400, 4000]", "[2, 4]")
    text = text.partition("claims:")[0]  # of other numbers of devices
    file.write_text(text.replace("{warmup: 60s, duration: 10min}", "{warmup: 20s, duration: 60s}"))
    folder, found, _ = optimised(Request(str(file), ("latency",), ("throughput",), fidelities=("flow",), trials=5), tmp_path / "a")
    assert [row["status"] for row in rows(folder.path)] == ["done"] * 5
    run = json.loads((folder.path / rows(folder.path)[0]["folder"] / "run.json").read_text())
    assert run["detail"] == "flow"
    assert found.target == "flow"
