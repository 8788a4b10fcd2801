"""The trainer: when it publishes, what its models hold, and how it judges itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from estran.components.messages import Model, Predictions, Samples
from estran.components.publishing import PublishSettings
from estran.components.trainer import Trainer, TrainerSettings
from estran.errors import EstranError
from estran.learning import registry
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input
from tests.components.stage import Stage, play


class Reader(Component):
    models: Input[Model]
    predictions: Input[Predictions]

    async def setup(self) -> None:
        self.seen: list[Message[Any]] = []

    async def run(self) -> None:
        async for message in self.models if self.models.connected else self.predictions:
            self.seen.append(message)


def samples(n: int, rows: int = 1) -> list[Samples]:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=(n, rows))
    return [Samples(rng.normal(size=(rows, 4)).astype(np.float32) + 3 * y[i][:, None], y[i], i * rows, 3) for i in range(n)]


def trained(
    settings: Mapping[str, Any], *, output: str = "models", n: int = 200, rows: int = 1, every: float = 0.01
) -> tuple[Stage, list[Message[Any]]]:
    stage = Stage()
    trainer, reader = stage.add(Trainer, "trainer", settings), stage.add(Reader, "reader")

    async def scene() -> None:
        stage.hand(trainer, "samples", samples(n, rows), at=[i * every for i in range(n)])
        stage.connect(trainer, output, (reader, output))
        await stage.run(n * every + 1)

    play(scene)
    return stage, reader.seen


def test_models_are_published_at_their_time() -> None:
    stage, seen = trained({"publish": {"every": 0.5}})
    assert [message.payload.version for message in seen] == [1, 2, 3, 4]
    assert [message.story.version for message in seen] == [1, 2, 3, 4]
    assert [message.story.sent for message in seen] == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=0.011)
    assert [json.loads(row.detail)["version"] for row in stage.events("published")] == [1, 2, 3, 4]


def test_models_are_published_after_so_many_rows() -> None:
    _, seen = trained({"publish": {"updates": 50}})
    assert [message.payload.samples for message in seen] == [1, 51, 101, 151]


def test_whichever_comes_first_publishes() -> None:
    _, seen = trained({"publish": {"every": 0.7, "updates": 50}})
    assert [message.payload.samples for message in seen] == [1, 51, 71, 121, 141, 191]


def test_a_model_answers_elsewhere_as_it_does_here() -> None:
    settings = {"learner": {"mlp": {"hidden": [8], "learning_rate": 0.02}}, "publish": {"updates": 1}}
    stage, seen = trained(settings, n=30)
    model: Model = seen[-1].payload
    assert model.learner == {"mlp": {"hidden": [8], "learning_rate": 0.02}}
    assert (model.features, model.classes) == (4, 3)
    elsewhere = registry.create(model.learner, model.features, model.classes, np.random.default_rng(99))
    elsewhere.load(model.state)
    x = samples(5)[4].x.astype(np.float64)
    assert np.array_equal(elsewhere.predict_proba(x), stage.parts[0]._learner.predict_proba(x))  # type: ignore[attr-defined]  # the trainer's own


def test_it_is_tested_before_it_learns() -> None:
    stage, _ = trained({"window": 1000}, n=400)
    accuracies = stage.metric("trainer-0", "prequential_accuracy")
    assert accuracies[0] in (0.0, 1.0)
    assert 0.6 < accuracies[-1] < 1.0
    assert stage.metric("trainer-0", "learned")[-1] <= 400


def test_computations_are_charged_by_rows() -> None:
    stage, _ = trained({"batch": {"max_size": 4}}, n=8, rows=2, every=0.0)
    assert [call for call in stage.cost.calls if call[0] == "learn"] == [("learn", 8), ("learn", 8)]


def test_with_predictions_connected_it_serves_what_cannot_be_published() -> None:
    pytest.importorskip("river")
    stage, seen = trained({"learner": {"river.naive_bayes:GaussianNB": {}}}, output="predictions", n=100)
    assert len(seen) == 100
    answered = stage.answered("trainer-0")
    assert [row.version for row in answered] == list(range(100))
    assert np.mean([row.truth == row.answer for row in answered]) > 0.8
    assert seen[7].story.trace == "hand:7"


def test_what_cannot_be_published_says_so() -> None:
    pytest.importorskip("river")
    with pytest.raises(ExceptionGroup) as raised:
        trained({"learner": {"river.naive_bayes:GaussianNB": {}}})
    error = raised.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EstranError)
    assert "same component" in str(error)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"learner": "mpl"}, "did you mean mlp"),
        ({"learner": {"mlp": {"hiden": [3]}}}, "did you mean hidden"),
        ({"learner": {}}, "one name"),
        ({"publish": {}}, "neither every nor updates"),
        ({"publish": {"updates": 0}}, "updates is 0"),
        ({"batch": {"max_size": 0}}, "max_size is 0"),
        ({"window": 0}, "window is 0"),
    ],
)
def test_wrong_settings_are_refused(settings: Mapping[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(settings, TrainerSettings)
    assert text in str(raised.value)


def test_settings_errors_are_value_errors_with_a_remedy() -> None:
    with pytest.raises(SettingsError) as raised:
        PublishSettings()
    assert raised.value.remedy
    assert raised.value.exit_code == 2


def test_what_is_not_finite_stops_the_trainer_or_is_skipped() -> None:
    spoilt = samples(200)
    spoilt[50] = Samples(np.full((1, 4), np.nan, dtype=np.float32), np.zeros(1, dtype=np.int64), 50, 3)

    def run(settings: Mapping[str, Any]) -> tuple[Stage, list[Message[Any]]]:
        stage = Stage()
        trainer, reader = stage.add(Trainer, "trainer", settings), stage.add(Reader, "reader")

        async def scene() -> None:
            stage.hand(trainer, "samples", spoilt, at=[i * 0.01 for i in range(200)])
            stage.connect(trainer, "models", (reader, "models"))
            await stage.run(3.0)

        play(scene)
        return stage, reader.seen

    with pytest.raises(ExceptionGroup):
        run({"publish": {"updates": 10}})
    stage, seen = run({"publish": {"updates": 10}, "diverging": "skip"})
    (event,) = stage.events("diverged")
    assert json.loads(event.detail)["samples"] == 50
    assert seen[-1].payload.samples == 191
    assert all(np.isfinite(array).all() for message in seen for array in message.payload.state.values())
    # A learner that diverges at everything keeps what it began with, and so does who is served by it.
    stage, seen = run({"learner": {"mlp": {"learning_rate": 1e30}}, "publish": {"updates": 1}, "diverging": "skip"})
    assert len(stage.events("diverged")) > 100
    assert all(np.isfinite(array).all() for message in seen for array in message.payload.state.values())
