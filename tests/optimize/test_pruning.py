"""Ending hopeless runs: live figures in a store that grows, against those of finished runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from estran.observe.rows import COLUMNS
from estran.observe.store import LIVE, Store
from estran.optimize.goals import Goals
from estran.optimize.journal import Journal
from estran.optimize.pruning import STEPS, Pruning
from estran.optimize.space import Space
from estran.optimize.strategy import Ask, Told
from estran.optimize.trials import Trials
from estran.study.worker import Task
from tests.optimize.searching import floats

GOALS = Goals.read(["latency"], [], [])
SPACE = Space((floats("x", 0.0, 1.0, 0.5),))


def answers(latency: float, until: float) -> list[list[object]]:
    """An answer each 50 ms of the run's clock."""
    found = []
    for count in range(1, int(until / 0.05)):
        done = count * 0.05
        known = {"created": done - latency, "done": done, "answer": 1, "truth": 1}
        row = [known.get(name, "x-0" if kind is str else 0.0 if kind is float else 0) for name, kind, _ in COLUMNS["messages"]]
        found.append(row)
    return found


def earlier(journal: Journal, trials: Trials, latencies: list[float]) -> None:
    for number, latency in enumerate(latencies):
        ask = Ask(number, number, {"x": number / 10}, "emulate", 1, 0, {"what": "explore"})
        journal.begin(ask)
        trials.add(ask)
        for step in range(1, STEPS + 1):
            journal.reported(number, step, latency)
        told = Told("done", (latency,), (), 1.0, {"latency": latency})
        journal.end(number, told)
        trials.tell(number, told)


@pytest.mark.parametrize(("latency", "hopeless"), [(0.5, True), (0.01, False)])
async def test_a_run_that_is_worse_than_most_by_then_is_hopeless(tmp_path: Path, latency: float, hopeless: bool) -> None:
    trials, journal = Trials(), Journal(tmp_path / "journal.log", SPACE, GOALS, ["emulate"])
    earlier(journal, trials, [0.1, 0.11, 0.12, 0.13, 0.14])
    pruning = Pruning("median", GOALS.goals[0], journal, trials, warmup=0.0, duration=10.0)
    ask = Ask(5, 5, {"x": 0.9}, "emulate", 1, 0, {"what": "explore"})
    journal.begin(ask)
    trials.add(ask)
    (tmp_path / "run").mkdir()
    task = Task(
        file="", overrides=[], levels={}, seed=1, on="emulate", calibration=None, out=str(tmp_path), named="run", command=[]
    )
    with Store(tmp_path / "run" / LIVE) as store:
        store.add("messages", answers(latency, 5.1))
        store.flush()
        waiting = asyncio.create_task(pruning.hopeless(ask, task))
        assert not (await asyncio.wait({waiting}, timeout=0.8))[0]  # once is not enough
        store.add("messages", answers(latency, 6.2)[-20:])
        store.flush()
        done, _ = await asyncio.wait({waiting}, timeout=2.0)
        assert bool(done) == hopeless
        if hopeless:
            assert "worse than that of earlier runs" in waiting.result()
        waiting.cancel()
    reopened = Journal(tmp_path / "journal.log", SPACE, GOALS, ["emulate"])
    reopened.recalled()
    assert reopened.reports(5) == pytest.approx(dict.fromkeys(range(1, 7), latency))
