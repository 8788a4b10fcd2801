"""A scenario of E2Clab on a terminal: its hosts, links and tasks, and what becomes of each."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from estran.e2clab.migrate import MET, manager_named
from estran.errors import SpecErrors
from estran.spec.e2clab.ansible import short
from estran.spec.e2clab.model import STAGES, Scenario
from estran.spec.e2clab.patterns import PatternError
from estran.spec.e2clab.scenario import selected
from estran.tasks.modules import tier
from estran.tasks.task import each_task, read_tasks
from estran.units import show


def print_scenario(scenario: Scenario) -> None:
    """Print hosts, links, tasks and managers."""
    console = Console(emoji=False)
    console.print(Text.assemble((scenario.name, "bold"), f"   {scenario.job_name or ''}"))
    for table in (_hosts(scenario), _links(scenario), _tasks(scenario)):
        if table.row_count:
            console.print(table)
    for line in _tiers(scenario):
        console.print(Text(line), soft_wrap=True)
    for manager in scenario.managers:
        told = MET.get(manager.kind, MET.get(manager.name, "not read"))
        console.print(Text(f"{manager_named(manager)}: {told}"), soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column)
    return table


def _hosts(scenario: Scenario) -> Table:
    table = _table("Hosts", "layer", "service", "machines", "hosts", "testbed")
    for service in scenario.services:
        names = [machine.host for machine in service.machines]
        span = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        table.add_row(service.layer, service.key.partition(".")[2], str(len(names)), span, service.testbed or "–")
    return table


def _links(scenario: Scenario) -> Table:
    table = _table("Links", "from", "to", "pairs", "delay", "rate", "loss", "both ways")
    for rule in scenario.network:
        link = rule.link
        delay = show(link.delay, "duration") + (f" ± {show(link.jitter, 'duration')}" if link.jitter else "")
        rate = "–" if link.rate is None else show(link.rate, "rate")
        both = "yes" if rule.symmetric else "no"
        table.add_row(
            rule.source, rule.target, _pairs(scenario, rule.source, rule.target), delay, rate, show(link.loss, "fraction"), both
        )
    return table


def _pairs(scenario: Scenario, source: str, target: str) -> str:
    near, far = _found(scenario, source), _found(scenario, target)
    return "?" if near is None or far is None else str(len(near) * len(far) - len(near & far))


def _found(scenario: Scenario, pattern: str) -> set[str] | None:
    """Hosts that a selector finds; None if only a plug-in knows."""
    try:
        return {machine.host for machine in selected(scenario, pattern)}
    except PatternError:
        return None


def _tasks(scenario: Scenario) -> Table:
    table = _table("Tasks", "hosts", *STAGES, "told of")
    for play in scenario.plays:
        counts = []
        for stage in STAGES:
            modules = Counter(short(task.module) if task.module else "block" for task in play.stages.get(stage, ()))
            counts.append(", ".join(f"{name} ×{count}" if count > 1 else name for name, count in modules.items()) or "–")
        told = ", ".join(f"{one.prefix} ({one.grouping} of {one.selector})" for one in play.depends_on) or "–"
        hosts = _found(scenario, play.selector)
        table.add_row(f"{play.selector} ({'?' if hosts is None else len(hosts)})", *counts, told)
    return table


_BY: Final = {
    "native": "done by Estran itself",
    "module": "done by Ansible's modules, unmodified, on the host (pip install 'estran[ansible]')",
    "playbook": "done by ansible-playbook (pip install 'estran[ansible]')",
}


def _tiers(scenario: Scenario) -> list[str]:
    """Which modules are done how."""
    found: dict[str, Counter[str]] = {tier: Counter() for tier in _BY}
    for stage in STAGES:
        for _, task in scenario.tasks(stage):
            try:
                steps = read_tasks([task.data], scenario.marks, task.path[:-1])
            except SpecErrors:
                continue  # told among the notes
            for each in each_task(steps):
                found[tier(each.module, frozenset(each.arguments))][each.module] += 1
    return [f"{', '.join(modules)}: {_BY[kind]}" for kind, modules in found.items() if modules]
