"""Reading a whole scenario: its files one by one, then what one says of another, with all errors at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path as FilePath
from typing import Final

from estran.errors import RequestError, SpecError, Where
from estran.spec.e2clab.ansible import KNOWN_MODULES, short
from estran.spec.e2clab.infrastructure import Infrastructure, layer_name, read_infrastructure
from estran.spec.e2clab.model import Machine, Note, Play, Scenario, Service, Stage, Task
from estran.spec.e2clab.network import read_network
from estran.spec.e2clab.page import Page, combined, read_page
from estran.spec.e2clab.patterns import Inventory, PatternError, inventory, select
from estran.spec.e2clab.workflow import read_configurations, read_workflow
from estran.spec.marks import Complaints, Marks
from estran.spec.suggest import did_you_mean

FILES: Final = ("layers_services.yaml", "network.yaml", "workflow.yaml", "workflow_env.yaml")
_COPYING: Final = ("copy", "template", "script", "synchronize", "unarchive")
_ARTIFACT: Final = re.compile(r"\{\{\s*(working_dir|artifacts_dir|scenario_dir)\s*\}\}/?([^{}]*)")


def read_scenario(folder: FilePath, artifacts: FilePath | None = None, *, modules: Collection[str] = KNOWN_MODULES) -> Scenario:
    """Read a scenario's folder.

    Parameters
    ----------
    artifacts
        The folder with the files that tasks send; their presence is checked if it is given.
    modules
        Names of the modules that tasks may use.

    Raises
    ------
    RequestError
        If a folder does not exist, or `layers_services.yaml` is not in it.
    SpecErrors
        All that is wrong with the files, each at its line and column.
    """
    _exists(folder, artifacts)
    pages = {name: read_page(folder / name) for name in FILES if (folder / name).exists()}
    empty = Page(None, Marks(str(folder / "workflow.yaml")), Complaints(Marks(str(folder / "workflow.yaml"))))
    layers, network, workflow, variables = (pages.get(name, empty) for name in FILES)
    found = read_infrastructure(layers)
    rules, network_notes = read_network(network)
    plays, workflow_notes = read_workflow(workflow, modules)
    configurations = read_configurations(variables)
    notes = [*found.notes, *network_notes, *workflow_notes]
    finder = _Finder(found, notes)
    for page in (network, workflow):
        finder.check(page)
    _artifacts(workflow, plays, folder, artifacts)
    combined(list(pages.values()), _layer_names(layers, found))
    return Scenario(
        name=folder.resolve().name, folder=folder, job_name=found.job_name, testbeds=found.testbeds, layers=tuple(found.layers),
        services=tuple(found.services), managers=tuple(found.managers), network=tuple(rules), plays=tuple(plays),
        configurations=configurations, marks=workflow.marks, notes=tuple(notes),
    )  # fmt: skip


def _exists(folder: FilePath, artifacts: FilePath | None) -> None:
    for path in (folder, *([artifacts] if artifacts is not None else [])):
        if not path.is_dir():
            raise RequestError(
                "there is no such folder", where=str(path), remedy="give the scenario's folder, then that of its artifacts"
            )
    if not (folder / FILES[0]).exists():
        there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir() and (path / FILES[0]).exists())[:8])
        remedy = f"choose one of the scenarios in it: {there}" if there else "give the folder that has the scenario's three files"
        raise RequestError(f"there is no {FILES[0]}", where=str(folder), remedy=remedy)


def scenario_inventory(services: Collection[Service]) -> Inventory:
    """What a scenario's selectors choose from, before plug-ins register what they find right."""
    return inventory((machine.key, groups_of(service)) for service in services for machine in service.machines)


def groups_of(service: Service) -> list[str]:
    """Further names by which a service's machines are found, beside the beginnings of their keys."""
    return [service.name, *service.roles, *([service.testbed] if service.testbed else [])]


def selected(scenario: Scenario, pattern: str) -> list[Machine]:
    """Machines that a selector finds, plug-ins left aside; raises `PatternError`."""
    machines = {machine.key: machine for machine in scenario.machines()}
    return [machines[key] for key in select(pattern, scenario_inventory(scenario.services))]


class _Finder:
    """Checks selectors; those that only a plug-in's services can answer to are noted."""

    def __init__(self, found: Infrastructure, notes: list[Note]) -> None:
        self._among = scenario_inventory(found.services)
        self._notes = notes

    def check(self, page: Page) -> None:
        """Look up all selectors of a file."""
        for path, pattern in page.selectors.items():
            try:
                select(pattern, self._among)
            except PatternError as error:
                if self._registered_later(error.part):
                    what = f"{error.part!r} finds no machine unless the plug-in of a service registers it"
                    self._notes.append(Note(page.marks.where(path), what))
                else:
                    page.complaints.add(path, str(error), did_you_mean(error.part, self._among.known(), kind="selector"))

    def _registered_later(self, part: str) -> bool:
        """Whether a name goes on, after services that there are, with a word: the name of a part of them."""
        words = part.split(".")
        begins = next((count for count in range(2, len(words)) if words[count][:1].isalpha()), None)
        if begins is None:
            return False
        try:
            return bool(select(".".join(words[:begins]), self._among))
        except PatternError:
            return False


def _layer_names(page: Page, found: Infrastructure) -> list[SpecError]:
    """Layers whose hosts would have the same names."""
    ours: dict[str, str] = {}
    wrong = []
    for layer in found.layers:
        other = ours.setdefault(layer_name(layer).lower(), layer)
        if other != layer:
            what = f"the layers {other!r} and {layer!r} differ only in characters that names of hosts have not"
            wrong.append(SpecError(what, where=Where(page.marks.file), remedy="use letters, digits, - and _"))
    return wrong


def _artifacts(page: Page, plays: list[Play], folder: FilePath, artifacts: FilePath | None) -> None:
    """Complain of files that tasks send and that are not there."""
    for stage, task in _sending(plays):
        arguments = next((task.data[key] for key in task.data if short(key) in _COPYING), None)
        source = arguments.get("src") if isinstance(arguments, dict) else arguments
        remote = isinstance(arguments, dict) and (arguments.get("remote_src") or arguments.get("mode") == "pull")
        match = _ARTIFACT.fullmatch(source) if isinstance(source, str) and not remote else None
        if match is None or (match[1] == "working_dir" and stage == "finalize"):
            continue
        base = folder if match[1] == "scenario_dir" else artifacts
        if base is not None and not (base / match[2]).exists():
            page.complaints.add_at(task.where, f"{task.name}: there is no {base / match[2]}", "correct src:, or add the file")


def _sending(plays: list[Play]) -> Iterator[tuple[Stage, Task]]:
    for play in plays:
        for stage, tasks in play.stages.items():
            for task in tasks:
                if task.module is not None and short(task.module) in _COPYING:
                    yield stage, task
