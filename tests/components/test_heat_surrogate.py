"""The example heat-surrogate, whole: simulated, and emulated."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from estran.report.page import render
from tests.run.experiments import assert_nothing_left, estran, run_folder
from tests.run.simulated import digests, record, rows, simulate, value

EXAMPLE = Path(__file__).parents[2] / "examples" / "heat-surrogate"
TEXT, SOLVER = ((EXAMPLE / name).read_text() for name in ("experiment.yaml", "heat.py"))
SHORT = ("measure.duration=8s", "services.heldout.with.count=32", "services.trainer.with.rate=100/s")
SERIES = "SELECT value FROM metrics WHERE replica = ? AND metric = ? ORDER BY time"


def test_its_error_falls_while_the_ensemble_runs(tmp_path: Path) -> None:
    run = simulate(tmp_path, TEXT, {"heat": SOLVER}, overrides=SHORT)
    assert record(run)["status"] == "done"
    errors = [error for (error,) in rows(run, SERIES, "trainer-0", "rmse")]
    assert errors[-1] < 0.8 * errors[0]
    assert value(run, "proposed@trainer") > 3
    assert rows(run, SERIES, "ensemble-0", "steered")[-1][0] > 0.2
    answered = rows(run, "SELECT count(*), max(version) FROM messages WHERE receiver = 'predictor-0' AND answer IS NOT NULL")[0]
    assert answered[0] > 80
    assert answered[1] > 5
    assert value(run, "rmse@predictor") > 0
    assert value(run, "latency_p50@predictor") > 0.005
    assert value(run, "staleness@predictor") == pytest.approx(0.6, abs=0.3)
    report = render(run)
    assert 'data-chart="recorded-rmse"' in report
    assert '"id":"recorded-rmse"' in report.replace(" ", "")


def test_it_repeats_itself_to_the_byte(tmp_path: Path) -> None:
    overrides = (*SHORT, "measure.duration=3s")
    first, second = (simulate(tmp_path / name, TEXT, {"heat": SOLVER}, overrides=overrides) for name in "ab")
    assert digests(first) == digests(second)


def test_a_simulator_that_fails_now_and_then_does_not_end_a_run(tmp_path: Path) -> None:
    fragile = SOLVER.replace("    points =", "    if x > 0.6:\n        raise ValueError('too far right')\n    points =")
    assert fragile != SOLVER
    run = simulate(tmp_path, TEXT, {"heat": fragile}, overrides=(*SHORT, "measure.duration=3s", "steering=none"))
    assert record(run)["status"] == "done"
    failed = rows(run, "SELECT detail FROM events WHERE event = 'simulation_failed' AND replica LIKE 'ensemble-%'")
    assert failed
    assert all("too far right" in json.loads(detail)["why"] for (detail,) in failed)
    assert rows(run, SERIES, "trainer-0", "rmse_batches")


def test_what_a_step_costs_must_be_said_before_it_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "heat.py").write_text(SOLVER)
    (tmp_path / "experiment.yaml").write_text(TEXT.replace("    costs: {step: 1ms}\n", "").replace(", costs: {step: 1ms}", ""))
    planned = estran("plan", "experiment.yaml", "--on", "simulate", cwd=tmp_path)
    assert "services.ensemble: what its operation 'step' costs is not known" in planned.stdout + planned.stderr
    ran = estran("run", "experiment.yaml", "--on", "simulate", cwd=tmp_path)
    assert ran.returncode != 0
    assert "costs: {step: 2ms}" in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "text"),
    [
        ("heat:solve", "heat:slove", "heat:slove cannot be imported"),
        ("width: [0.05, 0.4]", "wide: [0.05, 0.4]", "heat:solve takes no wide"),
        ("members: 3", "members: 1", "steering by variance needs a committee"),
        ("steps: 10", "steps: 0", "steps is 0"),
        ("policy: reservoir", "policy: lifo", "lifo"),
        ("sampler: sobol", "sampler: {kind: rare-event, region: {x: [0, 1]}}", "x reaches beyond [0.3, 0.7]"),
        (
            "  - {from: trainer.parameters, to: ensemble.parameters, routing: rotate}\n",
            "",
            "its port 'parameters' is not connected",
        ),
        ("threshold: 60", "threshold: 60, real: 20%", "its port 'real' is not connected"),
        ("ensemble.steps,     to: trainer.steps", "trainer.models,     to: trainer.steps", "trainer.steps takes"),
    ],
)
def test_mistakes_are_named_by_check(tmp_path: Path, right: str, wrong: str, text: str) -> None:
    (tmp_path / "heat.py").write_text(SOLVER)
    assert right in TEXT
    (tmp_path / "experiment.yaml").write_text(TEXT.replace(right, wrong))
    checked = estran("check", "experiment.yaml", cwd=tmp_path)
    assert checked.returncode == 2
    assert text in " ".join(checked.stderr.split())
    assert "Traceback" not in checked.stderr


def test_emulated_it_learns_serves_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "heat.py").write_text(SOLVER)
    (tmp_path / "experiment.yaml").write_text(TEXT)
    chosen = [word for override in SHORT for word in ("--set", override)]
    done = estran("run", "experiment.yaml", *chosen, "--json", cwd=tmp_path, timeout=110)
    assert done.returncode == 0, done.stderr
    metrics = str(run_folder(tmp_path) / "metrics.parquet")
    errors = duckdb.execute(
        "SELECT value FROM read_parquet(?) WHERE replica = 'trainer-0' AND metric = 'rmse' ORDER BY time", [metrics]
    ).fetchall()
    assert errors[-1][0] < 0.8 * errors[0][0]
    assert_nothing_left(json.loads(done.stdout)["id"])
