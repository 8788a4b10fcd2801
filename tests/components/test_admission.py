"""Requests that are refused or sent on: none is lost, none is silent, and none counts as an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.components.messages import Predictions, Samples
from estran.components.predictor import Predictor
from estran.components.source import Source
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input
from tests.components.stage import Stage, play
from tests.components.test_serving import Reader, model, one


def asked(
    settings: Mapping[str, Any], at: Sequence[float], *, cost: float = 0.1, capacity: int = 10**6
) -> tuple[Stage, list[Message[Predictions]]]:
    stage = Stage(cost={"predict": cost})
    predictor, reader = stage.add(Predictor, "detector", {"batch": {"max_size": 1}, **settings}), stage.add(Reader, "reader")

    async def scene() -> None:
        stage.hand(predictor, "models", [model(1, 1, 0.0)])
        channel = stage.hand(predictor, "samples", [one(i, 1) for i in range(len(at))], at=at)
        stage.connect(predictor, "predictions", (reader, "predictions"))
        await stage.run(max(at) + 30)
        assert channel.processed == len(at)

    play(scene)
    return stage, reader.seen


def outcome(seen: Sequence[Message[Predictions]]) -> dict[int, str]:
    return {message.payload.index: message.payload.shed for message in seen}


BURST = [1.0 + i / 1000 for i in range(20)]


def test_what_is_too_late_is_answered_shed() -> None:
    stage, seen = asked({"shed": {"deadline": 0.55}}, BURST)
    # One answer takes 0.1 s: those that would begin after 1.55 s + i ms are refused.
    assert outcome(seen) == {i: "" if i < 6 else "late" for i in range(20)}
    late = [row.done - row.created for row in stage.answered("detector-0")]
    assert len(late) == 6
    assert max(late) > 0.55
    refused = next(message for message in seen if message.payload.shed)
    assert (refused.payload.answers.tolist(), refused.payload.truths.tolist(), refused.payload.version) == ([-1], [1], 0)
    assert refused.story.trace == "hand:6"


def test_admission_foresees_lateness() -> None:
    stage, seen = asked({"shed": {"deadline": 0.55, "foresee": True}}, BURST)
    assert outcome(seen) == {i: "" if i < 5 else "late" for i in range(20)}
    assert max(row.done - row.created for row in stage.answered("detector-0")) <= 0.55


def test_of_a_queue_that_is_too_long_the_oldest_or_the_newest_go() -> None:
    _, seen = asked({"shed": {"queue": 5}}, BURST)
    assert [i for i, why in outcome(seen).items() if not why] == [0, 15, 16, 17, 18, 19]
    _, seen = asked({"shed": {"queue": 5, "drop": "newest"}}, BURST)
    assert [i for i, why in outcome(seen).items() if not why] == [0, 1, 2, 3, 4, 5]
    assert {why for why in outcome(seen).values() if why} == {"queue"}


def test_the_share_that_was_shed_is_recorded() -> None:
    stage, _ = asked({"shed": {"queue": 5}}, BURST)
    recorded = stage.metric("detector-0", "shed")
    assert (len(recorded), sum(recorded)) == (20, 14)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.0, 0.3), min_size=1, max_size=60),
    st.one_of(st.none(), st.integers(1, 8)),
    st.sampled_from(["oldest", "newest"]),
    st.one_of(st.none(), st.floats(0.05, 1.0)),
    st.booleans(),
    st.integers(1, 8),
)
def test_every_request_is_answered_or_shed_once_whatever_the_rule(
    gaps: list[float], queue: int | None, drop: str, deadline: float | None, foresee: bool, size: int
) -> None:
    if queue is None and deadline is None:
        queue = 3
    rule = {"queue": queue, "drop": drop, "deadline": deadline, "foresee": foresee and deadline is not None}
    at = (1.0 + np.cumsum(gaps)).tolist()
    stage, seen = asked({"shed": rule, "batch": {"max_size": size}}, at)
    assert sorted(message.payload.index for message in seen) == list(range(len(at)))
    assert len([row for row in stage.rows["messages"] if row.receiver == "detector-0"]) == len(at) + 1
    assert len(stage.answered("detector-0")) == sum(not message.payload.shed for message in seen)
    assert sum(stage.metric("detector-0", "shed")) == sum(bool(message.payload.shed) for message in seen)
    if deadline is not None:
        begun = {row.trace: row.started for row in stage.answered("detector-0")}
        assert all(begun[trace] - at[int(trace.split(":")[1])] <= deadline + 1e-9 for trace in begun)


# -- cascade


class Unsure(Component):
    deferred: Input[Samples]

    async def run(self) -> None:
        async for _ in self.deferred:
            pass


def test_a_cascade_sends_on_what_it_is_not_sure_of_and_keeps_the_story() -> None:
    """A small model that knows little of class 2, and a large one that knows it."""
    stage = Stage(cost={"predict": 0.01})
    edge, cloud = stage.add(Predictor, "edge", {"threshold": 0.9}), stage.add(Predictor, "cloud")
    w = np.zeros((2, 3), dtype=np.float32)
    w[1] = [4, 0, -4]
    small = {"w0": w, "b0": np.array([0.0, 1.0, 0.0], dtype=np.float32)}

    async def scene() -> None:
        sure, unsure = (
            Samples(np.array([[0, 1]], np.float32), np.array([0]), 0, 3),
            Samples(np.zeros((1, 2), np.float32), np.array([2]), 1, 3),
        )
        stage.hand(edge, "models", [model(7, 0, 0.0, state=small)])
        stage.hand(cloud, "models", [model(3, 2, 0.0)])
        stage.hand(edge, "samples", [sure, unsure, sure], at=[1.0, 2.0, 3.0])
        stage.connect(edge, "deferred", (cloud, "samples"), delay=0.05)
        await stage.run(5.0)

    play(scene)
    assert [(row.trace, row.answer, row.version) for row in stage.answered("edge-0")] == [("hand:0", 0, 7), ("hand:2", 0, 7)]
    (row,) = stage.answered("cloud-0")
    assert (row.trace, row.truth, row.answer, row.version, row.created) == ("hand:1", 2, 2, 3, 2.0)
    assert row.done - row.created == pytest.approx(0.07)
    assert stage.metric("edge-0", "deferred") == [0.0, 1.0, 0.0]


def test_before_it_has_a_model_a_cascade_sends_everything_on() -> None:
    stage = Stage()
    edge, end = stage.add(Predictor, "edge", {"threshold": 0.5, "before_model": "answer_prior"}), stage.add(Unsure, "end")

    async def scene() -> None:
        stage.hand(edge, "models", [model(1, 1, 2.5)], at=[2.5])
        stage.hand(edge, "samples", [one(i, 1) for i in range(5)], at=[float(i) for i in range(5)])
        stage.connect(edge, "deferred", (end, "deferred"))
        await stage.run(9.0)

    play(scene)
    assert [row.trace for row in stage.answered("edge-0")] == ["hand:3", "hand:4"]
    assert len([row for row in stage.rows["messages"] if row.receiver == "end-0"]) == 3


# -- labels that come late


def test_labels_come_so_much_later_with_the_samples_own_story() -> None:
    stage = Stage()
    source = stage.add(Source, "meter", {"data": "iris", "rate": 10.0, "limit": 20, "label_delay": 1.5})
    end, teacher = stage.add(Unsure, "end"), stage.add(Unsure, "teacher")

    async def scene() -> None:
        stage.connect(source, "samples", (end, "deferred"))
        stage.connect(source, "labelled", (teacher, "deferred"))
        await stage.run(9.0)

    pytest.importorskip("sklearn")
    play(scene)
    rows = {name: [row for row in stage.rows["messages"] if row.receiver == name] for name in ("end-0", "teacher-0")}
    assert len(rows["end-0"]) == len(rows["teacher-0"]) == 20
    for sample, label in zip(rows["end-0"], rows["teacher-0"], strict=True):
        assert (label.trace, label.created) == (sample.trace, sample.created)
        assert label.received - sample.created == pytest.approx(1.5, abs=1e-6)
    assert json.loads(f'"{stage.events("exhausted")[0].detail}"') == "20 samples"
