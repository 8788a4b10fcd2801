"""Runs by costs alone leave a run folder like any other, whatever becomes of them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from estran.errors import RequestError
from estran.run.flow import execute_flow
from estran.run.prepare import read_experiment
from estran.run.record import QuietProgress
from estran.spec.calibration import Calibration, OperationFit, StreamFit
from estran.spec.costs import Amount, Cost, Spread
from tests.platforms.simulated.flow.experiments import FREE, document, relay, sink, source, write

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(file: str, out: Path, progress: Any = None, **options: Any) -> tuple[Path, str, dict[str, Any]]:
    experiment, index = read_experiment(file, overrides=options.pop("overrides", ()))
    folder, status = execute_flow(experiment, index, out=out, progress=progress or QuietProgress(), command=["test"], **options)
    return folder, status, json.loads((folder / "run.json").read_text())


def simple(rate: float = 20, duration: str = "60s") -> dict[str, Any]:
    services = {"camera": source(rate), "relay": relay("fog", time="10ms"), "end": sink("fog")}
    streams = [{"from": "camera.samples", "to": "relay.samples"}, {"from": "relay.forwarded", "to": "end.messages"}]
    return document(services, streams, duration=duration, hosts={"edge": 2, "fog": 1})


@pytest.mark.parametrize("placement", ["fog", "edge", "cloud"])
def test_the_example_that_is_emulated_runs_by_costs_alone(tmp_path: Path, placement: str) -> None:
    file = str(EXAMPLES / "visual-inspection")
    folder, status, record = run(file, tmp_path, overrides=[f"placement={placement}"])
    responses = json.loads((folder / "responses.json").read_text())
    assert status == "done"
    assert record["detail"] == "flow"
    assert responses["throughput"]["value"] == pytest.approx(200, rel=0.02)
    parts = sum(responses[f"latency_{kind}"]["value"] for kind in ("queueing", "transfer", "compute"))
    assert parts == pytest.approx(responses["latency"]["value"], rel=0.02)
    assert 0.2 < responses["staleness"]["value"] < 0.6
    assert "accuracy" in record["missing"]
    assert any("estimates" in warning for warning in record["warnings"])


def test_the_folder_holds_what_a_run_holds_and_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    file = write(tmp_path, simple())
    (one, _, _), (two, _, _) = run(file, tmp_path / "a", threads=1), run(file, tmp_path / "b", threads=2)
    for name in ("experiment.yaml", "assignment.json", "manifest.json", "responses.json", "histograms.parquet", "run.json"):
        assert (one / name).is_file(), name
    assert (one / "responses.json").read_bytes() == (two / "responses.json").read_bytes()
    other, _, _ = run(file, tmp_path / "c", overrides=["seed=9"])
    assert (one / "responses.json").read_bytes() != (other / "responses.json").read_bytes()


def test_histograms_hold_every_message(tmp_path: Path) -> None:
    import duckdb

    folder, _, _ = run(write(tmp_path, simple()), tmp_path)
    responses = json.loads((folder / "responses.json").read_text())
    query = """SELECT sum(count), sum(count * (low + high) / 2) / sum(count), max(high / low)
               FROM read_parquet($1) WHERE name = $2 AND part = $3"""
    rows = duckdb.execute(query, [str(folder / "histograms.parquet"), "latency", "end"]).fetchall()[0]
    assert rows is not None
    assert rows[0] == responses["latency"]["n"]
    assert rows[1] == pytest.approx(responses["latency"]["value"], rel=0.01)
    assert rows[2] <= 1.01


def test_calibrated_costs_sizes_and_transfers_are_used(tmp_path: Path) -> None:
    cost = Cost(4e-3, spread=Spread("observed", quantiles=(0.5, 1.0, 1.5)))
    known = Calibration(
        operations=(OperationFit("relay", "relay:Relay", "forward", "unit", 9, cost),),
        streams=(StreamFit("camera.samples", "relay", "acknowledged", 9, Cost(7e-3), Amount(90_000.0)),),
    )
    described = simple()
    described["network"] = [{"between": ["edge", "fog"], "rate": "100mbit"}]
    described["services"]["relay"]["costs"]["forward"] = "1ms"
    folder, _, _ = run(write(tmp_path, described), tmp_path, calibration=known)
    declared = json.loads((folder / "responses.json").read_text())
    assert declared["latency_compute@relay"]["value"] == pytest.approx(1e-3)  # what the file says comes first
    assert declared["message_bytes@edge"]["value"] == pytest.approx(90_000 * 40 * 60, rel=0.05)
    assert 0.014 < declared["latency_transfer@relay"]["value"] < 0.020  # 7 ms, and 90 kB at 100 Mbit/s
    del described["services"]["relay"]["costs"]["forward"]
    folder, _, _ = run(write(tmp_path, described), tmp_path, calibration=known)
    fitted = json.loads((folder / "responses.json").read_text())
    assert fitted["latency_compute@relay"]["value"] == pytest.approx(4e-3, rel=0.03)


def test_what_is_unstable_fails_in_its_folder(tmp_path: Path) -> None:
    folder, status, record = run(write(tmp_path, simple(rate=80)), tmp_path)
    assert status == "failed"
    assert record["failure"]["what"] == "unstable: utilisation 1.6 at fog/relay"
    assert "replicas" in record["failure"]["remedy"]
    assert not (folder / "responses.json").exists()


def test_samples_that_wait_for_a_model_that_never_comes_are_named(tmp_path: Path) -> None:
    costs = {"predict": "1ms", "load": "1ms", "learn": "1ms", "snapshot": "1ms", **FREE}
    trainer = {"learner": {"mlp": {"hidden": [1000]}}}
    services = {
        "camera": source(100),
        "detector": {"on": "fog", "component": "predictor", "costs": costs},
        "trainer": {"on": "cloud", "component": "trainer", "costs": costs, "with": trainer},
    }
    streams = [
        {"from": "camera.samples", "to": ["detector.samples", "trainer.samples"]},
        {"from": "trainer.models", "to": "detector.models", "delivery": "latest"},
    ]
    network = [{"from": "cloud", "to": "fog", "rate": "1kbit"}]
    described = document(services, streams, duration="60s", hosts={"edge": 1, "fog": 1, "cloud": 1}, network=network)
    _, status, record = run(write(tmp_path, described), tmp_path)
    assert status == "failed"
    assert record["failure"]["what"].startswith("unstable: ")
    assert "fog/detector" in record["failure"]["what"]
    assert "no model yet" in record["failure"]["remedy"]


def test_windows_that_were_full_at_times_are_warned_of(tmp_path: Path) -> None:
    described = simple(rate=35)
    described["services"]["relay"]["costs"]["forward"] = {"time": "10ms", "distribution": "lognormal", "cv": 4}
    described["streams"][0]["capacity"] = 3
    _, status, record = run(write(tmp_path, described), tmp_path)
    assert status == "done"
    assert any("more than its window of 3" in warning for warning in record["warnings"])


def test_what_cannot_be_compiled_leaves_no_folder(tmp_path: Path) -> None:
    described = simple()
    described["services"]["relay"]["costs"] = dict(FREE)
    with pytest.raises(RequestError, match="relay"):
        run(write(tmp_path, described), tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Interrupting(QuietProgress):
    """Presses Ctrl-C, or sends another signal, when a third has been simulated."""

    number = signal.SIGINT

    def live(self, figures: dict[str, float]) -> None:
        if figures["simulated"] > figures["of"] / 3:
            os.kill(os.getpid(), self.number)


def test_ctrl_c_keeps_what_was_simulated(tmp_path: Path) -> None:
    folder, status, record = run(write(tmp_path, simple(duration="6000s")), tmp_path, Interrupting())
    responses = json.loads((folder / "responses.json").read_text())
    assert status == record["status"] == "interrupted"
    assert 1900 < record["simulated"] < 2300
    assert responses["throughput"]["value"] == pytest.approx(40, rel=0.02)
    assert any("interrupted after" in warning for warning in record["warnings"])


def test_what_is_ignored_from_outside_stays_so(tmp_path: Path) -> None:
    """Under nohup, a terminal that goes ends nothing."""

    class HangingUp(Interrupting):
        number = signal.SIGHUP

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _, status, _ = run(write(tmp_path, simple()), tmp_path, HangingUp())
        assert status == "done"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("rate", [20, 80])
def test_reports_and_summaries_take_such_folders(tmp_path: Path, rate: float) -> None:
    from rich.console import Console

    from estran.report.page import write_report
    from estran.report.table import print_summary

    folder, _, _ = run(write(tmp_path, simple(rate=rate)), tmp_path)
    write_report(folder)
    console = Console(record=True, width=120)
    print_summary(console, folder)
    text = console.export_text()
    assert ("latency" in text) if rate == 20 else ("unstable" in text)
    assert (folder / "report.html").stat().st_size > 1000
