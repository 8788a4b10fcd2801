"""Whole runs on the emulated platform, through the command line."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import duckdb
import pytest

from tests.run.experiments import (
    TINY,
    assert_nothing_left,
    estran,
    record,
    run_folder,
    start,
    wait_for_phase,
    write,
)

SLOW = TINY.replace("edge: {hosts: 2, device: cloud-vm-2}", "edge: {hosts: 2, device: raspberry-pi-4}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run was made that several tests look at."""
    cwd = tmp_path_factory.mktemp("whole")
    write(cwd, SLOW)
    done = estran("run", "experiment.yaml", "--json", "--set", "measure.duration=1.4s", "--seed", "9", cwd=cwd)
    assert done.returncode == 0, done.stderr
    (cwd / "said.json").write_text(done.stdout)
    return cwd


@pytest.mark.alone
def test_a_run_leaves_a_whole_folder_and_nothing_else(whole: Path) -> None:
    result = json.loads((whole / "said.json").read_text())
    folder = run_folder(whole)
    assert result["status"] == "done"
    assert [phase["status"] for phase in result["phases"]] == ["done"] * len(result["phases"])
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "run.json", "experiment.yaml", "assignment.json", "manifest.json", "plan.json", "network.json", "responses.json",
        "messages.parquet", "metrics.parquet", "operations.parquet", "events.parquet", "report.html", "logs",
    }  # fmt: skip
    assert not {"live.sqlite", "live.sqlite-wal", "hosts", "keeper.log"} & names
    assert_nothing_left(result["id"])
    assert list((whole / "state").glob("**/*.jsonl")) == []


@pytest.mark.alone
def test_messages_take_at_least_the_links_delay_and_none_is_lost(whole: Path) -> None:
    messages = str(run_folder(whole) / "messages.parquet")
    fastest, count, distinct = duckdb.execute(
        "SELECT min(received - sent), count(*), count(DISTINCT (origin, seq)) FROM read_parquet(?)", [messages]
    ).fetchall()[0]
    assert fastest >= 0.0099
    assert count == distinct > 60
    per_origin = duckdb.execute("SELECT count(*), max(seq) + 1 FROM read_parquet(?) GROUP BY origin", [messages]).fetchall()
    assert len(per_origin) == 2
    assert all(seen == numbered for seen, numbered in per_origin)


@pytest.mark.alone
def test_network_and_devices_are_probed_before_the_workload_starts(whole: Path) -> None:
    network = json.loads((run_folder(whole) / "network.json").read_text())
    assert {link["source"].split("-")[0] for link in network["links"]} == {"edge", "cloud"}
    for link in network["links"]:
        assert link["ok"]
        assert link["measured"]["delay"] == pytest.approx(0.010, abs=0.0007)
        assert link["measured"]["rate"] == pytest.approx(20e6, rel=0.06)
    assert network["facts"]["engine_ladder"]
    assert {cpu["host"].split("-")[0] for cpu in network["cpus"] if cpu["ok"]} == {"edge", "cloud"}


@pytest.mark.alone
def test_the_resolved_file_in_the_folder_runs_again(whole: Path) -> None:
    (whole / "again.yaml").write_text((run_folder(whole) / "experiment.yaml").read_text())
    shown = estran("plan", "again.yaml", "--json", cwd=whole)
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert (plan["seed"], plan["measure"]["duration"]) == (9, 1.4)


def test_a_component_that_raises_fails_the_run_and_says_where(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("with: {rate: 40}", "with: {rate: 40, fail_after: 20}"))
    failed = estran("run", "experiment.yaml", cwd=tmp_path)
    assert failed.returncode == 1
    failure = record(tmp_path)["failure"]
    assert "the sensor is on fire" in failure["what"]
    assert failure["host"].startswith("edge-")
    assert failure["service"].startswith("meter-")
    assert any("ValueError: the sensor is on fire" in line for line in failure["log_tail"])
    assert "the sensor is on fire" in failed.stdout
    assert (run_folder(tmp_path) / "report.html").exists()
    query = "SELECT count(*) FROM read_parquet(?)"
    assert duckdb.execute(query, [str(run_folder(tmp_path) / "messages.parquet")]).fetchall()[0][0] > 0
    assert_nothing_left(record(tmp_path)["id"])


def test_a_service_that_never_gets_ready_fails_the_run(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("with: {rate: 40}}", "with: {never_ready: true}, ready: {timeout: 1s}}"))
    failed = estran("run", "experiment.yaml", cwd=tmp_path)
    assert failed.returncode == 1
    failure = record(tmp_path)["failure"]
    assert failure["phase"] == "launch"
    assert "was not ready after 1s" in failure["what"]
    assert_nothing_left(record(tmp_path)["id"])


def test_a_satellite_link_is_connected_over(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("delay: 10ms", "delay: 300ms").replace("duration: 1.5s", "duration: 2s"))
    done = estran("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    messages = str(run_folder(tmp_path) / "messages.parquet")
    fastest, count = duckdb.execute("SELECT min(received - sent), count(*) FROM read_parquet(?)", [messages]).fetchall()[0]
    assert fastest >= 0.2999
    assert count > 50


def test_the_run_ends_when_all_sources_have(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("with: {rate: 40}", "with: {rate: 40, limit: 30}").replace("duration: 1.5s", "duration: 50s"))
    done = estran("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert record(tmp_path)["ended_by"] == "all sources ended"


def test_the_run_ends_when_the_stop_condition_holds(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("duration: 1.5s", 'duration: 50s, until: "samples >= 40"'))
    done = estran("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert record(tmp_path)["ended_by"] == "samples >= 40"


def test_a_run_that_is_asked_to_end_keeps_its_results_and_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("duration: 1.5s", "duration: 50s"))
    process = start("run", "experiment.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert record(tmp_path)["status"] == "interrupted"
    assert (run_folder(tmp_path) / "messages.parquet").exists()
    assert_nothing_left(record(tmp_path)["id"])


def test_a_dead_relay_fails_the_run(tmp_path: Path) -> None:
    write(tmp_path, TINY.replace("duration: 1.5s", "duration: 50s"))
    process = start("run", "experiment.yaml", "--on", "emulate:tun", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure")
    network = json.loads((run_folder(tmp_path) / "network.json").read_text())
    subprocess.run(["kill", "-9", str(_outer_relay(record(tmp_path)["id"]))], check=True)
    process.communicate(timeout=20)
    assert network["facts"]["engine_ladder"]["tun"]["works"]
    assert process.returncode == 1
    assert "relay" in record(tmp_path)["failure"]["what"]
    assert_nothing_left(record(tmp_path)["id"])


def _outer_relay(run_id: str) -> int:
    """The relay's pid as seen from here: the niced-up child of the keeper."""
    candidates = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"ESTRAN_RUN={run_id}".encode() not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[16]) < 0 or int(fields[15]) < -1:  # nice −20, or a real-time priority
                candidates.append(int(entry.name))
        except OSError:
            continue
    (relay,) = candidates
    return relay
