"""Surrogates: what they learn from the reservoir, how they are judged, what they propose, and who answers with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from estran.components.fields import Proposal, Steps, Surrogate
from estran.components.surrogate import SurrogateTrainer
from estran.components.surrogate_predictor import SurrogatePredictor
from estran.components.surrogate_settings import SurrogateSettings
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input
from tests.components.stage import Stage, play

LOW, HIGH, STEPS = np.array([0.0, 10.0]), np.array([1.0, 30.0]), 5
NETWORK = {"hidden": [24], "learning_rate": 0.01, "members": 2}
SETTINGS = {"network": NETWORK, "reservoir": {"threshold": 20}, "publish_every": 0.25, "rate": 200.0}


def run_of(number: int, position: np.ndarray, *, shift: float = 0.0) -> list[Steps]:
    """The steps of a simulation whose field is a plane that moves."""
    values, times = LOW + position * (HIGH - LOW), np.linspace(0, 1, STEPS)
    fields = np.column_stack([position[0] + times, position[1] * times, np.full(STEPS, 3.0)]) + shift
    return [Steps(number, LOW, HIGH, values, k, STEPS, fields[k : k + 1].astype(np.float32), 1.0) for k in range(STEPS)]


def ensemble(count: int, seed: int = 0, **settings: float) -> list[Steps]:
    rng = np.random.default_rng(seed)
    return [step for number in range(count) for step in run_of(number, rng.random(2), **settings)]


class Reader(Component):
    models: Input[Surrogate]
    parameters: Input[Proposal]
    answers: Input[Steps]

    async def setup(self) -> None:
        self.seen: list[Message[Any]] = []

    async def run(self) -> None:
        async for message in (
            self.models if self.models.connected else self.parameters if self.parameters.connected else self.answers
        ):
            self.seen.append(message)


def trained(
    settings: Mapping[str, Any] | None = None, *, output: str | None = None, seconds: float = 6.0, **ports: list[Steps]
) -> tuple[Stage, Any, list[Message[Any]]]:
    stage = Stage(cost={"learn": 0.001, "predict": 0.0001})
    trainer, reader = stage.add(SurrogateTrainer, "trainer", {**SETTINGS, **(settings or {})}), stage.add(Reader, "reader")

    async def scene() -> None:
        for port, steps in ({"steps": ensemble(60)} | ports).items():
            stage.hand(trainer, port, steps, at=[0.01 * i for i in range(len(steps))])
        if output:
            stage.connect(trainer, output, (reader, output))
        await stage.run(seconds)

    play(scene)
    return stage, trainer, reader.seen


def test_its_error_on_held_out_simulations_falls() -> None:
    stage, trainer, _ = trained(heldout=ensemble(20, seed=9))
    errors = stage.metric("trainer-0", "rmse")
    assert len(errors) == pytest.approx(24, abs=2)
    assert errors[-1] < 0.05 < errors[0]
    assert trainer._simulated.produced == 300
    assert stage.metric("trainer-0", "learned_simulations")[-1] == 60
    assert stage.metric("trainer-0", "uses")[-1] > 100  # it goes on with what it has
    assert stage.metric("trainer-0", "rmse_batches")[-1] < 0.05


def test_the_same_seed_learns_the_same() -> None:
    errors = [trained(heldout=ensemble(5, seed=9), seconds=2.0)[0].metric("trainer-0", "rmse") for _ in range(2)]
    assert errors[0] == errors[1]


def test_learning_waits_for_the_threshold_and_keeps_its_rate() -> None:
    stage, _, seen = trained({"rate": 50.0}, output="models", seconds=3.0)
    assert seen[0].payload.published_at == pytest.approx(0.19, abs=0.02)
    learned = [call for call in stage.cost.calls if call[0] == "learn"]
    assert len(learned) == pytest.approx(50 * (3.0 - 0.19), abs=3)
    assert {size for _, size in learned} == {64}


def test_production_waits_where_each_step_is_learned_once() -> None:
    settings = {"reservoir": {"policy": "fifo", "capacity": 20, "threshold": 1}, "batch": 10, "rate": 5.0}
    stage, trainer, _ = trained(settings, seconds=4.0)
    taken = max(row.done for row in stage.rows["messages"])
    assert taken > 3.5  # of the 3 s in which all was there
    assert trainer._simulated.drawn == pytest.approx(200, abs=20)
    assert trainer._simulated.produced <= trainer._simulated.drawn + 20


def test_a_surrogate_answers_elsewhere_and_is_judged_there() -> None:
    stage = Stage(cost={"learn": 0.001})
    trainer = stage.add(SurrogateTrainer, "trainer", SETTINGS)
    predictor, reader = stage.add(SurrogatePredictor, "predictor"), stage.add(Reader, "reader")
    asked = ensemble(30, seed=5)

    async def scene() -> None:
        stage.hand(trainer, "steps", ensemble(60), at=[0.01 * i for i in range(300)])
        stage.hand(predictor, "questions", asked, at=[0.03 * i for i in range(150)])
        stage.connect(trainer, "models", (predictor, "models"), delivery="latest", delay=0.02)
        stage.connect(predictor, "answers", (reader, "answers"))
        await stage.run(6.0)

    play(scene)
    answered = stage.answered("predictor-0")
    assert len(answered) == len(reader.seen) == 150
    versions = [row.version for row in answered]
    assert versions == sorted(versions)
    assert versions[0] == 1
    assert versions[-1] > 10
    assert answered[0].done > 0.2  # it waited for the first surrogate
    errors = stage.metric("predictor-0", "rmse")
    assert errors[-1] < errors[0]
    last, question = reader.seen[-1], asked[-1]
    assert np.abs(last.payload.fields - question.fields).max() < 0.2
    assert last.story.trace == "hand:149"
    assert set(versions) <= {json.loads(row.detail)["version"] for row in stage.events("swapped")}


def test_a_question_without_a_truth_is_answered_all_the_same() -> None:
    stage = Stage(cost={"learn": 0.001})
    trainer, predictor, reader = (
        stage.add(SurrogateTrainer, "trainer", SETTINGS),
        stage.add(SurrogatePredictor, "p"),
        stage.add(Reader, "r"),
    )
    question = Steps(0, LOW, HIGH, HIGH, 0, STEPS, np.zeros((STEPS, 0), np.float32), 1.0)

    async def scene() -> None:
        stage.hand(trainer, "steps", ensemble(60))
        stage.hand(predictor, "questions", [question], at=[4.0])
        stage.connect(trainer, "models", (predictor, "models"), delivery="latest")
        stage.connect(predictor, "answers", (reader, "answers"))
        await stage.run(5.0)

    play(scene)
    np.testing.assert_allclose(reader.seen[0].payload.fields[:, 1], np.linspace(0, 1, STEPS), atol=0.15)
    assert not stage.metric("p-0", "rmse")


@pytest.mark.parametrize("by", ["loss", "variance"])
def test_it_proposes_parameters_for_each_simulation_that_begins(by: str) -> None:
    stage, _, seen = trained({"steering": {"by": by, "explore": 0.25}}, output="parameters")
    proposals = [message.payload for message in seen]
    begun_before = 5  # simulations, when the first surrogate was there
    assert 60 - begun_before - 2 <= len(proposals) <= 60 - begun_before + 2
    values = np.array([proposal.values for proposal in proposals])
    assert ((values >= LOW) & (values <= HIGH)).all()
    assert {proposal.why for proposal in proposals} == {by, "exploration"}
    assert stage.metric("trainer-0", "proposed")[-1] == len(proposals)


def test_without_steering_nothing_is_proposed() -> None:
    assert not trained(output="parameters", seconds=2.0)[2]


def test_real_steps_are_learned_in_their_share_and_the_gap_is_measured() -> None:
    real = ensemble(40, seed=3, shift=1.0)
    mixed, trainer, _ = trained({"window": 40, "reservoir": {"threshold": 20, "real": 0.5}}, real=real)
    assert trainer._measured.drawn / (trainer._measured.drawn + trainer._simulated.drawn) == pytest.approx(0.5, abs=0.02)
    stage, alone, _ = trained({"window": 40}, real=real)
    assert alone._measured.drawn == 0
    assert stage.metric("trainer-0", "gap")[-1] == pytest.approx(1.0, abs=0.1)
    # Half of both is halfway between them.
    assert mixed.metric("trainer-0", "rmse_real")[-1] == pytest.approx(0.5, abs=0.12)


def test_steps_that_are_not_finite_are_refused_and_named() -> None:
    broken = Steps(999, LOW, HIGH, LOW, 0, STEPS, np.full((1, 3), np.nan, np.float32), 1.0)
    stage, trainer, _ = trained(steps=[*ensemble(10), broken, *ensemble(20, seed=4)], heldout=ensemble(5, seed=9))
    assert [json.loads(row.detail)["simulation"] for row in stage.events("refused")] == [999]
    assert trainer._simulated.produced == 150
    assert stage.metric("trainer-0", "rmse")[-1] < stage.metric("trainer-0", "rmse")[0]


def test_a_surrogate_that_diverges_is_named_and_the_last_good_one_goes_on() -> None:
    wild = Steps(999, LOW, HIGH, LOW, 0, STEPS, np.full((1, 3), 1e38, np.float32), 1.0)
    stage, _, seen = trained(steps=[*ensemble(30), wild], heldout=ensemble(5, seed=9), output="models")
    assert stage.events("diverged")
    assert all(np.isfinite(array).all() for message in seen for array in message.payload.state.values())
    assert len(seen) > 10
    errors = stage.metric("trainer-0", "rmse")
    assert errors[-1] < errors[0]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"steering": "variance"}, "needs a committee"),
        ({"steering": {"by": "loss", "explore": 2}}, "explore is 2"),
        ({"steering": {"candidates": 0}, "network": {"members": 2}}, "candidates"),
        ({"network": {"members": 0}}, "members"),
        ({"network": {"learning_rate": 0}}, "learning_rate is 0"),
        ({"reservoir": {"capacity": 10, "threshold": 20}}, "threshold is 20"),
        ({"reservoir": {"real": 1.5}}, "real is 1.5"),
        ({"reservoir": {"policy": "fifo", "capacity": 10, "threshold": 5}}, "below a batch"),
        ({"batch": 0}, "batch is 0"),
        ({"publish_every": 0}, "publish_every is 0"),
    ],
)
def test_wrong_settings_are_named(settings: Mapping[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=text):
        msgspec.convert(settings, SurrogateSettings)
