"""One component replica as a process: connect, set up, wait for the start, run, drain, report."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
import traceback
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from estran.errors import EstranError
from estran.runtime.clock import RealClock
from estran.runtime.component import Component, Surroundings, build
from estran.runtime.compute import RealCompute
from estran.runtime.control import Frame, Link
from estran.runtime.disturbing import hear
from estran.runtime.launch import Launch
from estran.runtime.life import attach, finish, load_component, root_cause, run_component
from estran.runtime.recorder import Recorder, RecorderHandler, printable
from estran.runtime.transport import Transport
from estran.runtime.yielding import Governor, Place, beside

FLUSH_PERIOD = 0.2


def serve(launch: Launch, end: socket.socket, place: Place | None = None) -> int:
    """Run one component replica in this process until it ends or is stopped; return its exit status.

    Parameters
    ----------
    end
        The agent's control connection: rows and readiness go out, ``go``, ``stop``, ``latencies`` and faults come in.
    place
        Where it says whether it computes.
    """
    return asyncio.run(_Service(launch, place).run(end))


class _Service:
    def __init__(self, launch: Launch, place: Place | None) -> None:
        self._launch = launch
        self._place = place
        self._clock = RealClock(launch.origin_ns)
        self._recorder = Recorder(self._emit, self._clock, host=launch.host, replica=launch.replica)
        self._go: asyncio.Event = asyncio.Event()
        self._link: Link | None = None
        self._component: Component | None = None
        self._governor = None if launch.yields is None else Governor(launch.yields, self._clock, self._recorder)

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
            real = stack.enter_context(RealCompute(self._recorder))
            compute = real if self._place is None else beside(real, self._place, self._governor, self._clock)
            component = build(
                load_component(launch.component or "", launch.experiment_folder),
                launch.settings,
                Surroundings(
                    launch.replica, launch.service, launch.index, launch.replicas, self._clock, compute, self._recorder,
                    launch.seed, launch.folder, launch.experiment_folder,
                ),
            )  # fmt: skip
            self._component = component
            transport = await stack.enter_async_context(self._transport())
            await attach(component, launch.inputs, launch.outputs, transport)
            await component.setup()
            await transport.connected()
            self._recorder.flush()
            self._send({"say": "ready"})
            await self._go.wait()
            await asyncio.sleep(-self._clock.now())  # not by the clock, which counts how late components' timers fire
            try:
                await run_component(component)
            finally:
                await self._finish(component, transport)

    def _transport(self) -> Transport:
        from estran.runtime.zenoh_transport import ZenohTransport

        launch = self._launch
        routed = {end.key for end in (*launch.inputs, *launch.outputs) if end.routed}
        return ZenohTransport(
            launch.listen, launch.connect, self._clock, round_trip=launch.round_trip, security=launch.security,
            router=launch.router, routed=routed, before=self._recorder.flush if launch.mortal else None,
        )  # fmt: skip

    async def _finish(self, component: Component, transport: Transport) -> None:
        await finish(component, transport, self._recorder)
        late = self._clock.lateness
        if late.count:
            told = {"n": late.count, "mean": late.late / late.count, "slept": late.slept, "quantiles": late.quantiles()}
            self._recorder.event("timer-lateness", msgspec.json.encode(told).decode())

    async def _listen(self, main: asyncio.Task[None]) -> None:
        """Do what the agent says until it has gone; what cannot be done ends the service, which would else hear nothing more."""
        assert self._link is not None
        try:
            async for frame in self._link.frames():
                self._hear(frame, main)
        except Exception as error:  # noqa: BLE001 - it is reported, as is what the component raises
            self._report(error)
        main.cancel()

    def _hear(self, frame: Frame, main: asyncio.Task[None]) -> None:
        if frame["say"] == "go":
            self._recorder.flush()
            self._clock.origin_ns = frame["origin_ns"]
            self._go.set()
        elif frame["say"] == "latencies" and self._governor is not None:
            self._governor.observe(frame["times"])
        elif frame["say"] in ("disturb", "calm") and self._component is not None:
            hear(self._component, frame)
        elif frame["say"] == "stop":
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
        cause = root_cause(error)
        for line in "".join(traceback.format_exception(error)).splitlines():
            self._recorder.line("stderr", line)
        remedy = cause.remedy if isinstance(cause, EstranError) else None
        what = cause.what if isinstance(cause, EstranError) else f"{type(cause).__name__}: {cause}"
        self._send({"say": "failed", "what": printable(f"failed: {what}"), "remedy": remedy})


def _route_logs(recorder: Recorder) -> None:
    logger = logging.getLogger("estran.service")
    logger.addHandler(RecorderHandler(recorder))
    logger.setLevel(logging.INFO)
    logger.propagate = False
