"""The conductor of one run, from a plan to a complete run folder; whatever happens, everything is given back."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from estran.errors import EstranError, VerifyError, cause
from estran.observe.live import LiveResponses
from estran.observe.memory_store import MemoryStore
from estran.observe.queries import open_run
from estran.observe.responses import measure as measure_responses
from estran.observe.store import LIVE, Store
from estran.platforms.base import CpuMeasure, Host, LinkMeasure, Platform, Provision, Reserving, Verification
from estran.run.collector import Collector
from estran.run.faults import Injector, injecting
from estran.run.hand import Hand, door
from estran.run.journal import Journal
from estran.run.machine_load import MachineLoad
from estran.run.record import Progress, RunRecord, Status, write_json
from estran.run.wiring import router_task, wire
from estran.runtime.clock import Clock
from estran.runtime.launch import Launch
from estran.spec.plan import Plan

T = TypeVar("T")

START_MARGIN_NS = 100_000_000
"""Between telling the hosts to begin and the beginning, so that all have heard of it."""
STOP_GRACE = 3.0
VERIFY_ATTEMPTS = 3
"""A machine that is busy for a moment makes a probe fail now and then; what is really wrong fails every time."""
BEFORE = ("hosts_built_in", "measured_in")
"""Facts of a verification that may name a run before this one, which left its hosts to it."""
LIVE_PERIOD = 0.25
RESOLUTION = 1e-9
"""Seconds that are none: simulated time, a sum of floats, can come so near the end that waiting for the rest moves it no more."""
LIVE_LOOKS = 50
"""Looks at the newest figures in a simulated measurement, where virtual seconds pass quickly."""


@dataclass(slots=True)
class Conductor:
    """Conducts one run.

    Parameters
    ----------
    components
        ``module:Class`` of every component service, by service name.
    folder
        The run folder; it exists.
    """

    plan: Plan
    platform: Platform
    components: Mapping[str, str]
    folder: Path
    run_id: str
    record: RunRecord
    progress: Progress
    verification: Verification = field(default_factory=Verification)

    async def conduct(self) -> Status:
        """Run the experiment and return how it ended; a failure is in the record, not raised.

        Raises
        ------
        asyncio.CancelledError
            If the run was interrupted; everything has been given back and what was measured is kept.
        """
        status: Status = "failed"
        try:
            journal = Journal(self.run_id, self.folder)  # opened by who conducts, before the folder was made
            with self._store() as store:
                journal.write("process", self.run_id)
                if isinstance(self.platform, Reserving):
                    self.platform.confide(journal.write, self.progress.waits)
                try:
                    await self._provided(store)
                except (EstranError, ExceptionGroup) as error:
                    self.record.fail(cause(error))  # before collecting, which may fail for the same reason
                    raise
                finally:
                    self._finish(store)
            status = "done"
        except (EstranError, ExceptionGroup) as error:
            self.record.fail(cause(error))
        except asyncio.CancelledError:
            status = "interrupted"
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            self.record.fail(EstranError(what, remedy="this is a defect of Estran: report it with the traceback"))
            raise
        finally:
            self.record.end(status)
        return status

    def _store(self) -> Store | MemoryStore:
        return MemoryStore() if self.platform.virtual else Store(self.folder / LIVE)

    async def _provided(self, store: Store | MemoryStore) -> None:
        live = LiveResponses(self.plan.experiment.measure.warmup)
        replicas = {name: replica.host for name, replica in self.plan.replicas.items()}
        self.record.provenance.feeds(_producers(self.plan))
        collector = Collector(replicas, _sources(self.plan), store, live, self.progress, self.record.provenance)
        async with AsyncExitStack() as stack:
            with self.record.phase("provision"):
                provision = await stack.enter_async_context(self.platform.provide(self.plan, self.folder, self.run_id))
            async with asyncio.TaskGroup() as following:
                hosts = provision.hosts
                follows = [
                    following.create_task(task) for host in hosts.values() for task in (host.serve(), collector.follow(host))
                ]
                # In simulated time nobody reads along.
                flushes = [] if self.platform.virtual else [collector.flush_periodically()]
                flushing = [following.create_task(flush) for flush in flushes]
                watching = following.create_task(_watch(provision, collector))
                try:
                    await _until_failure(self._work(provision, hosts, collector, live), collector)
                finally:
                    watching.cancel()
                    await self._stop(hosts, collector, follows)
                    for task in flushing:
                        task.cancel()
                    self.record.warnings.extend([*collector.warnings, *provision.notes()])
            with self.record.phase("give back"):
                await stack.aclose()

    async def _work(self, provision: Provision, hosts: Mapping[str, Host], collector: Collector, live: LiveResponses) -> None:
        """What is done between providing hosts and stopping services; other kinds of runs do something else here."""
        with self.record.phase("verify"):
            await self._verify(provision)
        with self.record.phase("launch"):
            await self._launch(provision, hosts, collector)
        measure = self.plan.experiment.measure
        await provision.enforce()
        origin_ns = provision.now_ns() + START_MARGIN_NS
        clock = provision.clock(origin_ns)
        with self.record.phase("warm up", measure.warmup):
            collector.begin(origin_ns)
            async with asyncio.TaskGroup() as group:
                for name, host in hosts.items():
                    group.create_task(begin(host, origin_ns, provision.sampler(name), provision.observer(name)))
            await clock.sleep(measure.warmup - clock.now())
        with self.record.phase("measure", measure.duration):
            load = None if self.platform.virtual else MachineLoad()
            try:
                async with self._faults(provision, collector, live, clock):
                    self.record.note(ended_by=await self._measure(clock, collector, live, load))
            finally:  # also of a run that fails
                self.record.note(duration=round(clock.now() - measure.warmup, 6))
            if load is not None:
                self.record.note(machine_busy=load.mean)
                self.record.warnings.extend([load.warning] if load.warning is not None else [])
        await self._conclude(provision)

    @asynccontextmanager
    async def _faults(self, provision: Provision, collector: Collector, live: LiveResponses, clock: Clock) -> AsyncIterator[None]:
        """What breaks on purpose while the measurement goes on: as described and, in real time, by hand."""
        if self.platform.virtual and not self.plan.experiment.faults:
            yield
            return
        injector = Injector(self.plan, provision, collector, live, clock, self.folder)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(injecting(injector, self.record.warnings))
            if not self.platform.virtual:
                await stack.enter_async_context(door(Hand(self.plan, self.platform, injector, self.record), self.run_id))
            yield

    async def _conclude(self, provision: Provision) -> None:
        """Add to what was verified what is known only now."""
        if known := await provision.conclude():
            self.verification = replace(self.verification, facts={**self.verification.facts, **known})
            write_json(self.folder / "network.json", asdict(self.verification))

    async def _verify(self, provision: Provision) -> None:
        for attempt in range(1, VERIFY_ATTEMPTS + 1):
            self.verification = await provision.verify()
            write_json(self.folder / "network.json", asdict(self.verification))
            self.record.note(**{name: self.verification.facts[name] for name in BEFORE if name in self.verification.facts})
            measures: list[LinkMeasure | CpuMeasure] = [*self.verification.links, *self.verification.cpus]
            bad = [measure for measure in measures if not measure.ok]
            wrong = [f"{_place(measure)}: {measure.complaint}" for measure in bad]
            if not wrong:
                break
            self.record.note(verify_attempts=attempt)
        else:
            raise VerifyError(
                "the infrastructure is not what was asked: " + "; ".join(wrong),
                where=_place(bad[0]),
                remedy="see `estran doctor` for what this machine can do, close what else runs on it, or try `--on simulate`",
            )

    async def _launch(self, provision: Provision, hosts: Mapping[str, Host], collector: Collector) -> None:
        access = provision.access()
        launches = wire(self.plan, provision.address, self.components, self.folder, self.run_id, provision.now_ns(), access)
        routing = router_task(self.plan, provision.address, access)
        if routing is not None and access.router is not None:
            await hosts[access.router].task(*routing)
        async with asyncio.TaskGroup() as group:
            for launch in launches:
                group.create_task(_start(hosts, launch))
        if self.platform.virtual:
            await collector.all_ready.wait()
        else:
            # What `collect` will need is imported while the services get ready anyway.
            await asyncio.gather(collector.all_ready.wait(), asyncio.to_thread(importlib.import_module, "duckdb"))

    async def _measure(self, clock: Clock, collector: Collector, live: LiveResponses, load: MachineLoad | None) -> str:
        """Wait for the end of the measurement; return what ended it."""
        measure = self.plan.experiment.measure
        end = measure.warmup + measure.duration
        relaxed = self.platform.virtual and measure.until is None
        period = max(LIVE_PERIOD, measure.duration / LIVE_LOOKS) if relaxed else LIVE_PERIOD
        while (left := end - clock.now()) > RESOLUTION:
            self.progress.live(live.figures())
            if load is not None:
                load.look()
            if self.platform.virtual:
                self.progress.moment(clock.now())
            if measure.until is not None and live.met(measure.until):
                return f"{measure.until.metric} {measure.until.relation} {measure.until.value:g}"
            try:
                async with asyncio.timeout(min(left, period)):
                    await collector.sources_ended.wait()
                return "all sources ended"
            except TimeoutError:
                continue
        if measure.until is not None:
            self.record.warnings.append(
                f"the stop condition {measure.until.metric} {measure.until.relation} {measure.until.value:g} "
                f"was not reached within {measure.duration:g}s (last seen: {live.get(measure.until.metric)})"
            )
        return "duration"

    def _measured(self) -> bool:
        """Whether there is a window of time that responses are of."""
        return any(phase.name == "measure" for phase in self.record.phases)

    async def _stop(self, hosts: Mapping[str, Host], collector: Collector, follows: list[asyncio.Task[None]]) -> None:
        """Stop producers before consumers, so that what is under way arrives; then let the agents go."""
        with self.record.phase("finalise"):
            collector.closing()
            for names in _stopping(self.plan):
                running = [name for name in names if collector.states[name] not in ("ended", "failed")]
                await _together(hosts[self.plan.replicas[name].host].stop(name, grace=STOP_GRACE) for name in running)
            await _together(host.close() for host in hosts.values())
            await asyncio.wait(follows) if follows else None

    def _finish(self, store: Store | MemoryStore) -> None:
        """Turn what was recorded into files and figures; what is missing is said, not invented."""
        with self.record.phase("collect"):
            store.compact(self.folder)
            if not self._measured():
                self.record.note(duration=0.0)  # until it is measured, what is planned stands there
            self.record.write()
            run = open_run(self.folder)
            found = measure_responses(run) if run.status.duration > 0.0 else None
            write_json(self.folder / "responses.json", found.plain() if found else {})
            self.record.note(missing=dict(found.missing) if found else {"all responses": "the run failed before it was measured"})


def _producers(plan: Plan) -> dict[str, list[str]]:
    """Replicas that send to each."""
    found: dict[str, list[str]] = {}
    for channel in plan.channels:
        found.setdefault(channel.consumer, []).append(channel.producer)
    return {consumer: sorted(set(producers)) for consumer, producers in found.items()}


def _sources(plan: Plan) -> set[str]:
    """Replicas that send, and to which nobody sends."""
    return {channel.producer for channel in plan.channels} - {channel.consumer for channel in plan.channels}


def _stopping(plan: Plan) -> Iterator[list[str]]:
    """Replicas in groups to stop one after the other: each time those to which nobody sends any more.

    Last come those that send in circles, and those without streams.
    """
    into: dict[str, set[str]] = {name: set() for channel in plan.channels for name in (channel.producer, channel.consumer)}
    for channel in plan.channels:
        into[channel.consumer].add(channel.producer)
    left = set(plan.replicas)
    while group := [name for name in plan.replicas if name in left and name in into and not into[name] & left - {name}]:
        yield group
        left.difference_update(group)
    if left:
        yield [name for name in plan.replicas if name in left]


def _place(measure: LinkMeasure | CpuMeasure) -> str:
    return f"{measure.source} → {measure.target}" if isinstance(measure, LinkMeasure) else measure.host


async def _start(hosts: Mapping[str, Host], launch: Launch) -> None:
    await hosts[launch.host].start(launch.plain())


async def begin(host: Host, origin_ns: int, *tasks: tuple[str, Mapping[str, Any]] | None) -> None:
    """Begin the run on a host, and what samples and observes it there."""
    await host.go(origin_ns)
    for task in tasks:
        if task is not None:
            await host.task(*task)


async def _watch(provision: Provision, collector: Collector) -> None:
    """Fail the run when the platform itself breaks."""
    try:
        collector.fail(await provision.broken())
    except EstranError as error:
        collector.fail(error)


async def _until_failure(work: Coroutine[Any, Any, T], collector: Collector) -> T:
    """Do the work; if a failure comes in meanwhile, abandon it and raise that."""
    task = asyncio.create_task(work)
    try:
        both: list[asyncio.Future[Any]] = [task, collector.failure]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if collector.failure.done():
            raise collector.failure.result()
        return await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _together(calls: Any) -> None:
    """Make all calls side by side; a host that cannot answer any more does not keep the others from it."""
    await asyncio.gather(*calls, return_exceptions=True)
