"""Ways of training together, of publishing and of serving on real clocks, sockets and links."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.run.experiments import estran, run_folder

pytest.importorskip("sklearn")

WORKERS = 3
TOGETHER = """
experiment: together
seed: 3
layers: {edge: {hosts: 3, device: cloud-vm-2}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 2ms, rate: 50mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, partition: by-class, rate: 400/s, batch: 20}}
  worker: {on: edge, component: worker, with: {least: 40}}
  server: {on: cloud, component: aggregator, with: {learner: {mlp: {hidden: [16]}}, policy: POLICY}}
  judge: {on: cloud, component: source, with: {data: digits, rate: 100/s}}
  detector: {on: cloud, component: predictor}
streams:
  - {from: camera.samples, to: worker.samples}
  - {from: server.rounds, to: worker.rounds, delivery: latest}
  - {from: worker.updates, to: server.updates}
  - {from: server.models, to: detector.models, delivery: latest}
  - {from: judge.samples, to: detector.samples}
measure: {warmup: 0.3s, duration: 20s, until: learned >= 800}
"""
PUBLISHED = """
experiment: published
seed: 2
layers: {edge: {hosts: 1, device: cloud-vm-2}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 2ms, rate: 50mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 500/s, drift: [{change: labels, at: 0.6s, size: 1}]}}
  detector: {on: edge, component: predictor, with: {serving: {kind: ensemble, versions: 3, by: hedge}}}
  trainer: {on: cloud, component: trainer, with: {learner: softmax, publish: PUBLISH}}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples]}
  - {from: trainer.models, to: detector.models}
measure: {warmup: 0.3s, duration: 20s, until: learned >= 800}
"""
Query = Callable[[str, str], list[Any]]


def ran(folder: Path, text: str) -> Query:
    """Run an experiment emulated; return what asks its tables for a column where something holds."""
    (folder / "experiment.yaml").write_text(text)
    done = estran("run", "experiment.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    tables = run_folder(folder)
    return lambda column, where: [
        value
        for (value,) in duckdb.execute(
            f"SELECT {column} FROM '{tables}/{where.partition(' ')[0]}.parquet' WHERE {where.partition(' ')[2]}"
        ).fetchall()
    ]


@pytest.mark.parametrize(
    ("policy", "participants", "stale"),
    [
        ({"kind": "synchronous", "batch": 8}, WORKERS, False),
        ({"kind": "asynchronous", "batch": 8}, 1, True),
        ({"kind": "fedbuff", "buffer": 2, "batch": 8}, 2, True),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_emulated_workers_train_together(tmp_path: Path, policy: dict[str, Any], participants: int, stale: bool) -> None:
    query = ran(tmp_path, TOGETHER.replace("POLICY", json.dumps(policy)))
    versions = [int(json.loads(detail)["version"]) for detail in query("detail", "events event = 'published' ORDER BY time")]
    assert len(versions) > 10
    assert versions == sorted(set(versions))
    assert set(query("value", "metrics metric = 'participants'")) == {float(participants)}
    assert (max(query("value", "metrics metric = 'update_staleness'")) > 0) is stale
    assert set(query("DISTINCT replica", "metrics metric = 'learned' AND replica LIKE 'worker-%'")) == {
        f"worker-{i}" for i in range(WORKERS)
    }
    assert not query("value", "metrics metric = 'refused' AND value > 0")
    accuracy = query("value", "metrics metric = 'accuracy' AND replica = 'detector-0' ORDER BY time")
    assert accuracy[-1] > 0.3  # ten classes


@pytest.mark.parametrize(
    ("publish", "reason"),
    [({"drift": {"detector": "ddm", "after": 100}}, "drift"), ({"gain": {"margin": 0.05, "check": 50}}, "gain")],
    ids=["drift", "gain"],
)
def test_emulated_trainers_publish_for_a_reason_and_an_ensemble_of_versions_answers(
    tmp_path: Path, publish: dict[str, Any], reason: str
) -> None:
    query = ran(tmp_path, PUBLISHED.replace("PUBLISH", json.dumps(publish)))
    published = [json.loads(detail) for detail in query("detail", "events event = 'published' ORDER BY time")]
    assert [one["why"] for one in published][:2] == ["first", reason]
    assert len(query("detail", "events event = 'swapped'")) >= 2
    answered = query("DISTINCT version", "messages receiver = 'detector-0' AND stream = 'camera.samples' AND version > 0")
    assert len(answered) >= 2
