"""The predictor: batches, swaps, policies, and what it records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from estran.components.messages import Model, Predictions, Samples
from estran.components.predictor import Predictor
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input
from tests.components.stage import Stage, play


class Reader(Component):
    predictions: Input[Predictions]

    async def setup(self) -> None:
        self.seen: list[Message[Predictions]] = []

    async def run(self) -> None:
        async for message in self.predictions:
            self.seen.append(message)


def model(version: int, says: int, at: float) -> Model:
    """A model that answers one class, whatever it sees."""
    biases = np.zeros(3, dtype=np.float32)
    biases[says] = 5
    return Model(version, {"softmax": {}}, 2, 3, {"w0": np.zeros((2, 3), dtype=np.float32), "b0": biases}, 10 * version, at)


def one(i: int, label: int = 0, rows: int = 1) -> Samples:
    return Samples(np.full((rows, 2), i, dtype=np.float32), np.full(rows, label), i, 3)


def served(
    models: Sequence[Model],
    samples: Sequence[tuple[float, Samples]],
    *,
    settings: Mapping[str, Any] | None = None,
    cost: Mapping[str, float] | None = None,
) -> tuple[Stage, list[Message[Predictions]]]:
    stage = Stage(cost=cost)
    predictor, reader = stage.add(Predictor, "detector", settings or {}), stage.add(Reader, "reader")

    async def scene() -> None:
        stage.hand(predictor, "samples", [payload for _, payload in samples], at=[at for at, _ in samples])
        stage.hand(predictor, "models", models, at=[given.published_at for given in models])
        stage.connect(predictor, "predictions", (reader, "predictions"))
        await stage.run(20.0)

    play(scene)
    return stage, reader.seen


def test_answers_carry_truth_version_and_the_story_of_the_sample() -> None:
    stage, seen = served([model(1, 2, 0.0)], [(1.0, one(0, 2)), (2.0, one(1, 0))])
    assert [(row.truth, row.answer, row.version) for row in stage.answered("detector-0")] == [(2, 2, 1), (0, 2, 1)]
    first = seen[0]
    assert (first.payload.answers.tolist(), first.payload.truths.tolist(), first.payload.version) == ([2], [2], 1)
    assert first.payload.confidence[0] > 0.9
    assert (first.story.trace, first.story.version, first.story.created) == ("hand:0", 1, 1.0)


def test_a_newer_model_takes_over_between_two_batches() -> None:
    cost = {"predict": 1.0, "load": 0.25}
    stage, _ = served([model(1, 1, 0.0), model(2, 2, 0.5)], [(0.3, one(0)), (0.4, one(1)), (0.9, one(2))], cost=cost)
    # The first batch computes from 0.3 to 1.3 with version 1, though version 2 is loaded at 0.75.
    assert [(row.answer, row.version) for row in stage.answered("detector-0")] == [(1, 1), (2, 2), (2, 2)]
    assert [event.detail for event in stage.events("swapped")] == ['{"version": 1}', '{"version": 2}']


def test_models_that_came_while_one_was_loaded_are_passed_over_but_the_newest() -> None:
    models = [model(version, 1, version / 10) for version in range(1, 6)]
    stage, _ = served(models, [(5.0, one(0))], cost={"load": 0.35})
    assert [event.detail for event in stage.events("swapped")] == ['{"version": 1}', '{"version": 4}', '{"version": 5}']


def test_an_older_model_never_replaces_a_newer_one() -> None:
    late = [model(2, 2, 0.0), Model(**{**vars(model(1, 1, 0.0)), "published_at": -1.0})]
    stage, _ = served(late, [(1.0, one(0))])
    assert stage.answered("detector-0")[0].version == 2


def test_what_waits_is_answered_together() -> None:
    stage, _ = served(
        [model(1, 0, 0.0)], [(0.5, one(i)) for i in range(10)], settings={"batch": {"max_size": 4}}, cost={"predict": 0.1}
    )
    assert [call for call in stage.cost.calls if call[0] == "predict"] == [("predict", 4), ("predict", 4), ("predict", 2)]


def test_it_lingers_for_a_fuller_batch_if_told_to() -> None:
    samples = [(0.5 + i / 100, one(i)) for i in range(6)]
    stage, _ = served([model(1, 0, 0.0)], samples, settings={"batch": {"max_size": 3, "max_delay": 0.5}})
    assert [size for name, size in stage.cost.calls if name == "predict"] == [3, 3]


def test_before_the_first_model_it_waits() -> None:
    stage, _ = served([model(1, 1, 3.0)], [(1.0, one(0, 1))])
    row = stage.answered("detector-0")[0]
    assert (row.answer, row.version) == (1, 1)
    assert row.done >= 3.0


def test_before_the_first_model_it_may_answer_the_prior() -> None:
    stage, seen = served([model(1, 1, 3.0)], [(1.0, one(0, 1)), (4.0, one(1, 1))], settings={"before_model": "answer_prior"})
    assert [(row.answer, row.version) for row in stage.answered("detector-0")] == [(0, 0), (1, 1)]
    assert seen[0].payload.confidence[0] == pytest.approx(1 / 3)


def test_messages_of_several_rows_are_all_answered() -> None:
    stage, seen = served([model(1, 1, 0.0)], [(1.0, one(0, 1, rows=3)), (1.0, one(3, 0, rows=2))])
    assert [message.payload.answers.tolist() for message in seen] == [[1, 1, 1], [1, 1]]
    assert stage.answered("detector-0") == []
    assert stage.metric("detector-0", "accuracy") == [0.6]


def test_staleness_is_the_age_of_the_model_in_service() -> None:
    stage, _ = served([model(1, 1, 0.5)], [(1.0, one(0)), (4.0, one(1))])
    assert stage.metric("detector-0", "staleness") == pytest.approx([0.5, 3.5])
