"""Bottlenecks that were planted are named, and a study is opened as notebooks do: studies of simulated hosts, made for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")
pytest.importorskip("pyarrow")

import estran
from estran.errors import RequestError
from estran.explain.bottleneck import bottleneck
from estran.explain.table import read_table
from estran.report.beyond import limiting
from tests.run.experiments import estran as command

EXPERIMENT = """
experiment: planted
layers:
  edge: {hosts: 1, device: raspberry-pi-4}
  fog: {hosts: 1, device: jetson-orin-nano}
  cloud: {hosts: 1, device: cloud-vm-8}
network:
  - {between: [edge, fog], delay: 5ms, rate: FAST}
  - {between: [fog, cloud], delay: 20ms, rate: 50mbit}
services:
  camera: {on: edge, component: source, with: {data: digits, rate: "${rate}"}}
  detector: {on: fog, component: predictor, costs: {predict: DETECT}}
  trainer: {on: cloud, component: trainer, costs: {learn: LEARN}}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples]}
  - {from: trainer.models, to: detector.models, delivery: latest}
factors:
  rate: [20/s, 40/s, 80/s]
measure: {warmup: 1s, duration: 4s}
"""
PLAIN = {"FAST": "100mbit", "DETECT": "0.1ms", "LEARN": "0.1ms"}


def made(folder: Path, planted: dict[str, str], replicates: int = 1) -> Path:
    text = EXPERIMENT
    for name, value in (PLAIN | planted).items():
        text = text.replace(name, value)
    folder.mkdir(exist_ok=True)
    (folder / "experiment.yaml").write_text(text)
    done = command("study", "experiment.yaml", "--on", "simulate", "--replicates", str(replicates), "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / str(json.loads(done.stdout)["study"])


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("slow"), {"DETECT": "8ms"}, replicates=2)


def test_a_slow_detector_is_named(slow: Path) -> None:
    found = bottleneck(read_table(slow))
    first = found.resources[0]
    assert (first.kind, first.name, first.saturated, first.where) == ("service", "detector-0", True, {"rate": "80/s"})
    assert [load.saturated for load in first.factors["rate"]] == [False, False, True]
    assert first.trends[0].knee == "80/s"
    assert first.factors["rate"][0].utilisation == pytest.approx(20 * 0.008 / 0.54, rel=0.1)  # on a device of speed 0.54
    assert sum(one.saturated for one in found.resources) == 1
    said = " ".join(limiting(found))
    assert "The service detector-0 is saturated" in said
    assert "edge-0 → cloud-0 cannot be known: no rate was asked of it" in said


def test_a_thin_link_is_named(tmp_path: Path) -> None:
    found = bottleneck(read_table(made(tmp_path, {"FAST": "300kbit"})))
    first = found.resources[0]
    assert (first.kind, first.name, first.saturated, first.growing) == ("link", "edge-0 → fog-0", True, True)
    assert [one.name for one in found.resources if one.saturated] == ["edge-0 → fog-0"]


def test_a_slow_trainer_is_named_with_its_headroom(tmp_path: Path) -> None:
    found = bottleneck(read_table(made(tmp_path, {"LEARN": "10ms"})))
    first = found.resources[0]
    assert (first.kind, first.name, first.saturated) == ("service", "trainer-0", False)
    assert first.highest == pytest.approx(0.8, abs=0.05)
    assert first.headroom == pytest.approx(1 / first.highest)
    assert first.trends[0].full == pytest.approx(1.23, abs=0.05)
    assert "saturates at about 1.2 × that load" in " ".join(limiting(found))


def test_the_command_says_all_of_it(slow: Path, tmp_path: Path) -> None:
    asked = ("--response", "accuracy", "--response", "latency", "--what-if", "rate=60/s", "--next", "next.csv")
    said = command("explain", str(slow), *asked, cwd=tmp_path)
    for words in ("At rate=60/s", "What limits", "What trades against what", "What to run next for accuracy", "→ next.csv"):
        assert words in said.stdout, said.stderr
    assert (tmp_path / "next.csv").read_text().splitlines()[0] == "rate"
    data = json.loads(command("explain", str(slow), *asked, "--json", cwd=tmp_path).stdout)
    assert data["bottleneck"]["resources"][0]["name"] == "detector-0"
    assert len(data["front"]["candidates"]) == 3
    assert data["predictions"][0]["between"] == ["rate"]
    assert data["next"][0]["points"]
    refused = command("explain", str(slow), "--what-if", "rate=500/s", cwd=tmp_path)
    assert (refused.returncode, "lies outside" in refused.stderr) == (2, True)


def test_a_study_is_opened_with_all_its_tables(slow: Path) -> None:
    study = estran.open_study(slow)
    assert study.runs.aggregate("count(*)").fetchall() == [(6,)]
    assert study.factors == {"rate": ("20/s", "40/s", "80/s")}
    counts = dict(study.messages().filter("receiver = 'detector-0'").aggregate("rate, count(*)").fetchall())
    assert counts["20/s"] < counts["40/s"]
    latency = "SELECT run, avg(latency) FROM runs GROUP BY run ORDER BY run"
    assert [value for _, value in study.sql(latency).fetchall()] == study.table.responses["latency"].tolist()
    assert study.metrics().filter("metric = 'energy' AND run = 2").aggregate("max(value)").fetchall()[0][0] > 0
    assert study.explain("latency").effects[0].term == "rate"
    assert study.what_if("latency", rate="60/s").between == ("rate",)
    assert study.front("accuracy", "latency").responses == ("accuracy", "latency")
    assert study.runs.arrow().read_all().num_rows == 6
    for query in ("SELECT beauty FROM runs", "SELECT FROM"):
        with pytest.raises(RequestError):
            study.sql(query)
