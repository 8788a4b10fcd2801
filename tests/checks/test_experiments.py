"""The public experiments hold on our platforms: simulated first, then emulated; and what does not hold is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.checks.experiments import EXPERIMENTS, Message, SmallExperiment, effects_follow_causes, processed
from estran.observe.queries import Run, open_run
from estran.run.prepare import Simulation, prepare
from estran.run.record import QuietProgress
from estran.run.session import execute


def finished(experiment: SmallExperiment, folder: Path, on: str) -> Run:
    file = experiment.write(folder)
    simulation = Simulation("none") if on == "simulate" else None
    prepared = prepare(str(file), on=on, simulation=simulation)
    found, _ = execute(prepared, out=folder / "runs", progress=QuietProgress())
    return open_run(found)


@pytest.mark.parametrize("on", ["simulate", "emulate"])
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_experiments_hold(experiment: SmallExperiment, on: str, tmp_path: Path) -> None:
    experiment.check(finished(experiment, tmp_path, on))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    return {one.name: finished(one, tmp_path_factory.mktemp(one.name), "simulate") for one in EXPERIMENTS}


def changed(messages: list[Message], stream: str, index: int, **fields: object) -> list[Message]:
    """The same messages but for one of a stream."""
    own = [message for message in messages if message.stream == stream]
    return [message._replace(**fields) if message == own[index] else message for message in messages]


def test_an_effect_before_its_cause_is_found_out(runs: dict[str, Run]) -> None:
    messages = processed(runs["routing"])
    for step in ("sent", "received", "started", "done"):
        with pytest.raises(AssertionError, match=f"was {step} .* s before it was"):
            effects_follow_causes(changed(messages, "producer.blocks", 7, **{step: -5.0}))


def test_a_message_that_went_elsewhere_is_found_out(runs: dict[str, Run]) -> None:
    messages = processed(runs["routing"])
    with pytest.raises(AssertionError, match="got 59 messages"):
        EXPERIMENTS[0].holds(runs["routing"], messages[1:])


def test_a_producer_that_runs_ahead_is_found_out(runs: dict[str, Run]) -> None:
    messages = processed(runs["pressure"])
    with pytest.raises(AssertionError, match="before there was room for it"):
        EXPERIMENTS[1].holds(runs["pressure"], changed(messages, "producer.blocks", 60, sent=0.0))


def test_a_version_that_was_never_published_is_found_out(runs: dict[str, Run]) -> None:
    messages = processed(runs["serving"])
    with pytest.raises(AssertionError, match="version 99, never published"):
        EXPERIMENTS[2].holds(runs["serving"], changed(messages, "camera.samples", 0, version=99, receiver="detector-0"))


def test_a_run_that_failed_does_not_hold(runs: dict[str, Run], tmp_path: Path) -> None:
    broken = SmallExperiment("broken", EXPERIMENTS[0].text.replace("blocks: 60", "blocks: 60, pause: none"), EXPERIMENTS[0].holds)
    with pytest.raises(Exception, match="pause"):
        finished(broken, tmp_path, "simulate")
    failing = SmallExperiment(
        "failing",
        EXPERIMENTS[0].text.replace("size: 100", "size: -1").replace("blocks: 60,", "blocks: 60, size: -1,"),
        EXPERIMENTS[0].holds,
    )
    (tmp_path / "failing").mkdir()
    with pytest.raises(AssertionError, match="ended as failed"):
        failing.check(finished(failing, tmp_path / "failing", "simulate"))
