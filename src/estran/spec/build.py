"""From checked blocks to the experiment: names become things, and every cross reference is checked on the way."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from estran.spec.blocks import Blocks
from estran.spec.build_costs import CostBuilder
from estran.spec.build_faults import FaultBuilder
from estran.spec.conditions import read_condition
from estran.spec.faults import Fault
from estran.spec.kinds import Kinds, given, rates
from estran.spec.marks import Complaints, Path
from estran.spec.model import Device, Layer, LinkRule, LinkSpec, Measure, Port, Ready, Service, Share, Stream, Until
from estran.spec.schema import NetworkEntry, ServiceEntry, StreamEntry
from estran.spec.suggest import did_you_mean
from estran.units import QuantityError


class Builder:
    """Builds the parts of an experiment; what cannot be built is complained of and left out."""

    def __init__(self, blocks: Blocks, complaints: Complaints) -> None:
        self._blocks = blocks
        self._complaints = complaints
        self._complain = complaints.add
        self._kinds = Kinds(blocks.devices, blocks.links, complaints)
        self._costs = CostBuilder(complaints)

    def layers(self) -> dict[str, Layer]:
        """Layers with their devices looked up."""
        self._kinds.check_own()
        built: dict[str, Layer] = {}
        for name, entry in self._blocks.layers.items():
            device = self.known_device(("layers", name, "device"), entry.device)
            if device is not None:
                built[name] = Layer(name, entry.hosts, device)
        return built

    def known_device(self, path: Path, name: str) -> Device | None:
        """Return the device of a name; complains if there is none such (of a wrong entry in the file, once and there)."""
        device = self._kinds.device(name)
        if device is None and name not in self._blocks.declared["devices"]:
            self._complain(path, f"{name!r} is no known device", did_you_mean(name, self._kinds.device_names(), kind="device"))
        return device

    def network(self) -> tuple[LinkRule, ...]:
        """Rules in the order of the file; a link with two rates becomes two one-way rules."""
        return tuple(rule for index, entry in self._blocks.network.items() for rule in self._rules(("network", index), entry))

    def _rules(self, path: Path, entry: NetworkEntry) -> list[LinkRule]:
        ends = self._ends(path, entry)
        figures = self._figures(path, entry)
        if ends is None or figures is None:
            return []
        up, down = rates(figures)
        basic = {key: figures[key] for key in ("delay", "jitter", "loss") if key in figures}
        if up == down:
            return [LinkRule(*ends, LinkSpec(rate=up, **basic), symmetric=entry.between is not None)]
        if entry.between is None:
            what = "the link has one rate up and another down, but this rule goes one way only"
            self._complain(
                path, what, f"use between: [{ends[0]}, {ends[1]}] (up goes from the first to the second), or give a rate"
            )
            return []
        there, back = LinkSpec(rate=up, **basic), LinkSpec(rate=down, **basic)
        return [LinkRule(ends[0], ends[1], there, symmetric=False), LinkRule(ends[1], ends[0], back, symmetric=False)]

    def _ends(self, path: Path, entry: NetworkEntry) -> tuple[str, str] | None:
        if entry.between is not None and entry.from_ is None and entry.to is None:
            return entry.between[0], entry.between[1]
        if entry.between is None and entry.from_ is not None and entry.to is not None:
            return entry.from_, entry.to
        lacks = entry.between is None and (entry.from_ is not None or entry.to is not None)
        what = "needs both from: and to:" if lacks else "needs either between: or from: and to:"
        self._complain(path, what, "write between: [edge, cloud] for both directions, or from: edge, to: cloud for one")
        return None

    def _figures(self, path: Path, entry: NetworkEntry) -> Mapping[str, Any] | None:
        own = given(entry)
        if entry.link is None:
            if not own:
                self._complain(path, "says nothing about the link", "add link: with a name, or delay:, jitter:, rate:, loss:")
            return own or None
        named = self.known_link((*path, "link"), entry.link)
        return None if named is None else {**named, **own}

    def known_link(self, path: Path, name: str) -> Mapping[str, Any] | None:
        """Return the figures of a link's name; complains as `known_device` does."""
        figures = self._kinds.link_figures(name)
        if figures is None and name not in self._blocks.declared["links"]:
            self._complain(path, f"{name!r} is no known link", did_you_mean(name, self._kinds.link_names(), kind="link"))
        return figures

    def services(self) -> dict[str, Service]:
        """Services, commands split into arguments."""
        built = {name: self._service(name, entry) for name, entry in self._blocks.services.items()}
        return {name: service for name, service in built.items() if service is not None}

    def _service(self, name: str, entry: ServiceEntry) -> Service | None:
        path: Path = ("services", name)
        command = None if entry.command is None else self._command((*path, "command"), entry.command)
        self._one_program(path, entry)
        ready = self._ready(path, entry)
        return Service(
            name=name,
            on=tuple(entry.on),
            component=entry.component,
            command=command,
            settings=entry.with_,
            replicas=entry.replicas,
            cores=entry.cores,
            env={key: _word(value) for key, value in entry.env.items()},
            ports=tuple(entry.ports),
            ready=ready,
            restart=entry.restart,
            max_restarts=entry.max_restarts,
            costs={key: self._costs.cost((*path, "costs", key), cost) for key, cost in entry.costs.items()},
            model=None if entry.model is None else self._costs.model((*path, "model"), entry.model),
            share=self._share((*path, "share"), entry),
        )

    def _one_program(self, path: Path, entry: ServiceEntry) -> None:
        if entry.component is None and entry.command is None:
            self._complain(path, "needs a component: or a command:", "say what the service runs", at="key")
        if entry.component is not None and entry.command is not None:
            self._complain(
                (*path, "command"), "a service has a component or a command, not both", "remove one of the two", at="key"
            )
        if entry.component is None and entry.command is not None and entry.with_:
            self._complain((*path, "with"), "a command has no settings", "pass them as arguments or in env:", at="key")
        if entry.component is None and entry.command is not None and entry.costs:
            self._complain((*path, "costs"), "a command has no operations", "write model: {serves: …, calls: …}", at="key")
        if entry.component is not None and entry.model is not None:
            self._complain(
                (*path, "model"), "a component needs no model: it runs itself", "give costs: of its operations", at="key"
            )

    def _share(self, path: Path, entry: ServiceEntry) -> Share:
        share = entry.share
        if share.most == 0:
            self._complain(path, "nothing would ever be computed", "give a share above 0")
        if (share.latency_p99 is None) != (share.of is None):
            self._complain(path, "a latency to keep needs latency_p99: and of:", "write {latency_p99: 20ms, of: detector}")
        if entry.component is None and entry.command is not None and (share.idle or share.latency_p99 is not None):
            self._complain(path, "a command cannot be made to yield", "give it a fixed share, such as share: 30%")
        return Share(share.most, share.idle, share.latency_p99, share.of)

    def _command(self, path: Path, command: Any) -> tuple[str, ...]:
        if isinstance(command, list):
            if not command:
                self._complain(path, "is empty", "name the program first")
            return tuple(_word(part) for part in command)
        try:
            words = shlex.split(command)
        except ValueError as error:
            self._complain(path, f"{command!r} cannot be split into arguments: {error}", "close the quote, or write a list")
            return ()
        if not words:
            self._complain(path, "is empty", "name the program first")
        return tuple(words)

    def _ready(self, path: Path, entry: ServiceEntry) -> Ready:
        ready = entry.ready
        signs = [key for key in ("port", "output", "file") if getattr(ready, key) is not None]
        if len(signs) > 1:
            what = f"has {' and '.join(signs)}, but one sign decides"
            self._complain((*path, "ready", signs[1]), what, f"keep one of {', '.join(signs)}", at="key")
        if signs and entry.command is None and entry.component is not None:
            what = "a component says by itself when it is ready"
            self._complain((*path, "ready", signs[0]), what, "keep ready: {timeout: …} only", at="key")
        if ready.output is not None:
            try:
                re.compile(ready.output)
            except re.error as error:
                self._complain((*path, "ready", "output"), f"{ready.output!r} is not a regular expression: {error}")
        return Ready(port=ready.port, output=ready.output, file=ready.file, timeout=ready.timeout)

    def streams(self) -> dict[int, Stream]:
        """Streams by their index in the file."""
        for index, entry in self._blocks.streams.items():
            self._coupling(("streams", index), entry)
        return {index: _stream(entry) for index, entry in self._blocks.streams.items()}

    def _coupling(self, path: Path, entry: StreamEntry) -> None:
        """Complain of what a stream cannot do when more comes than passes."""
        if entry.sample == 0:
            self._complain((*path, "sample"), "nothing would be sent", "give a share above 0, or remove the stream")
        if entry.delivery == "latest" and entry.when_full != "block":
            what = "a stream with delivery: latest is never full: the newest message replaces what waits"
            self._complain((*path, "when_full"), what, "remove when_full:, or use delivery: acknowledged", at="key")
        if entry.when_full == "drop-oldest" and entry.capacity < 2:
            what = "drop-oldest needs a capacity of 2: a message under way, and one that waits"
            self._complain((*path, "when_full"), what, "raise capacity:, or use drop-newest or delivery: latest")

    def measure(self) -> Measure:
        """How long to run, with the stop condition read."""
        entry = self._blocks.measure
        if entry is None:
            return Measure()
        return Measure(
            entry.warmup, entry.duration, None if entry.until is None else self.condition(("measure", "until"), entry.until)
        )

    def faults(self) -> dict[str, Fault]:
        """What breaks, by name."""
        return FaultBuilder(self._complaints, self.condition).faults(self._blocks.faults)

    def condition(self, path: Path, text: str) -> Until | None:
        """Read a condition on a live metric; complains if it is none."""
        try:
            return read_condition(text)
        except QuantityError as error:
            self._complain(path, error.what, error.remedy)
            return None


def _stream(entry: StreamEntry) -> Stream:
    routing = entry.routing or ("all" if entry.delivery == "latest" else "paired")
    return Stream(
        _port(entry.from_), tuple(_port(target) for target in entry.to), entry.delivery, routing, entry.capacity,
        entry.when_full, entry.rate, entry.sample,
    )  # fmt: skip


def _port(text: str) -> Port:
    service, _, port = text.partition(".")
    return Port(service, port)


def _word(value: object) -> str:
    """A scalar as a word of a command line or an environment: true and false as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
