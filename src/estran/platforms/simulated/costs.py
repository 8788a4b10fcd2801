"""What each replica's work costs in this run: declared in the file, else calibrated, else estimated, else refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from estran.errors import ServiceError
from estran.platforms.simulated import estimates
from estran.spec.calibration import Calibration, Handling, OperationFit, StreamFit
from estran.spec.costs import Amount, CommandModel, Cost
from estran.spec.model import Device, Service

HANDLING: Final = ("receive", "send", "take", "wake")
"""Keys of ``costs:`` that name no operation but what happens around a message."""

Uniform = Callable[[], float]
"""Draws from the open interval between 0 and 1."""


@dataclass(slots=True)
class Costs:
    """Looks costs up, and remembers which were mere estimates.

    Attributes
    ----------
    estimated
        ``service: operation`` for which an estimate was used.
    """

    calibration: Calibration | None = None
    estimated: set[str] = field(default_factory=set)

    def operation(self, service: Service, device: Device, operation: str, parameters: int) -> Cost:
        """Cost of a component's operation.

        Raises
        ------
        ServiceError
            If nothing is known of it.
        """
        declared = service.costs.get(operation)
        if declared is not None:
            return declared
        fitted = self._fitted(service, device, operation)
        if fitted is not None:
            return fitted.cost
        known = estimates.estimate(service.component or "", operation, parameters)
        if known is None:
            raise ServiceError(
                f"what its operation {operation!r} costs is not known",
                where=service.name,
                remedy=f"declare it (costs: {{{operation}: 2ms}}), or run it emulated once and calibrate: `estran calibrate RUN`",
            )
        self.estimated.add(f"{service.name}: {operation}")
        return known

    def known(self, service: Service, device: Device, operation: str) -> bool:
        """Whether an operation's cost is declared or calibrated."""
        return operation in service.costs or self._fitted(service, device, operation) is not None

    def first(self, service: Service, device: Device, operation: str) -> Cost | None:
        """Cost of a replica's first call of an operation, where one was observed and none is declared."""
        fitted = None if operation in service.costs else self._fitted(service, device, operation)
        return None if fitted is None or not fitted.first.mean() else fitted.first

    def _fitted(self, service: Service, device: Device, operation: str) -> OperationFit | None:
        """The fit for this service here, else elsewhere (costs are those of a core of speed 1.0)."""
        fits = [] if self.calibration is None else self.calibration.operations
        mine = [fit for fit in fits if fit.service == service.name and fit.operation == operation]
        return max(mine, key=lambda fit: (fit.device == device.name, fit.n), default=None)

    def handling(self, service: Service, device: Device) -> Handling:
        """What happens around a service's messages."""
        declared = service.costs
        found = self._handled(service, device)
        if found is None:
            missing = [key for key in HANDLING if key not in declared]
            if missing:
                self.estimated.add(f"{service.name}: handling of messages")
            found = Handling(
                service.name, device.name,
                wake=estimates.WAKE, take=estimates.TAKE,
                receive_cpu=estimates.RECEIVE, send_cpu=estimates.SEND,
            )  # fmt: skip
        return Handling(
            service.name,
            device.name,
            wake=declared.get("wake", found.wake),
            take=declared.get("take", found.take),
            receive_cpu=declared.get("receive", found.receive_cpu),
            send_cpu=declared.get("send", found.send_cpu),
            idle_cpu=found.idle_cpu,
            late=found.late,
            begin=found.begin,
        )

    def _handled(self, service: Service, device: Device) -> Handling | None:
        known = [] if self.calibration is None else self.calibration.handling
        mine = [one for one in known if one.service == service.name]
        return max(mine, key=lambda one: one.device == device.name, default=None)

    def transfer(self, stream: str, consumer: str, name: str = " → ") -> Cost:
        """Seconds that a stream's messages take beside the link's own delay and rate.

        Parameters
        ----------
        name
            The way that they take (`estran.spec.calibration.way`): what was observed on the same one counts most, then what was
            observed on one that also leaves its host, or does not. Some way from one host to another, if not given.
        """
        known = [] if self.calibration is None else self.calibration.streams
        mine = [one for one in known if one.stream == stream]

        def likeness(one: StreamFit) -> tuple[bool, bool, bool, int]:
            return one.way == name, ("→" in one.way) == ("→" in name), one.consumer == consumer, one.n

        best = max(mine, key=likeness, default=None)
        if best is None:
            self.estimated.add(f"{stream}: transfer")
            return estimates.EXTRA
        return best.extra

    def size(self, stream: str) -> Amount | None:
        """Observed size of a stream's messages, or None."""
        known = [] if self.calibration is None else self.calibration.streams
        return next((one.size for one in known if one.stream == stream), None)

    def command(self, service: Service) -> CommandModel | None:
        """What a command does: declared, else observed, else None."""
        if service.model is not None:
            return service.model
        return None if self.calibration is None else self.calibration.commands.get(service.name)
