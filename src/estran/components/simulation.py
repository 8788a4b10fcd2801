"""Simulations in the loop: an ensemble of a parametric simulator, run by a pool of replicas."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import shlex
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from string import Formatter
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from estran.components.fields import Proposal, Steps
from estran.components.frames import SimulationError
from estran.components.rolling import Pace
from estran.components.simulators import ProgramSimulator, PythonSimulator, Simulator
from estran.errors import ServiceError
from estran.learning.mistakes import SettingsError
from estran.learning.surrogates.samplers import Kind, Sampler, draws
from estran.learning.surrogates.space import Space
from estran.runtime.component import Component, generator
from estran.runtime.ports import Input, Output
from estran.units import Duration, Frequency

MOST_IN_A_ROW: Final = 20
"""Simulations that may fail one after the other before the service does: then it is not a simulation that is wrong."""
RECORD_EVERY: Final = 0.5
ALL: Final = 2**32 - 1
"""Stands for all replicas, in place of an index: what is drawn so does not depend on how many there are."""


@dataclass(frozen=True)
class SimulationSettings:
    """What is simulated, and with which parameters.

    Attributes
    ----------
    parameters
        Range of each parameter: ``{x: [0, 1]}``.
    steps
        Time steps of each simulation; what a simulator yields beyond is not asked for.
    simulator
        ``module:function`` beside the experiment file: called with the parameters by their names, it yields an array per step. If
        it has an argument ``rng`` it is given a generator.
    options
        Further arguments of the function, the same in all simulations.
    program
        Instead of ``simulator``: a program with its arguments, in which ``{x}`` stands for parameter x, ``{seed}`` for a number,
        and ``{experiment}`` for the experiment file's folder. It writes an array per step as ``.npy`` to its standard output.
    files
        Of a program: it leaves an array per step in files that match this pattern, in the order of their names.
    sampler
        Where parameters come from while nobody proposes any: a kind, or `Sampler` for the details.
    count
        Simulations of all replicas together; without end if not given.
    rate
        Steps per second of each replica at the most.
    batch
        Steps per message.
    timeout
        How long a simulator may be silent, in real time, before it counts as hung.
    """

    parameters: dict[str, tuple[float, float]]
    steps: int
    simulator: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    program: str | tuple[str, ...] | None = None
    files: str | None = None
    sampler: Kind | Sampler = "uniform"
    count: int | None = None
    rate: Frequency | None = None
    batch: int = 1
    timeout: Duration = 30.0

    def __post_init__(self) -> None:
        space = Space.of(self.parameters)
        for name in ("steps", "batch", "count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}", where="simulation", remedy="give 1 or more")
        if self.timeout <= 0:
            raise SettingsError(f"timeout is {self.timeout:g}s", where="simulation", remedy="give more than 0")
        sampler = as_sampler(self.sampler)
        sampler.check(space)
        if (self.simulator is None) == (self.program is None):
            what = "it says neither simulator nor program" if self.program is None else "it says both simulator and program"
            raise SettingsError(what, where="simulation", remedy="write simulator: module:function, or program: …")
        if self.simulator is not None:
            _check_function(self.simulator, [*self.parameters, *self.options])
            if self.files is not None:
                raise SettingsError("a function leaves no files", where="files", remedy="leave it out, or write program: …")
        else:
            _check_words(arguments(self.program or ""), {*self.parameters, "seed", "experiment"})
            if self.options:
                raise SettingsError("a program takes none", where="options", remedy="write them into program: …")


class Simulation(Component):
    """Runs simulations one after the other, each with the oldest parameters proposed to it, else with those of its sampler.

    What a simulator yields is sent as it comes; where the consumers do not keep up, simulations wait. One that crashes, falls
    silent, or writes what is no time step is recorded as the event ``simulation_failed``, and the ensemble goes on. Metrics:
    ``simulations`` and ``failed``, both so far, ``steered``, the share with proposed parameters, and ``blocked``, the share of time
    spent waiting for consumers; of each replica.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("simulations", "failed", "steered", "blocked")
    REQUIRED: ClassVar[tuple[str, ...]] = ("steps",)
    UNESTIMATED: ClassVar[tuple[str, ...]] = ("step",)

    settings: SimulationSettings
    parameters: Input[Proposal]
    steps: Output[Steps]

    async def setup(self) -> None:
        """Start the simulator's process."""
        self._space = Space.of(self.settings.parameters)
        self._simulator = self._started()
        self._proposed: deque[Proposal] = deque()
        self._done = self._failed = self._steered = self._in_a_row = 0
        self._blocked, self._width = 0.0, 0
        self._recording = Pace(RECORD_EVERY)

    async def run(self) -> None:
        """Simulate until all has been simulated."""
        heeding = asyncio.create_task(self._heed(), name="heed")
        try:
            for number, position, weight in self._ensemble():
                await self._simulate(number, position, weight)
            await self.steps.drain()
            self._record()
            self.metrics.event("exhausted", f"{self._done} simulations")
        finally:
            heeding.cancel()
            with suppress(asyncio.CancelledError):
                await heeding
            self._simulator.close()

    def _started(self) -> Simulator:
        settings, folder, experiment = self.settings, Path(self.folder).resolve(), Path(self.experiment_folder)
        if settings.simulator is not None:
            return PythonSimulator(settings.simulator, experiment, folder, settings.options, settings.timeout)
        return ProgramSimulator(arguments(settings.program or ""), settings.files, experiment, folder, settings.timeout)

    async def _heed(self) -> None:
        async for message in self.parameters:
            self._proposed.append(message.payload)

    def _ensemble(self) -> Iterator[tuple[int, NDArray[np.float64], float]]:
        """Number, position and weight of the simulations of this replica, out of what all replicas draw alike."""
        shared = generator(self._surroundings.seed, self._surroundings.service, ALL)
        drawn = enumerate(draws(as_sampler(self.settings.sampler), self._space, shared, count=self.settings.count))
        own = islice(drawn, self.index, self.settings.count, self.replicas)
        return ((number, position, weight) for number, (position, weight) in own)

    async def _simulate(self, number: int, position: NDArray[np.float64], weight: float) -> None:
        values, steered = self._space.values(position), bool(self._proposed)
        if steered:
            values, weight = self._proposed.popleft().values, 1.0
        try:
            await self._steps(number, values, weight)
        except SimulationError as error:
            self._mark(number, values, error)
        else:
            self._done += 1
            self._steered += steered
            self._in_a_row = 0
        finally:
            self._simulator.abandon()
        if self._recording.due(self.clock.now()):
            self._record()

    async def _steps(self, number: int, values: NDArray[np.float64], weight: float) -> None:
        """Run one simulation, sending its steps as they come."""
        named = dict(zip(self._space.names, values.tolist(), strict=True))
        total, fields, due = self.settings.steps, [], self.clock.now()
        self._simulator.begin(named, int(self.rng.integers(2**31)), total)
        for step in range(total):
            fields.append(await self.compute(self._step, step, operation="step"))
            if len(fields) == self.settings.batch or step == total - 1:
                first = step + 1 - len(fields)
                space = self._space
                await self._send(Steps(number, space.low, space.high, values, first, total, np.stack(fields), weight))
                fields = []
            if self.settings.rate is not None:
                due = max(due + 1 / self.settings.rate, self.clock.now())
                await self.clock.sleep(due - self.clock.now())

    def _step(self, number: int) -> NDArray[np.float32]:
        """The simulator's next time step, as a row."""
        array = self._simulator.step()
        if array is None:
            raise SimulationError(f"ended after {number} of {self.settings.steps} steps")
        field = np.asarray(array, dtype=np.float32).ravel()
        if not field.size:
            raise SimulationError(f"wrote an array without elements at step {number}")
        if not np.isfinite(field).all():
            raise SimulationError(f"wrote a NaN or an infinity at step {number}")
        if self._width not in (0, len(field)):
            raise SimulationError(f"wrote {len(field)} numbers at step {number}, where others had {self._width}")
        self._width = len(field)
        return field

    async def _send(self, steps: Steps) -> None:
        before = self.clock.now()
        await self.steps.send(steps)
        self._blocked += self.clock.now() - before
        # Where all is computed in place, others of this process want their turn.
        await asyncio.sleep(0)

    def _mark(self, number: int, values: NDArray[np.float64], error: SimulationError) -> None:
        self._failed += 1
        self._in_a_row += 1
        named = dict(zip(self._space.names, values.tolist(), strict=True))
        self.metrics.event("simulation_failed", json.dumps({"simulation": number, "why": error.what, "parameters": named}))
        self.log.warning("simulation %d failed: it %s", number, error.what)
        if self._in_a_row >= MOST_IN_A_ROW:
            what = f"{MOST_IN_A_ROW} simulations failed one after the other; the last one {error.what}"
            raise ServiceError(what, where=self.name, remedy="run the simulator by itself with these parameters, and mend it")

    def _record(self) -> None:
        finished = self._done + self._failed
        self.metrics.record("simulations", self._done)
        self.metrics.record("failed", self._failed)
        if self.parameters.connected and self._done:
            self.metrics.record("steered", self._steered / self._done)
        if finished and self.clock.now() > 0:
            self.metrics.record("blocked", min(self._blocked / self.clock.now(), 1.0))


def as_sampler(choice: Kind | Sampler) -> Sampler:
    """A sampler, from its kind or itself."""
    return Sampler(choice) if isinstance(choice, str) else choice


def arguments(program: str | tuple[str, ...]) -> list[str]:
    """A program's arguments.

    Raises
    ------
    SettingsError
        If a text cannot be split as a shell would.
    """
    try:
        return shlex.split(program) if isinstance(program, str) else list(program)
    except ValueError as error:
        raise SettingsError(
            f"{program} cannot be split: {error}", where="program", remedy="close its quotes, or write a list"
        ) from error


def _check_words(words: list[str], known: set[str]) -> None:
    if not words:
        raise SettingsError("it is empty", where="program", remedy="write a program with its arguments")
    for word in words:
        try:
            names = [name for _, name, _, _ in Formatter().parse(word) if name is not None]
        except ValueError as error:
            raise SettingsError(f"{word}: {error}", where="program", remedy="write {{ and }} for braces") from error
        for name in names:
            if name not in known:
                raise SettingsError(f"there is no {{{name}}}", where="program", remedy=f"known: {', '.join(sorted(known))}")


def _check_function(path: str, given: list[str]) -> None:
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        parameters = inspect.signature(function).parameters
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        remedy = "write module:function, with the module beside the experiment file"
        raise SettingsError(f"{path} cannot be imported: {error}", where="simulator", remedy=remedy) from error
    except Exception as error:
        what = f"{path} cannot be imported: its module raised {type(error).__name__}: {error}"
        raise SettingsError(what, where="simulator", remedy=f"mend the module {module}") from error
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for argument in given:
            if argument not in parameters:
                known = ", ".join(known for known in parameters if known != "rng")
                raise SettingsError(f"{path} takes no {argument}", where="simulator", remedy=f"it takes {known}")
    missing = [
        argument
        for argument, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and argument not in (*given, "rng")
    ]
    if missing:
        what = f"{path} needs {', '.join(missing)}"
        raise SettingsError(what, where="simulator", remedy="give a range in parameters, or a value in options")
