"""The source: what it sends, when, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.components.messages import Samples
from estran.components.source import Source
from estran.errors import DataError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input
from tests.components.stage import Stage, play


class Listener(Component):
    samples: Input[Samples]
    pause = 0.0

    async def setup(self) -> None:
        self.heard: list[Message[Samples]] = []

    async def run(self) -> None:
        async for message in self.samples:
            self.heard.append(message)
            await self.clock.sleep(self.pause)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    x = np.arange(40, dtype=np.float64).reshape(20, 2)
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(20) % 4)
    return tmp_path


def heard(rows: Path, settings: Mapping[str, Any], *, seconds: float = 100.0, **more: Any) -> list[Message[Samples]]:
    return staged(rows, settings, seconds=seconds, **more)[1].heard


def staged(
    rows: Path,
    settings: Mapping[str, Any],
    *,
    seconds: float,
    seed: int = 1,
    pause: float = 0.0,
    replicas: int = 1,
    index: int = 0,
    capacity: int = 1024,
) -> tuple[Stage, Listener]:
    stage = Stage(seed=seed)
    given = {"data": "rows.npz", "order": "as-is", **settings}
    source = stage.add(Source, "camera", given, experiment_folder=str(rows), replicas=replicas, index=index)
    listener = stage.add(Listener, "listener")
    listener.pause = pause

    async def scene() -> None:
        stage.connect(source, "samples", (listener, "samples"), capacity=capacity)
        await stage.run(seconds)

    play(scene)
    return stage, listener


def labels(messages: list[Message[Samples]]) -> list[int]:
    return [int(label) for message in messages for label in message.payload.y]


def test_rows_come_in_order_with_their_classes_and_numbers(rows: Path) -> None:
    messages = heard(rows, {"repeat": 1})
    assert labels(messages) == [i % 4 for i in range(20)]
    assert [message.payload.index for message in messages] == list(range(20))
    assert {message.payload.classes for message in messages} == {4}
    assert messages[3].payload.x.tolist() == [[6.0, 7.0]]
    assert messages[3].payload.x.dtype == np.float32


def test_a_source_ends_when_its_data_are_exhausted(rows: Path) -> None:
    stage, listener = staged(rows, {"repeat": 2}, seconds=1.0)
    assert len(listener.heard) == 40
    assert stage.events("exhausted")[0].detail == "40 samples"


def test_a_limit_cuts_an_endless_repetition(rows: Path) -> None:
    assert len(heard(rows, {"limit": 33})) == 33


def test_several_rows_travel_in_a_message_and_the_last_one_may_be_short(rows: Path) -> None:
    messages = heard(rows, {"repeat": 1, "batch": 8, "rate": 10.0})
    assert [len(message.payload) for message in messages] == [8, 8, 4]
    assert [message.payload.index for message in messages] == [0, 8, 16]
    assert np.diff([message.story.sent for message in messages]) == pytest.approx([0.8, 0.4])


def test_a_fixed_rate_does_not_drift(rows: Path) -> None:
    messages = heard(rows, {"rate": 50.0}, seconds=60.0)
    sent = np.array([message.story.sent for message in messages])
    assert len(sent) == pytest.approx(3000, abs=1)
    assert sent - sent[0] == pytest.approx(np.arange(len(sent)) / 50, abs=1e-6)
    assert 0 <= sent[0] < 1 / 50


def test_random_arrivals_keep_the_mean_rate(rows: Path) -> None:
    for arrivals in ("poisson", {"kind": "bursty", "on": 0.5, "off": 0.5}, {"kind": "diurnal", "period": 10.0}):
        assert len(heard(rows, {"rate": 20.0, "arrivals": arrivals}, seconds=100.0)) == pytest.approx(2000, rel=0.15)


def test_who_is_held_back_catches_up_and_says_how_late_it_was(rows: Path) -> None:
    stage, listener = staged(rows, {"rate": 100.0, "limit": 200}, seconds=100.0, pause=0.02, capacity=10)
    stories = [message.story for message in listener.heard]
    assert len(stories) == 200
    created = np.array([story.created for story in stories])
    assert np.diff(created) == pytest.approx(np.full(199, 0.01), abs=0.0025)
    assert stories[-1].sent - stories[-1].created > 1.5
    assert len({story.trace for story in stories}) == 200
    lags = stage.metric("camera-0", "lag")
    assert lags[0] < 0.01
    assert lags[-1] > 1.0


def test_as_fast_as_possible_is_as_fast_as_the_consumer(rows: Path) -> None:
    _, listener = staged(rows, {}, seconds=1.0, pause=0.01, capacity=4)
    assert len(listener.heard) == pytest.approx(100, abs=3)


def test_a_trace_is_replayed_and_then_ends(rows: Path) -> None:
    (rows / "trace.csv").write_text("time\n10.0\n10.5\n12.0\n", encoding="utf-8")
    messages = heard(rows, {"arrivals": {"kind": "replay", "file": "trace.csv", "speed": 2.0}})
    assert [message.story.sent for message in messages] == pytest.approx([0.0, 0.25, 1.0])


def test_replicas_share_the_rows_out(rows: Path) -> None:
    parts = [heard(rows, {"repeat": 1}, replicas=3, index=i) for i in range(3)]
    firsts = sorted(float(message.payload.x[0, 0]) for part in parts for message in part)
    assert firsts == [2.0 * i for i in range(20)]
    assert {
        label for message in heard(rows, {"repeat": 1, "partition": "by-class"}, replicas=4, index=2) for label in message.payload.y
    } == {2}
    assert len(heard(rows, {"repeat": 1, "partition": "shared"}, replicas=4, index=2)) == 20


def test_drift_sets_in_on_time_and_alike_everywhere(rows: Path) -> None:
    settings = {"rate": 10.0, "limit": 20, "drift": [{"change": "labels", "at": 1.0}]}
    once, twice = heard(rows, settings, seed=1), heard(rows, settings, seed=2)
    plain = [i % 4 for i in range(20)]
    early = [int(m.payload.y[0]) == plain[i] for i, m in enumerate(once) if m.story.sent < 1.0]
    late = [int(m.payload.y[0]) == plain[i] for i, m in enumerate(once) if m.story.sent >= 1.0]
    assert all(early)
    assert len(early) == 10
    assert not any(late)
    assert labels(once) == labels(twice)


def test_shuffles_follow_the_seed(rows: Path) -> None:
    def order(seed: int) -> list[float]:
        return [float(m.payload.x[0, 0]) for m in heard(rows, {"order": "shuffled", "repeat": 2}, seed=seed)]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[:20] != order(1)[20:]
    assert sorted(order(1)[:20]) == sorted(order(1)[20:])


def test_a_missing_file_is_told_before_the_run(rows: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        heard(rows, {"data": "lost.csv"})


def test_a_replica_without_rows_ends_at_once(rows: Path) -> None:
    assert heard(rows, {"partition": "by-class"}, replicas=9, index=8) == []
