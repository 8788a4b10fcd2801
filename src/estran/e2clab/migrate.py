"""Writes the experiment that a scenario comes nearest to, with a comment at the place of all that cannot be carried over."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from estran.e2clab.commands import Left, Script, scripts
from estran.e2clab.directory import Directory, default_directory
from estran.errors import Where
from estran.spec.e2clab.infrastructure import layer_name
from estran.spec.e2clab.model import Manager, NetworkRule, Scenario, Service
from estran.units import show

_DEVICES: Final = (
    ("jetson-nano", "jetson-nano"), ("jetson", "jetson-orin-nano"), ("rpi3", "raspberry-pi-zero-2"),
    ("rpi4", "raspberry-pi-4"), ("raspberrypi4", "raspberry-pi-4"), ("raspberry", "raspberry-pi-4"),
)  # fmt: skip
_USUAL: Final = {"iotlab": "raspberry-pi-zero-2", "chameleonedge": "jetson-nano"}
_OTHER: Final = "cloud-vm-8"

MET: Final = {
    "dstat": "every run samples processor, memory and network of each host, into metrics.parquet",
    "tig": "every run samples processor, memory and network of each host, into metrics.parquet",
    "tpg": "every run samples processor, memory and network of each host, into metrics.parquet",
    "provenance": "every run keeps its files, versions, machine, seed and status; what programs capture stays theirs",
    "kwollect": "energy of emulated hosts comes from a model; wattmeters of Grid'5000 are not read",
    "monitoring_iotlab": "energy of emulated hosts comes from a model; IoT-LAB's meters are not read",
}
"""How a manager's purpose is met without it."""


def migrate(scenario: Scenario, artifacts: Path | None, target: Path | None) -> str:
    """Write an experiment file.

    Parameters
    ----------
    target
        Where the file will be: paths in it are relative to its folder; None for absolute ones.
    """
    directory = default_directory(scenario, lambda host: host)
    found, left = scripts(scenario, directory, _variables(scenario, artifacts, target))
    parts = [
        _head(scenario), _layers(scenario), _network(scenario, directory), _services(scenario, found, left), _factors(scenario, found),
        ["measure: {duration: 1min}   # how long after the launch; E2Clab's --duration"],
    ]  # fmt: skip
    return "\n".join(line for part in parts for line in part) + "\n"


def _variables(scenario: Scenario, artifacts: Path | None, target: Path | None) -> dict[str, Any]:
    def place(folder: Path) -> str:
        if target is None:
            return str(folder.resolve())
        relative = os.path.relpath(folder.resolve(), target.resolve().parent)
        return "${ESTRAN_FOLDER}" if relative == "." else "${ESTRAN_FOLDER}/" + relative

    known: dict[str, Any] = {"scenario_dir": place(scenario.folder)}
    if artifacts is not None:
        known |= {"artifacts_dir": place(artifacts), "working_dir": place(artifacts)}
    names = {key for variables in scenario.configurations.values() for key in variables}
    known |= {f"env_{key}": "${env_" + key + "}" for key in sorted(names)}
    return known


def _head(scenario: Scenario) -> Iterator[str]:
    yield f"# Written by `estran e2clab migrate {scenario.folder.name}`. What could not be carried over is a comment at its place."
    name = re.sub(r"[^A-Za-z0-9._-]", "-", scenario.job_name or scenario.name).lstrip("._-")
    yield f"experiment: {_word(name or 'scenario')}"
    yield "seed: 0"
    for manager in scenario.managers:
        yield f"# {_place(manager.where)}: {manager_named(manager)}: {MET.get(manager.kind, MET.get(manager.name, 'not read'))}"


def manager_named(manager: Manager) -> str:
    """A manager and its type: ``monitoring: dstat``."""
    return manager.name if manager.kind == manager.name else f"{manager.name}: {manager.kind}"


def _layers(scenario: Scenario) -> Iterator[str]:
    yield "layers:"
    for layer in scenario.layers:
        services = [service for service in scenario.services if service.layer == layer]
        hosts = sum(len(service.machines) for service in services)
        made = ", ".join(f"{service.name} {service.service_id} ×{len(service.machines)}" for service in services)
        asked = sorted({_asked(service, scenario) for service in services} - {""})
        yield f"  # {_place(services[0].where)}: {made}" + (f"; asked for {', '.join(asked)}" if asked else "")
        yield f"  {layer_name(layer)}: {{hosts: {hosts}, device: {_device(services, scenario)}}}"


def _asked(service: Service, scenario: Scenario) -> str:
    """What the file says of a service's hardware."""
    testbed = scenario.testbeds.get(service.testbed or "")
    words = [
        service.metadata.get("archi"),
        service.metadata.get("cluster") or (testbed.settings.get("cluster") if testbed else None),
    ]
    told = " ".join(str(word) for word in words if word)
    return f"{service.testbed} {told}".strip() if service.testbed else told


def _device(services: Sequence[Service], scenario: Scenario) -> str:
    """The device of the catalogue that comes nearest, of the layer's first service."""
    asked = _asked(services[0], scenario).lower()
    named = next((device for word, device in _DEVICES if word in asked), None)
    return named or _USUAL.get(services[0].testbed or "", _OTHER)


def _network(scenario: Scenario, directory: Directory) -> Iterator[str]:
    if not scenario.network:
        yield "# network.yaml has no rules: nothing is shaped."
        return
    yield "network:"
    for rule in scenario.network:
        yield f"  # {_place(rule.where)}: {rule.source} → {rule.target}"
        figures = _figures(rule)
        for source in _selectors(scenario, directory, rule.source):
            for target in _selectors(scenario, directory, rule.target):
                ends = f"between: [{source}, {target}]" if rule.symmetric else f"from: {source}, to: {target}"
                yield f"  - {{{ends}, {figures}}}"


def _figures(rule: NetworkRule) -> str:
    link = rule.link
    shown = [("delay", show(link.delay, "duration"))] if link.delay else []
    shown += [("jitter", show(link.jitter, "duration"))] if link.jitter else []
    shown += [("rate", show(link.rate, "rate"))] if link.rate else []
    shown += [("loss", show(link.loss, "fraction"))] if link.loss else []
    return ", ".join(f"{key}: {value}" for key, value in shown) or "delay: 0"


def _selectors(scenario: Scenario, directory: Directory, pattern: str) -> list[str]:
    return covering(scenario, [entry.host for entry in directory.select(pattern)])


def covering(scenario: Scenario, hosts: Sequence[str]) -> list[str]:
    """The fewest of our selectors that name exactly these hosts: layers where they are whole, else hosts."""
    members: dict[str, list[str]] = defaultdict(list)
    for service in scenario.services:
        members[layer_name(service.layer)] += [machine.host for machine in service.machines]
    found = [layer for layer, own in members.items() if set(own) <= set(hosts)]
    whole = {host for layer in found for host in members[layer]}
    return [*found, *(host for host in hosts if host not in whole)]


def _services(scenario: Scenario, found: Sequence[Script], left: Sequence[Left]) -> Iterator[str]:
    yield "services:"
    for one in left:
        yield f"  # {_place(one.task.where)}: {one.stage}: {one.task.name}: {one.why}"
    names = _names(found)
    for name, script in zip(names, found, strict=True):
        yield f"  # {', '.join(_place(task.where) for task in script.tasks)}"
        on = covering(scenario, script.hosts)
        yield f"  {name}:"
        yield f"    on: {on[0] if len(on) == 1 else '[' + ', '.join(on) + ']'}"
        yield f"    command: [sh, -c, {_word(script.text.replace('${', '$${'))}]"
        if script.variables:
            yield '    env: "${app_conf}"'
    if not found:
        first = layer_name(scenario.layers[0])
        yield "  # No task of the launch became a service; an experiment needs one, so this one only waits. Replace it."
        yield f"  waiting: {{on: {first}, command: [sleep, infinity]}}"


def _names(found: Sequence[Script]) -> list[str]:
    """A name for each: its E2Clab service's, numbered where there are several."""
    plain = [layer_name(script.service.lower())[:40] for script in found]
    return [name if plain.count(name) == 1 else f"{name}-{plain[:index].count(name) + 1}" for index, name in enumerate(plain)]


def _factors(scenario: Scenario, found: Sequence[Script]) -> Iterator[str]:
    if not scenario.configurations:
        return
    if not any(script.variables for script in found):
        yield "# No command reads a variable of workflow_env.yaml: its configurations are left out."
        return
    yield "factors:"
    yield f"  # workflow_env.yaml: {', '.join(scenario.configurations)}; the first is the default, `estran study` runs them all"
    yield "  app_conf:"
    for name, variables in scenario.configurations.items():
        level = {f"env_{key}": value for key, value in variables.items()} or {"env_": name}
        yield f"    - {_word(level)}   # {name}"


def _place(where: Where | None) -> str:
    return "" if where is None else f"{Path(where.file).name}:{where.line}"


def _word(value: Any) -> str:
    """A value as YAML, on one line; JSON is that, but plain words look better without quotes."""
    plain = (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value)
        and value.lower() not in ("yes", "no", "on", "off")
    )
    return str(value) if plain and value not in ("true", "false", "null") else json.dumps(value, ensure_ascii=False)
