"""Services that are commands: how they start, get ready, print, restart and end; whom they reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run.experiments import assert_nothing_left, estran, record, run_folder

EXPERIMENT = """
experiment: commands
seed: 1
layers:
  edge: {{hosts: 1, device: cloud-vm-2}}
  cloud: {{hosts: 1, device: cloud-vm-2}}
network:
  - {{between: [edge, cloud], delay: 10ms, rate: 20mbit}}
services:
  server: {{on: cloud, command: {server}{server_more}}}
  client: {{on: edge, command: {client}{client_more}}}
measure: {{duration: {duration}}}
"""
CLIENT = """
import socket, time, urllib.request

print("found", socket.gethostbyname("cloud-0"), open("/etc/resolv.conf").read())
while True:
    begun = time.monotonic()
    try:
        status = urllib.request.urlopen("http://cloud-0:8000/", timeout=5).status
    except OSError:  # it does not listen yet
        time.sleep(0.05)
        continue
    print("got", status, time.monotonic() - begun, flush=True)
    time.sleep(100)
"""
IDLE = ["sleep", "100"]


def run(
    folder: Path, client: list[str], more: str = "", *, server: list[str] = IDLE, server_more: str = "", duration: str = "0.3s"
):  # type: ignore[no-untyped-def]
    text = EXPERIMENT.format(
        client=json.dumps(client), client_more=more, server=json.dumps(server), server_more=server_more, duration=duration
    )
    (folder / "experiment.yaml").write_text(text)
    return estran("run", "experiment.yaml", cwd=folder)


@pytest.mark.parametrize(
    ("client", "more", "what"),
    [
        (["nosuchprogram"], "", "could not be started: command not found: nosuchprogram"),
        (["sh", "-c", "echo oh no >&2; exit 4"], "", "ended with status 4"),
        (IDLE, ", ready: {port: 8080, timeout: 0.4s}", "nothing listens on port 8080"),
        (IDLE, ", ready: {output: listening, timeout: 0.4s}", "no line of output matches 'listening'"),
        (IDLE, ", ready: {file: pid, timeout: 0.4s}", "no file pid"),
    ],
    ids=["not found", "fails at once", "port", "output", "file"],
)
def test_a_command_that_does_not_get_going_fails_the_run(tmp_path: Path, client: list[str], more: str, what: str) -> None:
    failed = run(tmp_path, client, more)
    assert failed.returncode == 1
    failure = record(tmp_path)["failure"]
    assert what in failure["what"]
    if what.startswith("ended"):  # it did run: what came of it then may be known only when all are ready
        assert failure["phase"] in ("launch", "warm up")
        failure["phase"] = "launch"
    assert (failure["phase"], failure["host"], failure["service"]) == ("launch", "edge-0", "client-0")
    assert_nothing_left(record(tmp_path)["id"])


def test_a_command_reaches_another_host_by_name_through_the_shaped_link(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    done = run(
        tmp_path,
        ["python3", str(tmp_path / "client.py")],
        ", ready: {output: ^got}",
        server=["python3", "-m", "http.server", "8000"],
        server_more=", ready: {port: 8000}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = (run_folder(tmp_path) / "logs" / "client-0.log").read_text()
    _, status, seconds = log[log.index("got") :].split()[:3]
    assert status == "200"
    assert "nameserver" not in log  # there is none to be reached
    assert float(seconds) >= 0.0399  # connecting and asking: two round trips of 20 ms


def test_a_command_that_floods_its_output_does_not_hold_the_run_up(tmp_path: Path) -> None:
    done = run(tmp_path, ["yes"])
    assert done.returncode == 0, done.stdout
    assert (run_folder(tmp_path) / "logs" / "client-0.log").stat().st_size < 20e6
    assert_nothing_left(record(tmp_path)["id"])


def test_a_command_that_ignores_the_request_to_end_is_killed_and_named(tmp_path: Path) -> None:
    done = run(tmp_path, ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    assert done.returncode == 0, done.stdout
    assert any("client-0 on edge-0 did not end" in warning for warning in record(tmp_path)["warnings"])
    assert_nothing_left(record(tmp_path)["id"])
