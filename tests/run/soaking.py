"""A workload at full load that checks itself: every message comes once and in order, and nothing within a service grows."""

from __future__ import annotations

import gc
import inspect
from collections import deque
from pathlib import Path

EXPERIMENT = """
experiment: soak
seed: 7
layers:
  edge: {hosts: 2, device: cloud-vm-2}
  fog: {hosts: 1, device: cloud-vm-2}
  cloud: {hosts: 1, device: cloud-vm-2}
network:
  - {between: [edge, fog], delay: 2ms, rate: 20mbit}
  - {between: [edge, cloud], delay: 10ms, rate: 20mbit}
  - {between: [fog, cloud], delay: 8ms, jitter: 1ms, rate: 20mbit}
services:
  flood: {on: edge, component: "parts:Flood"}
  counter: {on: cloud, component: "parts:Counter"}
  camera: {on: edge, component: source, with: {data: digits, order: class-incremental, rate: 40/s}}
  detector: {on: fog, component: predictor, with: {batch: {max_size: 16}}}
  trainer: {on: cloud, component: trainer, with: {learner: {mlp: {hidden: [32]}}, publish: {every: 0.5s}}}
  chatter: {on: fog, command: [sh, -c, "while :; do echo tick; sleep 0.05; done"], ready: {output: tick}}
streams:
  - {from: flood.parcels, to: counter.parcels, delivery: acknowledged}
  - {from: camera.samples, to: [detector.samples, trainer.samples], delivery: acknowledged}
  - {from: trainer.models, to: detector.models, delivery: latest}
measure: {warmup: 2s, duration: DURATION}
"""
"""Each link carries all that goes through: the floods send as fast as they are let, and wait for the window."""


def lengths() -> dict[str, int]:
    """How long the lists, dicts, sets and queues are that objects of Estran's hold here: the longest of each attribute."""
    found: dict[str, int] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if not str(kind.__module__).startswith("estran.") or isinstance(thing, type):
            continue
        names = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
        for name in (*names, *getattr(thing, "__dict__", ())):
            held = getattr(thing, name, None)
            if isinstance(held, list | dict | set | deque):
                place = f"{kind.__module__}.{kind.__qualname__}.{name}"
                found[place] = max(len(held), found.get(place, 0))
    return found


PARTS = f"""
import gc
from collections import deque
from dataclasses import dataclass

from estran.runtime.component import Component
from estran.runtime.ports import Input, Output


@dataclass(frozen=True)
class Parcel:
    sender: str
    number: int
    filling: bytes


{inspect.getsource(lengths)}
def tell(component):
    place, most = max(lengths().items(), key=lambda item: item[1])
    component.metrics.record("longest", most)
    component.log.info("longest: %d %s", most, place)


"""
PARTS += '''
class Flood(Component):
    parcels: Output[Parcel]

    async def run(self) -> None:
        number, filling = 0, bytes(2048)
        while True:
            await self.parcels.send(Parcel(self.name, number, filling))
            number += 1
            if number % 500 == 0:
                tell(self)


class Counter(Component):
    """Raises at the first parcel that is not the next one of its sender."""

    parcels: Input[Parcel]

    async def run(self) -> None:
        expected: dict[str, int] = {}
        count = 0
        async for message in self.parcels:
            parcel = message.payload
            if parcel.number != expected.get(parcel.sender, 0):
                raise ValueError(f"{parcel.sender} sent {parcel.number}, {expected.get(parcel.sender, 0)} was due")
            expected[parcel.sender] = parcel.number + 1
            count += 1
            if count % 500 == 0:
                tell(self)
'''


def write_soak(folder: Path, duration: str) -> Path:
    """Write the experiment; return its file."""
    (folder / "parts.py").write_text(PARTS)
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT.replace("DURATION", duration))
    return file
