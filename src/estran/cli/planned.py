"""A plan on a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from estran.platforms.base import Reserving
from estran.run.prepare import Prepared
from estran.spec.faults import Fault
from estran.spec.plan import Plan
from estran.spec.schedule import moments
from estran.units import Dimension, show


def print_plan(prepared: Prepared) -> None:
    """Print hosts, links, streams, and what the platform cannot do."""
    console, plan = Console(emoji=False), prepared.plan
    factors = ", ".join(f"{name}={level}" for name, level in plan.experiment.assignment.items())
    console.print(Text.assemble((plan.experiment.name, "bold"), f"   seed {plan.experiment.seed}   {factors}"))
    for table in (_hosts(plan), _links(plan), _streams(plan), _faults(prepared)):
        if table.row_count:
            console.print(table)
    for warning in plan.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    for line in cost_of(prepared):
        console.print(Text(f"cost: {line}"), soft_wrap=True)
    for problem in prepared.problems:
        kind, style = ("cannot be done", "red") if problem.fatal else ("note", "yellow")
        console.print(Text(f"{kind}: {problem}\n  → {problem.remedy}", style=style), soft_wrap=True)


def cost_of(prepared: Prepared) -> list[str]:
    """What a run may cost, in words; nothing where hosts are there anyway."""
    return prepared.platform.cost(prepared.plan) if isinstance(prepared.platform, Reserving) else []


def _hosts(plan: Plan) -> Table:
    table = Table(title="Hosts", title_justify="left", title_style="bold")
    for column in ("layer", "hosts", "device", "cores", "memory", "services"):
        table.add_column(column, justify="right" if column in ("hosts", "cores") else "left")
    services: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for replica in plan.replicas.values():
        services[plan.hosts[replica.host].layer][replica.service.name] += 1
    for layer in plan.experiment.layers.values():
        running = ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in services[layer.name].items())
        device = layer.device
        cores = f"{device.cores} × {device.speed:g}"
        table.add_row(layer.name, str(layer.hosts), device.name, cores, show(device.memory, "size"), running or "–")
    return table


def _links(plan: Plan) -> Table:
    table = Table(title="Links", title_justify="left", title_style="bold")
    for column in ("from", "to", "delay", "jitter", "rate", "loss"):
        table.add_column(column, justify="left" if column in ("from", "to") else "right")
    for rule in plan.experiment.network:
        link = rule.link
        arrow = "↔ " if rule.symmetric else "→ "
        rate = show(link.rate, "rate") if link.rate is not None else "–"
        table.add_row(
            rule.source,
            arrow + rule.target,
            show(link.delay, "duration"),
            show(link.jitter, "duration"),
            rate,
            show(link.loss, "fraction"),
        )
    return table


def _streams(plan: Plan) -> Table:
    table = Table(title="Streams", title_justify="left", title_style="bold")
    for column in ("from", "to", "delivery", "routing", "channels"):
        table.add_column(column, justify="right" if column == "channels" else "left")
    for stream in plan.experiment.streams:
        channels = sum(
            channel.stream == str(stream.source) and _leads_to(channel.consumer, channel.input, stream) for channel in plan.channels
        )
        table.add_row(str(stream.source), ", ".join(map(str, stream.targets)), stream.delivery, stream.routing, str(channels))
    return table


def _faults(prepared: Prepared) -> Table:
    """What breaks, and whether the platform can do it."""
    table = Table(title="Faults", title_justify="left", title_style="bold")
    for column in ("fault", "what", "befalls", "when", "for", prepared.platform.name):
        table.add_column(column)
    refused = {problem.where for problem in prepared.problems if problem.fatal}
    for fault in prepared.plan.experiment.faults:
        settings = ", ".join(f"{name} {_as_written(name, value)}" for name, value in fault.settings.items())
        sides = [", ".join(side) for side in (fault.on, fault.beyond) if side]
        can = "–" if not fault.happens else "no" if f"faults.{fault.name}" in refused else "yes"
        table.add_row(
            fault.name, f"{fault.kind} ({settings})" if settings else fault.kind, (" → " if fault.one_way else " ↔ ").join(sides),
            _when(fault, prepared.plan), "to the end" if fault.duration is None else show(fault.duration, "duration"), can,
        )  # fmt: skip
    return table


_DIMENSIONS: Final[Mapping[str, Dimension]] = {
    "delay": "duration", "jitter": "duration", "period": "duration", "offset": "duration", "rate": "rate", "memory": "size",
    "loss": "fraction", "share": "fraction", "speed": "fraction",
}  # fmt: skip


def _as_written(name: str, value: object) -> str:
    """A fault's setting as a file has it, with its unit."""
    if not isinstance(value, float):
        return str(value)
    return show(value, _DIMENSIONS[name]) if name in _DIMENSIONS else f"{value:g}"


def _when(fault: Fault, plan: Plan) -> str:
    if not fault.happens:
        return "does not happen"
    if fault.when is not None:
        return f"{fault.when.metric} {fault.when.relation} {fault.when.value:g}"
    known = [moment for moment in moments(fault, plan.experiment) if moment is not None]
    if fault.chance is None:
        return ", ".join(show(moment, "duration") for moment in known)
    return f"{', '.join(show(round(moment, 2), 'duration') for moment in known)} (drawn)"


def _leads_to(consumer: str, port: str, stream: object) -> bool:
    targets = {str(target) for target in getattr(stream, "targets", ())}
    return f"{consumer.rpartition('-')[0]}.{port}" in targets
