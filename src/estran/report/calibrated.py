"""A calibration on a terminal: what was fitted, on how much, and what to keep in mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estran.report.table import bare_table
from estran.report.wording import NONE, quantity
from estran.spec.calibration import Calibration
from estran.spec.costs import Cost

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_calibration(console: Console, calibration: Calibration) -> None:
    """Print what was fitted: operations, streams, handling, commands; then the warnings."""
    from rich.text import Text

    for make in (_operations, _streams, _handling, _processor, _commands):
        table = make(calibration)
        if table.row_count:
            console.print(table)
    for warning in calibration.warnings:
        console.print(Text.assemble(("! ", "yellow"), warning))


def _operations(calibration: Calibration) -> Table:
    table = _table("operation", "n", "once", "+ per item", "p99 of one")
    for fit in calibration.operations:
        once, each = _seconds(fit.cost.time), _seconds(fit.cost.each)
        name = f"{fit.service}: {fit.operation} on {fit.device}"
        table.add_row(name, f"{fit.n:,}", once, each, _p99(fit.cost))
    return table


def _streams(calibration: Calibration) -> Table:
    table = _table("stream", "n", "size", "beside the link", "p99")
    for fit in calibration.streams:
        size = quantity(fit.size.bytes, "B")
        table.add_row(f"{fit.stream} → {fit.consumer} ({fit.way})", f"{fit.n:,}", size, _seconds(fit.extra.time), _p99(fit.extra))
    return table


def _handling(calibration: Calibration) -> Table:
    table = _table("handling", "wake", "take", "late", "first")
    for one in calibration.handling:
        cells = [one.wake.mean(), one.take.mean(), one.late.mean(), one.begin.mean()]
        table.add_row(f"{one.service} on {one.device}", *map(_seconds, cells))
    return table


def _processor(calibration: Calibration) -> Table:
    table = _table("processor", "receive", "each", "send", "each", "idle")
    for one in calibration.handling:
        receive, send = one.receive_cpu, one.send_cpu
        cells = [receive.mean(0), receive.each, send.mean(0), send.each]
        idle = quantity(one.idle_cpu, "fraction") if one.idle_cpu else NONE
        table.add_row(f"{one.service} on {one.device}", *map(_seconds, cells), idle)
    return table


def _commands(calibration: Calibration) -> Table:
    table = _table("command", "serves in", "calls", "idle")
    for service, model in calibration.commands.items():
        serving = _seconds(model.serves.cost.mean()) if model.serves else NONE
        made = (*model.calls, *(model.serves.calls if model.serves else ()))
        calls = ", ".join(dict.fromkeys(call.to for call in made)) or NONE
        table.add_row(service, serving, calls, quantity(model.idle, "fraction") if model.idle else NONE)
    return table


def _p99(cost: Cost) -> str:
    return _seconds(cost.draw(1, 0.99))


def _seconds(value: float) -> str:
    return quantity(value, "s") if value else NONE


def _table(first: str, *others: str) -> Table:
    table = bare_table()
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="left" if name == "calls" else "right", no_wrap=True)
    return table
