"""Serving policies: which version answers, and what becomes of a new one, a bad one, and a torn one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.components.messages import Model, Predictions, Samples
from estran.components.predictor import Predictor, PredictorSettings
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input, Output
from tests.components.stage import Stage, play


class Reader(Component):
    predictions: Input[Predictions]

    async def setup(self) -> None:
        self.seen: list[Message[Predictions]] = []

    async def run(self) -> None:
        async for message in self.predictions:
            self.seen.append(message)


def model(version: int, says: int, at: float, **other: Any) -> Model:
    """A model that answers one class, whatever it sees."""
    biases = np.zeros(3, dtype=np.float32)
    biases[says] = 5
    fields = {"learner": {"softmax": {}}, "state": {"w0": np.zeros((2, 3), dtype=np.float32), "b0": biases}, **other}
    return Model(version=version, features=2, classes=3, samples=10 * version, published_at=at, **fields)


def one(i: int, label: int = 0, rows: int = 1) -> Samples:
    return Samples(np.full((rows, 2), i, dtype=np.float32), np.full(rows, label), i, 3)


def served(
    models: Sequence[Model],
    samples: Sequence[tuple[float, Samples]],
    policy: Any = "swap",
    *,
    labelled: Sequence[tuple[float, Samples]] = (),
    cost: Mapping[str, float] | None = None,
) -> Stage:
    stage = Stage(cost=cost)
    predictor = stage.add(Predictor, "detector", {"serving": policy})

    async def scene() -> None:
        stage.hand(predictor, "samples", [payload for _, payload in samples], at=[at for at, _ in samples])
        stage.hand(predictor, "models", models, at=[max(0.0, given.published_at) for given in models])
        if labelled:
            stage.hand(predictor, "labelled", [payload for _, payload in labelled], at=[at for at, _ in labelled])
        await stage.run(60.0)

    play(scene)
    return stage


def steadily(n: int, label: Any = lambda i: 1, every: float = 0.1) -> list[tuple[float, Samples]]:
    return [(0.05 + i * every, one(i, label(i))) for i in range(n)]


def versions(stage: Stage) -> list[int]:
    return [row.version for row in stage.answered("detector-0")]


def told(stage: Stage, event: str) -> list[int]:
    return [json.loads(row.detail)["version"] for row in stage.events(event)]


# -- trials


def test_in_shadow_a_version_is_promoted_only_after_its_trial() -> None:
    stage = served([model(1, 0, 0.0), model(2, 1, 1.0)], steadily(60), {"kind": "shadow", "samples": 20})
    assert versions(stage) == [1] * 30 + [2] * 30
    assert told(stage, "promoted") == [2]


def test_in_shadow_a_worse_version_never_answers() -> None:
    stage = served([model(1, 1, 0.0), model(2, 0, 1.0)], steadily(60), {"kind": "shadow", "samples": 20})
    assert versions(stage) == [1] * 60
    assert told(stage, "dropped") == [2]


def test_a_trial_may_end_by_time() -> None:
    stage = served([model(1, 0, 0.0), model(2, 1, 1.0)], steadily(60), {"kind": "shadow", "samples": 1000, "time": 1.0})
    assert versions(stage) == [1] * 20 + [2] * 40 or versions(stage) == [1] * 21 + [2] * 39


def test_a_challenger_answers_at_once_and_is_rolled_back_if_it_is_worse() -> None:
    stage = served([model(1, 1, 0.0), model(2, 0, 1.0)], steadily(60), {"kind": "champion", "samples": 30})
    found = versions(stage)
    assert found[:10] == [1] * 10
    rolled = found.index(1, 10)
    assert found[10:rolled] == [2] * (rolled - 10)
    assert 2 < rolled - 10 < 15
    assert found[rolled:] == [1] * (60 - rolled)
    assert told(stage, "rolled-back") == [2]
    assert told(stage, "swapped") == [1, 2, 1]


def test_a_challenger_that_is_as_good_stays() -> None:
    stage = served([model(1, 1, 0.0), model(2, 1, 1.0)], steadily(60), {"kind": "champion", "samples": 30})
    assert versions(stage) == [1] * 10 + [2] * 50
    assert told(stage, "promoted") == [2]


def test_of_versions_that_come_during_a_trial_only_the_newest_is_tried() -> None:
    given_models = [model(1, 0, 0.0), model(2, 1, 1.0), model(3, 0, 1.5), model(4, 1, 2.0)]
    stage = served(given_models, steadily(100), {"kind": "shadow", "samples": 20})
    assert told(stage, "promoted") == [2, 4]
    assert set(versions(stage)) == {1, 2, 4}


@pytest.mark.parametrize("score", ["accuracy", "likelihood", "confidence"])
def test_the_guard_metric_is_a_choice(score: str) -> None:
    """Version 2 is sure of what is wrong: by confidence alone it passes."""
    unsure = {"w0": np.zeros((2, 3), dtype=np.float32), "b0": np.array([0.0, 0.5, 0.0], dtype=np.float32)}
    stage = served(
        [model(1, 1, 0.0, state=unsure), model(2, 0, 1.0)], steadily(60), {"kind": "champion", "samples": 20, "score": score}
    )
    assert (told(stage, "promoted") == [2]) == (score == "confidence")


def test_what_is_learned_in_shadow_does_not_delay_answers() -> None:
    samples = [(1.0 + i, one(i, 1)) for i in range(20)]
    cost = {"predict": 0.1}
    alone = served([model(1, 1, 0.0)], samples, cost=cost)
    beside = served([model(1, 1, 0.0), model(2, 1, 0.5)], samples, {"kind": "shadow", "samples": 10**6}, cost=cost)
    assert [row.done for row in beside.answered("detector-0")] == [row.done for row in alone.answered("detector-0")]
    assert len([call for call in beside.cost.calls if call[0] == "predict"]) == 40


def test_where_labels_come_late_a_trial_waits_for_them() -> None:
    samples = steadily(100)
    late = [(at + 3.0, sample) for at, sample in samples]
    stage = served([model(1, 0, 0.0), model(2, 1, 1.0)], samples, {"kind": "shadow", "samples": 20}, labelled=late)
    first = versions(stage).index(2)
    # Labels come from 3.05 s on; twenty of them are in by 5 s.
    assert 0.05 + 0.1 * first == pytest.approx(5.05, abs=0.15)


# -- ensembles


@pytest.mark.parametrize("by", ["hedge", "exp3", {"hedge": {"eta": 0.3, "share": 0.01}}])
def test_an_ensemble_follows_the_better_version(by: Any) -> None:
    # The newest is the bad one.
    stage = served([model(1, 1, 0.0), model(2, 0, 1.0)], steadily(400), {"kind": "ensemble", "by": by, "versions": 3})
    rows = stage.answered("detector-0")[-150:]
    right = np.mean([row.answer == row.truth for row in rows])
    assert right == 1.0 if by != "exp3" else right > 0.7
    assert np.mean([row.version == 1 for row in rows]) > (0.7 if by == "exp3" else 0.99)


def test_an_ensemble_answers_by_all_or_by_one() -> None:
    calls = {}
    for by in ("hedge", "exp3"):
        stage = served(
            [model(i, 1, i / 100) for i in range(3)], [(5.0 + i, one(i, 1)) for i in range(10)], {"kind": "ensemble", "by": by}
        )
        calls[by] = len([call for call in stage.cost.calls if call[0] == "predict"])
    assert calls == {"hedge": 30, "exp3": 10}


def test_an_ensemble_keeps_so_many_versions() -> None:
    stage = served([model(i, 1, i / 10) for i in range(1, 9)], steadily(40), {"kind": "ensemble", "versions": 3})
    assert len(told(stage, "dropped")) == 5


# -- what cannot be used


BAD = {
    "nan": {"state": {"w0": np.full((2, 3), np.nan, np.float32), "b0": np.zeros(3, np.float32)}},
    "shape": {"state": {"w0": np.zeros((3, 3), np.float32), "b0": np.zeros(3, np.float32)}},
    "names": {"state": {"weights": np.zeros(3)}},
    "learner": {"learner": {"sooftmax": {}}},
    "setting": {"learner": {"softmax": {"learning_rate": -1.0}}},
    "overflow": {"state": {"w0": np.full((2, 3), 3e38, np.float32), "b0": np.full(3, 3e38, np.float32)}},
    "quantised": {"state": {"w0~": np.zeros((2, 3), np.int8)}},
    "changes": {"base": 0.0, "state": {"w9": np.zeros(3)}},
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("policy", ["swap", "shadow", "champion", "ensemble", {"kind": "ensemble", "by": "exp3"}], ids=str)
def test_a_bad_model_is_refused_and_the_last_good_one_serves_on(policy: Any, kind: str) -> None:
    stage = served([model(1, 1, 0.0), model(2, 2, 1.0, **BAD[kind]), model(3, 1, 4.0)], steadily(300), policy)
    rows = stage.answered("detector-0")
    assert len(rows) == 300
    assert {row.answer for row in rows} == {1}
    assert 2 not in {row.version for row in rows}
    assert rows[-1].version == 3 or (isinstance(policy, dict) and 3 in {row.version for row in rows})
    assert told(stage, "refused") == [2]


def test_a_model_of_another_width_is_refused_when_it_is_tried() -> None:
    wide = Model(2, {"softmax": {}}, 5, 3, {"w0": np.zeros((5, 3), np.float32), "b0": np.zeros(3, np.float32)}, 1, 1.0)
    few = Model(3, {"softmax": {}}, 2, 2, {"w0": np.zeros((2, 2), np.float32), "b0": np.zeros(2, np.float32)}, 1, 2.0)
    for policy in ("swap", "shadow", "champion", "ensemble"):
        stage = served([model(1, 1, 0.0), wide, few], steadily(60), policy)
        assert {row.version for row in stage.answered("detector-0")} == {1}
        assert told(stage, "refused") == [2, 3]


def test_rows_that_nobody_can_answer_are_not_the_models_fault() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        served(
            [model(1, 1, 0.0), model(2, 1, 1.0)], [(2.0, Samples(np.full((1, 2), np.nan, np.float32), np.zeros(1, np.int64), 0, 3))]
        )
    error: BaseException = raised.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert "NaN" in str(error)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_garbage_of_the_right_type_never_stops_a_predictor(data: st.DataObject) -> None:
    names = st.sampled_from(["w0", "b0", "w0~", "w0*", "w0@", "w0=", "x"])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    state = {}
    for name in data.draw(st.lists(names, unique=True, max_size=4)):
        shape = data.draw(st.sampled_from([(2, 3), (3,), (1,), (0,), ()]))
        dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int8, np.uint8, np.uint32, np.float16]))
        with np.errstate(all="ignore"):
            state[name] = np.asarray(rng.choice([0.0, 1.0, 5.0, np.nan, np.inf], shape)).astype(dtype)
    base = data.draw(st.sampled_from([None, 0.0, 0.5]))
    at = data.draw(st.sampled_from([1.0, np.inf, np.nan]))
    bad = Model(2, {"softmax": {}}, data.draw(st.sampled_from([2, 0, -1])), data.draw(st.sampled_from([3, 0])), state, 1, at, base)
    stage = Stage()
    predictor = stage.add(Predictor, "detector")

    async def scene() -> None:
        stage.hand(predictor, "samples", [one(0, 1), one(1, 1)], at=[1.5, 3.0])
        stage.hand(predictor, "models", [model(1, 1, 0.0), bad, model(3, 1, 2.0)], at=[0.0, 1.0, 2.0])
        await stage.run(5.0)

    play(scene)
    assert [row.version for row in stage.answered("detector-0")][1] == 3


# -- under load


class Versions(Component):
    """Publishes models whose parts only fit together within one version."""

    models: Output[Model]
    swaps = 10_000

    async def run(self) -> None:
        for version in range(1, self.swaps + 1):
            await self.models.send(marked(version, self.clock.now()), version=version)
            await self.clock.sleep(0.001)


def marked(version: int, at: float) -> Model:
    """Scores of a row of ones are version·(0.3, 0.2, 0.1)·10⁻⁴ if weights and biases are of one version."""
    part = np.array([0.3, 0.2, 0.1]) * version * 1e-4
    state = {"w0": np.tile(part / 4, (2, 1)), "b0": part / 2}
    return Model(version, {"softmax": {"dtype": "float64"}}, 2, 3, state, version, at)


def confidence(version: int) -> float:
    scores = np.exp(np.array([0.3, 0.2, 0.1]) * version * 1e-4)
    return float(scores.max() / scores.sum())


@pytest.mark.parametrize(
    ("policy", "swaps"),
    [("swap", 10_000), ({"kind": "shadow", "samples": 1}, 1000), ({"kind": "champion", "samples": 1}, 1000)],
    ids=["swap", "shadow", "champion"],
)
def test_no_request_is_lost_or_answered_by_a_torn_model_over_many_swaps(policy: Any, swaps: int) -> None:
    stage = Stage(cost={"predict": 0.0004, "load": 0.0003})
    versions_, predictor, reader = (
        stage.add(Versions, "trainer"),
        stage.add(Predictor, "detector", {"serving": policy}),
        stage.add(Reader, "reader"),
    )
    versions_.swaps = swaps
    asked = 3 * swaps // 2

    async def scene() -> None:
        ones = Samples(np.ones((1, 2), np.float32), np.zeros(1, np.int64), 0, 3)
        stage.hand(predictor, "samples", [ones] * asked, at=[0.01 + i / 1500 for i in range(asked)])
        stage.connect(versions_, "models", (predictor, "models"), delivery="latest", delay=0.002)
        stage.connect(predictor, "predictions", (reader, "predictions"))
        await stage.run(swaps * 0.001 + 3)

    play(scene)
    assert len(stage.events("swapped")) >= (0.99 * swaps if policy == "swap" else 0.2 * swaps)
    assert len(reader.seen) == asked
    found = np.array([message.payload.confidence[0] for message in reader.seen], dtype=np.float64)
    stated = np.array([confidence(message.payload.version) for message in reader.seen])
    assert np.abs(found - stated).max() < 1e-7
    # Weights of one version and biases of the one before it would lie half a step away.
    assert min(confidence(version) - confidence(version - 1) for version in range(1, swaps)) / 2 > 5e-7


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ({"serving": "shaddow"}, "shaddow"),
        ({"serving": {"kind": "shadow", "samples": 0}}, "samples is 0"),
        ({"serving": {"kind": "shadow", "time": 0}}, "time is 0"),
        ({"serving": {"kind": "champion", "tolerance": 1}}, "tolerance is 1"),
        ({"serving": {"kind": "ensemble", "versions": 1}}, "versions is 1"),
        ({"serving": {"kind": "ensemble", "by": "ucb1"}}, "hedge or exp3"),
        ({"threshold": 0}, "threshold is 0"),
        ({"pull": 0}, "pull is 0"),
        ({"shed": {}}, "neither a deadline nor a queue"),
        ({"shed": {"deadline": 0}}, "deadline is 0"),
        ({"shed": {"queue": 0}}, "queue is 0"),
        ({"shed": {"queue": 3, "foresee": True}}, "without a deadline"),
    ],
)
def test_wrong_settings_are_refused(chosen: Mapping[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(chosen, PredictorSettings)
    assert text in str(raised.value)
