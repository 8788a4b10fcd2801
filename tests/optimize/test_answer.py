"""What is told of trials where the first ones failed."""

from __future__ import annotations

from estran.optimize.answer import answer
from estran.optimize.goals import Goals
from estran.optimize.strategy import Ask, Told
from estran.optimize.trials import Trials
from estran.optimize.wording import _digits


def test_a_default_that_failed_leaves_nothing_to_compare_with_but_an_answer() -> None:
    goals, trials = Goals.read(["latency"], [], ["energy<=40J"]), Trials()
    for number, told in enumerate((Told("failed", failure="starved"), Told("done", (2.0,), (-1.0,), 3.0), Told("failed"))):
        trials.add(Ask(number, number, {"pool": number}, "emulate", 1, 0))
        trials.tell(number, told)
    found = answer(trials, goals, experiment="e", target="emulate", units={"latency": "s"}, seed=1)
    assert [step.hypervolume > 0 for step in found.trace] == [False, True, True]
    assert found.recommended == 1
    assert found.gains == ()
    assert "no run of the default was done" in found.notes[0]


def test_the_ends_of_a_narrow_interval_differ() -> None:
    assert _digits((-0.30, -0.10)) == 2
    assert _digits((-0.1071, -0.1051)) == 3
    assert _digits((-0.10712, -0.10708)) == 4
    assert _digits(None) == 2
