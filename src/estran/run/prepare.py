"""What comes before a run: load the description, plan it, find the platform, ask what it cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from estran.components.index import Components, converted, needed_ports
from estran.errors import RequestError, SpecError, SpecErrors, Where
from estran.platforms.base import Platform, Problem
from estran.run.describing import Asked
from estran.run.faults import unbreakable
from estran.runtime.component import Component
from estran.spec import base_folder, load
from estran.spec.calibration import FILE_NAME, Calibration, read_calibration
from estran.spec.faults import Injection
from estran.spec.model import Experiment
from estran.spec.plan import Channel, Plan
from estran.spec.plug_ins import loaded, plug_ins
from estran.spec.resolve import plan as make_plan
from estran.spec.suggest import closest

PLATFORM_GROUP = "estran.platforms"
MOST_HOSTS = 20_000
"""Hosts that are planned one by one at the most, with a link between every two that a rule covers."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that has been asked for and checked, and not yet started.

    Attributes
    ----------
    components
        ``module:Class`` of every component service, by service name.
    asked, calibration
        How it was asked for, and the calibration file that is in force: for the record.
    """

    experiment: Experiment
    plan: Plan
    platform: Platform
    components: Mapping[str, str]
    problems: tuple[Problem, ...]
    asked: Asked = field(default_factory=Asked)
    calibration: Path | None = None

    def refuse_impossible(self) -> None:
        """Make sure that the platform can do all that is asked.

        Raises
        ------
        RequestError
            Naming what it cannot.
        """
        fatal = [problem for problem in self.problems if problem.fatal]
        if fatal:
            raise RequestError("; ".join(map(str, fatal)), where="platform", remedy=fatal[0].remedy)


@dataclass(frozen=True, slots=True)
class Simulation:
    """How to simulate: options that other platforms have not.

    Attributes
    ----------
    calibration
        A calibration file; None for the one beside the experiment file if there is one, ``none`` for estimates.
    trace
        Whether to write the order of events.
    """

    calibration: str | None = None
    trace: bool = False


def open_platform(name: str, folder: Path = Path(), simulation: Simulation | None = None) -> Platform:
    """Find a platform by what ``--on`` says: ``emulate``, ``emulate:tun`` to insist on one of its engines, or a platform file.

    Parameters
    ----------
    folder
        The experiment's.
    simulation
        Options of the simulated platform; others take none.

    Raises
    ------
    RequestError
        If there is none of that name, it does not take the options, or the calibration file cannot be read.
    SpecErrors
        All that is wrong with the platform file.
    """
    if is_platform_file(name):
        if simulation is not None and simulation != Simulation():
            raise RequestError("--calibration and --trace have no meaning on real hosts", where="--on", remedy="add --on simulate")
        from estran.platforms.files import platform_of

        return platform_of(Path(name))
    kind, _, option = name.partition(":")
    found = plug_ins(PLATFORM_GROUP)
    if kind not in found:
        near = closest(kind, found)
        meant = "" if near is None else f"did you mean {near!r}? "
        raise RequestError(
            f"there is no platform {kind!r} in this version",
            where="--on",
            remedy=f"{meant}choose one of {', '.join(sorted(found))}, or give a platform file (NAME.yaml)",
        )
    make = loaded(found[kind], "--on")
    if kind == "simulate":
        if option:
            raise RequestError(f"simulate has no engine {option!r}", where="--on", remedy="write --on simulate")
        chosen = simulation or Simulation()
        calibration, origin = find_calibration(chosen.calibration, folder)
        simulated: Platform = make(calibration, origin=origin, trace=chosen.trace)
        return simulated
    if simulation is not None and simulation != Simulation():
        raise RequestError(f"--calibration and --trace have no meaning on {kind}", where="--on", remedy="add --on simulate")
    platform: Platform = make(option) if option else make()
    return platform


def is_platform_file(name: str) -> bool:
    """Whether what is given to ``--on`` means a file."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def find_calibration(asked: str | None, folder: Path) -> tuple[Calibration | None, str | None]:
    """The calibration to simulate with, and where it is from (see `Simulation`); None twice for estimates.

    Raises
    ------
    RequestError
        If the file cannot be read.
    """
    path = calibration_file(asked, folder)
    return (None, None) if path is None else (read_calibration(path), str(path))


def calibration_file(asked: str | None, folder: Path) -> Path | None:
    """The calibration file that is meant (see `Simulation`); None for estimates."""
    path = folder / FILE_NAME if asked is None else Path(asked)
    return None if asked == "none" or (asked is None and not path.exists()) else path


def prepare(
    file: str,
    *,
    overrides: Sequence[str] = (),
    assignment: Mapping[str, Any] | None = None,
    seed: int | None = None,
    on: str = "emulate",
    simulation: Simulation | None = None,
    platform: Platform | None = None,
) -> Prepared:
    """Load an experiment, plan it, and ask the platform what it cannot do of it.

    Parameters
    ----------
    overrides
        Options ``path=value``.
    assignment
        Levels of some factors; the others have their first.
    platform
        The one to use, instead of opening that of ``on``.

    Raises
    ------
    SpecErrors
        All that is wrong with the file.
    RequestError
        If the file or the platform does not exist.
    """
    folder = experiment_folder(file)
    platform = platform or open_platform(on, folder, simulation)
    experiment, index = read_experiment(file, overrides=overrides, assignment=assignment, seed=seed)
    plan = planned(experiment)
    components = {
        service.name: index.path(service.component) for service in experiment.services.values() if service.component is not None
    }
    places = {f"faults.{fault.name}": fault.place for fault in experiment.faults}
    found = [*asyncio.run(platform.check(plan)), *unbreakable(platform, plan)]
    problems = [replace(one, place=one.place or places.get(one.where)) for one in found]
    chosen = simulation or Simulation()
    asked = Asked(on, tuple(overrides), dict(assignment or {}), seed, chosen.calibration, trace=chosen.trace)
    calibration = calibration_file(chosen.calibration, folder) if platform.virtual else None
    return Prepared(experiment, plan, platform, components, tuple(problems), asked, calibration)


def planned(experiment: Experiment) -> Plan:
    """Plan every host, replica and link of an experiment.

    Raises
    ------
    RequestError
        If there are more hosts than can be treated one by one.
    """
    hosts = sum(layer.hosts for layer in experiment.layers.values())
    if hosts > MOST_HOSTS:
        raise RequestError(
            f"{hosts:,} hosts are too many to plan one by one; {MOST_HOSTS:,} are the most",
            where=experiment.source,
            remedy="simulate them by cost models alone: --on simulate --detail flow",
        )
    return make_plan(experiment)


def read_experiment(
    file: str, *, overrides: Sequence[str] = (), assignment: Mapping[str, Any] | None = None, seed: int | None = None
) -> tuple[Experiment, Components]:
    """Load an experiment file with everything that is known of components."""
    path = experiment_path(file)
    if not path.exists():
        what = "there is no experiment.yaml in this folder" if Path(file).is_dir() else "no such file"
        raise RequestError(what, where=file, remedy="`estran init` writes a ready-to-run experiment")
    index = Components(experiment_folder(file))
    chosen = [*overrides, *([f"seed={seed}"] if seed is not None else [])]
    experiment = load(path, assignment=assignment, overrides=chosen, components=index)
    if wrong := [*_unconnected(experiment, index), *_at_odds(experiment, index, experiment.folder)]:
        raise SpecErrors(wrong)
    return experiment, index


def experiment_path(file: str) -> Path:
    """The experiment file that is meant by a file or its folder."""
    path = Path(file)
    return path / "experiment.yaml" if path.is_dir() else path


def experiment_folder(file: str) -> Path:
    """The folder that paths and modules of an experiment start from: that of its file, unless its ``folder:`` names another."""
    return base_folder(experiment_path(file))


def _unconnected(experiment: Experiment, index: Components) -> Iterator[SpecError]:
    """Ports that a component cannot do without and no stream leads to or from."""
    connected = {str(port) for stream in experiment.streams for port in (stream.source, *stream.targets)}
    for service in experiment.services.values():
        component = index.find(service.component) if service.component is not None else None
        for port in needed_ports(component, service.settings) if component else ():
            if f"{service.name}.{port}" not in connected:
                yield SpecError(
                    f"services.{service.name}: its port {port!r} is not connected",
                    where=Where(experiment.source),
                    remedy=f"add a stream from or to {service.name}.{port}",
                )


def _at_odds(experiment: Experiment, index: Components, folder: str) -> Iterator[SpecError]:
    """Components whose settings do not fit those of others that send to them."""
    components = {
        name: (found := index.find(service.component), converted(found, service.settings))
        for name, service in experiment.services.items()
        if service.component is not None
    }
    for name, (component, settings) in components.items():
        senders: dict[str, list[tuple[type[Component], Any]]] = {}
        for stream in experiment.streams:
            sender = stream.source.service
            for target in stream.targets:
                if target.service == name and sender in components:
                    senders.setdefault(target.port, []).append(components[sender])
        try:
            component.check_senders(settings, senders, folder)
        except RequestError as error:
            yield SpecError(f"services.{name}: {error.what}", where=Where(experiment.source), remedy=error.remedy)


def plain_plan(plan: Plan) -> dict[str, Any]:
    """A plan as JSON: hosts, replicas, channels, links and warnings."""
    return {
        "experiment": plan.experiment.name,
        "seed": plan.experiment.seed,
        "assignment": dict(plan.experiment.assignment),
        "measure": asdict(plan.experiment.measure),
        "hosts": [asdict(host) for host in plan.hosts.values()],
        "replicas": [
            {
                "name": replica.name, "service": replica.service.name, "index": replica.index, "host": replica.host,
                "component": replica.service.component, "command": replica.service.command,
                "settings": dict(replica.service.settings),
            }
            for replica in plan.replicas.values()
        ],
        "channels": [_named(channel) for channel in plan.channels],
        "links": [{"source": link.source, "target": link.target, **asdict(link.link)} for link in plan.links],
        "faults": [_named(injection) for injection in plan.injections],
        "warnings": list(plan.warnings),
    }  # fmt: skip


def _named(part: Channel | Injection) -> dict[str, Any]:
    """As JSON: what identifies it is its name there, since values under ``key`` are hidden as secrets."""
    fields = asdict(part)
    return {"name": fields.pop("key"), **fields}
