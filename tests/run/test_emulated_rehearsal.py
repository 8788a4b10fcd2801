"""Workers on emulated hosts rehearse rows of each other; one is killed meanwhile, and comes back with an empty buffer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.experiments import assert_nothing_left, record
from tests.run.mortal import killed_and_back

pytest.importorskip("sklearn")

EXPERIMENT = """
experiment: rehearsal
seed: 3
layers: {edge: {hosts: 3, device: cloud-vm-2}, cloud: {hosts: 1, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 5ms, rate: 100mbit}, {between: [edge, edge], delay: 5ms, rate: 100mbit}]
services:
  camera: {on: edge, component: source, with: {data: digits, rate: 400/s, batch: 10}}
  worker: {on: edge, component: "parts:Mortal", with: {learner: {er: {buffer: 60}}, patience: 200ms}, restart: on-failure}
  server:
    on: cloud
    component: aggregator
    with: {learner: {mlp: {hidden: [16]}}, policy: {kind: local-sgd, steps: 4, batch: 10, deadline: 400ms}}
streams:
  - {from: camera.samples, to: worker.samples}
  - {from: server.rounds, to: worker.rounds, delivery: latest}
  - {from: worker.updates, to: server.updates}
  - {from: worker.recalls, to: worker.peers, routing: all}
measure: {warmup: 0.5s, duration: 7s}
"""
PARTS = """
import os, signal

from estran.components.rehearser import Rehearser

class Mortal(Rehearser):
    async def _learn(self, *what):
        await super()._learn(*what)
        if self.index == 2 and self._born < 1 and self.clock.now() > 2.0:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_rehearsal_goes_on_when_a_worker_is_killed_and_it_comes_back(tmp_path: Path) -> None:
    query, starts = killed_and_back(tmp_path, EXPERIMENT, PARTS)
    before = query("metrics", "value", "metric = 'remote_share' AND time BETWEEN 1 AND 2")
    assert sum(share for (share,) in before) / len(before) == pytest.approx(2 / 3, abs=0.08)
    for survivor in ("worker-0", "worker-1"):
        alone = f"replica = '{survivor}' AND time > {starts[1] + 0.8}"
        assert len(query("metrics", "value", f"metric = 'samples_per_second' AND {alone}")) > 5
        assert max(wait for (wait,) in query("metrics", "value", f"metric = 'rehearsal_wait' AND {alone}")) < 0.5
    back = query("metrics", "value", f"metric = 'remote_share' AND replica = 'worker-2' AND time > {starts[1]}")
    assert len(back) > 3
    assert_nothing_left(record(tmp_path)["id"])
