"""Faults of a run: asked of the platform, begun when their moment has come or their condition holds, healed, and written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from estran.errors import EstranError, PlatformError, RequestError
from estran.observe.live import LiveResponses
from estran.observe.rows import EventRow
from estran.platforms.base import Breakable, Breaking, Host, Platform, Problem, Provision
from estran.run.record import write_json
from estran.runtime.clock import Clock
from estran.spec.faults import TOLD, Injection
from estran.spec.plan import Plan
from estran.spec.schedule import moments

FILE: Final = "faults.json"
VERSION: Final = 1
BEGUN: Final = "fault-begun"
OVER: Final = "fault-over"
LOOK: Final = 0.1
"""Seconds from one look at a condition to the next."""
HEALING: Final = 10.0
"""Seconds that what is on at the end is given to be healed."""


class Expecting(Protocol):
    """Who follows the hosts, and must know what is broken on purpose."""

    def expect(self, hosts: Collection[str], replicas: Collection[str]) -> None:
        """These go down from now on, and that is no failure."""
        ...

    def fail(self, error: EstranError) -> None:
        """The run has failed."""
        ...

    def take(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Rows for the store."""
        ...


@dataclass(slots=True)
class Happening:
    """What became of one injection; times are of the run's clock.

    Attributes
    ----------
    asked
        When it was to begin: its moment, or when its condition was seen to hold; None if that never came.
    begun, ended
        When it had begun, and when it had been healed; None if it was not.
    note
        Why it did not begin, or what else went otherwise than asked.
    by_hand
        Whether somebody asked for it while the run went on, and not its description.
    """

    injection: Injection
    asked: float | None = None
    begun: float | None = None
    ended: float | None = None
    note: str | None = None
    by_hand: bool = False

    def plain(self) -> dict[str, Any]:
        """As it stands in ``faults.json``."""
        data = asdict(self.injection)
        data.pop("at"), data.pop("when")
        condition = self.injection.when
        told = None if condition is None else f"{condition.metric} {condition.relation} {condition.value:g}"
        times = {"asked": self.asked, "begun": self.begun, "ended": self.ended}
        return {
            **data,
            "when": told,
            **{name: None if at is None else round(at, 6) for name, at in times.items()},
            "note": self.note,
            "by_hand": self.by_hand,
        }


def unbreakable(platform: Platform, plan: Plan) -> Iterator[Problem]:
    """Faults of a plan that a platform cannot bring about; a run refuses before anything starts."""
    for name, kind in dict.fromkeys((one.fault, one.kind) for one in plan.injections if one.kind not in TOLD):
        if not isinstance(platform, Breaking):
            reason: str | None = f"{platform.name} cannot break what it provides"
        else:
            reason = platform.breaks(kind)
        if reason is not None:
            remedy = f"run it on another platform, leave it out, or give it no time (--set faults.{name}.for=none)"
            yield Problem(f"no {kind} here: {reason}", f"faults.{name}", remedy)


class Injector:
    """Brings the faults of one run about.

    Two that want the same for themselves follow each other: the later one waits until the other is healed.

    Parameters
    ----------
    clock
        The run's.
    folder
        Where it is written down what happens, as it happens: a run that is killed has it, too.
    """

    def __init__(
        self, plan: Plan, provision: Provision, collector: Expecting, live: LiveResponses, clock: Clock, folder: Path
    ) -> None:
        self._plan = plan
        self._provision = provision
        self._collector = collector
        self._live = live
        self._clock = clock
        self._folder = folder
        self._warmup = plan.experiment.measure.warmup
        self._changed = asyncio.Condition()
        self.happenings = [Happening(one) for one in plan.injections]
        experiment = plan.experiment
        self._without = {
            fault.name: [self._warmup + at for at in moments(fault, experiment) if at is not None]
            for fault in experiment.faults
            if not fault.happens
        }
        self._on: list[Happening] = []

    async def run(self) -> None:
        """Inject and heal until cancelled, or all is over; what cannot be injected fails the run."""
        async with asyncio.TaskGroup() as group:
            for happening in self.happenings:
                group.create_task(self._one(happening), name=f"fault {happening.injection.key}")

    async def heal(self) -> None:
        """Heal what is still on, the newest first.

        Raises
        ------
        PlatformError
            If something could not be healed, after all the rest has been.
        """
        failures: list[EstranError] = []
        for happening in reversed(list(self._on)):
            try:
                async with asyncio.timeout(HEALING):
                    await self._heal(happening)
            except EstranError as error:
                failures.append(error)
            except TimeoutError:
                failures.append(PlatformError(f"could not be healed within {HEALING:g}s", where=happening.injection.key))
        if failures:
            raise failures[0]

    def unbegun(self) -> list[str]:
        """Sentences on what never began, for the record's warnings."""
        found = []
        for one in self.happenings:
            if one.begun is None and one.asked is None:
                one.note = one.note or (
                    "its condition never held" if one.injection.when is not None else "the measurement was over"
                )
                found.append(f"the fault {one.injection.key} did not happen: {one.note}")
        return found

    def blocked(self) -> PlatformError | None:
        """Why something whose moment had come could not begin; None if all could."""
        for one in self.happenings:
            if one.begun is None and one.asked is not None and not one.by_hand:
                one.note = one.note or "another fault was still on"
                return PlatformError(
                    f"could not be injected: {one.note}", where=f"faults.{one.injection.fault}", remedy="space faults out"
                )
        return None

    def write(self) -> None:
        """Write down what has happened until now; nothing where nothing was to."""
        if not self.happenings and not self._plan.experiment.faults:
            return
        faults = [one.plain() for one in self.happenings]
        write_json(self._folder / FILE, {"version": VERSION, "faults": faults, "without": self._without})

    async def _one(self, happening: Happening) -> None:
        injection = happening.injection
        await self._due(injection)
        happening.asked = self._clock.now() if injection.at is None else self._warmup + injection.at
        async with self._changed:
            await self._changed.wait_for(lambda: not any(injection.targets & one.injection.targets for one in self._on))
            self._on.append(happening)
        try:
            await self._begin(happening)
        except EstranError as error:
            happening.note = error.what
            self._on.remove(happening)
            what = f"could not be injected: {error.what}"
            self._collector.fail(PlatformError(what, where=f"faults.{injection.fault}", remedy=error.remedy))
            return
        await self.heal_in_time(happening)

    async def by_hand(self, injection: Injection) -> Happening:
        """Begin what nobody had planned, now; it has begun when this returns, and `heal_in_time` ends it.

        Raises
        ------
        RequestError
            If another fault has what this one wants.
        PlatformError
            If it could not be done; the run goes on.
        """
        other = next((one.injection.key for one in self._on if injection.targets & one.injection.targets), None)
        if other is not None:
            raise RequestError(f"{other} is still on there", where=injection.fault, remedy="wait until it is over")
        happening = Happening(injection, asked=self._clock.now(), by_hand=True)
        self.happenings.append(happening)
        self._on.append(happening)
        try:
            await self._begin(happening)
        except EstranError as error:
            happening.note = error.what
            self._on.remove(happening)
            raise
        return happening

    async def heal_in_time(self, happening: Happening) -> None:
        """Wait for the end of what has begun, and heal it; what cannot be healed fails the run."""
        injection = happening.injection
        if injection.duration is None:
            if injection.kind == "kill":  # it is over as soon as it has begun
                await self._leave(happening)
            return
        await self._clock.sleep(happening.begun + injection.duration - self._clock.now() if happening.begun is not None else 0.0)
        try:
            await self._heal(happening)
        except EstranError as error:
            what = f"could not be healed: {error.what}"
            self._collector.fail(PlatformError(what, where=f"faults.{injection.fault}", remedy=error.remedy))

    async def _due(self, injection: Injection) -> None:
        if injection.at is not None:
            await self._clock.sleep(self._warmup + injection.at - self._clock.now())
        while injection.when is not None and not self._live.met(injection.when):
            await self._clock.sleep(LOOK)

    async def _begin(self, happening: Happening) -> None:
        injection = happening.injection
        if injection.kind in TOLD:
            await self._tell(injection, "disturb")
        elif isinstance(self._provision, Breakable):
            self._collector.expect(injection.hosts, injection.replicas)
            happening.note = "the run ended while it began"
            await self._provision.inject(injection)
            happening.note = None
        else:
            raise PlatformError("the platform cannot break what it provides")
        happening.begun = self._clock.now()
        self._mark(BEGUN, injection, happening.begun)

    async def _heal(self, happening: Happening) -> None:
        injection = happening.injection
        if injection.kind in TOLD:
            await self._tell(injection, "calm")
        elif isinstance(self._provision, Breakable):
            await self._provision.heal(injection)
        happening.ended = self._clock.now()
        self._mark(OVER, injection, happening.ended)
        await self._leave(happening)

    async def _leave(self, happening: Happening) -> None:
        """Let those begin that wait for the same."""
        self._on.remove(happening)
        async with self._changed:
            self._changed.notify_all()

    async def _tell(self, injection: Injection, say: str) -> None:
        """Tell replicas themselves: what befalls their data is the same on every platform."""
        components = (name for name in injection.replicas if self._plan.replicas[name].service.component is not None)
        for name in components:
            outputs = [output.rpartition(".")[2] for output in injection.outputs if output.rpartition(".")[0] == name]
            frame = {
                "say": say, "key": injection.key, "kind": injection.kind, "outputs": outputs, "settings": dict(injection.settings),
            }  # fmt: skip
            host: Host = self._provision.hosts[self._plan.replicas[name].host]
            await host.tell(name, frame)

    def _mark(self, event: str, injection: Injection, now: float) -> None:
        detail = {"key": injection.key, "fault": injection.fault, "kind": injection.kind, "targets": shown(injection)}
        self._collector.take("events", [EventRow(now, "", "", event, msgspec.json.encode(detail).decode())])
        self.write()


def shown(injection: Injection) -> list[str]:
    """What it befalls, in words: links once for both directions."""
    links: Mapping[str, None] = dict.fromkeys(
        f"{a} → {b}" if (b, a) not in injection.links else f"{min(a, b)} ↔ {max(a, b)}" for a, b in injection.links
    )
    return [*links, *(injection.hosts or injection.outputs or injection.replicas)]


@asynccontextmanager
async def injecting(injector: Injector, warnings: list[str]) -> AsyncIterator[None]:
    """Bring faults about meanwhile; on leaving everything is healed and written down.

    Raises
    ------
    PlatformError
        If something could not begin though its moment had come, or could not be healed.
    """
    task = asyncio.create_task(injector.run(), name="faults")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        try:
            await injector.heal()
        finally:
            warnings.extend(injector.unbegun())
            blocked = injector.blocked()
            injector.write()
    if blocked is not None:
        raise blocked
