"""The processor seam in virtual time: a computation is really done, and takes what its model says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from estran.platforms.simulated.costs import Costs, Uniform
from estran.platforms.simulated.processor import Processor
from estran.runtime.recorder import Recorder
from estran.spec.costs import Cost
from estran.spec.model import Device, Service

R = TypeVar("R")


class SimulatedCompute:
    """Runs one replica's computations at the expense of its modelled processor, one after another.

    Parameters
    ----------
    draw
        Uniform variates for the spread of costs.
    trace
        Takes what happens and its details, or None.
    """

    def __init__(
        self,
        processor: Processor,
        costs: Costs,
        service: Service,
        device: Device,
        recorder: Recorder,
        draw: Uniform,
        trace: Callable[[str, str], None] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._processor = processor
        self._costs = costs
        self._service = service
        self._device = device
        self._recorder = recorder
        self._draw = draw
        self._trace = trace
        self._known: dict[tuple[str, int], Cost] = {}
        self._called: set[str] = set()

    async def __call__(self, operation: str, size: int, fn: Callable[..., R], *args: Any, parameters: int = 0) -> R:
        if operation not in self._called:
            cost = self._first(operation, parameters, size)
        else:
            model = self._cost(operation, parameters)
            cost = model.draw(size, self._draw()) if model.varies else model.time + model.each * size
        loop = self._loop
        asked = loop.time()
        await self._processor.work(loop, cost)
        # What it changes shows when it is over.
        result = fn(*args)
        self._recorder.operation(operation, size, loop.time() - asked, cost)
        if self._trace is not None:
            self._trace("computed", f"{operation} of {size} in {1e3 * (loop.time() - asked):.6f} ms")
        return result

    def _first(self, operation: str, parameters: int, size: int) -> float:
        self._called.add(operation)
        first = self._costs.first(self._service, self._device, operation)
        return (first or self._cost(operation, parameters)).draw(size, self._draw())

    def _cost(self, operation: str, parameters: int) -> Cost:
        found = self._known.get((operation, parameters))
        if found is None:
            found = self._costs.operation(self._service, self._device, operation, parameters)
            self._known[operation, parameters] = found
        return found
