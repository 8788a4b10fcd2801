"""Whole runs on hosts over SSH: figures, partial results, faults, and that nothing stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from estran.run.cleaning import clean_leftovers
from tests.platforms.ssh.sshd import Machine, usable
from tests.run.experiments import PARTS, estran, record, run_folder, start, wait_for_phase
from tests.run.killed import gone, mortal
from tests.run.test_observed_commands import ASK, ECHO

pytestmark = [usable, pytest.mark.root]

EXPERIMENT = """
experiment: tiny
seed: 1
layers:
  edge: {hosts: 2, device: raspberry-pi-4}
  cloud: {hosts: 1, device: cloud-vm-2}
network: []
services:
  meter: {on: edge, component: "parts:Meter", with: {rate: 40}}
  total: {on: cloud, component: "parts:Total"}
  note: {on: cloud, command: "sh -c 'echo note from $ESTRAN_HOST; echo kept > kept.txt; ls $ESTRAN_FOLDER/parts.py; sleep 100'"}
streams:
  - {from: meter.values, to: total.values}
measure: {warmup: 0.3s, duration: DURATION}
"""


def written(folder: Path, hosts: Mapping[str, Machine], *, duration: str = "1.5s", labels: str = "edge edge cloud") -> Path:
    """An experiment, and the platform file for as many hosts as there are labels."""
    (folder / "experiment.yaml").write_text(EXPERIMENT.replace("DURATION", duration))
    (folder / "parts.py").write_text(PARTS)
    some = list(hosts.values())[: len(labels.split())]
    target = some[0].target
    lines = [f"  - {{host: {machine.target.host}, labels: {label}}}" for machine, label in zip(some, labels.split(), strict=True)]
    (folder / "lab.yaml").write_text(
        f"platform: ssh\nuser: root\nkey: {target.keys[0]}\nknown_hosts: {target.known_hosts}\npython: {sys.executable}\n"
        "environment: installed\nhosts:\n" + "\n".join(lines) + "\n"
    )
    return folder / "lab.yaml"


def nothing_stays(hosts: Mapping[str, Machine]) -> None:
    """No process but sshd on any host, no scratch folder."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = [line for machine in hosts.values() for line in machine.processes() if "[listener]" not in line]
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(left)


def test_an_experiment_runs_on_hosts_and_its_figures_and_files_come_back(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    written(tmp_path, hosts)
    done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run, folder = record(tmp_path), run_folder(tmp_path)
    responses = json.loads((folder / "responses.json").read_text())
    assert run["platform"] == "ssh"
    assert responses["loss"]["value"] == 0
    assert 0 < responses["latency"]["value"] < 1
    assert 20 < responses["throughput"]["value"] < 120
    assert (folder / "work" / "note-0" / "kept.txt").read_text() == "kept\n"
    said = (folder / "logs" / "note-0.log").read_text()
    assert "note from cloud-0" in said
    assert "parts.py" in said
    told = json.loads((folder / "network.json").read_text())["facts"]["hosts"]
    clocks = [facts[when] for facts in told.values() for when in ("clock", "clock_at_end")]
    assert len(clocks) == 6
    assert all(abs(clock["offset_ns"]) <= clock["bound_ns"] for clock in clocks)  # they share a clock here
    assert not any("moved by" in warning for warning in run["warnings"])
    nothing_stays(hosts)


ASKING = """
experiment: asking
layers: {edge: {hosts: 1, device: raspberry-pi-4}, cloud: {hosts: 1, device: cloud-vm-2}}
services:
  echo: {on: cloud, command: [sh, -c, exec python3 "$ESTRAN_FOLDER/echo.py"], ready: {output: listening}}
  ask: {on: edge, command: [sh, -c, exec python3 "$ESTRAN_FOLDER/ask.py" cloud-0 500 keep]}
measure: {warmup: 0.5s, duration: 3s}
"""


def test_what_commands_exchange_is_observed_and_told_from_what_else_crosses_the_network(
    hosts: Mapping[str, Machine], tmp_path: Path
) -> None:
    written(tmp_path, hosts, labels="edge cloud")
    (tmp_path / "experiment.yaml").write_text(ASKING)
    (tmp_path / "echo.py").write_text(ECHO)
    (tmp_path / "ask.py").write_text(ASK)
    done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    query = "SELECT replica, side, peer, count(*) FROM '{}/exchanges.parquet' WHERE answer_bytes = 250 GROUP BY ALL"
    seen = {row[:3]: row[3] for row in duckdb.sql(query.format(run_folder(tmp_path))).fetchall()}
    assert set(seen) == {("ask-0", "client", "cloud-0"), ("echo-0", "server", "edge-0")}
    assert min(seen.values()) > 20
    others = duckdb.sql(f"SELECT count(*) FROM '{run_folder(tmp_path)}/exchanges.parquet' WHERE replica = ''").fetchall()
    assert others == [(0,)]
    assert 0 < json.loads((run_folder(tmp_path) / "responses.json").read_text())["exchange_latency@ask"]["value"] < 1
    nothing_stays(hosts)


ALONE = """
experiment: alone
layers: {edge: {hosts: 2, device: raspberry-pi-4}}
services:
  note: {on: edge, command: [sh, -c, "echo I am $ESTRAN_ADDRESS; sleep 100"]}
measure: {duration: 0.5s}
"""


@pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="this kernel has no IPv6")
def test_hosts_may_have_addresses_of_ipv6_only(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    lab = written(tmp_path, hosts, duration="1s")
    bridge = hosts["h0"].namespace.rpartition("-")[0]
    subprocess.run(["ip", "addr", "add", "fd13:e5::fe/64", "dev", bridge, "nodad"], check=True)
    for number, machine in enumerate(list(hosts.values())[:3], 1):
        machine.ip("addr", "add", f"fd13:e5::{number}/64", "dev", "eth0", "nodad")
        with Path(machine.target.known_hosts or "").open("a") as known:
            known.write(f"fd13:e5::{number} {' '.join((machine.folder / 'host_key.pub').read_text().split()[:2])}\n")
        with (machine.folder / "sshd_config").open("a") as config:
            config.write(f"ListenAddress fd13:e5::{number}\n")
        machine.kill()
        machine.start()
        lab.write_text(lab.read_text().replace(f"host: {machine.target.host},", f'host: "[fd13:e5::{number}]",'))
    done = estran("plan", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "encrypted streams cannot be dialled at the address fd13:e5::3 of IPv6" in done.stdout + done.stderr
    (tmp_path / "experiment.yaml").write_text(ALONE)
    done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads((run_folder(tmp_path) / "network.json").read_text())["facts"]
    assert [host["address"] for host in facts["hosts"].values()] == ["fd13:e5::1", "fd13:e5::2"]
    assert "I am fd13:e5::2" in (run_folder(tmp_path) / "logs" / "note-1.log").read_text()
    nothing_stays(hosts)


def test_a_host_that_dies_fails_the_run_and_what_the_others_sent_is_kept(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    written(tmp_path, hosts, duration="60s")
    process = start("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure", 90)
    time.sleep(1)
    hosts["h0"].kill()
    try:
        assert process.wait(60) == 1
        run, folder = record(tmp_path), run_folder(tmp_path)
        assert run["status"] == "failed"
        assert run["failure"]["phase"] == "measure"
        assert "edge-0" in f"{run['failure']['host']} {run['failure']['what']}"
        assert json.loads((folder / "responses.json").read_text())["throughput"]["n"] > 10
        assert (folder / "work" / "note-0" / "kept.txt").exists()
    finally:
        hosts["h0"].start()
    nothing_stays(hosts)


def test_an_interrupted_run_leaves_nothing_on_hosts(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    written(tmp_path, hosts, duration="60s")
    process = start("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure", 90)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    nothing_stays(hosts)
    assert record(tmp_path)["status"] == "interrupted"


@pytest.mark.parametrize(
    ("phase", "moment"), [("provision", "0.7"), ("verify", "0.2"), ("launch", "0.1"), ("measure", "0.3"), ("give back", "0")]
)
def test_a_killed_run_leaves_nothing_on_hosts_nor_here(
    hosts: Mapping[str, Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, moment: str
) -> None:
    written(tmp_path, hosts, duration="0.5s")
    before = {name: _temporary(machine) for name, machine in hosts.items()}  # what a host had when it died is there still
    file = tmp_path / "experiment.yaml"
    file.write_text(file.read_text().replace("network: []", "network:\n  - {between: [edge, cloud], rate: 50mbit}"))
    mortal(phase, moment, ["run", "experiment.yaml", "--on", "lab.yaml"], tmp_path)
    nothing_stays(hosts)
    for name, machine in hosts.items():
        assert _temporary(machine) == before[name]
        assert "tbf" not in machine.queues()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert len(clean_leftovers()) == 1
    after = record(tmp_path)
    assert gone(tmp_path, after["id"]) == []
    assert (after["status"], after["failure"]["phase"]) == ("failed", phase)


def _temporary(machine: Machine) -> set[str]:
    return {path.name for path in (machine.folder / "tmp").iterdir()}


def test_too_few_hosts_and_a_wrong_file_are_told_before_anything_starts(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    lab = written(tmp_path, hosts, labels="edge cloud")
    done = estran("plan", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no host left for edge-1" in done.stdout + done.stderr
    lab.write_text(lab.read_text().replace("user:", "usr:").replace("labels: cloud", "port: 99999"))
    done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "lab.yaml:2:1" in done.stderr
    assert "user" in done.stderr
    assert "port" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_secret_appears_in_no_file_of_a_run(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    written(tmp_path, hosts, duration="0.4s")
    key = Path(hosts["h0"].target.keys[0]).read_text().split("-----")[2].split()[1]
    environment = {**os.environ, "GRID_PASSWORD": "planted-secret-5f1e"}
    done = subprocess.run(
        [sys.executable, "-m", "estran.cli.main", "run", "experiment.yaml", "--on", "lab.yaml"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [
        done.stdout.encode(),
        done.stderr.encode(),
        *(path.read_bytes() for path in run_folder(tmp_path).rglob("*") if path.is_file()),
    ]
    assert not any(secret.encode() in text for text in said for secret in ("planted-secret-5f1e", key))


def test_hosts_that_cannot_be_used_are_all_named_each_with_its_cause(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    lab = written(tmp_path, hosts, labels="edge edge edge edge cloud")
    text = (tmp_path / "experiment.yaml").read_text()
    (tmp_path / "experiment.yaml").write_text(text.replace("hosts: 2", "hosts: 4"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    addresses = [machine.target.host for machine in hosts.values()][:4]
    (tmp_path / "changed").write_text(f"{addresses[2]} {(tmp_path / 'other.pub').read_text()}")
    wrong = ["port: 2222", f"key: {tmp_path}/other", f"known_hosts: {tmp_path}/changed", "python: /nowhere/python3"]
    text = lab.read_text()
    for address, setting in zip(addresses, wrong, strict=True):
        text = text.replace(f"{{host: {address},", f"{{host: {address}, {setting},")
    lab.write_text(text)
    done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    failure = record(tmp_path)["failure"]
    assert failure["what"].startswith("4 hosts cannot be used: ")
    said = dict(zip(range(4), failure["what"].partition(": ")[2].split("; "), strict=False))
    causes = ["nothing listens on its SSH port", "it refuses every key", "its host key has changed", "there is no /nowhere/python3"]
    for number, cause in enumerate(causes):
        assert f"edge-{number}: {cause}" in said[number], failure
    assert failure["remedy"]
    nothing_stays(hosts)


def test_a_host_whose_disk_is_full_fails_the_run_and_leaves_nothing(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    written(tmp_path, hosts)
    full = hosts["h0"]
    within, disk = ["nsenter", f"--target={full.pid}", "--mount"], str(full.folder / "tmp")
    subprocess.run([*within, "mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=2", "estran-test", disk], check=True)
    try:
        done = estran("run", "experiment.yaml", "--on", "lab.yaml", cwd=tmp_path)
    finally:
        subprocess.run([*within, "umount", disk], check=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    failure = record(tmp_path)["failure"]
    assert "No space left on device" in failure["what"], failure
    assert failure["host"] == "edge-0"
    assert failure["remedy"]
    nothing_stays(hosts)
