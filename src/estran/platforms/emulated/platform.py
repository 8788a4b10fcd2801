"""The emulated platform as the conductor sees it: a keeper process, and an agent per host that has services."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import EstranError, PlatformError, RequestError
from estran.platforms.agent_host import AgentHost
from estran.platforms.base import Host, Problem, Verification
from estran.platforms.emulated.leftovers import remove_groups
from estran.platforms.emulated.links.ladder import RUNGS
from estran.platforms.emulated.order import HostOrder, LinkOrder, Order
from estran.platforms.emulated.survey import problems, survey
from estran.runtime.clock import Clock, RealClock
from estran.runtime.control import Link
from estran.spec.plan import Plan, host_ports, stream_ports
from estran.spec.suggest import did_you_mean

EXIT_TIMEOUT: Final = 5.0
SAMPLER: Final = "estran.observe.sampler:run"
OBSERVER: Final = "estran.observe.command_observer:run"


class EmulatedPlatform:
    """One machine, one isolated host per device, real processes, real time.

    Parameters
    ----------
    engine, limiter
        Only this rung of the ladder will do; None for the best that works.
    """

    name = "emulate"
    virtual = False

    def __init__(self, engine: str | None = None, limiter: str | None = None) -> None:
        if engine is not None and engine not in RUNGS:
            raise RequestError(f"there is no engine {engine!r}", where="--on", remedy=did_you_mean(engine, RUNGS, kind="engine"))
        self._engine = engine
        self._limiter = limiter

    @staticmethod
    def loop_factory() -> asyncio.AbstractEventLoop:
        """An ordinary event loop."""
        return asyncio.new_event_loop()

    async def check(self, plan: Plan) -> list[Problem]:
        """What this machine cannot emulate of the plan, found by trying each engine in a throw-away namespace."""
        return problems(plan, await survey(self._engine, self._limiter))

    @asynccontextmanager
    async def provide(self, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[EmulatedProvision]:
        """Start the keeper, build hosts and links, start the agents."""
        inhabited = {replica.host for replica in plan.replicas.values()}
        hosts_file = folder / "hosts"
        hosts_file.write_text("127.0.0.1\tlocalhost\n", encoding="utf-8")
        async with AsyncExitStack() as stack:
            pairs = {name: socket.socketpair() for name in plan.hosts if name in inhabited}
            ours, theirs = socket.socketpair()
            process = await _spawn(theirs, [end for _, end in pairs.values()], hosts_file, folder, run_id)
            theirs.close()
            keeper = AgentHost("keeper", await Link.over(ours))
            serving = asyncio.create_task(keeper.serve(), name="keeper")
            stack.push_async_callback(_give_back, keeper, serving, process, folder, run_id)
            try:
                order = _order(plan, run_id, hosts_file, self._engine, self._limiter)
                facts = await keeper.ask("up", order=msgspec.to_builtins(order))
                warming = asyncio.create_task(keeper.ask("warm"))
                await warming
                await keeper.ask(
                    "agents", ends={name: end.fileno() for name, (_, end) in pairs.items()}, origin_ns=time.monotonic_ns()
                )
            except PlatformError as error:
                last = _last_words(folder)
                raise PlatformError(error.what + last, where="emulated platform", remedy=error.remedy) from error
            finally:
                for _, end in pairs.values():
                    end.close()
            hosts = {name: AgentHost(name, await Link.over(end)) for name, (end, _) in pairs.items()}
            yield EmulatedProvision(keeper, hosts, facts)


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

    def notes(self) -> list[str]:
        """Nothing beside what the verification says."""
        return []

    async def broken(self) -> str:
        """Wait for the keeper to report a dead relay or agent, or to end."""
        async for frame in self._keeper.events():
            return str(frame["what"])
        return "the keeper of the emulated hosts has ended; its own log is keeper.log"


async def _spawn(
    control: socket.socket, ends: list[socket.socket], hosts_file: Path, folder: Path, run_id: str
) -> asyncio.subprocess.Process:
    descriptors = [control.fileno(), *(end.fileno() for end in ends)]
    with (folder / "keeper.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "estran.platforms.emulated.keeper", str(control.fileno()), str(hosts_file),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors, start_new_session=True,
            env={**os.environ, "ESTRAN_RUN": run_id, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip


async def _give_back(
    keeper: AgentHost, serving: asyncio.Task[None], process: asyncio.subprocess.Process, folder: Path, run_id: str
) -> None:
    """Let the keeper end; kill it if it does not. Its end takes everything with it."""
    try:
        async with asyncio.timeout(EXIT_TIMEOUT):
            with suppress(EstranError):  # it has gone already, which is what was wanted
                await keeper.ask("exit")
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    serving.cancel()
    (folder / "hosts").unlink(missing_ok=True)
    log = folder / "keeper.log"
    if log.stat().st_size == 0:
        log.unlink()
    if process.returncode != 0:
        remove_groups(run_id)


def _last_words(folder: Path) -> str:
    """The end of the keeper's own log, where it broke."""
    lines = (folder / "keeper.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""


def _order(plan: Plan, run_id: str, hosts_file: Path, engine: str | None, limiter: str | None) -> Order:
    replicas: dict[str, dict[str, int]] = {name: {} for name in plan.hosts}
    commands: dict[str, list[str]] = {name: [] for name in plan.hosts}
    for replica in plan.replicas.values():
        replicas[replica.host][replica.name] = replica.service.cores
        if replica.service.command is not None:
            commands[replica.host].append(replica.name)
    ports = host_ports(plan)
    return Order(
        run_id=run_id,
        hosts=[
            HostOrder(name, host.layer, replace(host.device, sources={}), replicas[name], ports[name], commands[name])
            for name, host in plan.hosts.items()
        ],
        links=[LinkOrder(link.source, link.target, link.link) for link in plan.links],
        seed=plan.experiment.seed,
        hosts_file=str(hosts_file),
        engine=engine,
        limiter=limiter,
        stream_ports=sorted(stream_ports(plan).values()),
    )
