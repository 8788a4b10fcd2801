"""Emulated hosts and hosts over SSH in one run; and what is wrong with a file that mixes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pytest

from tests.platforms.ssh.sshd import Machine, machines, usable
from tests.platforms.ssh.test_runs import nothing_stays, written
from tests.run.experiments import PARTS, estran, left_processes, record, run_folder

EXPERIMENT = """
experiment: mixed
seed: 1
layers:
  edge: {hosts: 2, device: cloud-vm-2}
  fog: {hosts: 1, device: cloud-vm-2}
  cloud: {hosts: 1, device: cloud-vm-2}
network:
  - {between: [edge, fog], delay: 8ms}
services:
  meter: {on: edge, component: "parts:Meter", with: {rate: 40}}
  near: {on: edge, component: "parts:Total"}
  total: {on: cloud, component: "parts:Total"}
streams:
  - {from: meter.values, to: [near.values, total.values]}
measure: {warmup: 0.3s, duration: 2s}
"""
MIXED = "platform: mixed\nlayers:\n  edge: emulate\n  fog: lab.yaml\n  cloud: lab.yaml\ngateway: fog\n"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Machine]]:
    with machines(2, tmp_path_factory.mktemp("sshd")) as found:
        yield found


@usable
@pytest.mark.root
def test_emulated_hosts_and_hosts_over_ssh_run_one_experiment(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    written(tmp_path, hosts, labels="fog cloud")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    (tmp_path / "mixed.yaml").write_text(MIXED)
    done = estran("run", "experiment.yaml", "--on", "mixed.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    responses = json.loads((run_folder(tmp_path) / "responses.json").read_text())
    assert responses["loss@meter.values"]["value"] == 0
    network = json.loads((run_folder(tmp_path) / "network.json").read_text())
    unsure = max(host["clock"]["bound_ns"] for host in network["facts"]["hosts"].values() if "clock" in host) * 1e-9
    # All streams between the parts pass the link to the gateway, which is emulated; those within the emulated part do not.
    assert responses["latency_p50@total"]["value"] > 0.008 - unsure
    assert responses["latency_p50@near"]["value"] < 0.008
    assert network["facts"]["streams"] == {"encrypted": True, "router": "fog-0", "behind": ["edge-0", "edge-1"]}
    assert {link["target"] for link in network["links"] if link["source"] == "edge-0"} == {"fog-0"}
    nothing_stays(hosts)
    assert not left_processes(record(tmp_path)["id"])


FAULTS = """
faults:
  near: {cut: [edge-0, fog-0], at: 0.3s, for: 0.7s}
  stuck: {hang: [meter-1, total], at: 0.3s, for: 0.5s}
  down: {crash: [edge-1, cloud-0], at: 1.5s, for: 0.3s}
"""


@usable
@pytest.mark.root
def test_each_part_breaks_what_it_has(hosts: Mapping[str, Machine], tmp_path: Path) -> None:
    written(tmp_path, hosts, labels="fog cloud")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT.replace("duration: 2s", "duration: 4s") + FAULTS)
    (tmp_path / "mixed.yaml").write_text(MIXED)
    done = estran("run", "experiment.yaml", "--on", "mixed.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    faults = json.loads((run_folder(tmp_path) / "faults.json").read_text())["faults"]
    assert [one["begun"] is not None and one["ended"] is not None for one in faults] == [True] * 3
    events = duckdb.sql(f"SELECT replica FROM '{run_folder(tmp_path)}/events.parquet' WHERE event = 'started'").fetchall()
    assert sorted(name for (name,) in events) == [
        "meter-0",
        "meter-1",
        "meter-1",
        "near-0",
        "near-1",
        "near-1",
        "total-0",
        "total-0",
    ]
    nothing_stays(hosts)


def test_a_link_that_is_none_and_a_real_machine_are_not_broken(tmp_path: Path) -> None:
    faults = "faults: {far: {partition: [edge, cloud], at: 1s, for: 1s}, again: {reboot: cloud, at: 1s, for: 0.5s}}\n"
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT + faults)
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "lab.yaml").write_text("platform: ssh\nhosts: [{host: a, labels: fog}, {host: b, labels: cloud}]\n")
    (tmp_path / "mixed.yaml").write_text(MIXED)
    done = estran("run", "experiment.yaml", "--on", "mixed.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "all between them goes by fog-0" in done.stderr
    assert "real machines are not rebooted" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cloud: lab.yaml", "cloud: none.yaml", "mixed.yaml:5:10: there is no file none.yaml"),
        ("gateway: fog\n", "", "nobody can dial emulated hosts"),
        ("gateway: fog", "gateway: edge", "mixed.yaml:6:10: edge is no layer of real hosts"),
        ("  cloud: lab.yaml\n", "", "nothing is said of cloud"),
        ("gateway: fog", "gatway: fog", "mixed.yaml:6:1"),
        ("platform: mixed", "platform: mixd", "did you mean"),
    ],
)
def test_a_wrong_file_is_told_at_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "lab.yaml").write_text("platform: ssh\nhosts: [{host: a, labels: fog}, {host: b, labels: cloud}]\n")
    (tmp_path / "mixed.yaml").write_text(MIXED.replace(old, new))
    done = estran("plan", "experiment.yaml", "--on", "mixed.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr, done.stderr
