"""The calibration file: written, read again, and refused if it is damaged or says what cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.spec.calibration import Calibration, Handling, OperationFit, StreamFit, read_calibration
from estran.spec.costs import Amount, Call, CommandModel, Cost, Serving, Spread

SECONDS = st.floats(0, 10)
SPREADS = st.one_of(
    st.just(Spread()),
    st.just(Spread("exponential")),
    st.builds(Spread, st.just("lognormal"), SECONDS),
    st.builds(Spread, st.just("pareto"), st.floats(1.01, 9)),
    st.builds(lambda levels: Spread("observed", 0.0, tuple(sorted(levels))), st.lists(SECONDS, min_size=2, max_size=9)),
)
COSTS = st.builds(Cost, SECONDS, SECONDS, SPREADS)
AMOUNTS = st.builds(Amount, SECONDS, SPREADS)
CALIBRATIONS = st.builds(
    lambda cost, amount, cpu: Calibration(
        operations=(OperationFit("s", "trainer", "learn", "cloud-vm-2", 3, cost),),
        handling=(Handling("s", "cloud-vm-2", wake=cost, take=cost, late=cost, receive_cpu=cost, send_cpu=cost, idle_cpu=cpu),),
        streams=(StreamFit("s.out", "t", "latest", 5, cost, amount),),
        commands={"c": CommandModel(Serving(cost, amount, (Call("d", amount, cost, cost=cost),), cost), (), cpu)},
    ),
    COSTS,
    AMOUNTS,
    SECONDS,
)


@given(CALIBRATIONS)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, calibration: Calibration) -> None:
    path = tmp_path_factory.mktemp("calibration") / "calibration.json"
    calibration.save(path)
    assert read_calibration(path) == calibration


BAD = Cost(-1e-3)
GOOD = Calibration(
    operations=(OperationFit("camera", "source", "learn", "cloud-vm-2", 3, Cost(1e-3)),),
    handling=(Handling("camera", "cloud-vm-2"),),
    streams=(StreamFit("camera.samples", "t", "latest", 5, Cost(1e-3), Amount(100)),),
    commands={"sensor": CommandModel(Serving(Cost(1e-3), Amount(10)))},
)
FIT = GOOD.operations[0]


def spread(how: Spread) -> Calibration:
    return replace(GOOD, operations=(replace(FIT, cost=Cost(1, 0, how)),))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (replace(GOOD, operations=(replace(FIT, cost=BAD),)), r"operations\[0\]\.cost\.time is -0\.001: it cannot be negative"),
        (replace(GOOD, operations=(FIT, replace(FIT, cost=Cost(0, -1)))), r"operations\[1\]\.cost\.each is -1"),
        (replace(GOOD, handling=(replace(GOOD.handling[0], late=BAD),)), r"handling\[0\]\.late\.time"),
        (replace(GOOD, handling=(replace(GOOD.handling[0], send_cpu=BAD),)), r"handling\[0\]\.send_cpu\.time"),
        (replace(GOOD, handling=(replace(GOOD.handling[0], idle_cpu=-1.0),)), r"handling\[0\]\.idle_cpu is -1"),
        (replace(GOOD, streams=(replace(GOOD.streams[0], extra=BAD),)), r"streams\[0\]\.extra\.time"),
        (replace(GOOD, streams=(replace(GOOD.streams[0], size=Amount(-5)),)), r"streams\[0\]\.size\.bytes is -5"),
        (replace(GOOD, commands={"sensor": CommandModel(Serving(BAD, Amount(1)))}), r"commands\.sensor\[0\]\.serves\.cost\.time"),
        (replace(GOOD, commands={"sensor": CommandModel(None, (Call("x", Amount(1), BAD),))}), r"calls\[0\]\.pause\.time"),
        (spread(Spread("pareto", 0.9)), "shape 0.9, which has no mean"),
        (spread(Spread("observed", 0, (1,))), "has 1 quantiles: at least 2"),
        (spread(Spread("observed", 0, (2, 1))), "not in order"),
        (spread(Spread("observed", 0, (-2, 1))), r"cost\.spread\.quantiles\[0\] is -2"),
        (spread(Spread("lognormal", -1)), r"cost\.spread\.parameter is -1"),
        (replace(GOOD, schema=7), "has schema 7"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, wrong: Calibration, told: str) -> None:
    wrong.save(tmp_path / "calibration.json")
    with pytest.raises(RequestError, match=told):
        read_calibration(tmp_path / "calibration.json")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="estran calibrate"):
        read_calibration(tmp_path / "calibration.json")
