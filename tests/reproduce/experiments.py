"""A small experiment with data and a factor, simulated."""

from __future__ import annotations

import json
from pathlib import Path

from estran.run.prepare import Simulation, prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from tests.run.experiments import TINY, estran, write

EXPERIMENT = TINY.replace("rate: 40", 'rate: "${rate}"').replace('"parts:Total"', '"parts:Total", costs: {add: 1ms}')
EXPERIMENT += "factors:\n  rate: [20, 40]\n"


def experiment(folder: Path) -> Path:
    """Write it; return the file."""
    file = write(folder, EXPERIMENT)
    (folder / "data").mkdir()
    (folder / "data" / "levels.csv").write_text("a,b\n1,2\n")
    (folder / "start.sh").write_text("#!/bin/sh\n")
    (folder / "start.sh").chmod(0o755)
    return file


def simulated_run(folder: Path, *overrides: str, seed: int | None = None, calibration: str | None = None) -> Path:
    """Run it in virtual time, in this process; return the run folder."""
    file = folder / "experiment.yaml"
    if not file.exists():
        experiment(folder)
    prepared = prepare(str(file), overrides=overrides, seed=seed, on="simulate", simulation=Simulation(calibration))
    return execute(prepared, out=folder / "runs", progress=QuietProgress(), command=["estran", "run", str(file)])[0]


def simulated_study(folder: Path) -> Path:
    """Study it in virtual time; return the study's folder."""
    experiment(folder)
    done = estran("study", "experiment.yaml", "--on", "simulate", "--json", "--replicates", "2", "--jobs", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / str(json.loads(done.stdout)["study"])
