"""What services send: real payloads of the experiment's own data and learners, encoded as they would travel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from estran.components.messages import Model, Predictions, Samples
from estran.components.publishing import sending
from estran.components.source import SourceSettings
from estran.components.trainer import TrainerSettings
from estran.learning import registry
from estran.learning.datasets import Dataset, load
from estran.learning.orders import Dealt, dealt, partition
from estran.learning.packing import packed
from estran.platforms.emulated.links.relay_core import stream_wire_size
from estran.platforms.simulated.network import ENVELOPE, on_wire
from estran.runtime.message import Story
from estran.runtime.wire import encode


@dataclass(frozen=True, slots=True)
class Traffic:
    """One output's messages.

    Attributes
    ----------
    rows
        Per message.
    bytes
        Of the frame, without transport headers.
    features, classes
        Of the rows.
    parameters
        Numbers that a model consists of; 0 if these are no models.
    """

    rows: int
    bytes: int
    features: int
    classes: int
    parameters: int = 0

    def resized(self, size: float) -> Traffic:
        """The same, of another size."""
        return replace(self, bytes=round(size))


def wire_bits(frame: float) -> tuple[float, int, float]:
    """Bits that a frame takes on Ethernet, its packets, and its bytes as an interface counts them."""
    whole = round(frame)
    size, packets = stream_wire_size(whole + -whole % 8 + ENVELOPE)
    return 8.0 * size, packets, float(on_wire(whole))


def _size(payload: object, service: str, port: str) -> int:
    story = Story(f"{service}-0:{port}:1000", 100.0, f"{service}.{port}", f"{service}-0", 1000, 100.0, 1000)
    return sum(len(memoryview(part).cast("B")) for part in encode(payload, story))


@cache
def dataset(choice: Any, folder: str) -> Dataset:
    """A dataset, read once."""
    return load(choice, folder)


def samples(service: str, settings: SourceSettings, folder: str) -> Traffic:
    """What a source sends."""
    data = dataset(settings.data, folder)
    rows = np.arange(settings.batch) % len(data.y)
    payload = Samples(data.x[rows].astype(settings.dtype), data.y[rows], 100_000, data.classes)
    return Traffic(settings.batch, _size(payload, service, "samples"), data.features, data.classes)


def shares(settings: SourceSettings, replicas: int, folder: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows of the dataset that each replica has."""
    labels = dataset(settings.data, folder).y
    if settings.partition == "shared" or replicas == 1:
        return np.full(replicas, len(labels), np.int64)
    if isinstance(settings.partition, Dealt):
        return np.bincount(dealt(labels, settings.partition, replicas, settings.seed), minlength=replicas)
    some = min(replicas, len(labels) + int(labels.max()) + 1)
    sizes = np.zeros(replicas, np.int64)
    sizes[:some] = [len(partition(labels, settings.partition, index, replicas)) for index in range(some)]
    return sizes


def predictions(service: str, given: Traffic) -> Traffic:
    """What a predictor answers to messages."""
    rows = np.zeros(given.rows, np.int64)
    payload = Predictions(rows, rows, np.zeros(given.rows, np.float32), 1000, 100_000)
    return replace(given, bytes=_size(payload, service, "predictions"))


def models(service: str, settings: TrainerSettings, given: Traffic) -> Traffic:
    """What a trainer publishes, having learned from messages."""
    name, options = registry.read(settings.learner)
    learner = registry.create(settings.learner, given.features, given.classes, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    learner.learn_many(rng.random((2, given.features)), np.arange(2) % given.classes)
    state = dict(learner.state())
    sent = packed(state, sending(settings.publish.send).precision)
    payload = Model(1000, {name: options}, given.features, given.classes, sent, 100_000, 100.0)
    parameters = sum(int(np.size(values)) for values in state.values())
    return Traffic(1, _size(payload, service, "models"), given.features, given.classes, parameters)
