"""Validation of predictions, from responses to the verdict; and once for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from estran.report.validated import print_validation
from estran.study.validation import Validation, judged
from tests.run.experiments import estran, write


def responses(**values: float) -> dict[str, Any]:
    units = {"latency": "s", "staleness": "s", "throughput": "/s", "accuracy": "fraction", "utilisation@fog-0": "fraction"}
    return {name: {"value": value, "unit": units[name], "n": 10} for name, value in values.items()}


def sides(name: str, simulated: list[float], emulated: list[float]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return [responses(**{name: value}) for value in simulated], [responses(**{name: value}) for value in emulated]


@pytest.mark.parametrize(
    ("name", "simulated", "emulated", "verdict"),
    [
        ("latency", [0.0101, 0.0102, 0.0100], [0.0100, 0.0101, 0.0099], "valid"),
        ("latency", [0.0131, 0.0132, 0.0130], [0.0100, 0.0101, 0.0099], "invalid"),
        ("latency", [0.0131, 0.0090, 0.0120], [0.0100, 0.0101, 0.0099], "cannot tell"),
        ("latency", [0.00021, 0.00022, 0.00021], [0.00018, 0.00017, 0.00018], "valid"),
        ("staleness", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], "valid"),
        ("throughput", [0.0, 0.0, 0.0], [0.1, 0.11, 0.12], "invalid"),
        ("accuracy", [0.893, 0.894, 0.895], [0.900, 0.899, 0.901], "valid"),
        ("accuracy", [0.85, 0.86, 0.855], [0.900, 0.899, 0.901], "invalid"),
        ("utilisation@fog-0", [0.0102, 0.0101, 0.0103], [0.0097, 0.0098, 0.0096], "valid"),
    ],
)
def test_verdicts(name: str, simulated: list[float], emulated: list[float], verdict: str) -> None:
    """The fourth is 20 % off and less than what emulation resolves; the last is 5 % off."""
    assert judged(name, *sides(name, simulated, emulated)).verdict == verdict


def test_a_response_that_one_side_lacks_cannot_be_judged() -> None:
    simulated, emulated = sides("latency", [0.01, 0.01, 0.01], [0.01, 0.01, 0.01])
    del simulated[1]["latency"]
    found = judged("latency", simulated, emulated)
    assert found.verdict == "cannot tell"
    assert found.note is not None
    assert "1 of 3" in found.note


def test_the_whole_is_valid_only_if_every_response_is() -> None:
    good = judged("latency", *sides("latency", [0.01, 0.01, 0.01], [0.01, 0.01, 0.0101]))
    bad = judged("latency", *sides("latency", [0.02, 0.02, 0.02], [0.01, 0.01, 0.0101]))
    unsure = judged("latency", *sides("latency", [0.02, 0.01, 0.0], [0.01, 0.01, 0.0101]))
    for found, verdict in (((good,), "valid"), ((good, unsure), "cannot tell"), ((good, unsure, bad), "invalid")):
        made = validation({f"latency@{i}": one for i, one in enumerate(found)})
        assert made.verdict == verdict
        assert made.plain()["verdict"] == verdict
        console = Console(width=100, record=True, file=None)
        with console.capture() as shown:
            print_validation(console, made)
        assert verdict in shown.get()


def validation(found: dict[str, Any]) -> Validation:
    return Validation(
        "planted", "validations/planted/x", (), {"rate": "2mbit"}, (1, 2, 3), 0.1, "calibration.json", ({"rate": "1mbit"},), True,
        found, {"simulated": (), "emulated": ()},
    )  # fmt: skip


@pytest.mark.root
def test_a_real_experiment_is_validated_and_its_runs_are_kept(tmp_path: Path) -> None:
    """Even from so short a run throughput is predicted well, and latency over a link of 10 ms is not wrong by half."""
    write(tmp_path)
    assert estran("run", "experiment.yaml", "--json", cwd=tmp_path).returncode == 0
    assert estran("calibrate", "latest", cwd=tmp_path).returncode == 0
    argv = ("--replicates", "2", "--set", "services.meter.with.rate=60", "--margin", "50%")
    done = estran(
        "validate", "experiment.yaml", *argv, "--responses", "latency", "--responses", "throughput", "--json", cwd=tmp_path
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["verdict"] == "valid" else 1)
    assert set(found["responses"]) == {"latency", "throughput"}
    assert found["held_out"] is True
    assert abs(found["responses"]["latency"]["error"]["relative"]) < 0.5
    assert abs(found["responses"]["throughput"]["error"]["relative"]) < 0.1
    assert found["seeds"] == [1, 2]
    for side, platform in (("simulated", "simulate"), ("emulated", "emulate")):
        records = [json.loads((tmp_path / folder / "run.json").read_text()) for folder in found["runs"][side]]
        assert [(record["seed"], record["platform"]) for record in records] == [(1, platform), (2, platform)]
    assert json.loads((tmp_path / found["folder"] / "validation.json").read_text()) == found


@pytest.mark.parametrize(
    ("argv", "told"),
    [(("--replicates", "1"), "replicates"), (("--margin", "wide"), "--margin"), (("--calibration", "no.json"), "no.json")],
)
def test_wrong_requests_start_nothing(argv: tuple[str, ...], told: str, tmp_path: Path) -> None:
    write(tmp_path)
    done = estran("validate", "experiment.yaml", *argv, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert not list(tmp_path.glob("validations/*/*/runs/*/*/responses.json"))
