"""What each service does, as far as queues are concerned: it creates messages, passes them on, answers, learns, takes them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from estran.components.index import Components
from estran.components.predictor import Predictor
from estran.components.publishing import sending
from estran.components.serving.settings import serving_choice
from estran.components.sink import Sink
from estran.components.source import Source
from estran.components.trainer import Trainer
from estran.errors import RequestError
from estran.learning.arrivals import arrival_process
from estran.platforms.simulated.costs import HANDLING
from estran.platforms.simulated.flow import traffic
from estran.platforms.simulated.flow.traffic import Traffic
from estran.runtime.component import Component, shape
from estran.spec.calibration import Calibration, OperationFit
from estran.spec.model import Experiment, Service, Share

Kind = Literal["source", "predictor", "trainer", "sink", "pass"]

_READY: Mapping[Kind, type[Component]] = {"source": Source, "predictor": Predictor, "trainer": Trainer, "sink": Sink}


@dataclass(slots=True)
class Role:
    """One service.

    Attributes
    ----------
    settings
        The component's own, converted.
    operation
        Of a component that passes messages on: what its work is called in ``costs:``.
    sends
        What leaves by each output.
    """

    service: Service
    kind: Kind
    settings: Any = None
    operation: str = ""
    sends: dict[str, Traffic] = field(default_factory=dict)


def roles(experiment: Experiment, index: Components, calibration: Calibration | None = None) -> dict[str, Role]:
    """Find out what every service does and sends.

    Raises
    ------
    RequestError
        If one does something that costs alone do not describe, or nothing can reach it.
    """
    fits = () if calibration is None else calibration.operations
    _check_streams(experiment)
    _check_coupling(experiment)
    found = {service.name: _role(service, index, fits) for service in experiment.services.values()}
    waiting = dict(found)
    while waiting:
        known = [name for name, role in waiting.items() if _describe(role, experiment, found)]
        if not known:
            name = next(iter(waiting))
            raise RequestError("no samples ever reach it", where=name, remedy="lead a stream from a source to it")
        for name in known:
            del waiting[name]
    return found


def _check_coupling(experiment: Experiment) -> None:
    """Refuse what costs alone do not model: streams that leave messages out or hold them back, shares of processors, faults."""
    for fault in experiment.faults:
        if fault.happens:
            what = f"no {fault.kind} here: costs alone know nothing that breaks"
            remedy = f"simulate without --detail flow, or give it no time (--set faults.{fault.name}.for=none)"
            raise RequestError(what, where=f"faults.{fault.name}", remedy=remedy)
    for service in experiment.services.values():
        if service.share != Share():
            raise RequestError("share: is not modelled by costs alone", where=service.name, remedy="simulate without --detail flow")
    for stream in experiment.streams:
        for key, given in (("when_full", stream.when_full != "block"), ("rate", stream.rate), ("sample", stream.sample < 1)):
            if given:
                what = f"{key}: is not modelled by costs alone"
                raise RequestError(what, where=f"the stream from {stream.source}", remedy="simulate without --detail flow")


def _role(service: Service, index: Components, fits: Sequence[OperationFit]) -> Role:
    if service.component is None:
        told = "with its model:, " if service.model is not None else "give it a model: and "
        raise RequestError(
            "commands are not simulated by costs alone", where=service.name, remedy=f"{told}simulate it without --detail flow"
        )
    found = index.find(service.component)
    form = shape(found)
    settings = msgspec.convert(dict(service.settings), form.settings)
    for kind, ready in _READY.items():
        if issubclass(found, ready) and found.run is ready.run:
            _check_rate(service, kind, settings)
            _check_policies(service, kind, settings)
            return Role(service, kind, settings)
    declared = [name for name in service.costs if name not in HANDLING]
    operations = declared or sorted({fit.operation for fit in fits if fit.service == service.name})
    if not form.inputs or len(operations) != 1:
        what = f"what {service.component} does with messages is not known" if form.inputs else "when it sends is not known"
        remedy = (
            "if it passes each message on, declare what that costs (costs: {forward: 2ms}); else simulate without --detail flow"
        )
        raise RequestError(what, where=service.name, remedy=remedy)
    return Role(service, "pass", settings, operations[0])


def _check_rate(service: Service, kind: Kind, settings: Any) -> None:
    if kind == "source" and settings.rate is None and arrival_process(settings.arrivals).kind != "replay":
        what = "has no rate: it would send as fast as its consumers take, which costs alone do not say"
        raise RequestError(what, where=service.name, remedy="write rate: 50/s, or simulate without --detail flow")


def _check_policies(service: Service, kind: Kind, settings: Any) -> None:
    """Refuse what follows from answers and their truth, which costs alone do not know."""
    if kind == "trainer":
        publish = settings.publish
        asked = {"drift": publish.drift, "gain": publish.gain, "pull": publish.pull, "delta": sending(publish.send).delta}
    elif kind == "predictor":
        other = serving_choice(settings.serving).kind != "swap"
        asked = {"serving": other, "shed": settings.shed, "threshold": settings.threshold, "pull": settings.pull}
    else:
        return
    for name, wanted in asked.items():
        if wanted:
            what = f"what {name} comes to depends on more than costs"
            raise RequestError(what, where=service.name, remedy="leave it out, or simulate without --detail flow")


def _check_streams(experiment: Experiment) -> None:
    for stream in experiment.streams:
        if stream.source.port in ("labelled", "deferred", "requests"):
            what = f"streams of {stream.source.port} are not simulated by costs alone"
            raise RequestError(what, where=str(stream.source), remedy="simulate without --detail flow")


def _describe(role: Role, experiment: Experiment, known: Mapping[str, Role]) -> bool:
    """Fill in what a service sends; False while what it is sent is not known."""
    name = role.service.name
    if role.kind == "source":
        role.sends["samples"] = traffic.samples(name, role.settings, experiment.folder)
        return True
    given = data_inputs(role, experiment, known)
    if not given:
        return False
    first = given[0]
    if role.kind in ("predictor", "trainer"):
        role.sends["predictions"] = traffic.predictions(name, first)
    if role.kind == "trainer":
        role.sends["models"] = traffic.models(name, role.settings, first)
    if role.kind == "pass":
        if any(other.bytes != first.bytes for other in given):
            what = "takes in messages of different sizes, so that the size of what it sends is not known"
            raise RequestError(what, where=name, remedy="give each its own service, or simulate without --detail flow")
        role.sends = {stream.source.port: first for stream in experiment.streams if stream.source.service == name}
    return True


def data_inputs(role: Role, experiment: Experiment, known: Mapping[str, Role]) -> list[Traffic]:
    """What is known to be sent to a service, models to a predictor left out."""
    found = []
    for stream in experiment.streams:
        for target in stream.targets:
            sent = known[stream.source.service].sends.get(stream.source.port)
            if (
                target.service == role.service.name
                and sent is not None
                and not (role.kind == "predictor" and target.port == "models")
            ):
                found.append(sent)
    return found
