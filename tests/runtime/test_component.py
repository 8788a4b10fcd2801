"""Components: what their annotations declare, and what their ports refuse."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from estran.errors import ServiceError
from estran.runtime.clock import RealClock
from estran.runtime.component import Component, Surroundings, build, generator, shape
from estran.runtime.compute import RealCompute
from estran.runtime.ports import Input, Output
from estran.runtime.recorder import Recorder


@dataclass(frozen=True)
class Reading:
    value: float


@dataclass(frozen=True)
class Other:
    value: float


@dataclass(frozen=True)
class MeterSettings:
    rate: float = 1.0


class Meter(Component):
    settings: MeterSettings
    asked: Input[Reading]
    said: Output[Reading]


def surroundings(seed: int = 1, index: int = 0) -> Surroundings:
    clock = RealClock(time.monotonic_ns())
    recorder = Recorder(lambda table, rows: None, clock, host="h", replica="meter-0")
    return Surroundings(f"meter-{index}", "meter", index, 2, clock, RealCompute(recorder), recorder, seed)


def test_annotations_declare_ports_and_settings() -> None:
    form = shape(Meter)
    assert (form.inputs, form.outputs, form.settings) == ({"asked": Reading}, {"said": Reading}, MeterSettings)


def test_settings_are_converted_or_refused() -> None:
    assert build(Meter, {"rate": 3}, surroundings()).settings == MeterSettings(3.0)
    with pytest.raises(ServiceError, match="do not fit"):
        build(Meter, {"rate": "fast"}, surroundings())


async def test_an_output_refuses_what_it_does_not_carry() -> None:
    meter = build(Meter, {}, surroundings())
    await meter.said.send(Reading(1.0))
    with pytest.raises(ServiceError, match="output said carries Reading, not Other"):
        await meter.said.send(Other(1.0))


def test_each_replica_draws_its_own_reproducible_numbers() -> None:
    first, again, other = (build(Meter, {}, surroundings(index=index)).rng.random(3).tolist() for index in (0, 0, 1))
    assert first == again != other
    assert generator(1, "meter", 0).random() != generator(1, "camera", 0).random() != generator(2, "meter", 0).random()


async def test_long_computations_leave_the_loop_free_and_are_recorded() -> None:
    rows: list[tuple[object, ...]] = []
    clock = RealClock(time.monotonic_ns())
    recorder = Recorder(lambda table, new: rows.extend(new), clock, host="h", replica="r")
    with RealCompute(recorder) as compute:
        assert await compute("wait", 4, lambda seconds: seconds * 2, 0.5) == 1.0
    recorder.flush()
    ((_, host, replica, operation, size, wall, cpu),) = rows
    assert (host, replica, operation, size) == ("h", "r", "wait", 4)
    assert float(str(wall)) >= 0 <= float(str(cpu))
