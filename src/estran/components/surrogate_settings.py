"""What a surrogate is told: its networks, where steps wait, and how it steers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from estran.learning.mistakes import SettingsError
from estran.learning.surrogates.reservoir import Policy
from estran.learning.surrogates.steering import By
from estran.units import Duration, Fraction, Frequency


@dataclass(frozen=True)
class NetworkSettings:
    """The networks of a surrogate.

    Attributes
    ----------
    hidden
        Width of each hidden layer.
    learning_rate
        Of Adam.
    average
        Share of the served average of weights that stays from step to step.
    members
        Networks in the committee; ``steering: variance`` needs two.
    """

    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 0.001
    average: float = 0.99
    members: int = 1

    def __post_init__(self) -> None:
        if self.members < 1 or not all(width > 0 for width in self.hidden):
            raise SettingsError("members and widths are 1 or more", where="network", remedy="like {hidden: [64, 64], members: 3}")
        if self.learning_rate <= 0 or not 0 <= self.average < 1:
            what = f"learning_rate is {self.learning_rate:g}, average {self.average:g}"
            raise SettingsError(what, where="network", remedy="like {learning_rate: 0.001, average: 0.99}")


@dataclass(frozen=True)
class ReservoirSettings:
    """Where steps wait for training.

    Attributes
    ----------
    policy
        ``reservoir``, ``firo`` or ``fifo``.
    capacity
        Steps that it holds at the most.
    threshold
        Steps that must have come before learning begins; the scales of the fields are taken from them.
    real
        Share of each batch that is of the input ``real``; 0 learns simulated steps only.
    """

    policy: Policy = "reservoir"
    capacity: int = 4000
    threshold: int = 100
    real: Fraction = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= self.capacity:
            what = f"threshold is {self.threshold}, capacity {self.capacity}"
            raise SettingsError(what, where="reservoir", remedy="let 1 ≤ threshold ≤ capacity")
        if not 0 <= self.real <= 1:
            raise SettingsError(f"real is {self.real:g}", where="reservoir", remedy="give a share from 0 to 100%")


@dataclass(frozen=True)
class SteeringSettings:
    """How the parameters of the next simulations are chosen.

    Attributes
    ----------
    by
        ``none``; ``variance``: what is expected to take most off a committee's disagreement; ``loss``: near simulations that are
        hard to learn.
    explore
        Share of the proposals that are drawn uniformly all the same.
    candidates
        Of ``variance``: random parameters among which each proposal is the best, and by which each is judged.
    spread
        Of ``loss``: standard deviation of the step away, as a fraction of each range.
    """

    by: By = "variance"
    explore: Fraction = 0.05
    candidates: int = 256
    spread: Fraction = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.explore <= 1:
            raise SettingsError(f"explore is {self.explore:g}", where="steering", remedy="give a share from 0 to 100%")
        if self.candidates < 1 or self.spread <= 0:
            raise SettingsError("candidates and spread are above 0", where="steering", remedy="like {candidates: 256, spread: 10%}")


@dataclass(frozen=True)
class SurrogateSettings:
    """How a surrogate learns, publishes and steers.

    Attributes
    ----------
    network
        What learns.
    reservoir
        Where steps wait.
    batch
        Rows of each step of learning.
    rate
        Steps of learning per second at the most; as many as the processor manages if not given.
    weighted
        Let each row count by its importance weight, so that what is learned is right for uniform parameters.
    publish_every
        Time from one publication to the next.
    steering
        ``none``, ``loss``, ``variance``, or `SteeringSettings` for the details.
    window
        Steps over which errors are taken as they come.
    """

    network: NetworkSettings = field(default_factory=NetworkSettings)
    reservoir: ReservoirSettings = field(default_factory=ReservoirSettings)
    batch: int = 64
    rate: Frequency | None = None
    weighted: bool = False
    publish_every: Duration = 1.0
    steering: Literal["none", "loss", "variance"] | SteeringSettings = "none"
    window: int = 500

    def __post_init__(self) -> None:
        for name in ("batch", "window"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}", where="surrogate", remedy="give 1 or more")
        if self.publish_every <= 0:
            raise SettingsError("publish_every is 0", where="surrogate", remedy="write 1s")
        if self.reservoir.policy != "reservoir" and self.reservoir.capacity < self.batch:
            raise SettingsError("capacity is below a batch", where="reservoir", remedy=f"give {self.batch} or more")
        if as_steering(self.steering).by == "variance" and self.network.members < 2:
            what = "steering by variance needs a committee"
            raise SettingsError(what, where="steering", remedy="write network: {members: 3}")


def as_steering(choice: By | SteeringSettings) -> SteeringSettings:
    """Settings of steering, from the kind or themselves."""
    return SteeringSettings(choice) if isinstance(choice, str) else choice
