"""One command replica in virtual time: what its model says that the program does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

import numpy as np

from estran.errors import EstranError, PlatformError
from estran.platforms.emulated.links.relay_core import MSS
from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.commands import Peers, replay
from estran.platforms.simulated.loop import VirtualLoop
from estran.platforms.simulated.moment import turn
from estran.platforms.simulated.network import HEADERS, Network
from estran.platforms.simulated.processor import Processor
from estran.platforms.simulated.replica import Say
from estran.platforms.simulated.tcp import Connection
from estran.runtime.launch import Launch
from estran.runtime.life import root_cause
from estran.runtime.recorder import Recorder
from estran.runtime.rows import ExchangeRow
from estran.spec.costs import CommandModel
from estran.spec.plan import Replica


class CommandSurroundings:
    """What one command sees of the model (see `estran.platforms.simulated.commands.Surroundings`)."""

    def __init__(
        self,
        loop: VirtualLoop,
        clock: VirtualClock,
        rng: np.random.Generator,
        processor: Processor,
        network: Network,
        recorder: Recorder,
        trace: Callable[[str, str], None] | None,
    ) -> None:
        self.clock = clock
        self.rng = rng
        self._loop = loop
        self._processor = processor
        self._network = network
        self._recorder = recorder
        self._trace = trace
        self._connections: dict[tuple[str, str], Connection] = {}

    async def compute(self, seconds: float) -> None:
        """Spend processor seconds of a core of speed 1.0, after what was asked for before."""
        await self._processor.work(self._loop, seconds)

    def send(self, source: str, target: str, size: int, arrived: Callable[[], None]) -> None:
        """Send bytes from one host to another."""
        if self._trace is not None:
            self._trace("sends", f"{size} B from {source} to {target}")
        if source == target:
            self._loop.call_soon(arrived)
            return
        connection = self._connections.get((source, target))
        if connection is None:
            there, back = self._network.pair(source, target), self._network.pair(target, source)
            connection = self._connections[source, target] = Connection(self._loop, there, back)
        wire = size + HEADERS * max(1, -(-size // MSS))
        self._network.counted(source).sent += wire
        self._network.counted(target).received += wire
        connection.send(size, lambda there: self._loop.call_at(there, arrived))

    def record(self, row: ExchangeRow) -> None:
        """Keep a row."""
        self._recorder.exchange(row)


class SimulatedCommand:
    """Lives a command's life, as its model has it, on the loop that is running."""

    def __init__(
        self,
        launch: Launch,
        replica: Replica,
        context: Context,
        model: CommandModel,
        peers: Peers,
        surroundings: CommandSurroundings,
        recorder: Recorder,
        say: Say,
    ) -> None:
        self.recorder = recorder
        self._launch = launch
        self._replica = replica
        self._context = context
        self._model = model
        self._peers = peers
        self._surroundings = surroundings
        self._say = say
        self._begin = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Be ready at once."""
        self._task = group.create_task(self._run(), name=self._launch.replica, context=self._context)

    def go(self, origin_ns: int) -> None:
        """Begin at the run's origin."""
        self._surroundings.clock.origin_ns = origin_ns
        asyncio.get_running_loop().call_at(origin_ns * 1e-9, self._begin.set, context=self._context)

    async def stop(self) -> None:
        """End."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def kill(self) -> bool:
        """Never called: the platform refuses faults that end modelled commands."""
        raise PlatformError("a modelled command cannot be killed", where=self._launch.replica)

    def tell(self, frame: Mapping[str, Any]) -> None:
        """A model hears nothing."""

    def line(self, channel: str, text: str) -> None:
        """Take a line of output: a model prints nothing."""
        self.recorder.line(channel, text)

    async def _run(self) -> None:
        failure: EstranError | None = None
        loop = asyncio.get_running_loop()
        try:
            await turn(loop, loop.time())
            self.recorder.event("started", f"model: {self._model.source}")
            self.recorder.event("ready")
            self._say({"say": "ready", "replica": self._launch.replica})
            await self._begin.wait()
            await replay(self._model, self._replica, self._peers, self._surroundings)
        except asyncio.CancelledError:
            pass
        except (EstranError, ExceptionGroup) as error:
            cause = root_cause(error)
            if not isinstance(cause, EstranError):
                raise
            failure = cause
        self._ended(failure)

    def _ended(self, failure: EstranError | None) -> None:
        status = 0 if failure is None else 1
        self.recorder.event("ended", f"status {status}")
        self.recorder.flush()
        told: Mapping[str, Any] = {
            "say": "ended", "replica": self._launch.replica, "status": status, "failed": failure is not None, "restarts": 0,
            "what": f"failed: {failure.what}" if failure is not None else "ended with status 0",
            "remedy": None if failure is None else failure.remedy, "tail": [],
        }  # fmt: skip
        self._say(told)
