"""Every kind of plug-in, from a package that is really installed, and used by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

MODULE = """
from pathlib import Path

from estran.platforms.emulated.links.relay_tun import TunEngine
from estran.platforms.simulated.platform import SimulatedPlatform
from estran.learning.linear.first_order import Perceptron
from estran.runtime.component import Component, Input
from estran.components.messages import Samples
from estran.study.engines.local import Local


class Counter(Component):
    samples: Input[Samples]

    async def run(self) -> None:
        async for _ in self.samples:
            pass


class Still(SimulatedPlatform):
    name = "still"


def rack(document):
    assert document.data["hosts"] == ["a"]
    return Still()


def ends(factors, samples, rng):
    return [{factor.name: factor.levels[0 if i else -1] for factor in factors[:1]} for i in range(samples or 2)]


class Here(Local):
    def __init__(self, choice, place):
        choice.only("note")
        super().__init__(1)
        Path(choice.options["note"]).write_text("made here")


class Wire(TunEngine):
    name = "wire"
"""
POINTS = {
    "estran.components": "counter = toy:Counter",
    "estran.learners": "another = toy:Perceptron",
    "estran.platforms": "still = toy:Still\nbroken = toy_that_is_gone:Platform",
    "estran.platform_files": "rack = toy:rack",
    "estran.designs": "ends = toy:ends\nwrong = toy:rack",
    "estran.study_engines": "here = toy:Here",
    "estran.link_engines": "wire = toy:Wire",
}
EXPERIMENT = """
experiment: plugged
layers: {edge: {hosts: 1, device: raspberry-pi-4}, fog: {hosts: 1, device: jetson-orin-nano}}
network: [{between: [edge, fog], delay: "${delay}", rate: 100mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 20/s}}
  counter: {on: fog, component: counter}
streams: [{from: camera.samples, to: counter.samples}]
factors: {delay: [5ms, 20ms, 40ms], rest: [1s, 2s]}
measure: {warmup: "${rest}", duration: 2s}
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a package was installed that has one of each."""
    folder = tmp_path_factory.mktemp("toy")
    info = "toy-1.dist-info"
    files = {
        "toy.py": MODULE,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: toy\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "".join(f"[{group}]\n{lines}\n" for group, lines in POINTS.items()),
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    wheel = folder / "toy-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, text in (files | {f"{info}/RECORD": record}).items():
            packed.writestr(name, text)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "rack.yaml").write_text("platform: rack\nhosts: [a]\n")
    return folder


def estran(toy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(toy / "site"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "estran.cli.main", *words]
    return subprocess.run(command, cwd=toy, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def answered(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("on", ["still", "rack.yaml"])
def test_a_component_runs_on_a_platform(toy: Path, on: str) -> None:
    made = answered(estran(toy, "run", "experiment.yaml", "--on", on, "--json"))
    assert (made["status"], made["platform"]) == ("done", "still")
    assert made["responses"]["throughput"]["value"] == pytest.approx(20, rel=0.2)


def test_a_design_chooses_the_points_and_an_engine_makes_the_runs(toy: Path) -> None:
    options = ("--design", "ends", "--samples", "3", "--engine", "here", "--engine-option", "note=said.txt", "--replicates", "1")
    made = answered(estran(toy, "study", "experiment.yaml", "--on", "simulate", *options, "--json"))
    lines = (toy / made["study"] / "design.csv").read_text().splitlines()
    assert lines[0] == "run,block,point,seed,delay,rest"
    assert sorted(line.split(",", 4)[4] for line in lines[1:]) == ["40ms,1s", "5ms,1s", "5ms,1s"]
    assert len({line.split(",")[3] for line in lines[1:] if "5ms" in line}) == 2, "points that are written twice are replicates"
    assert (toy / "said.txt").read_text() == "made here"


def test_a_learner_is_listed(toy: Path) -> None:
    assert "another" in estran(toy, "learners").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "experiment.yaml", "--on", "broken"), "broken of the package toy cannot be loaded: ModuleNotFoundError"),
        (("run", "experiment.yaml", "--on", "emulate:wier"), "wire"),
        (("study", "experiment.yaml", "--on", "simulate", "--design", "endz"), "morris, ends, wrong, or a CSV file"),
        (("study", "experiment.yaml", "--on", "simulate", "--engine", "hier"), "parsl, here"),
    ],
)
def test_what_is_not_there_or_broken_is_a_wrong_request(toy: Path, words: tuple[str, ...], said: str) -> None:
    done = estran(toy, *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_emulated_run_has_its_links_from_an_engine(toy: Path) -> None:
    done = estran(toy, "plan", "experiment.yaml", "--on", "emulate:wire")
    if "engine" in done.stderr and done.returncode:
        pytest.skip(f"there is no TUN here: {done.stderr}")
    made = json.loads(estran(toy, "run", "experiment.yaml", "--on", "emulate:wire", "--json").stdout)
    engine = json.loads((toy / made["folder"] / "network.json").read_text())["facts"]["engine"]
    assert engine["engine"] == "wire"
    assert engine["packets"] > 0, "whether the machine was too busy to do well is not asked here"
