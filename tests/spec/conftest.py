"""An experiment in the words of the design, and an index of the components that it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from estran.errors import RequestError
from estran.spec import ComponentFacts, settings_schema, validate_settings
from estran.units import Duration, Frequency

EXAMPLE = """\
experiment: visual-inspection
seed: 42
layers:
  edge:  {hosts: 4, device: raspberry-pi-4}
  fog:   {hosts: 1, device: jetson-orin-nano}
  cloud: {hosts: 1, device: cloud-vm-8}
network:
  - {between: [edge, fog],  delay: 5ms,  rate: 100mbit, loss: 0.1%}
  - {between: [fog, cloud], delay: 40ms, jitter: 2ms, rate: 50mbit}
services:
  camera:   {on: edge, component: source, with: {data: digits, order: class-incremental, rate: 50/s}}
  detector: {on: "${placement}", component: predictor, with: {batch: {max_size: 16}}}
  trainer:  {on: cloud, component: trainer, with: {learner: {mlp: {hidden: [64]}}, publish: {every: "${publish_every}"}}}
streams:
  - {from: camera.samples,  to: [detector.samples, trainer.samples], delivery: acknowledged}
  - {from: trainer.models,  to: detector.models, delivery: latest}
factors:
  placement: [edge, fog, cloud]
  publish_every: [0.5s, 2s, 10s]
measure: {warmup: 2s, duration: 20s}
"""


@dataclass(frozen=True)
class SourceSettings:
    data: str
    order: Literal["shuffled", "class-incremental"] = "shuffled"
    rate: Frequency | None = None


@dataclass(frozen=True)
class Batch:
    max_size: int = 32
    max_delay: Duration = 0.02


@dataclass(frozen=True)
class PredictorSettings:
    batch: Batch = field(default_factory=Batch)


@dataclass(frozen=True)
class Mlp:
    hidden: tuple[int, ...] = (64,)


@dataclass(frozen=True)
class LearnerSettings:
    mlp: Mlp | None = None


@dataclass(frozen=True)
class Publish:
    every: Duration = 1.0


@dataclass(frozen=True)
class TrainerSettings:
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    publish: Publish = field(default_factory=Publish)


def facts(declared: type, *, inputs: dict[str, str], outputs: dict[str, str], metrics: tuple[str, ...] = ()) -> ComponentFacts:
    return ComponentFacts(
        inputs=inputs,
        outputs=outputs,
        validate=lambda given: validate_settings(declared, given),
        settings=settings_schema(declared),
        metrics=metrics,
    )


class Index:
    """What the components room will provide: here only facts."""

    known: ClassVar = {
        "source": facts(SourceSettings, inputs={}, outputs={"samples": "Samples"}),
        "predictor": facts(
            PredictorSettings,
            inputs={"samples": "Samples", "models": "Model"},
            outputs={"answers": "Answers"},
            metrics=("confidence",),
        ),
        "trainer": facts(TrainerSettings, inputs={"samples": "Samples"}, outputs={"models": "Model"}),
    }

    def names(self) -> Iterable[str]:
        return list(self.known)

    def describe(self, name: str) -> ComponentFacts:
        if name not in self.known:
            raise RequestError(f"{name!r} cannot be imported", remedy="check the module's name")
        return self.known[name]


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def example() -> str:
    return EXAMPLE
