"""The life of a component replica, wherever it runs: found, connected, run with its inputs pumped, drained."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import ServiceError
from estran.runtime.component import Component, shape
from estran.runtime.coupling import CoupledSender, coupled
from estran.runtime.launch import ChannelEnd
from estran.runtime.ports import Input, Output
from estran.runtime.recorder import Recorder
from estran.runtime.transport import Sender, Transport

DRAIN_TIMEOUT: Final = 1.5


_BEFORE: Final[dict[str, frozenset[str]]] = {}
"""Folders that modules were looked for in, and the modules that had been imported before."""


def look_first_in(folder: str) -> None:
    """Look for modules in an experiment's folder first; those of other experiments' folders are forgotten, names alike or not."""
    for former in [other for other in _BEFORE if other != folder]:
        before = _BEFORE.pop(former)
        if former in sys.path:
            sys.path.remove(former)
        for name in [name for name, module in sys.modules.items() if _lies_in(former, name, getattr(module, "__file__", None))]:
            if name not in before:
                del sys.modules[name]
    if folder not in _BEFORE:
        _BEFORE[folder] = frozenset(sys.modules)
        sys.path.insert(0, folder)


def _lies_in(folder: str, name: str, file: str | None) -> bool:
    """Whether a module was found in a folder by its name, and not by another way that leads below it, such as Estran's own."""
    stem = Path(folder, *name.split("."))
    return file is not None and file in (f"{stem}.py", str(stem / "__init__.py"))


def load_component(path: str, folder: str) -> type[Component]:
    """Import ``module:Class``, looking in the experiment's folder first.

    Raises
    ------
    ServiceError
        If there is no such module or class, it is no component, or its import fails.
    """
    module_name, _, class_name = path.partition(":")
    look_first_in(folder)
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ServiceError(
            f"component {path} cannot be imported: {error}", remedy=f"look for {module_name}.py beside the file"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise ServiceError(f"{path} is not a Component", remedy="derive the class from estran.runtime.component.Component")
    return found


async def attach(component: Component, inputs: Sequence[ChannelEnd], outputs: Sequence[ChannelEnd], transport: Transport) -> None:
    """Connect a component's ports to their channels.

    Raises
    ------
    ServiceError
        If a channel names a port that the component has not.
    """
    form = shape(type(component))
    for channel in inputs:
        if channel.port not in form.inputs:
            raise ServiceError(f"{type(component).__name__} has no input {channel.port!r}", where=component.name)
        receiver = await transport.receiver(channel.spec)
        conflate = channel.delivery == "latest"
        blocks = channel.when_full == "block"
        getattr(component, channel.port).attach(channel.stream, channel.peer, receiver, conflate=conflate, blocks=blocks)
    groups: dict[tuple[str, str, bool], list[tuple[str, Sender]]] = {}
    for channel in outputs:
        if channel.port not in form.outputs:
            raise ServiceError(f"{type(component).__name__} has no output {channel.port!r}", where=component.name)
        ends = groups.setdefault((channel.port, channel.group, channel.rotate), [])
        ends.append((channel.peer, coupled(await transport.sender(channel.spec), channel, component)))
    for (port, _, rotate), ends in groups.items():
        getattr(component, port).attach([sender for _, sender in ends], rotate=rotate, peers=[peer for peer, _ in ends])


async def run_component(component: Component) -> None:
    """Run a component with its inputs pumped, until it returns or is cancelled."""
    async with asyncio.TaskGroup() as group:
        pumps = [group.create_task(port.pump(), name=f"pump {port.name}") for port in ports(component, Input)]
        await group.create_task(component.run(), name="run")
        for pump in pumps:
            pump.cancel()


async def finish(component: Component, transport: Transport, recorder: Recorder) -> None:
    """Let what was sent arrive, for a while, and record what became of each channel."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_TIMEOUT), asyncio.TaskGroup() as group:
            for output in ports(component, Output):
                group.create_task(output.drain())
    for output in ports(component, Output):
        for sender in output.senders:
            if isinstance(sender, CoupledSender):
                sender.end()
    for key, stats in transport.stats().items():
        recorder.event("channel", msgspec.json.encode({"channel": key, **stats}).decode())


def ports(component: Component, kind: type[Any]) -> list[Any]:
    """A component's inputs or outputs."""
    form = shape(type(component))
    return [getattr(component, name) for name in (form.inputs if kind is Input else form.outputs)]


def root_cause(error: BaseException) -> BaseException:
    """The first error within groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
