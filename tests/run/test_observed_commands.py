"""What is observed of real programs in real runs, compared with what the programs say themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from estran.observe.observed_commands import observed_models
from estran.observe.queries import open_run
from tests.run import unprivileged
from tests.run.experiments import assert_nothing_left, estran, record, run_folder
from tests.run.unprivileged import need, through

PIPELINE = Path(__file__).parents[2] / "examples" / "command-pipeline" / "experiment.yaml"

SHARED = """
experiment: shared
seed: 1
layers:
  edge: {hosts: 1, device: raspberry-pi-4}
  cloud: {hosts: 1, device: cloud-vm-2}
network:
  - {between: [edge, cloud], delay: 10ms, rate: 20mbit}
services:
  echo:  {on: cloud, command: [sh, -c, exec python3 "$ESTRAN_FOLDER/echo.py"], ready: {output: listening}}
  near:  {on: edge, command: [sh, -c, exec python3 "$ESTRAN_FOLDER/echo.py"], ready: {output: listening}}
  short: {on: edge, command: [sh, -c, exec python3 "$ESTRAN_FOLDER/ask.py" cloud-0 500]}
  long:  {on: edge, command: [sh, -c, exec python3 "$ESTRAN_FOLDER/ask.py" cloud-0 50000]}
  local: {on: edge, command: [sh, -c, exec python3 "$ESTRAN_FOLDER/ask.py" edge-0 1000 keep]}
measure: {duration: 2s}
"""
ECHO = """
import os, socket, threading

def serve(end):
    with end:
        while head := end.recv(8, socket.MSG_WAITALL):
            end.sendall(end.recv(int(head), socket.MSG_WAITALL)[: int(head) // 2])

with socket.create_server((os.environ["ESTRAN_ADDRESS"], 9000)) as listener:
    print("listening", flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
ASK = """
import os, socket, sys, time

address = os.environ["ESTRAN_ADDRESS_" + sys.argv[1].upper().replace("-", "_")]
size, keep = int(sys.argv[2]), len(sys.argv) > 3

def ask(end):
    end.sendall(b"%8d" % size + bytes(size))
    assert len(end.recv(size // 2, socket.MSG_WAITALL)) == size // 2
    time.sleep(0.03)

while True:
    begun = time.monotonic()
    try:
        with socket.create_connection((address, 9000)) as end:
            print("connected", time.monotonic() - begun, flush=True)
            ask(end)
            while keep:
                ask(end)
    except OSError:  # it does not listen yet, or no longer
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of the example."""
    shorter = ("--set", "measure.warmup=0.5s", "--set", "measure.duration=6s", "--set", "think=60ms")
    for _ in range(3):  # what else runs on the machine may starve a device during verification, which is refused as it should be
        cwd = tmp_path_factory.mktemp("pipeline")
        done = estran("run", str(PIPELINE), *shorter, cwd=cwd)
        if "starved by other load" not in done.stdout + done.stderr:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_left(record(cwd)["id"])
    return run_folder(cwd)


def exchanges(folder: Path, where: str = "true") -> list[dict[str, Any]]:
    query = f"SELECT * FROM '{folder}/exchanges.parquet' WHERE {where} ORDER BY request_first, connection, number"
    with duckdb.connect() as connection:
        found = connection.execute(query)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def printed(folder: Path, replica: str) -> list[list[str]]:
    return [line.split()[2:] for line in (folder / "logs" / f"{replica}.log").read_text().splitlines()]


def test_exchanges_are_those_that_the_programs_tell_of(pipeline: Path) -> None:
    for index in range(4):
        told = printed(pipeline, f"sensor-{index}")
        seen = exchanges(pipeline, f"replica = 'sensor-{index}' AND side = 'client' AND request_bytes > 0")
        asked = np.array([(row["request_first"], row["answer_last"], row["request_bytes"]) for row in seen if row["answer_last"]])
        said = np.array([(float(begun), float(took), int(size)) for begun, took, size, _ in told])
        # What was under way as the run began or ended may be missing on one side.
        ways = [
            (asked[first : first + len(said) - last], said[skip:]) for first in range(3) for last in range(3) for skip in range(20)
        ]
        asked, said = max(
            ((a[: len(b)], b[: len(a)]) for a, b in ways), key=lambda way: np.ptp(way[0][:, 2] - way[1][:, 2]) <= 2 and len(way[0])
        )
        heads = asked[:, 2] - said[:, 2]  # its length varies with the digits of its Content-Length
        assert np.ptp(heads) <= 2
        assert 50 < heads.min() < 300
        assert len(asked) >= len(said) - 20
        assert len(asked) > 20
        assert 0 <= np.median(said[:, 1] - (asked[:, 1] - asked[:, 0])) < 0.003  # what the program adds before and after
        begun = said[:, 0] - asked[:, 0]
        assert np.median(np.abs(begun - np.median(begun))) < 0.002


def test_both_sides_see_the_same_exchanges_a_links_delay_apart(pipeline: Path) -> None:
    def rows(side: str) -> list[dict[str, Any]]:
        return exchanges(
            pipeline, f"side = '{side}' AND request_bytes > 0 AND answer_bytes > 0 AND request_first BETWEEN 0.2 AND 6"
        )

    def same(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["connection"], row["request_bytes"], row["answer_bytes"]

    served = rows("server")
    asked = rows("client")
    assert len(asked) > 200
    alone = 0
    for row in asked:
        within = [
            other for other in served
            if same(other) == same(row) and row["time"] < other["time"] < other["answer_last"] < row["answer_last"]
        ]  # fmt: skip
        alone += len(within) != 1
        for other in within:
            delay = 0.004 if other["host"] == "fog-0" else 0.020
            assert other["request_first"] - row["request_first"] > delay * 0.98
            assert row["answer_last"] - other["answer_last"] > delay * 0.98
            assert other["peer"] == row["host"]
    assert alone <= 8  # at the edges of the window


def test_processor_time_and_responses_of_commands_are_recorded(pipeline: Path) -> None:
    run = open_run(pipeline)
    metrics = run.columns("metrics")
    for replica in ("sensor-0", "gateway-0", "worker-0"):
        values = metrics["value"][(metrics["replica"] == replica) & (metrics["metric"] == "process_cpu")]
        assert len(values) > 20
        assert (np.diff(values) >= 0).all()
        assert values[-1] > 0.03
    names = set(run.responses)
    assert {"exchange_latency@sensor", "exchange_latency@gateway", "exchange_service_time@worker", "exchanges@sensor"} <= names
    assert "process_cpu" not in names
    nested = run.responses["exchange_latency@gateway"]["value"]
    assert run.responses["exchange_latency_p99"]["value"] > nested > run.responses["exchange_service_time@worker"]["value"] + 0.040


def test_models_of_the_pipeline_say_what_the_programs_do(pipeline: Path) -> None:
    copy = pipeline.parent / "undeclared"
    copy.mkdir()
    for file in pipeline.iterdir():
        if file.is_file() and file.name != "experiment.yaml":
            (copy / file.name).write_bytes(file.read_bytes())
    assert set(observed_models(open_run(pipeline))) == {"gateway", "worker"}  # that of sensor is declared
    found = observed_models(open_run(copy))
    (report,) = found["sensor"].calls
    assert (report.to, report.waits) == ("gateway", True)
    assert report.pause.time == pytest.approx(0.06, rel=0.3)
    gateway, worker = found["gateway"].serves, found["worker"].serves
    assert gateway is not None
    assert worker is not None
    assert [(call.to, call.waits) for call in gateway.calls] == [("worker", True)]
    assert gateway.calls[0].count == pytest.approx(2 / 3, abs=0.05)
    assert 0.0005 < gateway.cost.time < worker.cost.time < 0.03


def check_shared_hosts(folder: Path) -> None:
    """Whose a connection was is known by its size, so what was recorded can be judged."""
    rows = exchanges(folder, "side = 'client' AND answer_bytes > 0")
    sizes = {"short-0": 508, "long-0": 50008, "local-0": 1008}
    for replica, size in sizes.items():
        mine = [row for row in rows if row["request_bytes"] == size]
        assert len(mine) > 10
        known = [row for row in mine if row["replica"]]
        assert {row["replica"] for row in known} == {replica}
        assert len(known) > 0.9 * len(mine)
        assert all(row["answer_bytes"] == (size - 8) // 2 for row in mine[:-1])  # the end of the run may cut the last one short
        told = [float(seconds) for word, seconds in printed(folder, replica) if word == "connected"]
        opening = [row["request_first"] - row["opened"] for row in mine if row["opened"] is not None]
        assert replica == "local-0" or np.median(opening) == pytest.approx(np.median(told), abs=0.002)
    assert {row["peer"] for row in rows if row["replica"] == "local-0"} == {"edge-0"}
    served = {(row["host"], row["replica"]) for row in exchanges(folder, "side = 'server' AND answer_bytes > 0")}
    assert served == {("cloud-0", "echo-0"), ("edge-0", "near-0")}


def write_shared(folder: Path) -> None:
    (folder / "experiment.yaml").write_text(SHARED)
    (folder / "echo.py").write_text(ECHO)
    (folder / "ask.py").write_text(ASK)


def test_programs_that_share_a_host_are_told_apart_also_on_connections_that_serve_once(tmp_path: Path) -> None:
    write_shared(tmp_path)
    done = estran("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    check_shared_hosts(run_folder(tmp_path))


@pytest.fixture
def home() -> Iterator[Path]:
    with unprivileged.home() as folder:
        yield folder


def test_commands_are_observed_without_privilege_too(home: Path) -> None:
    need("open")
    write_shared(home)
    done = estran("run", "experiment.yaml", cwd=home, through=through("open"))
    assert done.returncode == 0, done.stdout + done.stderr
    check_shared_hosts(run_folder(home))
    metrics = open_run(run_folder(home)).columns("metrics")
    assert {"short-0", "long-0", "local-0", "near-0", "echo-0"} <= set(metrics["replica"][metrics["metric"] == "process_cpu"])


def test_where_hosts_share_one_network_the_run_says_that_commands_are_not_observed(tmp_path: Path) -> None:
    write_shared(tmp_path)
    text = (tmp_path / "experiment.yaml").read_text().replace("duration: 2s", "duration: 0.5s").replace(", rate: 20mbit", "")
    (tmp_path / "experiment.yaml").write_text(text.replace("ready: {output: listening}", "ready: {port: 9000}"))
    done = estran("run", "experiment.yaml", "--on", "emulate:loopback", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("exchange is not observed" in warning for warning in record(tmp_path)["warnings"])
    assert "share one network" in record(tmp_path)["missing"]["exchange_latency"]
    assert exchanges(run_folder(tmp_path)) == []
    assert json.loads((run_folder(tmp_path) / "responses.json").read_text())
