"""One component replica in virtual time: built, connected, begun, ended, as `estran.runtime.service` does it in a process."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import Context
from pathlib import Path
from typing import Any, Final

from estran.errors import EstranError
from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.moment import turn
from estran.platforms.simulated.seams import EscapeError
from estran.platforms.simulated.transport import SimulatedTransport
from estran.runtime.component import Component, Surroundings, build
from estran.runtime.compute import Compute
from estran.runtime.disturbing import hear
from estran.runtime.launch import Launch
from estran.runtime.life import attach, finish, load_component, root_cause, run_component
from estran.runtime.ports import Toll
from estran.runtime.recorder import Recorder, RecorderHandler, printable

TAIL: Final = 20

Say = Callable[[Mapping[str, Any]], None]
"""Takes a frame for the conductor."""


class SimulatedReplica:
    """Lives one component's life on the loop that is running.

    Parameters
    ----------
    context
        The context in which all of its code runs; its rank is set there.
    watch
        Told the module of the component's class before any of it runs.
    """

    def __init__(
        self,
        launch: Launch,
        context: Context,
        clock: VirtualClock,
        recorder: Recorder,
        compute: Compute,
        transport: SimulatedTransport,
        toll: Toll | None,
        say: Say,
        watch: Callable[[str], None],
    ) -> None:
        self.launch = launch
        self._context = context
        self._clock = clock
        self.recorder = recorder
        self._compute = compute
        self._transport = transport
        self._toll = toll
        self._say = say
        self._watch = watch
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._logger = logging.getLogger(f"estran.service.{launch.replica}")
        self._begin = asyncio.Event()
        self._stopping = self._killed = False
        self._component: Component | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Get ready, in a task of the group."""
        self._task = group.create_task(self._run(), name=self.launch.replica, context=self._context)

    def go(self, origin_ns: int) -> None:
        """Begin at the run's origin; who begins first of several depends on their ranks alone."""
        self._clock.origin_ns = origin_ns
        asyncio.get_running_loop().call_at(origin_ns * 1e-9, self._begin.set, context=self._context)

    async def stop(self) -> None:
        """End, after what was sent has arrived."""
        self._stopping = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def kill(self) -> bool:
        """End at once: nothing that is under way is finished, and nothing more is recorded. False if it had ended already."""
        if self._task is None or self._task.done() or self._killed:
            return False
        self._killed = True
        self._transport.abort()
        self.recorder.event("ended", "status -9")
        self.recorder.flush()
        self.recorder.mute()
        self._task.cancel()
        self._say({
            "say": "ended", "replica": self.launch.replica, "status": -9, "failed": True, "restarts": 0,
            "what": "was killed by signal 9 (SIGKILL)", "remedy": None, "tail": list(self._tail),
        })  # fmt: skip
        return True

    def tell(self, frame: Mapping[str, Any]) -> None:
        """Say something to the component, if it is there."""
        if self._component is not None and not self._killed:
            self._context.run(hear, self._component, frame)

    def line(self, channel: str, text: str) -> None:
        """Take a line of output."""
        self._tail.append(text)
        self.recorder.line(channel, text)

    async def _run(self) -> None:
        handler = RecorderHandler(self.recorder)
        self._logger.addHandler(handler)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        failure: BaseException | None = None
        try:
            await self._life()
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - the one boundary of a replica: whatever a component raises is reported
            failure = root_cause(error)
            for text in "".join(traceback.format_exception(error)).splitlines():
                self.line("stderr", text)
        finally:
            self._logger.removeHandler(handler)
        if not self._killed:
            self._ended(failure)

    async def _life(self) -> None:
        launch = self.launch
        loop = asyncio.get_running_loop()
        await turn(loop, loop.time())  # who was started first of several does not matter
        self.recorder.event("started")
        async with AsyncExitStack() as stack:
            component = self._component = self._built()
            transport = await stack.enter_async_context(self._transport)
            await attach(component, launch.inputs, launch.outputs, transport)
            await component.setup()
            await transport.connected()
            self.recorder.event("ready")
            self.recorder.flush()
            self._say({"say": "ready", "replica": launch.replica})
            await self._begin.wait()
            try:
                await run_component(component)
            finally:
                if not self._killed:
                    await finish(component, transport, self.recorder)

    def _built(self) -> Component:
        launch = self.launch
        kind = load_component(launch.component or "", launch.experiment_folder)
        self._watch(kind.__module__)
        Path(launch.folder).mkdir(parents=True, exist_ok=True)
        surroundings = Surroundings(
            launch.replica, launch.service, launch.index, launch.replicas, self._clock, self._compute, self.recorder,
            launch.seed, launch.folder, launch.experiment_folder, self._toll,
        )  # fmt: skip
        return build(kind, launch.settings, surroundings)

    def _ended(self, failure: BaseException | None) -> None:
        if isinstance(failure, EscapeError):
            failure.reported = True
        status = 0 if failure is None else 1
        self.recorder.event("ended", f"status {status}")
        self.recorder.flush()
        what = f"ended with status {status}"
        if failure is not None:
            told = failure.what if isinstance(failure, EstranError) else f"{type(failure).__name__}: {failure}"
            where = f" ({failure.where})" if isinstance(failure, EstranError) and failure.where else ""
            what = printable(f"failed: {told}{where}")
        self._say({
            "say": "ended", "replica": self.launch.replica, "status": status, "failed": failure is not None, "restarts": 0,
            "what": what, "remedy": failure.remedy if isinstance(failure, EstranError) else None, "tail": list(self._tail),
        })  # fmt: skip
