"""The simulated platform: one process, the real components on a virtual clock, network and processors from models."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from estran.components.index import Components
from estran.errors import PlatformError
from estran.platforms.base import OPEN, Access, Host, Problem, Verification
from estran.platforms.simulated.breaking import UNSIMULATED, Breaker
from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.costs import Costs
from estran.platforms.simulated.host import Life, SimulatedHost
from estran.platforms.simulated.loop import TimeStoodStillError, VirtualLoop
from estran.platforms.simulated.output import Printed
from estran.platforms.simulated.seams import EscapeError, Seams
from estran.platforms.simulated.stability import REMEDY, Gauges
from estran.platforms.simulated.trace import TraceFile
from estran.platforms.simulated.world import Seat, World
from estran.runtime.clock import Clock
from estran.runtime.launch import Launch
from estran.spec.calibration import Calibration
from estran.spec.faults import FaultKind
from estran.spec.plan import Plan

SAMPLER: Final = "estran.observe.sampler:run_modelled"
TRACE: Final = "trace.txt"
LEAST_PERIOD: Final = 0.1
SAMPLES: Final = 120
FLUSHES: Final = 20
ROWS_PER_SECOND: Final = 2000


class SimulatedPlatform:
    """The real components in virtual time.

    Parameters
    ----------
    calibration
        What runs at a higher fidelity taught about costs; estimates are used without it.
    origin
        Where the calibration comes from, for the record.
    trace
        Whether to write the order of events to ``trace.txt`` of the run folder.
    """

    name = "simulate"
    virtual = True

    def __init__(self, calibration: Calibration | None = None, *, origin: str | None = None, trace: bool = False) -> None:
        self._calibration = calibration
        self._origin = origin
        self._trace = trace

    @staticmethod
    def loop_factory() -> asyncio.AbstractEventLoop:
        """The event loop on which a run must be conducted."""
        return VirtualLoop()

    async def check(self, plan: Plan) -> list[Problem]:
        """What cannot be simulated of the plan: commands without a model, operations without a cost."""
        costs = Costs(self._calibration)
        found = [*_unsimulated(plan), *_unpriced(plan, costs)]
        for service in plan.experiment.services.values():
            if service.command is not None and costs.command(service) is None:
                found.append(
                    Problem(
                        "a command cannot be simulated without a model of what it does",
                        f"services.{service.name}",
                        "declare one (model: {serves: …, calls: …}), or run it emulated once and `estran calibrate` that run",
                    )
                )
        found += _immortal(plan)
        return found

    def breaks(self, kind: FaultKind) -> str | None:
        """Why it cannot do faults of a kind."""
        return UNSIMULATED.get(kind)

    @asynccontextmanager
    async def provide(self, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[SimulatedProvision]:
        """Make the model; it is gone on exit."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise PlatformError("a simulated run must be conducted in virtual time", remedy="this is a defect of Estran")
        with ExitStack() as stack:
            trace = stack.enter_context(TraceFile(folder / TRACE, loop)) if self._trace else None
            seams = stack.enter_context(Seams(loop.names, plan.experiment.folder))
            quota = self._calibration is not None and self._calibration.processor == "quota"
            stack.enter_context(_seldom_collected())
            world = World(plan, loop, Costs(self._calibration), seams, trace, quota=quota)
            before = sys.stdout if isinstance(sys.stdout, io.TextIOBase) else io.StringIO()
            printed = Printed(before, lambda rank, text: world.replicas[rank].line("stdout", text))
            stack.enter_context(contextlib.redirect_stdout(printed))
            yield SimulatedProvision(world, seams, self._origin)
            printed.close_lines()


def _unsimulated(plan: Plan) -> Iterator[Problem]:
    """Components that say that they cannot run in simulated time."""
    components = Components(plan.experiment.folder)
    for service in plan.experiment.services.values():
        reason = None if service.component is None else components.find(service.component).UNSIMULATED
        if reason is not None:
            yield Problem(reason[0], f"services.{service.name}", reason[1])


def _immortal(plan: Plan) -> Iterator[Problem]:
    """Faults that end commands, of which there are only models here."""
    for one in plan.injections:
        for name in one.replicas if one.kind in ("crash", "reboot", "kill") else ():
            if plan.replicas[name].service.command is not None:
                what = f"{name} is a command, and its model does not know how to begin anew"
                yield Problem(what, f"faults.{one.fault}", "run it emulated, or name services that are components")
                break


def _unpriced(plan: Plan, costs: Costs) -> Iterator[Problem]:
    """Operations whose cost is neither declared nor calibrated, and that nobody can estimate."""
    components = Components(plan.experiment.folder)
    for replica in plan.replicas.values():
        service = replica.service
        if service.component is None or replica.index:
            continue
        device = plan.hosts[replica.host].device
        for operation in components.find(service.component).UNESTIMATED:
            if not costs.known(service, device, operation):
                yield Problem(
                    f"what its operation {operation!r} costs is not known",
                    f"services.{service.name}",
                    f"declare it (costs: {{{operation}: 2ms}}), or run it emulated once and calibrate: `estran calibrate RUN`",
                )


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for garbage in cycles seldom: a run makes objects by the million and next to no cycles, and looking takes a third."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class SimulatedProvision:
    """Hosts and model of one simulated run."""

    def __init__(self, world: World, seams: Seams, origin: str | None) -> None:
        self._world = world
        self._seams = seams
        self._origin = origin
        plan = world.plan
        measure = plan.experiment.measure
        self._period = max(LEAST_PERIOD, measure.duration / SAMPLES, 3 * len(plan.hosts) / ROWS_PER_SECOND)
        watched = measure.until is not None or any(one.when is not None for one in plan.injections)
        flush = LEAST_PERIOD if watched else max(LEAST_PERIOD, measure.duration / FLUSHES)
        self._broken: asyncio.Future[PlatformError] = world.loop.create_future()
        world.loop.on_still = self._still
        processors = {name: seat.processor for name, seat in world.seats.items()}
        self._gauges = Gauges(plan, processors, world.waiting, self._overgrown)
        seats: defaultdict[str, list[Seat]] = defaultdict(list)
        for seat in world.seats.values():
            seats[seat.replica.host].append(seat)
        made = {name: self._host(name, seats[name], flush) for name in plan.hosts if name in seats}
        self.hosts: Mapping[str, Host] = made
        breaker = Breaker(world, made)
        self.inject, self.heal = breaker.inject, breaker.heal

    def _still(self, error: TimeStoodStillError) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)

    def _overgrown(self, what: str) -> None:
        if not self._broken.done():
            self._broken.set_exception(PlatformError(what, remedy=REMEDY))

    def _host(self, name: str, seats: Sequence[Seat], flush_period: float) -> SimulatedHost:
        idle = sum(seat.handling.idle_cpu for seat in seats)
        return SimulatedHost(
            name, self._make, self._world.sever, [seat.replica.name for seat in seats], [seat.processor for seat in seats], idle,
            self._world.network.counted(name), self._gauges,
            flush_period,
        )  # fmt: skip

    def _make(self, launch: Launch, host: SimulatedHost) -> Life:
        make = self._world.replica if launch.component is not None else self._world.command
        return make(launch, host.say, host.emit)

    def now_ns(self) -> int:
        """The loop's time, in nanoseconds."""
        return round(self._world.loop.time() * 1e9)

    def clock(self, origin_ns: int) -> Clock:
        """The run's clock."""
        self._world.begin(origin_ns)
        return VirtualClock(self._world.loop, origin_ns)

    def address(self, source: str, target: str) -> str:
        """A host's name: nothing is addressed here."""
        return target

    def access(self) -> Access:
        """Nobody else is there."""
        return OPEN

    async def enforce(self) -> None:
        """Processors are what they are from the beginning."""

    async def verify(self) -> Verification:
        """There is nothing to measure: the network is the one that was asked for."""
        return Verification(facts=self.facts())

    def facts(self) -> dict[str, Any]:
        """What the model rests on."""
        return {
            "simulated": True,
            "calibration": self._origin,
            "links": [{"source": link.source, "target": link.target, **asdict(link.link)} for link in self._world.plan.links],
        }

    def sampler(self, host: str) -> tuple[str, Mapping[str, Any]]:
        """How to sample one host."""
        device = self._world.plan.hosts[host].device
        power = {
            "device": device.name, "idle": device.idle_power, "busy": device.busy_power, "capacity": device.cores * device.speed,
        }  # fmt: skip
        return SAMPLER, {"host": host, "period": self._period, "power": power}

    def observer(self, host: str) -> None:
        """Models of commands record what they do themselves."""

    async def broken(self) -> PlatformError:
        """Wait for what a model cannot go on with.

        Raises
        ------
        TimeStoodStillError
            If virtual time has stopped.
        PlatformError
            If more waits for a replica than is worth simulating.
        """
        return await self._broken

    async def conclude(self) -> Mapping[str, Any]:
        """All hosts have one clock."""
        return {}

    def notes(self) -> list[str]:
        """What the reader of the figures must know: what could not keep up, and which costs were mere estimates.

        Raises
        ------
        EscapeError
            If a component escaped simulated time and swallowed the error, or in a way that only shows in the end.
        """
        for escape in self._seams.escapes:
            if not escape.reported:
                raise escape
        if not self._seams.untouched():
            raise EscapeError(
                "a component drew from global random state, through a name that no guard has seen",
                where=", ".join(sorted({seat.replica.service.name for seat in self._world.seats.values()})),
                remedy="draw from self.rng, and hand seeds to libraries",
            )
        notes = self._gauges.verdicts()
        estimated = sorted(self._world.costs.estimated)
        if not estimated:
            return notes
        return [
            *notes,
            f"costs are estimates, not calibrated: {'; '.join(estimated)} (calibrate: `estran run … --on emulate`, then "
            "`estran calibrate RUN`)",
        ]
