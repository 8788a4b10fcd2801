"""One component replica as a process: connect, set up, wait for the start, run, drain, report."""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec

from estran.errors import EstranError, ServiceError
from estran.runtime.clock import RealClock
from estran.runtime.component import Component, Surroundings, build, shape
from estran.runtime.compute import RealCompute
from estran.runtime.control import Link
from estran.runtime.launch import ChannelEnd, Launch
from estran.runtime.ports import Input, Output
from estran.runtime.recorder import Recorder, RecorderHandler, printable
from estran.runtime.transport import Sender, Transport

FLUSH_PERIOD = 0.2
DRAIN_TIMEOUT = 1.5


def serve(launch: Launch, end: socket.socket) -> int:
    """Run one component replica in this process until it ends or is stopped; return its exit status.

    Parameters
    ----------
    end
        The agent's control connection: rows and readiness go out, ``go`` and ``stop`` come in.
    """
    return asyncio.run(_Service(launch).run(end))


def load_component(path: str, folder: str) -> type[Component]:
    """Import ``module:Class``, looking in the experiment's folder first.

    Raises
    ------
    ServiceError
        If there is no such module or class, it is no component, or its import fails.
    """
    module_name, _, class_name = path.partition(":")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ServiceError(
            f"component {path} cannot be imported: {error}", remedy=f"look for {module_name}.py beside the file"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise ServiceError(f"{path} is not a Component", remedy="derive the class from estran.runtime.component.Component")
    return found


class _Service:
    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._clock = RealClock(launch.origin_ns)
        self._recorder = Recorder(self._emit, self._clock, host=launch.host, replica=launch.replica)
        self._go: asyncio.Event = asyncio.Event()
        self._link: Link | None = None

    async def run(self, end: socket.socket) -> int:
        self._link = await Link.over(end)
        _route_logs(self._recorder)
        main = asyncio.create_task(self._life(), name="life")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
        listening = asyncio.create_task(self._listen(main), name="control")
        flushing = asyncio.create_task(self._flush_periodically(), name="flush")
        try:
            await main
            status = 0
        except asyncio.CancelledError:
            status = 0
        except Exception as error:  # noqa: BLE001 - the one boundary of a service: whatever a component raises is reported
            self._report(error)
            status = 1
        listening.cancel()
        flushing.cancel()
        self._recorder.flush()
        await self._link.close()
        return status

    async def _life(self) -> None:
        launch = self._launch
        async with AsyncExitStack() as stack:
            compute = stack.enter_context(RealCompute(self._recorder))
            component = build(
                load_component(launch.component or "", launch.experiment_folder),
                launch.settings,
                Surroundings(
                    launch.replica, launch.service, launch.index, launch.replicas, self._clock, compute, self._recorder,
                    launch.seed, launch.folder, launch.experiment_folder,
                ),
            )  # fmt: skip
            transport = await stack.enter_async_context(self._transport())
            await attach(component, launch.inputs, launch.outputs, transport)
            await component.setup()
            await transport.connected()
            self._recorder.flush()
            self._send({"say": "ready"})
            await self._go.wait()
            await self._clock.sleep(-self._clock.now())
            try:
                await _run(component)
            finally:
                await self._finish(component, transport)

    def _transport(self) -> Transport:
        from estran.runtime.zenoh_transport import ZenohTransport

        launch = self._launch
        return ZenohTransport(launch.listen, launch.connect, self._clock, round_trip=launch.round_trip)

    async def _finish(self, component: Component, transport: Transport) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT), asyncio.TaskGroup() as group:
                for output in _ports(component, Output):
                    group.create_task(output.drain())
        for key, stats in transport.stats().items():
            self._recorder.event("channel", msgspec.json.encode({"channel": key, **stats}).decode())
        late = self._clock.lateness
        if late.count:
            told = {"n": late.count, "mean": late.late / late.count, "slept": late.slept, "quantiles": late.quantiles()}
            self._recorder.event("timer-lateness", msgspec.json.encode(told).decode())

    async def _listen(self, main: asyncio.Task[None]) -> None:
        assert self._link is not None
        async for frame in self._link.frames():
            if frame["say"] == "go":
                self._recorder.flush()
                self._clock.origin_ns = frame["origin_ns"]
                self._go.set()
            elif frame["say"] == "stop":
                main.cancel()
        main.cancel()

    async def _flush_periodically(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD)
            self._recorder.record("process_cpu", time.process_time())
            self._recorder.flush()

    def _emit(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._send({"say": "rows", "origin_ns": self._clock.origin_ns, "table": table, "rows": rows})

    def _send(self, frame: dict[str, Any]) -> None:
        if self._link is not None:
            self._link.write(frame)

    def _report(self, error: Exception) -> None:
        cause = _root_cause(error)
        for line in "".join(traceback.format_exception(error)).splitlines():
            self._recorder.line("stderr", line)
        remedy = cause.remedy if isinstance(cause, EstranError) else None
        what = cause.what if isinstance(cause, EstranError) else f"{type(cause).__name__}: {cause}"
        self._send({"say": "failed", "what": printable(f"failed: {what}"), "remedy": remedy})


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
        getattr(component, channel.port).attach(channel.stream, channel.peer, receiver, conflate=conflate)
    groups: dict[tuple[str, str, bool], list[Sender]] = {}
    for channel in outputs:
        if channel.port not in form.outputs:
            raise ServiceError(f"{type(component).__name__} has no output {channel.port!r}", where=component.name)
        groups.setdefault((channel.port, channel.group, channel.rotate), []).append(await transport.sender(channel.spec))
    for (port, _, rotate), senders in groups.items():
        getattr(component, port).attach(senders, rotate=rotate)


async def _run(component: Component) -> None:
    """Run a component with its inputs pumped, until it returns or is cancelled."""
    async with asyncio.TaskGroup() as group:
        pumps = [group.create_task(port.pump(), name=f"pump {port.name}") for port in _ports(component, Input)]
        await group.create_task(component.run(), name="run")
        for pump in pumps:
            pump.cancel()


def _ports(component: Component, kind: type[Any]) -> list[Any]:
    form = shape(type(component))
    return [getattr(component, name) for name in (form.inputs if kind is Input else form.outputs)]


def _root_cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _route_logs(recorder: Recorder) -> None:
    logger = logging.getLogger("estran.service")
    logger.addHandler(RecorderHandler(recorder))
    logger.setLevel(logging.INFO)
    logger.propagate = False
