"""One process group over emulated links: replicas with one model, of which one is killed and taken in again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run.experiments import assert_nothing_left, record
from tests.run.mortal import killed_and_back

pytest.importorskip("sklearn")
pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'estran[torch]'")

TOGETHER = """
experiment: together
seed: 3
layers: {site: {hosts: 3, device: cloud-vm-2}, edge: {hosts: 1, device: cloud-vm-2}}
network:
  - {between: [site, site], delay: 1ms, rate: 100mbit}
  - {between: [edge, site], delay: 5ms, rate: 50mbit}
services:
  camera: {on: site, component: source, with: {data: digits, partition: by-class, rate: 200/s, batch: 10}}
  worker:
    on: site
    component: "parts:Mortal"
    restart: on-failure
    ready: {timeout: 120s}  # PyTorch takes seconds to import, and longer where others compute
    with:
      learner: {"torch.nn:Linear": {in_features: 64, out_features: 10, learning_rate: 0.2}}
      batch: {max_size: 4}
      publish: {every: 200ms}
  judge: {on: edge, component: source, with: {data: digits, rate: 50/s}}
  detector: {on: edge, component: predictor}
streams:
  - {from: camera.samples, to: worker.samples}
  - {from: worker.meetings, to: worker.peers, routing: all}
  - {from: worker.models, to: detector.models}
  - {from: judge.samples, to: detector.samples}
measure: {warmup: 0.5s, duration: 40s, until: taken_in >= 1}
"""
PARTS = """
import os, signal

from estran.components.ddp import DdpTrainer

class Mortal(DdpTrainer):
    METRICS = (*DdpTrainer.METRICS, "taken_in")

    async def _teach(self, *what):
        learned = await super()._teach(*what)
        if self.index == 2 and self._born < 0.5 and self._learned > 200:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.index == 2 and self._born > 0.5 and self._learned > 600:
            self.metrics.record("taken_in", 1)
        return learned
"""


def test_an_emulated_group_goes_on_when_a_member_is_killed_and_takes_it_in_again(tmp_path: Path) -> None:
    query, _ = killed_and_back(tmp_path, TOGETHER, PARTS, timeout=180)
    formed = {
        replica: [len(json.loads(detail)["members"]) for (detail,) in _told(query, "formed", replica)] for replica in (0, 1, 2)
    }
    assert formed[0][0] == formed[1][0] == formed[2][0] == 3
    assert formed[0][-1] == formed[1][-1] == formed[2][-1] == 3
    assert min(len(_told(query, "round-failed", replica)) for replica in (0, 1)) >= 1
    members = [count for (count,) in query("metrics", "value", "metric = 'members' AND replica = 'worker-0'")]
    assert members[0] == members[-1] == 3
    assert not _told(query, "published", 1)
    assert len(_told(query, "published", 0)) >= 2
    assert query("events", "detail", "event = 'swapped' AND replica = 'detector-0'")
    assert_nothing_left(record(tmp_path)["id"])


def _told(query, event: str, replica: int) -> list[tuple[str]]:  # type: ignore[no-untyped-def]
    return query("events", "detail", f"event = '{event}' AND replica = 'worker-{replica}'")
