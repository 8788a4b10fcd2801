"""The visual-inspection example on three platforms: an emulated edge, a fog host over SSH, the cloud on a node of Slurm."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.platforms.slurm.pilots import JOBS, until
from tests.platforms.ssh.sshd import Machine, machines, usable
from tests.platforms.ssh.test_runs import nothing_stays
from tests.run.experiments import assert_nothing_left, estran, record, run_folder, start, wait_for_phase
from tests.study.cluster import Spot, cluster, lacking, slurm

pytestmark = [
    usable,
    pytest.mark.root,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]
EXAMPLE = Path(__file__).parents[3] / "examples" / "visual-inspection"
FILES = {
    "mixed.yaml": "platform: mixed\nlayers:\n  edge: emulate\n  fog: lab.yaml\n  cloud: cluster.yaml\ngateway: fog\n",
    "cluster.yaml": f"platform: slurm\ntime: 10min\nenvironment: installed\npython: {sys.executable}\n",
}
OPTIONS = (
    "--on", "mixed.yaml",
    "--set", "layers.edge.device=cloud-vm-2",  # which get their speed also where others compute
    "--set", "network.2={between: [fog, cloud], rate: 50mbit}",  # which needs no netem
    "--set", "network.1={between: [edge, cloud], delay: 5ms, rate: 50mbit}",
    "--set", "measure.warmup=0.5s",
)  # fmt: skip


@dataclass(frozen=True)
class Lab:
    """Where the layers are that are not emulated."""

    fog: Machine
    node: Machine
    configuration: Path

    def write(self, folder: Path) -> None:
        target = self.fog.target
        lab = (
            f"platform: ssh\nuser: root\nkey: {target.keys[0]}\nknown_hosts: {target.known_hosts}\npython: {sys.executable}\n"
            f"environment: installed\nhosts: [{{host: {target.host}, labels: fog}}]\n"
        )
        for name, text in {**FILES, "lab.yaml": lab}.items():
            (folder / name).write_text(text)

    def assert_given_back(self, folder: Path) -> None:
        """No job, and of the run no process anywhere, no queueing rule and nothing in the journal."""
        until(lambda: not slurm(self.configuration, *JOBS), "a job is left")
        nothing_stays({"fog": self.fog})
        until(lambda: all("slurmd" in one or "sshd" in one for one in self.node.processes()), "something is left on the node")
        assert_nothing_left(record(folder)["id"])
        for machine in (self.fog, self.node):
            assert "htb" not in machine.queues()
        assert not list(folder.glob("state/estran/journal/*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("three")
    with machines(2, folder) as found:
        fog, node = found.values()
        spots = [Spot(node.target.host, node.namespace)]
        (folder / "slurm").mkdir()
        with cluster(folder / "slurm", spots, fog.target.host.rpartition(".")[0] + ".254") as configuration:
            yield Lab(fog, node, configuration)


@pytest.fixture
def lab(made: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("SLURM_CONF", str(made.configuration))
    made.write(tmp_path)
    return made


def test_layers_on_three_platforms_run_one_experiment(lab: Lab, tmp_path: Path) -> None:
    done = estran("run", str(EXAMPLE), *OPTIONS, "--set", "measure.duration=3s", cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run_folder(tmp_path)
    network, responses = (json.loads((folder / name).read_text()) for name in ("network.json", "responses.json"))
    assert responses["loss"]["value"] == 0
    assert {"accuracy", "staleness", "learned"} <= set(responses), "some stream did not get through"
    unsure = max(host["clock"]["bound_ns"] for host in network["facts"]["hosts"].values()) * 1e-9
    assert responses["latency_p50@detector"]["value"] > 0.005 - unsure
    links: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]] = {
        (one["source"], one["target"]): one for one in network["links"]
    }
    ends = [("edge-0", "fog-0"), ("fog-0", "cloud-0"), ("edge-0", "cloud-0")]
    assert set(links) == {pair for near, far in ends for pair in ((near, far), (far, near))}
    assert links["edge-0", "fog-0"]["measured"]["delay"] == pytest.approx(0.005, abs=0.0005)
    assert links["fog-0", "cloud-0"]["measured"]["rate"] == pytest.approx(50e6, rel=0.05)
    for pair, (near, far) in {("edge-0", "cloud-0"): ends[:2], ("cloud-0", "edge-0"): [ends[1][::-1], ends[0][::-1]]}.items():
        assert links[pair]["asked"]["delay"] == 0.005
        assert links[pair]["measured"]["delay"] == pytest.approx(sum(links[part]["measured"]["delay"] for part in (near, far)))
    assert [one["host"] for one in network["cpus"]] == ["edge-0"], "the speed of a real host was judged"
    assert network["facts"]["slurm"]["nodes"] == {"cloud-0": "n1"}
    assert network["facts"]["streams"]["router"] == "fog-0"
    assert "cloud-0" in (folder / "report.html").read_text()
    lab.assert_given_back(tmp_path)


def test_a_run_that_loses_the_part_on_slurm_says_so_in_one_line_and_keeps_what_the_others_sent(lab: Lab, tmp_path: Path) -> None:
    process = start("run", str(EXAMPLE), *OPTIONS, "--set", "measure.duration=60s", cwd=tmp_path)
    wait_for_phase(tmp_path, "measure", 300)  # learners may have to be compiled first
    time.sleep(1)
    slurm(lab.configuration, "scancel", f"--name=estran-{run_folder(tmp_path).name}")
    said, _ = process.communicate(timeout=90)
    run = record(tmp_path)
    assert (process.returncode, run["status"], run["failure"]["phase"]) == (1, "failed", "measure")
    assert run["failure"]["what"].startswith("job ")
    assert run["failure"]["what"].endswith("was cancelled from outside"), run["failure"]
    assert "\n" not in run["failure"]["what"]
    assert "Traceback" not in said
    responses = json.loads((run_folder(tmp_path) / "responses.json").read_text())
    assert responses["latency@detector"]["n"] > 10, "what the edge and the fog had sent is lost"
    lab.assert_given_back(tmp_path)
