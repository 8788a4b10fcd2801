"""The emulated platform as the conductor sees it: a keeper process, and an agent per host that has services."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import PlatformError, RequestError
from estran.platforms.agent_host import AgentHost
from estran.platforms.base import OPEN, Access, Host, Problem, Verification
from estran.platforms.emulated.keeping import Keeping
from estran.platforms.emulated.links.ladder import engines
from estran.platforms.emulated.order import HostOrder, LinkOrder, Order
from estran.platforms.emulated.survey import Survey, problems, survey
from estran.runtime.clock import Clock, RealClock
from estran.runtime.control import Link
from estran.spec.plan import Plan, host_ports, stream_ports
from estran.spec.suggest import did_you_mean

SAMPLER: Final = "estran.observe.sampler:run"
OBSERVER: Final = "estran.observe.command_observer:run"


class EmulatedPlatform:
    """One machine, one isolated host per device, real processes, real time.

    Parameters
    ----------
    engine, limiter
        Only this rung of the ladder will do; None for the best that works.
    stand_ins
        Hosts of the plan that stand for others which are not emulated: nothing is said of their processors and memory.
    """

    name = "emulate"
    virtual = False

    def __init__(self, engine: str | None = None, limiter: str | None = None, stand_ins: Collection[str] = ()) -> None:
        if engine is not None and engine not in (known := engines()):
            raise RequestError(f"there is no engine {engine!r}", where="--on", remedy=did_you_mean(engine, known, kind="engine"))
        self._engine = engine
        self._limiter = limiter
        self._stand_ins = stand_ins
        self._held_as: str | None = None
        self._kept: Keeping | None = None
        self._survey: Survey | None = None

    @staticmethod
    def loop_factory() -> asyncio.AbstractEventLoop:
        """An ordinary event loop."""
        return asyncio.new_event_loop()

    async def check(self, plan: Plan) -> list[Problem]:
        """What this machine cannot emulate of the plan, found by trying each engine in a throw-away namespace."""
        found = self._survey or await survey(self._engine, self._limiter)
        self._survey = found if self._held_as is not None else None
        return problems(plan, found, self._stand_ins)

    @asynccontextmanager
    async def provide(self, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[EmulatedProvision]:
        """Start the keeper or take the one that is held, build hosts and links, start the agents."""
        keeping = self._take() or Keeping(self._held_as or run_id, folder)
        clean = False
        try:
            async with _connected(keeping, run_id) as keeper:
                order = _order(plan, run_id, self._engine, self._limiter, self._stand_ins)
                try:
                    facts, hosts = await _built(keeping, keeper, order, folder)
                except PlatformError as error:
                    last = _last_words(folder)
                    raise PlatformError(error.what + last, where="emulated platform", remedy=error.remedy) from error
                yield EmulatedProvision(keeper, hosts, facts)
                if self._held_as is not None:
                    clean = not await keeper.ask("end")
        finally:
            # After a failure nobody knows what state the hosts are in: the next run has new ones.
            if clean:
                self._kept = keeping
            else:
                keeping.end()
            _remove_if_empty(folder / "keeper.log")

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep hosts and wires from one run to the next until the context is left; see `Holdable`."""
        self._held_as = name
        try:
            yield
        finally:
            self._held_as = self._survey = None
            if self._kept is not None:
                self._kept.end()
                self._kept = None

    def _take(self) -> Keeping | None:
        """The keeper that a run before has left, if it is still alive."""
        kept, self._kept = self._kept, None
        if kept is not None and not kept.alive:
            kept.end()
            return None
        return kept


class EmulatedProvision:
    """Hosts, addresses and facts of one emulated run."""

    def __init__(self, keeper: AgentHost, hosts: Mapping[str, AgentHost], facts: Mapping[str, Any]) -> None:
        self.hosts: Mapping[str, Host] = hosts
        self._keeper = keeper
        self._facts = facts

    def address(self, source: str, target: str) -> str:
        """A host's only address; on the loopback rung, the address of the pair."""
        pairs: Mapping[str, str] = self._facts["addresses"]
        found = pairs.get(f"{source}>{target}") or pairs.get(target)
        if found is None:
            raise PlatformError(f"there is no host {target!r}")
        return found

    def access(self) -> Access:
        """Nobody else is on an emulated network."""
        return OPEN

    async def enforce(self) -> None:
        """Hold services to their devices' speed from now on."""
        await self._keeper.ask("enforce")

    async def verify(self) -> Verification:
        """Probe every distinct link and CPU share; afterwards services may get ready at full speed, until `enforce`."""
        measured = msgspec.convert(await self._keeper.ask("verify"), Verification)
        await self._keeper.ask("lift")
        return Verification(measured.links, measured.cpus, {**self._facts["record"], **measured.facts})

    def sampler(self, host: str) -> tuple[str, Mapping[str, Any]]:
        """How to sample one host: its accounting files and its device's power model."""
        return SAMPLER, self._facts["samplers"][host]

    def observer(self, host: str) -> tuple[str, Mapping[str, Any]] | None:
        """How to observe a host's commands."""
        settings = self._facts["observers"].get(host)
        return None if settings is None else (OBSERVER, settings)

    def now_ns(self) -> int:
        """Read the machine's monotonic clock, which all hosts share."""
        return time.monotonic_ns()

    def clock(self, origin_ns: int) -> Clock:
        """The run's clock."""
        return RealClock(origin_ns)

    async def conclude(self) -> Mapping[str, Any]:
        """All hosts have one clock."""
        return {}

    def notes(self) -> list[str]:
        """Nothing beside what the verification says."""
        return []

    async def broken(self) -> PlatformError:
        """Wait for the keeper to report a dead relay or agent, or to end."""
        remedy = "see whether something on this machine ended it (dmesg tells of memory), and run it again"
        async for frame in self._keeper.events():
            return PlatformError(str(frame["what"]), remedy=remedy)
        return PlatformError("the keeper of the emulated hosts has ended; its own log is keeper.log", remedy=remedy)


@asynccontextmanager
async def _connected(keeping: Keeping, run_id: str) -> AsyncIterator[AgentHost]:
    keeper = await keeping.connect(run_id)
    serving = asyncio.create_task(keeper.serve(), name="keeper")
    try:
        yield keeper
    finally:
        serving.cancel()
        await keeper.disconnect()


async def _built(
    keeping: Keeping, keeper: AgentHost, order: Order, folder: Path
) -> tuple[Mapping[str, Any], Mapping[str, AgentHost]]:
    """Have everything built that an order asks for, and an agent started on each host that has replicas."""
    facts = await keeper.ask("up", order=msgspec.to_builtins(order), log=str((folder / "keeper.log").resolve()))
    keeping.forget_hosts_file()
    await keeper.ask("warm")
    pairs = {host.name: socket.socketpair() for host in order.hosts if host.replicas}
    try:
        await keeping.fork_agents(keeper, {name: end for name, (_, end) in pairs.items()}, time.monotonic_ns())
    finally:
        for _, end in pairs.values():
            end.close()
    return facts, {name: AgentHost(name, await Link.over(end)) for name, (end, _) in pairs.items()}


def _remove_if_empty(log: Path) -> None:
    if log.exists() and log.stat().st_size == 0:
        log.unlink()


def _last_words(folder: Path) -> str:
    """The end of the keeper's own log, where it broke."""
    lines = (folder / "keeper.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""


def _order(plan: Plan, run_id: str, engine: str | None, limiter: str | None, stand_ins: Collection[str]) -> Order:
    replicas: dict[str, dict[str, float]] = {name: {} for name in plan.hosts}
    commands: dict[str, list[str]] = {name: [] for name in plan.hosts}
    yielding: dict[str, list[str]] = {name: [] for name in plan.hosts}
    for replica in plan.replicas.values():
        most = replica.service.share.most * plan.hosts[replica.host].device.cores
        replicas[replica.host][replica.name] = min(replica.service.cores, most)
        if replica.service.command is not None:
            commands[replica.host].append(replica.name)
        if replica.service.share.yields:
            yielding[replica.host].append(replica.name)
    ports = host_ports(plan)
    return Order(
        run_id=run_id,
        hosts=[
            HostOrder(
                name,
                host.layer,
                replace(host.device, sources={}),
                replicas[name],
                ports[name],
                commands[name],
                yielding[name],
                stands_in=name in stand_ins,
            )
            for name, host in plan.hosts.items()
        ],
        links=[LinkOrder(link.source, link.target, link.link) for link in plan.links],
        seed=plan.experiment.seed,
        engine=engine,
        limiter=limiter,
        stream_ports=sorted(stream_ports(plan).values()),
    )
