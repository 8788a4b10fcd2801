"""The hosts and links of a scenario, in the words of an experiment file; and as an experiment, with an envoy on every host."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from estran.e2clab.directory import Directory, default_directory
from estran.errors import RequestError, SpecErrors, Where
from estran.spec import load_text
from estran.spec.catalogue.loader import devices
from estran.spec.e2clab.infrastructure import layer_name
from estran.spec.e2clab.model import NetworkRule, Scenario, Service
from estran.spec.e2clab.patterns import PatternError
from estran.spec.model import Experiment
from estran.units import show

SERVICE: Final = "envoy"
_DEVICES: Final = (
    ("jetson-nano", "jetson-nano"), ("jetson", "jetson-orin-nano"), ("rpi3", "raspberry-pi-zero-2"),
    ("rpi4", "raspberry-pi-4"), ("raspberrypi4", "raspberry-pi-4"), ("raspberry", "raspberry-pi-4"),
)  # fmt: skip
_USUAL: Final = {"iotlab": "raspberry-pi-zero-2", "chameleonedge": "jetson-nano"}
_OTHER: Final = "cloud-vm-8"
_HERE: Final = "this-machine"


def topology(scenario: Scenario, command: Sequence[str], duration: float) -> Experiment:
    """Make the experiment whose hosts and links a scenario asks for; hosts of no particular kind are as fast as this machine.

    Parameters
    ----------
    command
        What an envoy is, on each host.
    duration
        Seconds between launch and finalize.

    Raises
    ------
    RequestError
        If a rule of the network is about a part of a service that only its plug-in knows, or there are too many hosts.
    """
    directory = default_directory(scenario, lambda host: host)
    for rule in scenario.network:
        for pattern in (rule.source, rule.target):
            if isinstance(found := _selectors(scenario, directory, pattern), str):
                remedy = "links are shaped before plug-ins run: name the machines, such as cloud.flink.1.2"
                raise RequestError(found, where=str(rule.where), remedy=remedy)
    lines = [f"experiment: {experiment_name(scenario.name)}", *_this_machine()]
    lines += [*layer_lines(scenario, usual=_HERE), *network_lines(scenario, directory), "services:"]
    words = ", ".join(map(_quoted, command))
    for index, layer in enumerate(scenario.layers, 1):
        device = device_of(scenario, layer, usual=_HERE)
        cores = _cores() if device == _HERE else devices()[device].cores
        lines.append(f"  {SERVICE}-{index}: {{on: {layer_name(layer)}, cores: {cores}, command: [{words}]}}")
    lines.append(f"measure: {{duration: {max(duration, 0.001):g}s}}")
    source = str(scenario.folder / "layers_services.yaml")
    try:
        return load_text("\n".join(lines) + "\n", source=source, folder=scenario.folder)
    except SpecErrors as errors:
        first = errors.errors[0]
        raise RequestError(f"the scenario's hosts cannot be had: {first.what}", where=source, remedy=first.remedy) from None


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _this_machine() -> list[str]:
    """A device that is this machine; its power is that of a usual one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return ["devices:", f"  {_HERE}: {{like: {_OTHER}, cores: {_cores()}, speed: 1.0, memory: {memory}B}}"]


def experiment_name(name: str) -> str:
    """A name as that of an experiment."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-") or "scenario"


def _quoted(word: str) -> str:
    escaped = word.replace("'", "''").replace("${", "$${")
    return f"'{escaped}'"


def place(where: Where | None) -> str:
    """A place in a scenario's file, without the folder."""
    return "" if where is None else f"{Path(where.file).name}:{where.line}"


def layer_lines(scenario: Scenario, *, usual: str = _OTHER) -> Iterator[str]:
    """The section ``layers:``, with what each is made of."""
    yield "layers:"
    for layer in scenario.layers:
        services = [service for service in scenario.services if service.layer == layer]
        hosts = sum(len(service.machines) for service in services)
        made = ", ".join(f"{service.name} {service.service_id} ×{len(service.machines)}" for service in services)
        asked = sorted({_asked(service, scenario) for service in services} - {""})
        yield f"  # {place(services[0].where)}: {made}" + (f"; asked for {', '.join(asked)}" if asked else "")
        yield f"  {layer_name(layer)}: {{hosts: {hosts}, device: {device_of(scenario, layer, usual=usual)}}}"


def _asked(service: Service, scenario: Scenario) -> str:
    """What the file says of a service's hardware."""
    testbed = scenario.testbeds.get(service.testbed or "")
    words = [
        service.metadata.get("archi"),
        service.metadata.get("cluster") or (testbed.settings.get("cluster") if testbed else None),
    ]
    told = " ".join(str(word) for word in words if word)
    return f"{service.testbed} {told}".strip() if service.testbed else told


def device_of(scenario: Scenario, layer: str, *, usual: str = _OTHER) -> str:
    """The device that comes nearest to what a layer's first service asks for; ``usual`` where that is no particular kind."""
    first = next(service for service in scenario.services if service.layer == layer)
    asked = _asked(first, scenario).lower()
    named = next((device for word, device in _DEVICES if word in asked), None)
    return named or _USUAL.get(first.testbed or "", usual)


def network_lines(scenario: Scenario, directory: Directory) -> Iterator[str]:
    """The section ``network:``; a rule about what only a plug-in knows is a comment."""
    if not scenario.network:
        yield "# network.yaml has no rules: nothing is shaped."
        return
    yield "network:"
    for rule in scenario.network:
        yield f"  # {place(rule.where)}: {rule.source} → {rule.target}"
        sources, targets = _selectors(scenario, directory, rule.source), _selectors(scenario, directory, rule.target)
        if isinstance(sources, str) or isinstance(targets, str):
            yield f"  # is left out: {sources if isinstance(sources, str) else targets}"
            continue
        for source in sources:
            for target in targets:
                ends = f"between: [{source}, {target}]" if rule.symmetric else f"from: {source}, to: {target}"
                yield f"  - {{{ends}, {_figures(rule)}}}"


def _figures(rule: NetworkRule) -> str:
    link = rule.link
    shown = [("delay", show(link.delay, "duration"))] if link.delay else []
    shown += [("jitter", show(link.jitter, "duration"))] if link.jitter else []
    shown += [("rate", show(link.rate, "rate"))] if link.rate else []
    shown += [("loss", show(link.loss, "fraction"))] if link.loss else []
    return ", ".join(f"{key}: {value}" for key, value in shown) or "delay: 0"


def _selectors(scenario: Scenario, directory: Directory, pattern: str) -> list[str] | str:
    """Our selectors for one of E2Clab's; why there are none, where only a plug-in knows its machines."""
    try:
        return covering(scenario, [entry.host for entry in directory.select(pattern)])
    except PatternError as error:
        return f"{error} before plug-ins have run"


def covering(scenario: Scenario, hosts: Sequence[str]) -> list[str]:
    """The fewest of our selectors that name exactly these hosts: layers where they are whole, else hosts."""
    members: dict[str, list[str]] = defaultdict(list)
    for service in scenario.services:
        members[layer_name(service.layer)] += [machine.host for machine in service.machines]
    found = [layer for layer, own in members.items() if set(own) <= set(hosts)]
    whole = {host for layer in found for host in members[layer]}
    return [*found, *(host for host in hosts if host not in whole)]
