"""A federation on emulated hosts: a worker is killed in the middle of a round, and comes back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.run.experiments import assert_nothing_left, record
from tests.run.mortal import killed_and_back

pytest.importorskip("sklearn")

FEDERATION = """
experiment: federation
seed: 3
layers: {edge: {hosts: 4, device: cloud-vm-2}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 5ms, rate: 50mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, partition: by-class, rate: 400/s, batch: 20}}
  worker: {on: edge, component: "parts:Mortal", with: {least: 40}, restart: on-failure}
  server:
    on: cloud
    component: aggregator
    with: {learner: {mlp: {hidden: [16]}}, policy: {kind: local-sgd, steps: 2, batch: 8, deadline: 400ms}}
  reader: {on: cloud, component: sink}
streams:
  - {from: camera.samples, to: worker.samples}
  - {from: server.rounds, to: worker.rounds, delivery: latest}
  - {from: worker.updates, to: server.updates}
  - {from: server.models, to: reader.messages}
measure: {warmup: 0.5s, duration: 5s}
"""
PARTS = """
import os, signal

from estran.components.worker import Worker

class Mortal(Worker):
    async def _learn(self, *what):
        await super()._learn(*what)
        if self.index == 2 and self._born < 1 and self.clock.now() > 1.5:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_rounds_go_on_when_a_worker_is_killed_and_it_comes_back(tmp_path: Path) -> None:
    query, starts = killed_and_back(tmp_path, FEDERATION, PARTS)
    rounds = query("metrics", "time, value", "metric = 'participants'")
    versions = [int(version) for (version,) in query("events", "detail::JSON->>'$.version'", "event = 'published'")]
    assert versions == list(range(1, len(versions) + 1))
    assert {count for time, count in rounds if time < 1.4} == {4.0}
    assert {count for time, count in rounds if time > starts[1] + 1.0} == {4.0}
    assert len([time for time, _ in rounds if time > starts[1] + 1.0]) > 10
    assert max(later - earlier for (earlier, _), (later, _) in pairwise(rounds)) < 1.5
    answers = query("metrics", "time", f"metric = 'learned' AND replica = 'worker-2' AND time > {starts[1]}")
    assert len(answers) > 5
    assert_nothing_left(record(tmp_path)["id"])
