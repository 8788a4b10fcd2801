"""The journal: what is written is what is read, and Optuna reads it, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from estran.errors import RequestError
from estran.optimize.goals import Goals
from estran.optimize.journal import Journal
from estran.optimize.space import Space
from estran.optimize.strategy import Ask, Told
from estran.study.factors import Factor
from tests.optimize.searching import floats

SPACE = Space((floats("x", 0.0, 1.0, 0.5), Factor("learner", ("arow", {"mlp": {}}))))
GOALS = Goals.read(["latency"], ["accuracy"], ["energy<=40J"])
ASKS = [
    Ask(0, 0, SPACE.default, "simulate", 1, 0, {"what": "default"}),
    Ask(1, 1, {"x": 0.25, "learner": {"mlp": {}}}, "emulate", 1, 0, {"what": "explore", "worth": 0.5}, {"some:attribute": [1, 2]}),
    Ask(2, 0, SPACE.default, "simulate", 2, 1, {"what": "replicate"}),
    Ask(3, 2, {"x": 0.75, "learner": "arow"}, "simulate", 1, 0),
]
TOLD = [
    Told("done", (0.1, -0.9), (5.0,), 1.5, {"latency": 0.1, "accuracy": 0.9, "energy": 45.0}),
    Told("failed", None, None, 0.5, {}, "it broke"),
    Told("timed-out", None, (-1.0,), 60.0, {"energy": 39.0}, "it took longer than 60s", (4, 0.25)),
]


def opened(path: Path) -> Journal:
    return Journal(path / "journal.log", SPACE, GOALS, ["simulate", "emulate"])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for ask in ASKS:
        journal.begin(ask)
    for number, told in enumerate(TOLD):
        journal.end(number, told)
    assert opened(tmp_path).recalled() == [*zip(ASKS, TOLD, strict=False), (ASKS[3], None)]
    resumed = opened(tmp_path)
    resumed.recalled()
    resumed.end(3, TOLD[0])
    assert opened(tmp_path).recalled()[3] == (ASKS[3], TOLD[0])


def test_optuna_reads_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for ask, told in zip(ASKS, TOLD, strict=False):
        journal.begin(ask)
        journal.end(ask.number, told)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    study = optuna.load_study(study_name="simulate", storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]
    assert study.trials[0].values == pytest.approx([0.1, 0.9])
    assert [trial.constraints for trial in study.trials] == [{"energy<=40J": 5.0}, {"energy<=40J": -1.0}]
    assert study.trials[0].params == {"x": 0.5, "learner": "arow"}
    other = optuna.load_study(study_name="emulate", storage=storage)
    assert [trial.state.name for trial in other.trials] == ["FAIL"]


def test_a_trial_that_was_told_but_not_closed_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    journal.begin(ASKS[0])
    monkeypatch.setattr(journal, "_close", lambda *_: None)  # killed between the two writings
    journal.end(0, TOLD[0])
    assert opened(tmp_path).recalled() == [(ASKS[0], TOLD[0])]
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    assert optuna.load_study(study_name="simulate", storage=storage).trials[0].state.name == "COMPLETE"


@pytest.mark.parametrize(
    ("damage", "line", "remedy"), [(lambda text: text[:-9], -1, "remove this line"), (lambda text: "x" + text, 1, "restore")]
)
def test_a_damaged_journal_is_told_with_its_line(tmp_path: Path, damage: Callable[[str], str], line: int, remedy: str) -> None:
    opened(tmp_path).begin(ASKS[0])
    file = tmp_path / "journal.log"
    text = file.read_text()
    file.write_text(damage(text))
    with pytest.raises(RequestError) as refused:
        opened(tmp_path)
    assert refused.value.where == f"{file}:{line if line > 0 else len(text.splitlines())}"
    assert remedy in str(refused.value.remedy)
    file.write_text(text)
    assert [ask for ask, _ in opened(tmp_path).recalled()] == ASKS[:1]
