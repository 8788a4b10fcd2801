"""What faults cost, by messages that are made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from estran.observe.fault_responses import fault_responses
from estran.observe.figures import Responses
from estran.observe.stories import Stories

RATE, END = 100.0, 30.0
KINDS = ("time_to_detect", "time_to_recover", "accuracy_dip", "accuracy_area")


def stories(latency: Any, right: Any, silent: tuple[float, float] = (0.0, 0.0)) -> Stories:
    """Answers at a rate, each with a latency and whether it is right, none of what is created in the silence."""
    created = np.arange(0.0, END, 1 / RATE)
    created = created[(created < silent[0]) | (created >= silent[1])]
    n, zeros = len(created), np.zeros(len(created), dtype=np.int64)
    done = created + np.vectorize(latency, otypes=[float])(created)
    answers = np.array([0 if right(time) else 1 for time in created], dtype=np.int64)
    return Stories(
        ("s",), np.arange(n, dtype=np.uint64), zeros, zeros, zeros, np.arange(n), created, created, done, done, done, zeros, zeros,
        zeros, answers,
    )  # fmt: skip


def judged(found: Stories, *faults: tuple[str, float, float | None], without: dict[str, list[float]] | None = None) -> Responses:
    happened = [{"fault": name, "begun": begun, "ended": ended} for name, begun, ended in faults]
    run: Any = SimpleNamespace(document=lambda name: {"faults": happened, "without": without or {}})
    result = Responses((0.0, END))
    fault_responses(result, run, found, np.ones(len(found), dtype=bool), found)
    return result


def often(time: float) -> bool:
    """Nine of ten are right."""
    return int(time * RATE + 0.5) % 10 != 0


def test_silence_is_noticed_and_its_end_is_recovery() -> None:
    found = judged(stories(lambda time: 0.01, often, silent=(12.0, 15.0)), ("x", 12.0, 15.0))
    assert found.values["time_to_detect_x"].value == pytest.approx(0.25)
    assert found.values["time_to_recover_x"].value == pytest.approx(3.0, abs=0.26)
    assert found.values["accuracy_area_x"].value == pytest.approx(0.0, abs=0.02)


def test_silence_is_noticed_however_much_the_number_of_answers_varies() -> None:
    """On a busy machine they come in bursts, and what three deviations leave of the median is less than none."""
    found = stories(lambda time: 0.01, often, silent=(12.0, 15.0))
    bursts = found.select(np.flatnonzero((found.created % 0.5 < 0.06) | (found.created % 1.0 < 0.4)))
    result = judged(bursts, ("x", 12.0, 15.0))
    assert result.values["time_to_detect_x"].value < 1.5
    assert result.values["time_to_recover_x"].value == pytest.approx(3.0, abs=0.6)


def test_late_answers_count_as_not_recovered() -> None:
    found = judged(stories(lambda time: 2.0 if 12 <= time < 14 else 0.01, often), ("x", 12.0, 13.0))
    assert found.values["time_to_recover_x"].value == pytest.approx(4.0, abs=0.5)  # the last late one comes at 16


def test_wrong_answers_are_a_dip_and_an_area() -> None:
    found = judged(stories(lambda time: 0.01, lambda time: often(time) and not 12 <= time < 14), ("x", 12.0, 13.0))
    assert found.values["accuracy_dip_x"].value == pytest.approx(0.9, abs=0.01)
    assert found.values["accuracy_area_x"].value == pytest.approx(1.8, abs=0.05)
    assert found.values["time_to_recover_x"].value == pytest.approx(2.0, abs=0.26)


def test_of_what_nobody_notices_there_is_no_time_to_detect() -> None:
    found = judged(stories(lambda time: 0.01, often), ("x", 12.0, 13.0))
    assert "nothing was seen of it" in found.missing["time_to_detect_x"]
    assert found.values["time_to_recover_x"].value == 0
    assert found.values["accuracy_dip_x"].value == pytest.approx(0.0, abs=0.05)


def test_what_never_recovers_has_no_time_to_recover() -> None:
    found = judged(stories(lambda time: 0.01, often, silent=(12.0, END)), ("x", 12.0, None))
    assert found.values["time_to_detect_x"].value == pytest.approx(0.25)
    assert "not recovered" in found.missing["time_to_recover_x"]


def test_happenings_are_averaged_and_disturbed_ones_left_out() -> None:
    answers = stories(lambda time: 0.01, often, silent=(12.0, 14.0))
    found = judged(answers, ("x", 12.0, 14.0), ("x", 20.0, 24.0), ("y", 23.0, 24.0))
    assert found.values["time_to_recover_x"].n == 2
    assert found.values["time_to_recover_x"].value == pytest.approx(1.0, abs=0.26)
    assert all("another fault was on" in found.missing[f"{kind}_y"] for kind in KINDS)


def test_what_an_earlier_fault_left_does_not_hide_a_later_one() -> None:
    found = judged(
        stories(lambda time: 10.0 - time if 8.0 <= time < 9.0 else 0.01, often, silent=(12.0, 13.0)),
        ("y", 8.0, 9.0),
        ("x", 12.0, 13.0),
    )
    assert found.values["time_to_detect_x"].value == pytest.approx(0.25, abs=0.1)
    assert found.values["time_to_recover_x"].value == pytest.approx(1.0, abs=0.26)


def test_a_fault_at_once_has_no_reference() -> None:
    found = judged(stories(lambda time: 0.01, often), ("x", 0.5, 1.0))
    assert all("undisturbed" in found.missing[f"{kind}_x"] for kind in KINDS)


def test_a_fault_of_no_time_has_the_accuracy_that_is_lost_without_it() -> None:
    found = judged(stories(lambda time: 0.01, lambda time: often(time) and not 12 <= time < 14), without={"x": [12.0], "y": []})
    assert found.values["accuracy_area_x"].value == pytest.approx(1.8, abs=0.05)
    assert found.values["time_to_recover_x"].value == 0
    assert found.missing["time_to_detect_x"] == found.missing["accuracy_dip_y"] == "the fault takes no time in this run"


def test_a_run_without_faults_has_none_of_it() -> None:
    result = Responses((0.0, END))
    none: Any = SimpleNamespace(document=lambda name: None)
    answers = stories(lambda time: 0.01, often)
    fault_responses(result, none, answers, np.ones(len(answers), dtype=bool), answers)
    assert result.values == result.missing == {}
