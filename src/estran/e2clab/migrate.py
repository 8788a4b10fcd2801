"""Writes the experiment that a scenario comes nearest to, with a comment at the place of all that cannot be carried over."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from estran.e2clab.commands import Left, Script, scripts
from estran.e2clab.directory import default_directory
from estran.e2clab.topology import covering, experiment_name, layer_lines, network_lines, place
from estran.spec.e2clab.infrastructure import layer_name
from estran.spec.e2clab.model import Manager, Scenario

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
    lines = [*_head(scenario), *layer_lines(scenario), *network_lines(scenario, directory)]
    lines += [*_services(scenario, found, left), *_factors(scenario, found)]
    lines.append("measure: {duration: 1min}   # how long after the launch; E2Clab's --duration")
    return "\n".join(lines) + "\n"


def _variables(scenario: Scenario, artifacts: Path | None, target: Path | None) -> dict[str, Any]:
    def written(folder: Path) -> str:
        if target is None:
            return str(folder.resolve())
        relative = os.path.relpath(folder.resolve(), target.resolve().parent)
        return "${ESTRAN_FOLDER}" if relative == "." else "${ESTRAN_FOLDER}/" + relative

    known: dict[str, Any] = {"scenario_dir": written(scenario.folder)}
    if artifacts is not None:
        known |= {"artifacts_dir": written(artifacts), "working_dir": written(artifacts)}
    names = {key for variables in scenario.configurations.values() for key in variables}
    known |= {f"env_{key}": "${env_" + key + "}" for key in sorted(names)}
    return known


def _head(scenario: Scenario) -> Iterator[str]:
    yield f"# Written by `estran e2clab migrate {scenario.folder.name}`. What could not be carried over is a comment at its place."
    yield f"experiment: {_word(experiment_name(scenario.job_name or scenario.name))}"
    yield "seed: 0"
    for manager in scenario.managers:
        yield f"# {place(manager.where)}: {manager_named(manager)}: {MET.get(manager.kind, MET.get(manager.name, 'not read'))}"


def manager_named(manager: Manager) -> str:
    """A manager and its type: ``monitoring: dstat``."""
    return manager.name if manager.kind == manager.name else f"{manager.name}: {manager.kind}"


def _services(scenario: Scenario, found: Sequence[Script], left: Sequence[Left]) -> Iterator[str]:
    yield "services:"
    for one in left:
        yield f"  # {place(one.task.where)}: {one.stage}: {one.task.name}: {one.why}"
    names = _names(found)
    for name, script in zip(names, found, strict=True):
        yield f"  # {', '.join(place(task.where) for task in script.tasks)}"
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


def _word(value: Any) -> str:
    """A value as YAML, on one line; JSON is that, but plain words look better without quotes."""
    plain = (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value)
        and value.lower() not in ("yes", "no", "on", "off")
    )
    return str(value) if plain and value not in ("true", "false", "null") else json.dumps(value, ensure_ascii=False)
