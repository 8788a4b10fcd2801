"""A scenario on real hosts that are reached over SSH, and what is refused there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pytest

from tests.platforms.ssh.sshd import Machine, machines, usable
from tests.run.experiments import estran, record
from tests.spec.e2clab.scenarios import write

pytest.importorskip("jinja2", reason="tasks have templates: pip install 'estran[ansible]'")
pytestmark = [usable, pytest.mark.root]

LAYERS = """
monitoring: {type: dstat}
layers:
- {name: cloud, services: [{name: Server}]}
- {name: edge, services: [{name: Client, quantity: 2}]}
"""
WORKFLOW = """
- hosts: cloud
  prepare:
  - file: {path: "PLACE", state: directory}
  - copy: {src: note.txt, dest: "PLACE/note"}
  finalize:
  - fetch: {src: "PLACE/note", dest: "{{ working_dir }}/", flat: yes}
- hosts: edge.client.*
  depends_on: [{service_selector: cloud, grouping: round_robin, prefix: server}]
  launch:
  - shell: "hostname -I; echo to {{ server.url }}"
  - shell: "exit {{ 0 if FINE else 4 }}"
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Machine]]:
    with machines(3, tmp_path_factory.mktemp("sshd")) as found:
        yield found


MIXED = "platform: mixed\nlayers: {cloud: lab.yaml, edge: %s}\ngateway: cloud\n"


def laid(folder: Path, hosts: Mapping[str, Machine], *, fine: bool = True, network: str = "networks: null\n") -> Path:
    workflow = WORKFLOW.replace("PLACE", str(folder / "there")).replace("FINE", str(fine))
    files = {"layers_services.yaml": LAYERS, "network.yaml": network, "workflow.yaml": workflow}
    write(folder / "scenario", files)
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / "note.txt").write_text("a note")
    first = next(iter(hosts.values())).target
    lines = [f"platform: ssh\nuser: root\nkey: {first.keys[0]}\nknown_hosts: {first.known_hosts}\nclient: openssh\nhosts:"]
    lines += [f"- {{host: {machine.target.host}}}" for machine in hosts.values()]
    (folder / "lab.yaml").write_text("\n".join(lines) + "\n")
    return folder


def test_tasks_are_done_on_hosts_of_an_inventory(tmp_path: Path, hosts: Mapping[str, Machine]) -> None:
    folder = laid(tmp_path, hosts)
    done = estran("e2clab", "run", "scenario", "artifacts", "--on", "lab.yaml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (folder / "runs" / "scenario").glob("*")
    assert (run / "output" / "note").read_text() == "a note"
    server, *clients = (machine.target.host for machine in hosts.values())
    for name, address in zip(("edge-0", "edge-1"), clients, strict=True):
        log = (run / "logs" / f"{name}.log").read_text()
        assert address in log
        assert f"to {server}" in log
    record = json.loads((run / "run.json").read_text())
    assert record["platform"] == "ssh"
    assert any("samples are of whole hosts" in warning for warning in record["warnings"])
    assert set(json.loads((run / "network.json").read_text())["facts"]["hosts"]) == {"cloud-0", "edge-0", "edge-1"}


def test_hosts_are_sampled_while_the_workload_runs(tmp_path: Path, hosts: Mapping[str, Machine]) -> None:
    folder = laid(tmp_path, hosts)
    done = estran("e2clab", "run", "scenario", "artifacts", "--on", "lab.yaml", "--duration", "2", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (folder / "runs" / "scenario").glob("*")
    responses = json.loads((run / "responses.json").read_text())
    for host in ("cloud-0", "edge-0", "edge-1"):
        assert responses[f"cpu_seconds@{host}"]["value"] > 0
        assert responses[f"bytes_received@{host}"]["value"] > 100, "the controller speaks to it"
        assert responses[f"memory_peak@{host}"]["value"] > 1 << 20
    metrics = duckdb.sql(
        f"SELECT host, count(*), min(time), max(time) FROM '{run}/metrics.parquet' WHERE metric = 'cpu_seconds' GROUP BY host"
    ).fetchall()
    for _, count, first, last in metrics:
        assert count > 10
        assert first < 1
        assert 2 <= last < json.loads((run / "run.json").read_text())["duration"] + 1
    clocks = json.loads((run / "run.json").read_text())["clocks"]
    assert all(0 < clock["bound_ns"] < 1e9 for clock in clocks.values())
    assert "cpu_seconds" in (run / "report.html").read_text()


def test_a_failure_there_is_one(tmp_path: Path, hosts: Mapping[str, Machine]) -> None:
    folder = laid(tmp_path, hosts, fine=False)
    assert estran("e2clab", "run", "scenario", "artifacts", "--on", "lab.yaml", cwd=folder).returncode == 1
    failure = record(folder)["failure"]["what"]
    assert "scenario/workflow.yaml:12:5: the task 'shell' failed on edge-0: non-zero return code; status 4, and on 1" in failure


def test_links_are_shaped_or_the_run_fails(tmp_path: Path, hosts: Mapping[str, Machine]) -> None:
    """50 ms asked, 0.07 ms given and no word of it is what must never happen."""
    network = "networks: [{src: cloud, dst: edge, delay: 50ms}]\n"
    folder = laid(tmp_path, hosts, network=network)
    done = estran("e2clab", "run", "scenario", "artifacts", "--on", "lab.yaml", cwd=folder)
    if done.returncode == 0:
        (run,) = (folder / "runs" / "scenario").glob("*")
        links = json.loads((run / "network.json").read_text())["links"]
        assert min(link["measured"]["delay"] for link in links if link["source"] == "cloud-0") > 0.045
    else:
        failure = record(folder)["failure"]
        assert failure["phase"] in ("provision", "verify"), "before the first task"
        assert "delay" in failure["what"] or "shape" in failure["what"]


def test_layers_of_several_platform_files_run_one_scenario(tmp_path: Path, hosts: Mapping[str, Machine]) -> None:
    folder = laid(tmp_path, hosts)
    first, *others = (folder / "lab.yaml").read_text().split("- ")
    (folder / "lab.yaml").write_text(first + "- " + others[0])
    (folder / "field.yaml").write_text(first + "".join(f"- {other}" for other in others[1:]))
    (folder / "both.yaml").write_text(MIXED % "field.yaml")
    done = estran("e2clab", "run", "scenario", "artifacts", "--on", "both.yaml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(folder)["platform"] == "mixed"
    assert f"to {next(iter(hosts.values())).target.host}" in (next(folder.glob("runs/*/*/logs/edge-1.log"))).read_text()


def test_emulated_hosts_beside_real_ones_are_refused(tmp_path: Path, hosts: Mapping[str, Machine]) -> None:
    folder = laid(tmp_path, hosts)
    (folder / "both.yaml").write_text(MIXED % "emulate")
    done = estran("e2clab", "run", "scenario", "artifacts", "--on", "both.yaml", cwd=folder)
    assert done.returncode == 1
    failure = record(folder)["failure"]
    assert (failure["phase"], failure["host"]) == ("verify", "edge-0")
    assert "emulated hosts beside real ones cannot be dialled by them" in failure["what"]
