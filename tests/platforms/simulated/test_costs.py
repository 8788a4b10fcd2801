"""What work costs: declared before calibrated before estimated, and refused where nothing is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estran.errors import ServiceError
from estran.platforms.simulated import estimates
from estran.platforms.simulated.costs import Costs
from estran.spec.calibration import Calibration, Handling, OperationFit, StreamFit
from estran.spec.costs import Amount, CommandModel, Cost
from estran.spec.model import Device, Service

HERE, ELSEWHERE = (Device(name, 2, 1.0, 1e9, 1.0, 2.0) for name in ("here", "elsewhere"))
TRAINER = Service("trainer", ("cloud",), component="trainer")


def fit(device: str, n: int, seconds: float, *, service: str = "trainer", operation: str = "learn") -> OperationFit:
    return OperationFit(service, "trainer", operation, device, n, Cost(seconds))


CALIBRATED = Calibration(
    operations=(
        fit("elsewhere", 10, 2.0),
        fit("elsewhere", 900, 3.0),
        fit("here", 5, 4.0),
        fit("here", 5000, 9.0, service="other"),
        fit("here", 5000, 9.5, operation="predict"),
    ),
    handling=(
        Handling("trainer", "elsewhere", take=Cost(1.0)),
        Handling(
            "trainer",
            "here",
            take=Cost(2.0),
            wake=Cost(3.0),
            receive_cpu=Cost(4.0),
            send_cpu=Cost(5.0),
            idle_cpu=6.0,
            late=Cost(7.0),
        ),
    ),
    streams=(
        StreamFit("camera.samples", "detector", "acknowledged", 900, Cost(1.0), Amount(10)),
        StreamFit("camera.samples", "trainer", "acknowledged", 5, Cost(2.0), Amount(11)),
    ),
    commands={"sensor": CommandModel(source="run 1")},
)


def test_what_the_file_declares_comes_first() -> None:
    declared = replace(TRAINER, costs={"learn": Cost(1.0)})
    costs = Costs(CALIBRATED)
    assert costs.operation(declared, HERE, "learn", 10) == Cost(1.0)
    assert not costs.estimated


def test_a_calibration_comes_next_that_of_this_device_first() -> None:
    costs = Costs(CALIBRATED)
    assert costs.operation(TRAINER, HERE, "learn", 10) == Cost(4.0)
    assert costs.operation(TRAINER, ELSEWHERE, "learn", 10) == Cost(3.0)  # the one with most observations
    assert costs.operation(TRAINER, Device("third", 1, 1, 1, 1, 1), "learn", 10) == Cost(3.0)
    assert not costs.estimated


def test_an_estimate_comes_last_and_is_owned_up_to() -> None:
    costs = Costs(CALIBRATED)
    small, large = (costs.operation(TRAINER, HERE, "snapshot", parameters) for parameters in (10, 10**6))
    assert small == estimates.estimate("trainer", "snapshot", 10)
    assert large.time > small.time > 0
    assert costs.estimated == {"trainer: snapshot"}


@pytest.mark.parametrize("operation", ["predict", "learn", "snapshot", "load"])
def test_estimates_grow_with_the_model(operation: str) -> None:
    small, large = (estimates.estimate("x", operation, parameters) for parameters in (100, 10**6))
    assert small is not None
    assert large is not None
    assert large.mean(16) > small.mean(16) > 0


def test_an_unknown_operation_is_refused_with_a_remedy() -> None:
    with pytest.raises(ServiceError, match=r"'fold' costs is not known[\s\S]*costs: \{fold: 2ms\}") as caught:
        Costs(CALIBRATED).operation(TRAINER, HERE, "fold", 1)
    assert caught.value.where == "trainer"


def test_handling_is_declared_key_by_key() -> None:
    declared = replace(TRAINER, costs={"wake": Cost(0.5), "send": Cost(0.25)})
    found = Costs(CALIBRATED).handling(declared, HERE)
    assert (found.wake, found.send_cpu) == (Cost(0.5), Cost(0.25))
    assert (found.take, found.receive_cpu, found.idle_cpu, found.late) == (Cost(2.0), Cost(4.0), 6.0, Cost(7.0))


def test_handling_is_estimated_unless_all_is_declared() -> None:
    costs = Costs()
    assert costs.handling(TRAINER, HERE).take == estimates.TAKE
    assert costs.estimated == {"trainer: handling of messages"}
    every = replace(TRAINER, costs={key: Cost(1.0) for key in ("receive", "send", "take", "wake")})
    own = Costs()
    assert own.handling(every, HERE).receive_cpu == Cost(1.0)
    assert not own.estimated


def test_a_streams_transfer_is_that_of_its_consumer_else_of_its_best_known_one() -> None:
    costs = Costs(CALIBRATED)
    assert costs.transfer("camera.samples", "trainer") == Cost(2.0)
    assert costs.transfer("camera.samples", "sink") == Cost(1.0)
    assert not costs.estimated
    assert costs.transfer("trainer.models", "detector") == estimates.EXTRA
    assert costs.estimated == {"trainer.models: transfer"}
    assert costs.size("camera.samples") == Amount(10)
    assert costs.size("trainer.models") is None


def test_a_commands_model_is_declared_else_observed_else_missing() -> None:
    observed = Service("sensor", ("edge",), command=("./sensor",))
    declared = CommandModel(idle=0.5)
    assert Costs(CALIBRATED).command(replace(observed, model=declared)) == declared
    assert Costs(CALIBRATED).command(observed) == CALIBRATED.commands["sensor"]
    assert Costs().command(observed) is None
