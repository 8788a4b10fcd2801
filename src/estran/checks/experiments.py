"""Small experiments, and what must hold of their finished runs on any platform.

    for experiment in EXPERIMENTS:
        file = experiment.write(folder)
        ...  # run it on the platform in question
        experiment.check(open_run(run_folder))

``check`` raises AssertionError and says what it saw. An experiment measures for 2 s and needs four hosts at the most.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from estran.observe.queries import Run

TOLERANCE: Final = 1e-3
"""Seconds by which clocks of different hosts may disagree."""

CHECKED: Final = '''
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estran.runtime.component import Component
from estran.runtime.ports import Input, Output


@dataclass(frozen=True, eq=False)
class Block:
    number: int
    body: NDArray[np.uint8]


@dataclass(frozen=True)
class ProducerSettings:
    blocks: int = 100
    size: int = 100
    pause: float = 0.0


class Producer(Component):
    """Sends blocks of a size, with a pause between them, and then ends."""

    settings: ProducerSettings
    blocks: Output[Block]

    async def run(self) -> None:
        for number in range(self.settings.blocks):
            await self.blocks.send(Block(number, np.zeros(self.settings.size, dtype=np.uint8)))
            await self.clock.sleep(self.settings.pause)
        await self.blocks.drain()


@dataclass(frozen=True)
class ConsumerSettings:
    pause: float = 0.0


class Consumer(Component):
    """Takes a block, rests, takes the next."""

    settings: ConsumerSettings
    blocks: Input[Block]

    async def run(self) -> None:
        async for message in self.blocks:
            self.metrics.record("number", message.payload.number)
            await self.clock.sleep(self.settings.pause)
'''


class Message(NamedTuple):
    """A processed message, as its record has it."""

    stream: str
    origin: str
    receiver: str
    seq: int
    created: float
    sent: float
    received: float
    started: float
    done: float
    version: int | None


Holds = Callable[[Run, Sequence[Message]], None]


@dataclass(frozen=True, slots=True)
class SmallExperiment:
    """An experiment as text, with the components that it names, and what must hold of its run.

    Attributes
    ----------
    holds
        What must hold beside the laws that hold of any run.
    """

    name: str
    text: str
    holds: Holds

    def write(self, folder: Path) -> Path:
        """Write the experiment and its components into a folder; return the experiment file."""
        (folder / "checked.py").write_text(CHECKED, encoding="utf-8")
        file = folder / "experiment.yaml"
        file.write_text(self.text, encoding="utf-8")
        return file

    def check(self, run: Run) -> None:
        """Raise AssertionError if something does not hold of the finished run."""
        assert run.status.status == "done", f"the run ended as {run.status.status}"
        messages = processed(run)
        assert messages, "no message was processed"
        effects_follow_causes(messages)
        each_once_and_in_order(run, messages)
        self.holds(run, messages)


def processed(run: Run) -> list[Message]:
    """The records of all processed messages."""
    with run.database() as connection:
        names = ", ".join(Message._fields)
        return [Message(*row) for row in connection.execute(f"SELECT {names} FROM messages").fetchall()]  # noqa: S608 our own


def effects_follow_causes(messages: Sequence[Message]) -> None:
    """A message is created before it is sent, received after it was sent, taken after it was received, done after it was taken."""
    for message in messages:
        times = (message.created, message.sent, message.received, message.started, message.done)
        for (earlier, before), (later, after) in zip(
            zip(_STEPS, times, strict=True), list(zip(_STEPS, times, strict=True))[1:], strict=False
        ):
            assert after >= before - TOLERANCE, f"{_named(message)} was {later} {before - after:g} s before it was {earlier}"


_STEPS: Final = ("created", "sent", "received", "started", "done")


def each_once_and_in_order(run: Run, messages: Sequence[Message]) -> None:
    """Of each channel every message is processed once, in order; of an acknowledged one, every message that was sent."""
    sent = _sent(run)
    by_channel = _by_channel(messages)
    for channel in run.channels:
        own = by_channel[channel["stream"], channel["producer"], channel["consumer"]]
        numbers = [message.seq for message in own]
        assert len(set(numbers)) == len(numbers), f"{channel['name']}: some messages were processed twice"
        done = [message.done for message in own]
        assert done == sorted(done), f"{channel['name']}: messages were not processed in order"
        count = sent[channel["name"]]
        if channel["delivery"] == "acknowledged":
            assert numbers == list(range(count)), f"{channel['name']}: {count} were sent, {len(numbers)} were processed"
        elif count:
            assert numbers, f"{channel['name']}: {count} were sent, and none came"
            assert numbers[-1] == count - 1, f"{channel['name']}: the newest, {count - 1}, never came; the last was {numbers[-1]}"


def _by_channel(messages: Sequence[Message]) -> defaultdict[tuple[str, str, str], list[Message]]:
    found: defaultdict[tuple[str, str, str], list[Message]] = defaultdict(list)
    for message in sorted(messages, key=lambda one: one.seq):
        found[message.stream, message.origin, message.receiver].append(message)
    return found


def _sent(run: Run) -> dict[str, int]:
    """Frames that each channel's sender counted, by key."""
    producers = {channel["name"]: channel["producer"] for channel in run.channels}
    with run.database() as connection:
        said = connection.execute("SELECT replica, detail FROM events WHERE event = 'channel' ORDER BY time").fetchall()
    counted = [(replica, json.loads(detail)) for replica, detail in said]
    found = {one["channel"]: int(one["frames"]) for replica, one in counted if producers[one["channel"]] == replica}
    assert set(found) == set(producers), f"senders did not say what they sent on {sorted(set(producers) - set(found))}"
    return found


def _named(message: Message) -> str:
    return f"message {message.seq} of {message.stream} from {message.origin} to {message.receiver}"


# -- the experiments

_HOSTS: Final = """
seed: 5
layers: {edge: {hosts: 2, device: cloud-vm-2}, cloud: {hosts: 2, device: cloud-vm-2}}
network: [{between: [edge, cloud], delay: 10ms, rate: 20mbit}]
"""

_ROUTING: Final = f"""
experiment: check-routing
{_HOSTS}
services:
  producer: {{on: edge, component: "checked:Producer", with: {{blocks: 60, pause: 0.01}}}}
  paired: {{on: cloud, component: "checked:Consumer"}}
  rotating: {{on: cloud, component: "checked:Consumer"}}
  all: {{on: cloud, component: "checked:Consumer"}}
streams:
  - {{from: producer.blocks, to: paired.blocks, routing: paired}}
  - {{from: producer.blocks, to: rotating.blocks, routing: rotate}}
  - {{from: producer.blocks, to: all.blocks, routing: all}}
measure: {{duration: 2s}}
"""


def routed_as_asked(run: Run, messages: Sequence[Message]) -> None:
    """Each of two producers sends all to its own partner, all to everybody, and by turns."""
    received: defaultdict[tuple[str, str], int] = defaultdict(int)
    for message in messages:
        received[message.origin, message.receiver] += 1
    for producer in (0, 1):
        for consumer in (0, 1):
            expected = {"paired": 60 if producer == consumer else 0, "rotating": 30, "all": 60}
            for service, count in expected.items():
                got = received[f"producer-{producer}", f"{service}-{consumer}"]
                assert got == count, f"{service}-{consumer} got {got} messages of producer-{producer}, and not {count}"
    assert min(message.received - message.sent for message in messages) >= 0.010 - TOLERANCE, "a message beat its link's delay"


_PRESSURE: Final = f"""
experiment: check-pressure
{_HOSTS}
services:
  producer: {{on: edge-0, component: "checked:Producer", with: {{blocks: 100000}}}}
  consumer: {{on: cloud-0, component: "checked:Consumer", with: {{pause: 0.02}}}}
  camera: {{on: edge-1, component: "checked:Producer", with: {{blocks: 400, size: 20000, pause: 0.005}}}}
  screen: {{on: cloud-1, component: "checked:Consumer"}}
streams:
  - {{from: producer.blocks, to: consumer.blocks, capacity: 10}}
  - {{from: camera.blocks, to: screen.blocks, delivery: latest}}
measure: {{duration: 2s}}
"""


def fast_ones_are_held_back_or_superseded(run: Run, messages: Sequence[Message]) -> None:
    """An acknowledged producer is never more than its capacity ahead; a latest one goes on, and what is old is left out."""
    pressed = sorted((message for message in messages if message.stream == "producer.blocks"), key=lambda message: message.seq)
    for ahead, behind in zip(pressed[10:], pressed, strict=False):
        early = behind.done - ahead.sent
        # A send that waits was asked for, and stamped, before there was room.
        assert early <= pressed[1].done - pressed[0].done + 0.1, (
            f"{_named(ahead)} was sent {early:g} s before there was room for it"
        )
    rate = (len(pressed) - 1) / (pressed[-1].done - pressed[0].done)
    assert rate <= 1 / 0.02 * 1.02, f"{rate:g} messages a second were processed, and 50 is what the consumer can do"
    seen = [message.seq for message in messages if message.stream == "camera.blocks"]
    count = _sent(run)["camera.blocks/camera-0/screen-0.blocks"]
    assert count > 200, f"the camera sent {count} frames in 2 s, and should not have been held back"
    assert len(seen) < 0.9 * count, f"{len(seen)} of {count} frames came through a line that carries half of them"


_SERVING: Final = f"""
experiment: check-serving
{_HOSTS}
services:
  camera: {{on: edge, component: source, with: {{data: digits, rate: 40/s}}}}
  detector: {{on: cloud-0, component: predictor, with: {{batch: {{max_size: 8}}}}}}
  trainer: {{on: cloud-1, component: trainer, with: {{learner: softmax, publish: {{every: 0.4s}}}}}}
  screen: {{on: edge-0, component: sink}}
streams:
  - {{from: camera.samples, to: [detector.samples, trainer.samples]}}
  - {{from: trainer.models, to: detector.models, delivery: latest}}
  - {{from: detector.predictions, to: screen.messages}}
measure: {{duration: 2s}}
"""


def answers_are_by_published_models(run: Run, messages: Sequence[Message]) -> None:
    """Every answer names a version that had been published, versions never go back, and models age until they are swapped."""
    with run.database() as connection:
        events = connection.execute("SELECT time, detail FROM events WHERE event = 'published' ORDER BY time").fetchall()
    published = {int(json.loads(detail)["version"]): time for time, detail in events}
    assert len(published) >= 3, f"{len(published)} models were published in 2 s, one each 0.4 s"
    answers = sorted(
        (message for message in messages if message.stream == "camera.samples" and message.receiver == "detector-0"),
        key=lambda message: message.done,
    )
    previous: Message | None = None
    for message in answers:
        assert message.version in published, f"{_named(message)} was answered by version {message.version}, never published"
        age = message.done - published[message.version]
        assert age >= -TOLERANCE, f"{_named(message)} was answered by version {message.version} {-age:g} s before its publication"
        if previous is not None and previous.version is not None:
            assert message.version >= previous.version, f"version {message.version} served after {previous.version}"
            if message.version == previous.version:
                assert age >= previous.done - published[previous.version], f"version {message.version} got younger"
        previous = message
    assert len({message.version for message in answers}) >= 2, "the model was never swapped"


EXPERIMENTS: Final[tuple[SmallExperiment, ...]] = (
    SmallExperiment("routing", _ROUTING, routed_as_asked),
    SmallExperiment("pressure", _PRESSURE, fast_ones_are_held_back_or_superseded),
    SmallExperiment("serving", _SERVING, answers_are_by_published_models),
)
