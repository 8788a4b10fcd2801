"""Ensembles: what they run, what they do with simulators that fail, how they are held back and steered."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from estran.components import simulation
from estran.components.fields import Proposal, Steps
from estran.components.simulation import Simulation, SimulationSettings
from estran.components.simulators import PythonSimulator
from estran.errors import EstranError
from estran.runtime.component import Component
from estran.runtime.ports import Input
from tests.components.stage import Stage, play

MODULE = """
import os, sys, time
import numpy as np

def line(a, b, steps=4, shift=0.0):
    print("a simulator may print")
    for step in range(steps):
        yield np.array([a + shift, b, step])

def chance(a, b, rng):
    yield from rng.random((4, 3))

def unsound(a, b):
    yield np.array([a, b])
    if a < 1: raise ValueError("too cold")
    if a < 2: os._exit(3)
    if a < 3: os.kill(os.getpid(), 9)
    if a < 4: time.sleep(60)
    if a < 5: yield np.array([np.nan, 0])
    if a < 6: yield np.array([1.0, 2.0, 3.0])
    if a < 7: return
    if a < 8: yield np.array(["text", "more"])
    yield np.array([a, b])

def never(a, b):
    raise ValueError("always wrong")
    yield
"""
PROGRAM = """
import sys, time, io, pathlib
import numpy as np
a, how = float(sys.argv[1]), sys.argv[2]
if how == "files":
    for step in range(3):
        np.save(f"out-{step}.npy", np.array([a, step]))
    print("written")
elif how == "garbage":
    sys.stdout.write("Segmentation fault, or worse: this is no array at all")
elif how == "cut":
    data = io.BytesIO(); np.save(data, np.arange(9.0)); sys.stdout.buffer.write(data.getvalue()[:-8])
elif how == "huge":
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"
    sys.stdout.buffer.write(b"\\x93NUMPY\\x01\\x00\\x76\\x00" + header.ljust(117) + b"\\n")
elif how == "status":
    print("out of memory", file=sys.stderr); sys.exit(4)
else:
    for step in range(3):
        data = io.BytesIO(); np.save(data, np.array([[a, step]])); sys.stdout.buffer.write(data.getvalue())
"""
BOX = {"a": (0.0, 8.0), "b": (0.0, 1.0)}


class Reader(Component):
    steps: Input[Steps]
    pause = 0.0

    async def setup(self) -> None:
        self.seen: list[Steps] = []

    async def run(self) -> None:
        async for message in self.steps:
            self.seen.append(message.payload)
            await self.clock.sleep(self.pause)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "lines.py").write_text(MODULE)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("lines", None)


def simulated(
    folder: Path,
    settings: dict[str, Any],
    *,
    replicas: int = 1,
    proposals: int = 0,
    pause: float = 0.0,
    capacity: int = 1024,
    seconds: float = 60.0,
) -> tuple[Stage, list[Steps]]:
    stage = Stage(cost={"step": 0.01})
    reader = stage.add(Reader, "reader")
    reader.pause = pause

    async def scene() -> None:
        for index in range(replicas):
            scratch = folder / f"scratch-{index}"
            scratch.mkdir(exist_ok=True)
            places = {"folder": str(scratch), "experiment_folder": str(folder)}
            part = stage.add(
                Simulation, "ensemble", {"parameters": BOX, "steps": 4, **settings}, index=index, replicas=replicas, **places
            )
            stage.connect(part, "steps", (reader, "steps"), capacity=capacity)
            if proposals:
                stage.hand(part, "parameters", [Proposal(np.array([7.5, 0.25]), "test")] * proposals)
        await stage.run(seconds)

    play(scene)
    return stage, reader.seen


def failures(stage: Stage) -> dict[int, str]:
    return {
        round(told["simulation"]): told["why"] for told in (json.loads(row.detail) for row in stage.events("simulation_failed"))
    }


def test_an_ensemble_runs_all_its_simulations_and_sends_each_step(folder: Path) -> None:
    stage, seen = simulated(folder, {"simulator": "lines:line", "count": 5, "options": {"shift": 100.0}, "batch": 3})
    assert [(steps.simulation, steps.first, len(steps)) for steps in seen] == [
        (n, f, k) for n in range(5) for f, k in ((0, 3), (3, 1))
    ]
    for steps in seen:
        np.testing.assert_allclose(steps.fields[:, 0], steps.values[0] + 100, rtol=1e-6)
        np.testing.assert_allclose(steps.fields[:, 2], steps.first + np.arange(len(steps)))
        np.testing.assert_allclose(steps.position * [8, 1], steps.values)
    assert seen[1].times.tolist() == [1.0]
    assert stage.metric("ensemble-0", "simulations")[-1] == 5
    assert [row.detail for row in stage.events("exhausted")] == ["5 simulations"]
    assert stage.cost.calls == [("step", 1)] * 20


def test_what_is_simulated_does_not_depend_on_the_number_of_replicas(folder: Path) -> None:
    settings = {"simulator": "lines:line", "count": 8, "sampler": "latin-hypercube"}
    one, three = (simulated(folder, settings, replicas=replicas)[1] for replicas in (1, 3))
    assert {(s.simulation, *s.values) for s in one} == {(s.simulation, *s.values) for s in three}
    assert sorted(int(s.values[0]) for s in one if s.first == 0) == list(range(8))


def test_a_simulator_of_chance_repeats_itself_with_the_seed(folder: Path) -> None:
    runs = [simulated(folder, {"simulator": "lines:chance", "count": 3})[1] for _ in range(2)]
    assert all(np.array_equal(one.fields, other.fields) for one, other in zip(*runs, strict=True))
    assert len({float(steps.fields[0, 0]) for steps in runs[0]}) == 12


def test_an_ensemble_goes_on_when_simulations_fail(folder: Path) -> None:
    settings = {"simulator": "lines:unsound", "count": 8, "steps": 2, "timeout": 1.0, "sampler": "latin-hypercube"}
    stage, seen = simulated(folder, settings)
    values = {steps.simulation: float(steps.values[0]) for steps in seen}
    told = {int(values[number]): why for number, why in failures(stage).items()}
    assert told == {
        0: "crashed with status 1: ValueError: too cold",
        1: "crashed with status 3",
        2: "crashed with signal 9",
        3: "fell silent for 1s",
        4: "wrote a NaN or an infinity at step 1",
        5: "wrote 3 numbers at step 1, where others had 2",
        6: "ended after 1 of 2 steps",
    } | {7: told[7]}
    assert "U4" in told[7]
    assert len(seen) == 8  # the first step of each was sound
    assert stage.metric("ensemble-0", "failed")[-1] == 8


def test_simulations_that_all_fail_fail_the_service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MOST_IN_A_ROW", 4)
    with pytest.raises(ExceptionGroup) as raised:
        simulated(folder, {"simulator": "lines:never"})
    error: BaseException = raised.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EstranError)
    assert "4 simulations failed one after the other; the last one crashed with status 1: ValueError: always wrong" in str(error)


@pytest.mark.parametrize(("how", "files"), [("stdout", None), ("files", "out-*.npy")])
def test_any_program_can_be_a_simulator(folder: Path, how: str, files: str | None) -> None:
    program = [sys.executable, "{experiment}/program.py", "{a}", how]
    stage, seen = simulated(folder, {"program": program, "files": files, "count": 2, "steps": 3})
    assert not failures(stage)
    assert [steps.fields[0].tolist() for steps in seen] == [
        [pytest.approx(float(steps.values[0]), rel=1e-6), steps.first] for steps in seen
    ]
    assert len(seen) == 6
    assert not (folder / "scratch-0" / "simulation").exists()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("garbage", "wrote garbage where an array should begin"),
        ("cut", "ended in the middle of an array"),
        ("huge", "which is no time step"),
        ("status", "crashed with status 4: out of memory"),
    ],
)
def test_a_program_that_writes_no_steps_is_marked(folder: Path, how: str, why: str) -> None:
    stage, seen = simulated(folder, {"program": [sys.executable, "{experiment}/program.py", "{a}", how], "count": 1})
    assert why in failures(stage)[0]
    assert not seen


def test_a_program_that_is_not_there_is_marked(folder: Path) -> None:
    stage, _ = simulated(folder, {"program": "/no/such/program {a}", "count": 2})
    assert failures(stage) == dict.fromkeys((0, 1), "could not be started: /no/such/program: No such file or directory")


def test_consumers_that_do_not_keep_up_hold_simulations_back(folder: Path) -> None:
    settings = {"simulator": "lines:line", "count": 5}
    free, _ = simulated(folder, settings)
    held, seen = simulated(folder, settings, pause=0.1, capacity=2)
    assert len(seen) == 20
    assert free.metric("ensemble-0", "blocked")[-1] == 0
    assert held.metric("ensemble-0", "blocked")[-1] > 0.7


def test_a_rate_is_kept(folder: Path) -> None:
    stage, _ = simulated(folder, {"simulator": "lines:line", "count": 5, "rate": 20.0})
    received = [row.received for row in stage.rows["messages"]]
    assert np.diff(received) == pytest.approx(0.05, abs=0.012)


def test_proposals_come_before_the_sampler(folder: Path) -> None:
    stage, seen = simulated(folder, {"simulator": "lines:line", "count": 6}, proposals=3)
    steered = [steps.simulation for steps in seen if steps.first == 0 and steps.values.tolist() == [7.5, 0.25]]
    assert len(steered) == 3
    assert steered[0] <= 1
    assert stage.metric("ensemble-0", "steered")[-1] == 0.5


def test_no_process_is_left(folder: Path) -> None:
    simulated(folder, {"simulator": "lines:unsound", "count": 8, "steps": 2, "timeout": 1.0})
    simulated(folder, {"simulator": "lines:line"}, seconds=2.0)  # cut short in the middle
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(entry.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    assert not [command for command in commands if str(folder) in command]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "neither simulator nor program"),
        ({"simulator": "lines:line", "program": "x"}, "both simulator and program"),
        ({"simulator": "lines:lime"}, "cannot be imported"),
        ({"simulator": "limes:line"}, "cannot be imported"),
        ({"simulator": "lines:line", "parameters": {"a": (0, 1)}}, "needs b"),
        ({"simulator": "lines:line", "parameters": {**BOX, "c": (0, 1)}}, "takes no c"),
        ({"simulator": "lines:line", "options": {"shft": 1}}, "takes no shft"),
        ({"simulator": "lines:line", "parameters": {"a": (1, 1), "b": (0, 1)}}, r"a is \[1, 1\]"),
        ({"simulator": "lines:line", "steps": 0}, "steps is 0"),
        ({"simulator": "lines:line", "timeout": 0}, "timeout is 0"),
        ({"simulator": "lines:line", "files": "*.npy"}, "leaves no files"),
        ({"simulator": "lines:line", "sampler": {"kind": "rare-event"}}, "needs region"),
        ({"program": "run {c}"}, r"there is no \{c\}"),
        ({"program": "run 'a"}, "cannot be split"),
        ({"program": ""}, "it is empty"),
        ({"program": "run", "options": {"a": 1}}, "a program takes none"),
    ],
)
def test_wrong_settings_are_named(folder: Path, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=text):
        msgspec.convert({"parameters": BOX, "steps": 4, **settings}, SimulationSettings)


async def test_what_a_simulator_computes_is_charged_to_its_step(folder: Path) -> None:
    from estran.runtime.clock import RealClock
    from estran.runtime.compute import RealCompute
    from estran.runtime.recorder import Recorder

    (folder / "busy.py").write_text("def busy(a):\n    for _ in range(3):\n        yield sum(i * a for i in range(2_000_000))\n")
    rows: list[Any] = []
    recorder = Recorder(lambda _, found: rows.extend(found), RealClock(0), host="h", replica="r")
    simulator = PythonSimulator("busy:busy", folder, folder / "scratch", {}, 30.0)
    try:
        with RealCompute(recorder) as compute:
            begun = time.perf_counter()
            simulator.begin({"a": 1.0}, 0, 3)
            for _ in range(3):
                await compute("step", 1, simulator.step)
            passed = time.perf_counter() - begun
    finally:
        simulator.close()
    recorder.flush()
    assert len(rows) == 3
    assert all(row.cpu > 0.02 for row in rows)
    assert sum(row.cpu for row in rows) <= passed * 1.1 + 0.01, [
        passed,
        *((row.cpu, row.wall) for row in rows),
    ]  # it computes its first step before it is asked for it
