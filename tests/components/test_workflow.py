"""Source, trainer and predictors together, as an experiment runs them."""

from __future__ import annotations

import numpy as np
import pytest

from estran.components.predictor import Predictor
from estran.components.source import Source
from estran.components.trainer import Trainer
from estran.learning.baselines import majority, no_change
from tests.components.stage import Stage, play

pytest.importorskip("sklearn")


async def _cameras(stage: Stage, seconds: float, publish: dict[str, object], **source: object) -> None:
    settings = {"data": "digits", "order": "class-incremental", "rate": 50.0, **source}
    trainer = stage.add(Trainer, "trainer", {"publish": publish})
    detector = stage.add(Predictor, "detector")
    for i in range(4):
        camera = stage.add(Source, "camera", settings, index=i, replicas=4)
        stage.connect(camera, "samples", (detector, "samples"), (trainer, "samples"), delay=0.01)
    stage.connect(trainer, "models", (detector, "models"), delivery="latest", delay=0.04)
    await stage.run(seconds)


def test_a_detector_learns_digits_while_it_serves() -> None:
    stage = Stage(cost={"learn": 0.001, "predict": 0.001, "load": 0.002})
    play(lambda: _cameras(stage, 14.0, {"every": 0.5}))
    answered = sorted(stage.answered("detector-0"), key=lambda row: row.done)
    truth, answer = np.array([row.truth for row in answered]), np.array([row.answer for row in answered])
    accuracy = (truth == answer).mean()
    assert 2700 <= len(answered) <= 2800
    assert set(truth) == set(range(10))
    assert accuracy > majority(truth).mean() + 0.3
    assert accuracy > no_change(truth).mean() + 0.3
    assert (truth == answer)[-600:].mean() > 0.8
    versions = [row.version for row in answered]
    assert versions == sorted(versions)
    assert len(stage.events("published")) == pytest.approx(28, abs=2)
    assert max(versions) >= 26
    assert stage.metric("detector-0", "accuracy")[-1] > 0.8
    assert stage.metric("trainer-0", "prequential_accuracy")[-1] > 0.8


def test_rare_publication_costs_accuracy_while_classes_arrive() -> None:
    accuracies = []
    for every in (0.5, 4.0):
        stage = Stage()
        play(lambda stage=stage, every=every: _cameras(stage, 7.0, {"every": every}))
        answered = stage.answered("detector-0")
        accuracies.append(np.mean([row.truth == row.answer for row in answered]))
    assert accuracies[0] > accuracies[1] + 0.1


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    def answers(seed: int) -> list[tuple[object, ...]]:
        stage = Stage(seed=seed, cost={"learn": 0.001})
        play(lambda: _cameras(stage, 1.0, {"updates": 50}, arrivals="poisson"))
        return [(row.trace, row.done, row.truth, row.answer, row.version) for row in stage.answered("detector-0")]

    assert answers(3) == answers(3)
    assert answers(3) != answers(4)
