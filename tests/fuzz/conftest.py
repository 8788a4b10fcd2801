"""Folders to be damaged: of a run, of cost models alone, of a study and of an optimisation, each made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.observe.folders import hop, write_folder
from tests.reproduce.experiments import experiment, simulated_run
from tests.run.experiments import estran


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished records by their kind."""
    place = tmp_path_factory.mktemp("records")
    for name in ("run", "study", "optimisation", "flow"):
        (place / name).mkdir()
    live = write_folder(place / "live" / "runs" / "planted" / "r1", {"messages": [hop(n, n * 0.1) for n in range(20)]}, live=True)
    live.joinpath("run.json").write_text(live.joinpath("run.json").read_text().replace('"done"', '"running"'))
    experiment(place / "study")
    study = _made(place / "study", "study", "experiment.yaml", "--on", "simulate", "--replicates", "2", "--jobs", "1")
    return {
        "run": simulated_run(place / "run"),
        "flow": _flow(place / "flow"),
        "live": live,
        "study": study,
        "optimisation": _optimisation(place / "optimisation", place / "study"),
    }


def _flow(place: Path) -> Path:
    shutil.copytree("examples/million-devices", place / "few")
    file = place / "few" / "experiment.yaml"
    text = file.read_text().replace("[10000, 100000, 1000000]", "[20, 40]").replace("[40, 400, 4000]", "[2, 4]")
    text = text.partition("claims:")[0].replace("{warmup: 60s, duration: 10min}", "{warmup: 20s, duration: 60s}")
    file.write_text(text)
    return _made(place, "run", str(file), "--on", "simulate", "--detail", "flow")


def _optimisation(place: Path, experiment: Path) -> Path:
    file = experiment / "experiment.yaml"
    _made(
        place,
        "optimize",
        str(file),
        "--minimize",
        "latency",
        "--on",
        "simulate",
        "--trials",
        "3",
        "--replicates",
        "1",
        "--jobs",
        "1",
    )
    (found,) = place.glob("studies/*/*/optimize.json")
    return found.parent


def _made(place: Path, *argv: str) -> Path:
    done = estran(*argv, "--json", cwd=place, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return Path(place, told.get("folder") or told.get("study") or "")
