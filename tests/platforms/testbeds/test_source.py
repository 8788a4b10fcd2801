"""Experiments on a testbed: what is said before anything is reserved, and a whole run on nodes that EnOSlib reserved."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estran.platforms.testbeds.environment import VARIABLE
from estran.platforms.testbeds.ledger import entries
from estran.platforms.testbeds.source import EnoslibSource, platform
from estran.run.prepare import prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from estran.spec.document import read_file, read_text
from tests.platforms.testbeds.conftest import hurrying, missing
from tests.platforms.testbeds.fake_g5k import FakeGrid5000
from tests.platforms.testbeds.nodes import GATE, NEEDS, Nodes, nodes
from tests.platforms.testbeds.test_grid5000 import credentials
from tests.run.experiments import PARTS

FILE = """\
platform: testbed
provider: g5k
job: tide
walltime: 1h
jump: false
environment: installed
python: {python}
layers:
  edge: {{cluster: azur, nodes: 2}}
  cloud: {{cluster: craie}}
"""
EXPERIMENT = """\
experiment: tiny
seed: 1
layers:
  edge: {hosts: 2, device: raspberry-pi-4}
  cloud: {hosts: 1, device: cloud-vm-2}
network: []
services:
  meter: {on: edge, component: "parts:Meter", with: {rate: 40}}
  total: {on: cloud, component: "parts:Total"}
streams:
  - {from: meter.values, to: total.values}
measure: {warmup: 0.3s, duration: 1.5s}
"""
NAMES = ["azur-1.midi.grid5000.fr", "azur-2.midi.grid5000.fr", "craie-1.nord.grid5000.fr"]


def source(text: str) -> EnoslibSource:
    return EnoslibSource(read_text(text, "tide.yaml"))


def test_what_cannot_be_is_said_before_anything_is_reserved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(home / "nowhere"))
    found = source(FILE.format(python="python3")).check(
        {"edge": ["edge-0", "edge-1", "edge-2"], "fog": ["fog-0"], "cloud": ["cloud-0"]}
    )
    assert [(one.where, one.remedy, one.fatal) for one in found] == [
        ("g5k", "run `estran testbeds install`", True),
        ("edge", "write nodes: 3", True),
        ("fog", "add fog: below layers:", True),
    ]


def test_nodes_without_use_are_noted(home: Path) -> None:
    found = source(FILE.format(python="python3")).check({"edge": ["edge-0"]})
    assert [(one.where, one.remedy) for one in found if not one.fatal] == [("edge", "write nodes: 1"), ("cloud", "remove cloud:")]


def test_microcontrollers_cannot_be_hosts(home: Path) -> None:
    boards = "{edge: {archi: 'm3:at86rf231', site: paris}, fog: {archi: 'a8:at86rf231', site: paris}}"
    text = f"platform: testbed\nprovider: iotlab\nlayers: {boards}"
    said = [one for one in source(text).check({"edge": ["edge-0"], "fog": ["fog-0"]}) if one.where in ("edge", "fog")]
    assert [(one.where, "no SSH" in one.what, one.fatal) for one in said] == [("edge", True, True)]


def test_the_cost_is_known_before(home: Path) -> None:
    assert source(FILE.format(python="python3")).cost({}) == ["g5k: 3 nodes for 60min at the most: 3 node-hours"]


@pytest.fixture
def reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """Nodes whose names this process knows, too."""
    with nodes(tmp_path / "nodes", NAMES) as made:
        known = dict(reversed(line.split()) for line in (made.folder / "hosts").read_text().splitlines())
        resolve = socket.getaddrinfo

        def answered(host: Any, *more: Any, **others: Any) -> Any:
            return resolve(known.get(host, host), *more, **others)

        monkeypatch.setattr(socket, "getaddrinfo", answered)
        yield made


@pytest.mark.root
@pytest.mark.skipif(bool(missing("g5k")), reason=str(missing("g5k")))
@pytest.mark.skipif(NEEDS is not None, reason=str(NEEDS))
def test_an_experiment_runs_on_reserved_nodes(
    home: Path, reachable: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".ssh").symlink_to(reachable.folder / "ssh")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    hurrying(home / "environment", reachable.within)
    monkeypatch.setenv(VARIABLE, str(home / "environment"))
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "tide.yaml").write_text(FILE.format(python=sys.executable))
    with FakeGrid5000(GATE) as api:
        credentials(home, api)
        prepared = prepare(str(tmp_path / "experiment.yaml"), platform=platform(read_file(tmp_path / "tide.yaml")))
        assert not [problem for problem in prepared.problems if problem.fatal]
        folder, status = execute(prepared, out=tmp_path / "runs", progress=QuietProgress())
        assert status == "done", (folder / "run.json").read_text()
        assert not api.alive()
    assert not entries()
    responses = json.loads((folder / "responses.json").read_text())
    assert responses["loss"]["value"] == 0
    assert 20 < responses["throughput"]["value"] < 120
    assert "azur-1" in (folder / "known_hosts").read_text()
