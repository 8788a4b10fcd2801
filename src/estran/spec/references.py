"""Cross checks: hosts, services, ports, component settings and metrics that a description refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from estran.errors import RequestError
from estran.spec.index import ComponentFacts, ComponentIndex
from estran.spec.marks import Complaints, Path
from estran.spec.model import Layer, Port, Service, Stream, Until
from estran.spec.schema import NetworkEntry
from estran.spec.selectors import host_names, known_selectors, match, match_any
from estran.spec.suggest import did_you_mean

LIVE_METRICS: Final[Mapping[str, str]] = {
    "accuracy": "share of right answers among the newest ones, 0 to 1",
    "samples": "answers so far or, where nothing answers, what the busiest service has processed",
    "latency": "mean end-to-end latency of the newest answers, seconds",
    "latency_p50": "median of the same",
    "latency_p95": "95th percentile of the same",
    "latency_p99": "99th percentile of the same",
    "throughput": "answers per second of the last seconds",
    "cpu_seconds": "processor seconds of all hosts so far",
    "energy": "joules of all hosts so far",
    "memory": "bytes in use on all hosts now",
}
"""Metrics of every run that ``measure.until`` may name, beside those that components declare."""


class References:
    """Checks what parts of a description say of each other.

    Parameters
    ----------
    layers, services
        Those that could be built.
    declared
        Names in the file by section, whether their blocks could be built or not: a reference to them is no second error.
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        services: Mapping[str, Service],
        declared: Mapping[str, set[str]],
        complaints: Complaints,
        components: ComponentIndex | None,
    ) -> None:
        self._layers = layers
        self._services = services
        self._declared = declared
        self._complain = complaints.add
        self._components = components
        self._facts: dict[str, ComponentFacts | None] = {}

    def declared(self, section: str) -> set[str]:
        """Names that a section of the file gives, whether what they name could be built or not."""
        return self._declared[section]

    def names(self) -> None:
        """Complain of names that would make two hosts or two replicas the same: layer ``edge-0`` beside layer ``edge``."""
        hosts = {name for layer in self._layers.values() for name in host_names(layer)}
        for name in self._layers:
            if name in hosts:
                self._complain(("layers", name), f"{name!r} is also the name of a host", "choose another name", at="key")
        for name in self._services:
            stem, _, number = name.rpartition("-")
            if stem in self._declared["services"] and number.isascii() and number.isdigit():
                what = f"{name!r} may also be the name of a replica of {stem!r}"
                self._complain(("services", name), what, "choose a name without the number", at="key")

    def selector(self, path: Path, text: str) -> list[str]:
        """Hosts that a selector matches; complains if there are none."""
        hosts = match(text, self._layers)
        broken = self._declared["layers"] - set(self._layers)
        if hosts or any(text == name or text.startswith(f"{name}-") for name in broken):
            return hosts
        if broken and any(mark in text for mark in "*?["):
            return hosts
        self._complain(path, f"{text!r} matches no layer or host", did_you_mean(text, self._selectors(), kind="layer"))
        return hosts

    def _selectors(self) -> list[str]:
        """Layers that the file names, well formed or not, then hosts."""
        return list(dict.fromkeys([*sorted(self._declared["layers"]), *known_selectors(self._layers)]))

    def ends(self, path: Path, entry: NetworkEntry) -> None:
        """Both selectors of a rule of the network."""
        for index, text in enumerate(entry.between or ()):
            self.selector((*path, "between", index), text)
        if entry.from_ is not None:
            self.selector((*path, "from"), entry.from_)
        if entry.to is not None:
            self.selector((*path, "to"), entry.to)

    def service(self, service: Service, on_list: bool) -> Service:
        """Placement, cores, component and settings of a service; returns it with its settings normalised."""
        path: Path = ("services", service.name)
        for index, text in enumerate(service.on):
            self.selector((*path, "on", index) if on_list else (*path, "on"), text)
        self._cores(path, service)
        facts = self.facts(service)
        if facts is None or service.component is None:
            return service
        settings, faults = facts.validate(service.settings)
        for where, text in faults:
            what, _, remedy = text.partition("; ")
            on_key = what.startswith(("unknown key", "the key"))
            self._complain((*path, "with", *where), what, remedy or None, at="key" if on_key else "value")
        return service if faults else _with_settings(service, settings)

    def _cores(self, path: Path, service: Service) -> None:
        for host in match_any(service.on, self._layers):
            device = self._layers[host.rpartition("-")[0]].device
            if service.cores > device.cores:
                what = f"wants {service.cores} cores, but {host} ({device.name}) has {device.cores}"
                self._complain((*path, "cores"), what, "ask for fewer, or place it on a larger device")
                return

    def share(self, service: Service) -> None:
        """The service whose latency another one is to keep."""
        path: Path = ("services", service.name, "share", "of")
        if service.share.of is None or service.share.latency_p99 is None:
            return
        other = self._services.get(service.share.of)
        if other is None:
            if service.share.of not in self._declared["services"]:
                remedy = did_you_mean(service.share.of, self._services, kind="service")
                self._complain(path, f"there is no service {service.share.of!r}", remedy)
        elif other.component is None:
            if other.command is not None:
                self._complain(path, f"{other.name!r} is a command, whose latency is not known", "name a component")
        elif other.name == service.name:
            self._complain(path, "is the service itself", "name the one that is to answer in time")
        elif not set(match_any(service.on, self._layers)) & set(match_any(other.on, self._layers)):
            what = f"{other.name!r} runs on no host of {service.name!r}: they do not share a processor"
            self._complain(path, what, "place both on one host, or remove share:")

    def facts(self, service: Service) -> ComponentFacts | None:
        """Facts of a service's component, or None if they cannot be known; complains once of an unknown component."""
        name = service.component
        if self._components is None or name is None:
            return None
        if service.name not in self._facts:
            self._facts[service.name] = self.component(("services", service.name, "component"), name)
        return self._facts[service.name]

    def component(self, path: Path, name: str) -> ComponentFacts | None:
        """Facts of a component by its name; complains if there is none such."""
        if self._components is None:
            return None
        known = list(self._components.names())
        if name not in known and ":" not in name:
            remedy = did_you_mean(name, known, kind="component")
            self._complain(path, f"{name!r} is no known component", f"{remedy} (one of your own is written module:Class)")
            return None
        try:
            return self._components.describe(name)
        except RequestError as error:
            self._complain(path, error.what, error.remedy)
            return None

    def stream(self, index: int, stream: Stream, to_list: bool) -> None:
        """Both ends of a stream."""
        base: Path = ("streams", index)
        source = self.port((*base, "from"), stream.source, "output")
        for number, target in enumerate(stream.targets):
            path = (*base, "to", number) if to_list else (*base, "to")
            payload = self.port(path, target, "input")
            if source and payload and source != payload:
                what = f"{target} takes {payload}, but {stream.source} gives {source}"
                self._complain(path, what, "connect ports of one payload type")

    def port(self, path: Path, port: Port, side: str) -> str:
        """Payload type of a port, or an empty text if it is not known; complains if there is no such port on that side."""
        service = self._services.get(port.service)
        if service is None:
            if port.service not in self._declared["services"]:
                remedy = did_you_mean(port.service, self._declared["services"], kind="service")
                self._complain(path, f"there is no service {port.service!r}", remedy)
            return ""
        if service.component is None:
            if service.command is not None:
                self._complain(
                    path, f"{port.service!r} is a command, and streams connect components", "use a component, or ports of its own"
                )
            return ""
        facts = self.facts(service)
        if facts is None:
            return ""
        mine, other, name = (facts.outputs, facts.inputs, "input") if side == "output" else (facts.inputs, facts.outputs, "output")
        if port.port in mine:
            return mine[port.port]
        if port.port in other:
            what = f"{port} is an {name}; a stream goes from an output to inputs"
            self._complain(path, what, f"{side}s of {port.service}: {', '.join(mine) or 'none'}; or swap from: and to:")
        else:
            remedy = did_you_mean(port.port, mine, kind=side)
            self._complain(path, f"{port.service!r} ({service.component}) has no {side} {port.port!r}", remedy)
        return ""

    def twice(self, streams: Mapping[int, Stream]) -> None:
        """Complain of an output that is connected to the same input twice."""
        first: dict[tuple[Port, Port], int] = {}
        for index, stream in streams.items():
            for number, target in enumerate(stream.targets):
                before = first.setdefault((stream.source, target), index)
                if before != index or target in stream.targets[:number]:
                    what = f"{stream.source} is already connected to {target}"
                    self._complain(("streams", index, "to", number), what, "remove one of the two")

    def until(self, until: Until | None, path: Path = ("measure", "until")) -> None:
        """The metric of a condition, where all metrics are known."""
        if until is None or until.metric in LIVE_METRICS or self._components is None:
            return
        known = list(LIVE_METRICS)
        for service in self._services.values():
            facts = self.facts(service)
            if facts is None or facts.metrics is None:
                return
            known += facts.metrics
        if until.metric not in known:
            self._complain(path, f"{until.metric!r} is no known metric", did_you_mean(until.metric, known, kind="metric"))


def _with_settings(service: Service, settings: Mapping[str, object]) -> Service:
    return replace(service, settings=settings)
