"""Components: plain asyncio classes with typed inputs and outputs, the same code at every fidelity."""

from __future__ import annotations

import logging
import typing
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from estran.errors import ServiceError
from estran.runtime.clock import Clock
from estran.runtime.compute import Compute
from estran.runtime.ports import Input, Output, Toll
from estran.runtime.recorder import Recorder

R = TypeVar("R")


@dataclass(frozen=True)
class NoSettings:
    """The settings of a component that has none."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a component class declares: its ports with their payload types, and its settings' dataclass."""

    inputs: Mapping[str, type[Any]] = field(default_factory=dict)
    outputs: Mapping[str, type[Any]] = field(default_factory=dict)
    settings: type[Any] = NoSettings


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything that a component may know of where it runs.

    Attributes
    ----------
    folder
        The replica's own scratch folder; what it leaves under ``artefacts`` there is collected into the run folder.
    experiment_folder
        Folder of the experiment file: relative paths in settings start there.
    toll
        Simulated time only: what taking up messages costs.
    """

    name: str
    service: str
    index: int
    replicas: int
    clock: Clock
    compute: Compute
    recorder: Recorder
    seed: int
    folder: str = "."
    experiment_folder: str = "."
    toll: Toll | None = None


class Component:
    """One replica of a service. Subclass it, annotate ports and settings, and write ``run``.

    ``self.clock``, ``self.compute`` and the ports are the only doors to time, processor and network; randomness comes from
    ``self.rng``. A component neither sleeps, starts threads, nor reads a clock by other means.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class EchoSettings:
    ...     times: int = 1
    >>> class Echo(Component):
    ...     settings: EchoSettings
    ...     heard: Input[float]
    ...     said: Output[float]
    ...
    ...     async def run(self) -> None:
    ...         async for message in self.heard:
    ...             for _ in range(self.settings.times):
    ...                 await self.said.send(message.payload, parent=message.story)
    >>> shape(Echo).inputs
    {'heard': <class 'float'>}
    """

    settings: Any
    name: str
    """The replica: ``camera-2``."""
    index: int
    replicas: int
    clock: Clock
    rng: np.random.Generator
    metrics: Recorder
    log: logging.Logger
    folder: str
    experiment_folder: str

    REQUIRED: ClassVar[tuple[str, ...]] = ()
    """Inputs and outputs that must be connected for the component to make sense."""
    UNESTIMATED: ClassVar[tuple[str, ...]] = ()
    """Operations of the user's own making: nobody can estimate their cost, so simulated time needs it declared or calibrated."""

    FAULTS: ClassVar[tuple[str, ...]] = ()
    """Kinds of faults of its data that it brings about itself when `disturb` is called: ``burst``, ``drift``."""

    UNSIMULATED: ClassVar[tuple[str, str] | None] = None
    """Why it cannot run in simulated time, and what to do instead; None if it can."""

    @classmethod
    def needs(cls, settings: Any) -> tuple[str, ...]:
        """Inputs and outputs that must be connected with these settings: those of ``REQUIRED``, unless a subclass says more."""
        return cls.REQUIRED

    @classmethod
    def check_senders(cls, settings: Any, senders: Mapping[str, Sequence[tuple[type[Component], Any]]], folder: str) -> None:
        """Make sure, before a run, that its settings fit those of the components that send to it; nothing unless overridden.

        Parameters
        ----------
        senders
            By input: the components whose streams lead there, with their settings.
        folder
            The experiment file's.

        Raises
        ------
        RequestError
            If they do not.
        """

    async def setup(self) -> None:
        """Prepare before the run is measured: load data, allocate, compile. The replica is ready when this returns."""

    async def run(self) -> None:
        """Do the work, until done or cancelled."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def disturb(self, kind: str, settings: Mapping[str, Any]) -> None:
        """A fault of one of ``FAULTS`` begins, with its settings in SI units; nothing unless overridden."""

    def calm(self, kind: str) -> None:
        """It is over; nothing unless overridden."""

    async def compute(
        self, fn: Callable[..., R], *args: Any, operation: str | None = None, size: int = 1, parameters: int = 0
    ) -> R:
        """Return ``fn(*args)``, at the expense of the device: really, or by its model in simulated time.

        Parameters
        ----------
        operation
            Name under which its time is recorded; the function's own by default.
        size
            How many items it works on, the measure that its time is expected to depend on.
        parameters
            How many numbers the model has that it works with, if any: where nothing better is known of its time in simulated
            time, it is estimated from this.
        """
        return await self._surroundings.compute(operation or fn.__name__, size, fn, *args, parameters=parameters)

    _surroundings: Surroundings


_SHAPES: Final[WeakKeyDictionary[type[Any], Shape]] = WeakKeyDictionary()


def shape(component: type[Component]) -> Shape:
    """Read ports and settings from a component's annotations."""
    found = _SHAPES.get(component)
    if found is None:
        found = _SHAPES[component] = _read(component)
    return found


def _read(component: type[Component]) -> Shape:
    hints = typing.get_type_hints(component)
    inputs: dict[str, type[Any]] = {}
    outputs: dict[str, type[Any]] = {}
    for name, hint in hints.items():
        origin = typing.get_origin(hint)
        if origin in (Input, Output):
            (inputs if origin is Input else outputs)[name] = typing.get_args(hint)[0]
    settings = hints.get("settings", Any)
    return Shape(inputs, outputs, NoSettings if settings is Any else settings)


def build(component: type[Component], settings: Mapping[str, Any], surroundings: Surroundings) -> Component:
    """Make one replica: settings converted, ports there but not yet connected.

    Raises
    ------
    ServiceError
        If the settings do not fit the component's dataclass.
    """
    import msgspec

    made = component()
    form = shape(component)
    try:
        made.settings = msgspec.convert(dict(settings), form.settings)
    except msgspec.ValidationError as error:
        raise ServiceError(f"settings of {component.__name__} do not fit: {error}", where=surroundings.name) from error
    made.name, made.index, made.replicas = surroundings.name, surroundings.index, surroundings.replicas
    made.clock, made.metrics = surroundings.clock, surroundings.recorder
    made.folder, made.experiment_folder = surroundings.folder, surroundings.experiment_folder
    made.log = logging.getLogger(f"estran.service.{surroundings.name}")
    made.rng = generator(surroundings.seed, surroundings.service, surroundings.index)
    made._surroundings = surroundings
    for name, payload in form.inputs.items():
        port = Input(name, payload, surroundings.clock, surroundings.recorder, surroundings.name, surroundings.toll)
        setattr(made, name, port)
    for name, payload in form.outputs.items():
        setattr(made, name, Output(name, payload, surroundings.clock, surroundings.name, surroundings.toll))
    return made


def generator(seed: int, service: str, index: int) -> np.random.Generator:
    """The random stream of one replica: from the experiment's seed, the service's name and the replica's index."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(service.encode()), index)))
