"""When and how models are published: on drift, on gain, on request; whole, as changes, rounded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from estran.components.messages import Model, ModelRequest, Samples
from estran.components.predictor import Predictor
from estran.components.publishing import Publishing
from estran.components.trainer import Trainer
from estran.learning import registry
from estran.learning.packing import unpacked
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input
from tests.components.stage import Stage, play


class Reader(Component):
    models: Input[Model]

    async def setup(self) -> None:
        self.seen: list[Message[Model]] = []

    async def run(self) -> None:
        async for message in self.models:
            self.seen.append(message)


def stream(n: int, flips_at: int | None = None, width: int = 4) -> list[Samples]:
    """Two classes apart; their labels may swap at a row."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=n)
    x = rng.normal(size=(n, width)) + 3 * y[:, None]
    told = np.where(np.arange(n) >= flips_at, 1 - y, y) if flips_at is not None else y
    return [Samples(x[i : i + 1].astype(np.float32), told[i : i + 1], i, 2) for i in range(n)]


def published(
    publish: Mapping[str, Any],
    samples: Sequence[Samples],
    *,
    requests: Sequence[tuple[float, ModelRequest]] = (),
    learner: Any = "softmax",
    every: float = 0.01,
) -> tuple[Stage, list[Model]]:
    stage = Stage()
    trainer, reader = stage.add(Trainer, "trainer", {"learner": learner, "publish": publish}), stage.add(Reader, "reader")

    async def scene() -> None:
        stage.hand(trainer, "samples", samples, at=[i * every for i in range(len(samples))])
        if requests:
            stage.hand(trainer, "requests", [one for _, one in requests], at=[at for at, _ in requests])
        stage.connect(trainer, "models", (reader, "models"))
        await stage.run(len(samples) * every + 1)

    play(scene)
    return stage, [message.payload for message in reader.seen]


def reasons(stage: Stage) -> list[str]:
    return [json.loads(event.detail)["why"] for event in stage.events("published")]


# -- when


def test_a_drift_publishes_once_its_rows_are_learned() -> None:
    rule = {"drift": {"detector": {"ddm": {}}, "after": 100}}
    stage, models = published(rule, stream(1000, flips_at=500))
    assert reasons(stage) == ["first", "drift"]
    alarm = json.loads(stage.events("drift")[0].detail)["samples"]
    assert 500 < alarm < 600
    assert models[-1].samples == alarm + 100


def test_without_drift_nothing_is_published_but_the_first() -> None:
    stage, _ = published({"drift": "adwin"}, stream(600))
    assert reasons(stage) == ["first"]


def test_a_gain_on_held_out_rows_publishes_and_no_gain_does_not() -> None:
    rule = {"gain": {"margin": 0.05, "holdout": 0.2, "recent": 40, "check": 50}}
    stage, models = published(rule, stream(1500, flips_at=800))
    assert reasons(stage)[0] == "first"
    assert set(reasons(stage)[1:]) == {"gain"}
    # Soon after the labels have swapped a new one is better; long before, the first good ones were not to be beaten.
    when = [model.published_at for model in models]
    assert any(8.0 < at < 11.0 for at in when)
    assert not any(4.0 < at < 8.0 for at in when)
    # A fifth of the rows was never learned.
    assert models[-1].samples < 0.88 * (models[-1].published_at / 0.01)
    judged = [one for one in stage.cost.calls if one[0] == "learn"]
    assert len(judged) == pytest.approx(1200, abs=60)


def test_on_request_only_who_asks_gets_a_model() -> None:
    asked = [(0.0, ModelRequest(0)), (1.005, ModelRequest(1)), (1.5, ModelRequest(2))]
    stage, models = published({"pull": True}, stream(200), requests=asked)
    assert [model.samples for model in models] == [1, 101, 151]
    assert reasons(stage) == ["asked"] * 3


def test_a_request_waits_for_something_new_and_is_then_met() -> None:
    samples = stream(2)
    stage = Stage()
    trainer, reader = stage.add(Trainer, "trainer", {"learner": "softmax", "publish": {"pull": True}}), stage.add(Reader, "reader")

    async def scene() -> None:
        stage.hand(trainer, "samples", samples, at=[0.0, 5.0])
        stage.hand(trainer, "requests", [ModelRequest(0), ModelRequest(1), ModelRequest(1)], at=[1.0, 2.0, 3.0])
        stage.connect(trainer, "models", (reader, "models"))
        await stage.run(9.0)

    play(scene)
    assert [(message.payload.version, message.story.sent) for message in reader.seen] == [(1, 1.0), (2, 5.0)]


def test_a_predictor_pulls_at_its_pace() -> None:
    stage = Stage()
    trainer = stage.add(Trainer, "trainer", {"learner": "softmax", "publish": {"pull": True}})
    predictor = stage.add(Predictor, "detector", {"pull": 0.5})

    async def scene() -> None:
        stage.hand(trainer, "samples", stream(400), at=[i * 0.01 for i in range(400)])
        stage.hand(predictor, "samples", stream(400), at=[i * 0.01 for i in range(400)])
        stage.connect(trainer, "models", (predictor, "models"), delivery="latest", delay=0.02)
        stage.connect(predictor, "requests", (trainer, "requests"), delay=0.02)
        await stage.run(4.0)

    play(scene)
    assert len(stage.events("published")) == pytest.approx(8, abs=1)
    assert len(stage.events("swapped")) == pytest.approx(8, abs=1)


# -- how


@pytest.mark.parametrize("send", ["full", "delta", "float16", "int8", {"delta": True, "precision": "int8", "keyframe": 5}])
def test_what_is_received_is_what_was_learned(send: Any) -> None:
    stage, models = published({"updates": 10, "send": send}, stream(300, width=80), learner={"mlp": {"hidden": [8]}})
    assert len(models) == 30
    final = stage.parts[0]._learner.state()  # type: ignore[attr-defined]  # the trainer's own
    bases = {model.published_at: model.state for model in models if model.base is None}
    delta = send == "delta" or (isinstance(send, dict) and send["delta"])
    forms = [model.base is None for model in models]
    assert all(forms) if not delta else 1 < sum(forms) < 10
    last = models[-1]
    # The last was published at row 291; learn the rest to compare with it.
    got = unpacked(last.state, None if last.base is None else unpacked(bases[last.base]))
    elsewhere = registry.create(last.learner, last.features, last.classes, np.random.default_rng(0))
    elsewhere.load(got)
    for one in stream(300, width=80)[291:]:
        elsewhere.learn_many(one.x.astype(np.float64), one.y)
    off = max(float(np.abs(elsewhere.state()[name] - final[name]).max()) for name in final)
    assert off == 0 if send in ("full", "delta") else 0 < off < 0.02


def test_fewer_bits_and_changes_alone_are_fewer_bytes() -> None:
    """Half of the inputs are always zero, so that half of the first layer never changes."""
    samples = [Samples(np.hstack([one.x, np.zeros_like(one.x)]), one.y, one.index, 2) for one in stream(100, width=100)]
    size = {}
    for send in ("full", "float16", "int8", "delta"):
        stage, _ = published({"updates": 10, "send": send}, samples, learner={"mlp": {"hidden": [32]}})
        size[send] = np.mean([row.bytes for row in stage.rows["messages"] if row.receiver == "reader-0"][1:])
    whole = 4 * (200 * 32 + 32 + 32 * 2 + 2)
    assert size["full"] == pytest.approx(whole, rel=0.03)
    assert size["float16"] == pytest.approx(whole / 2, rel=0.05)
    assert size["int8"] == pytest.approx(whole / 4, rel=0.1)
    # Of ten models one is whole; half of the numbers of the others have not changed, and a bit says of each whether it has.
    assert size["delta"] == pytest.approx(whole * (1 / 2 + 1 / 32), rel=0.05)


def _changes(send: Any, lose: Sequence[int], *, ask: bool, n: int = 40) -> tuple[Stage, list[Any]]:
    """A trainer's models on their way to a predictor that some never reach."""
    stage = Stage()
    publish = {"updates": 1, "send": send}
    trainer = stage.add(Trainer, "trainer", {"learner": "softmax", "publish": publish})
    predictor = stage.add(Predictor, "detector")

    async def scene() -> None:
        at = [i * 0.1 for i in range(n)]
        stage.hand(trainer, "samples", stream(n, width=80), at=at)
        stage.hand(predictor, "samples", stream(n, width=80), at=[one + 0.05 for one in at])
        (channel,) = stage.connect(trainer, "models", (predictor, "models"), delay=0.01)
        whole = channel.send

        async def lossy(frame: Any) -> int:
            if channel.sent + len(lost) in lose:
                lost.append(frame)
                return 0
            return await whole(frame)

        lost: list[Any] = []
        channel.send = lossy  # type: ignore[method-assign]  # frames that a stream of `latest` passes over
        if ask:
            stage.connect(predictor, "requests", (trainer, "requests"), delay=0.01)
        await stage.run(n * 0.1 + 1)

    play(scene)
    return stage, list(stage.answered("detector-0"))


def test_changes_that_are_missed_do_no_harm() -> None:
    _, whole = _changes("full", (), ask=False)
    _, missed = _changes({"delta": True, "keyframe": 10}, (3, 4, 12), ask=False)
    assert [row.version for row in missed][:6] == [1, 2, 3, 3, 3, 6]
    same = [(one.answer, other.answer) for one, other in zip(whole, missed, strict=True) if one.version == other.version]
    assert len(same) >= 37
    assert all(one == other for one, other in same)


def test_a_missed_full_model_is_made_up_for_by_the_next_or_on_request() -> None:
    stage, waited = _changes({"delta": True, "keyframe": 10}, (10,), ask=False)
    assert [row.version for row in waited][8:24] == [9] + [10] * 11 + [21, 22, 23, 24]
    assert len(stage.events("lacking")) == 1
    stage, asked = _changes({"delta": True, "keyframe": 10}, (10,), ask=True)
    # The change that follows shows it; the full model is sent once more, and the next change can be used.
    assert [row.version for row in asked][8:15] == [9, 10, 10, 11, 13, 14, 15]
    assert len([row for row in asked if row.version == 11]) == 1


def test_who_asks_alone_gets_an_answer() -> None:
    stage = Stage()
    trainer = stage.add(Trainer, "trainer", {"learner": "softmax", "publish": {"pull": True}})
    eager, idle = stage.add(Predictor, "eager", {"pull": 0.25}), stage.add(Predictor, "idle", {"pull": 2.0})

    async def scene() -> None:
        stage.hand(trainer, "samples", stream(400), at=[i * 0.01 for i in range(400)])
        stage.connect(trainer, "models", (eager, "models"), (idle, "models"), delivery="latest", delay=0.02)
        for predictor in (eager, idle):
            stage.connect(predictor, "requests", (trainer, "requests"), delay=0.02)
        await stage.run(3.9)

    play(scene)
    got = {name: [row for row in stage.rows["messages"] if row.receiver == name] for name in ("eager-0", "idle-0")}
    assert len(got["eager-0"]) == pytest.approx(16, abs=1)
    assert len(got["idle-0"]) == 2


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"drift": "adwinn"}, "did you mean adwin"),
        ({"drift": {"detector": {"ddm": {"allarm": 1}}}}, "alarm"),
        ({"drift": {"after": -1}}, "after is -1"),
        ({"gain": {"holdout": 0}}, "holdout is 0"),
        ({"gain": {"margin": 1}}, "margin is 1"),
        ({"gain": {"check": 0}}, "check is 0"),
        ({"every": 1, "send": {"keyframe": 0}}, "keyframe is 0"),
        ({"every": 1, "send": "int4"}, "int4"),
        ({"pull": False}, "neither every nor updates"),
    ],
)
def test_wrong_settings_are_refused(settings: Mapping[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(settings, Publishing)
    assert text in str(raised.value)
