"""Serving on real clocks: requests under many swaps, and models on their way to several detectors."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np

from tests.run.experiments import estran, run_folder

PARTS = """
from dataclasses import dataclass
import numpy as np
from estran.components.messages import Model, Predictions, Samples
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output

SWAPS = 10_000

def confidence(version):
    scores = np.exp(np.array([0.3, 0.2, 0.1]) * version * 1e-4)
    return float(scores.max() / scores.sum())

class Versions(Component):
    models: Output[Model]

    async def run(self) -> None:
        for version in range(1, SWAPS + 1):
            part = np.array([0.3, 0.2, 0.1]) * version * 1e-4
            state = {"w0": np.tile(part / 4, (2, 1)), "b0": part / 2}
            model = Model(version, {"softmax": {"dtype": "float64"}}, 2, 3, state, version, self.clock.now())
            await self.models.send(model, version=version)
            await self.models.drain()
            if version % 500 == 0:
                self.metrics.record("published", version)

class Asker(Component):
    samples: Output[Samples]

    async def run(self) -> None:
        index = 0
        while True:
            await self.samples.send(Samples(np.ones((1, 2), np.float32), np.zeros(1, np.int64), index, 3))
            index += 1
            await self.clock.sleep(0.002)

class Checker(Component):
    predictions: Input[Predictions]

    async def run(self) -> None:
        answered, torn = 0, 0
        async for message in self.predictions:
            said = message.payload
            answered += 1
            torn += abs(float(said.confidence[0]) - confidence(said.version)) > 1e-7
            if answered % 100 == 0:
                self.metrics.record("answered", answered)
                self.metrics.record("torn", torn)
"""
SWAPPED = """
experiment: swapped
seed: 1
layers: {host: {hosts: 1, device: cloud-vm-8}}
services:
  versions: {on: host, component: "parts:Versions"}
  asker: {on: host, component: "parts:Asker"}
  detector: {on: host, component: predictor}
  checker: {on: host, component: "parts:Checker"}
streams:
  - {from: asker.samples, to: detector.samples}
  - {from: versions.models, to: detector.models, delivery: acknowledged}
  - {from: detector.predictions, to: checker.predictions}
measure: {warmup: 0.2s, duration: 40s, until: published >= 10000}
"""


def test_emulated_no_request_is_lost_or_answered_by_a_torn_model_over_10000_swaps(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "experiment.yaml").write_text(SWAPPED)
    done = estran("run", "experiment.yaml", "--json", cwd=tmp_path, timeout=110)
    assert done.returncode == 0, done.stderr
    folder = run_folder(tmp_path)
    swaps = duckdb.execute(f"SELECT count(*) FROM '{folder}/events.parquet' WHERE event = 'swapped'").fetchall()[0][0]
    torn, answered = duckdb.execute(
        f"SELECT max(value) FILTER (metric = 'torn'), max(value) FILTER (metric = 'answered') FROM '{folder}/metrics.parquet'"
    ).fetchall()[0]
    assert swaps >= 10_000
    assert torn == 0
    assert answered > 1000
    answers = f"FROM '{folder}/messages.parquet' WHERE receiver = 'detector-0' AND stream = 'asker.samples' AND answer IS NOT NULL"
    numbers = duckdb.execute(f"SELECT seq {answers}").fetchnumpy()["seq"]
    assert np.array_equal(np.sort(numbers), np.arange(len(numbers)))
