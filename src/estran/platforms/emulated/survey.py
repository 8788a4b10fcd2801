"""What this machine can emulate, found by trying: for ``estran doctor``, and for ``plan`` before anything starts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from estran.errors import PlatformError
from estran.platforms.base import Problem
from estran.platforms.breaking import clock_problems
from estran.platforms.emulated.links.engine import Trial
from estran.spec.model import LinkSpec
from estran.spec.plan import Plan
from estran.units import show

TIMEOUT: Final = 30.0
SURVEY_ID: Final = "survey"
_ASKED: Final = ("delay", "jitter", "rate", "loss", "seed")
"""Limits that matter to links that ask for something; others matter always."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to do something: whether it works here, why, and what it cannot do."""

    name: str
    works: bool
    why: str
    limits: Mapping[str, str] = field(default_factory=dict)
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """All rungs, best first, and the machine below them."""

    engines: tuple[Rung, ...]
    limiters: tuple[Rung, ...]
    notes: tuple[str, ...]
    cores: int
    memory: float

    @property
    def usable(self) -> bool:
        """Whether anything can be emulated at all."""
        return any(rung.chosen for rung in self.engines) and any(rung.chosen for rung in self.limiters)

    @property
    def engine(self) -> Rung | None:
        """The engine that is chosen."""
        return next((rung for rung in self.engines if rung.chosen), None)

    @property
    def limiter(self) -> Rung | None:
        """The limiter that is chosen."""
        return next((rung for rung in self.limiters if rung.chosen), None)


async def survey(engine: str | None = None, limiter: str | None = None) -> Survey:
    """Try every rung in a process of its own.

    Raises
    ------
    PlatformError
        If the process fails.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "estran.platforms.emulated.survey", engine or "", limiter or "",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT):
            stdout, stderr = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise PlatformError(
            f"trying the emulation engines took more than {TIMEOUT:g}s", remedy="is the machine overloaded?"
        ) from error
    if process.returncode != 0:
        raise PlatformError(f"trying the emulation engines failed: {stderr.decode(errors='replace').strip()[-400:]}")
    return msgspec.json.decode(stdout, type=Survey)


def problems(plan: Plan, found: Survey, stand_ins: Collection[str] = ()) -> list[Problem]:
    """What of a plan this machine cannot do, or only less well than asked.

    Parameters
    ----------
    stand_ins
        Hosts whose devices are not emulated.
    """
    hosts = {name: host for name, host in plan.hosts.items() if name not in stand_ins}
    replicas = {name: replica for name, replica in plan.replicas.items() if replica.host in hosts}
    plan = replace(plan, hosts=hosts, replicas=replicas)
    looks = (_engine_problems, _fault_problems, _observation_problems, _cpu_problems, _memory_problems)
    return [*(problem for look in looks for problem in look(plan, found)), *_limiter_problems(found)]


def _engine_problems(plan: Plan, found: Survey) -> list[Problem]:
    if not found.usable:
        reasons = "; ".join(f"{rung.name}: {rung.why}" for rung in (*found.engines, *found.limiters) if not rung.works)
        return [Problem(f"nothing can be emulated here ({reasons})", "this machine", "see `estran doctor`")]
    engine = found.engine
    assert engine is not None
    issues = []
    for topic, limit in engine.limits.items():
        where = "emulated links"
        if topic in _ASKED:
            asked = [f"link {link.source} → {link.target}" for link in plan.links if _asks(link.link, topic)]
            if not asked:
                continue
            where = asked[0]
        if topic != "capacity":
            what = f"{topic} on the engine {engine.name}: {limit}"
            issues.append(Problem(what, where, _remedy(found.engines), fatal=topic == "loss"))
    return issues


def _fault_problems(plan: Plan, found: Survey) -> list[Problem]:
    """Faults that the engine cannot bring about, and clocks that are not ours to set."""
    issues = {}
    for one in plan.injections:
        if one.settings.get("loss") and one.kind == "degrade" and found.engine is not None and "loss" in found.engine.limits:
            what = f"no loss on the engine {found.engine.name}: {found.engine.limits['loss']}"
            issues[one.fault] = Problem(what, f"faults.{one.fault}", _remedy(found.engines))
        for host in (plan.hosts[name] for name in one.hosts if one.kind == "memory-pressure"):
            if one.settings["memory"] >= host.device.memory:
                taken, whole = (show(size, "size") for size in (one.settings["memory"], host.device.memory))
                what = f"{taken} are no less than all the memory that {host.name} has ({whole})"
                issues[one.fault] = Problem(what, f"faults.{one.fault}", "let it take less")
    return [*issues.values(), *clock_problems(plan)]


def _observation_problems(plan: Plan, found: Survey) -> list[Problem]:
    """Where what commands exchange cannot be seen."""
    commands = [service.name for service in plan.experiment.services.values() if service.command is not None]
    if not commands or found.engine is None or found.engine.name != "loopback":
        return []
    what = f"what {', '.join(commands)} exchange is not observed: without network namespaces all hosts share one network"
    return [Problem(what, commands[0], _remedy(found.engines), fatal=False)]


def _asks(link: LinkSpec, topic: str) -> bool:
    asked = {"loss": link.loss > 0, "jitter": link.jitter > 0, "rate": link.rate is not None, "delay": link.delay > 0}
    return (asked["loss"] or asked["jitter"]) if topic == "seed" else asked[topic]


def _remedy(rungs: Sequence[Rung]) -> str:
    """What keeps the best rung that does not work here from being chosen."""
    better = next((rung for rung in reversed(rungs) if not rung.works), None)
    return "see `estran doctor`" if better is None else f"{better.name} could do more, but: {better.why}"


def _limiter_problems(found: Survey) -> list[Problem]:
    """Where CPU and memory are limited less well than by cgroups."""
    limiter = found.limiter
    limits = {} if limiter is None else limiter.limits
    return [
        Problem(f"{topic} limits by {limiter.name}: {limits[topic]}", "emulated devices", _remedy(found.limiters), fatal=False)
        for topic in ("cpu", "memory")
        if limiter is not None and topic in limits
    ]


def _cpu_problems(plan: Plan, found: Survey) -> list[Problem]:
    inhabited = {replica.host for replica in plan.replicas.values()}
    asked = sum(host.device.cores * host.device.speed for host in plan.hosts.values() if host.name in inhabited)
    issues = []
    if asked > found.cores:
        issues.append(
            Problem(
                f"the devices have {asked:.3g} reference cores together, this machine has {found.cores}: "
                "they cannot all be busy at once; a run warns if they were",
                "emulated devices", "use a larger machine, or fewer hosts, if they must", fatal=False,
            )
        )  # fmt: skip
    for service in plan.experiment.services.values():
        fast = [plan.hosts[r.host].device for r in plan.replicas.values() if r.service is service]
        if any(device.speed > 1.0 for device in fast):
            issues.append(
                Problem(f"{service.name} runs on a device faster than one core here", service.name, "expect it slower", fatal=False)
            )
    return issues


def _memory_problems(plan: Plan, found: Survey) -> list[Problem]:
    large = [host for host in plan.hosts.values() if host.device.memory > found.memory]
    return [
        Problem(
            f"{host.device.name} has {show(host.device.memory, 'size')} of memory, this machine {show(found.memory, 'size')}",
            host.name, "expect no more than that", fatal=False,
        )
        for host in large[:1]
    ]  # fmt: skip


def _look(engine: str | None, limiter: str | None) -> Survey:
    from estran.platforms.emulated.limits.ladder import RUNGS, make_limiter
    from estran.platforms.emulated.links.ladder import try_engines
    from estran.platforms.emulated.network import namespace

    notes = []
    limiters = [(name, make_limiter(name, f"{SURVEY_ID}-{os.getpid()}").trial()) for name in RUNGS if limiter in (None, name)]
    try:
        privilege = namespace.acquire_privilege()
        notes.append("as root" if privilege == "root" else "rootless, in a user namespace")
    except PlatformError as error:
        notes.append(f"no namespaces: {error.what}" + (f" ({error.remedy})" if error.remedy else ""))
    engines = list(try_engines(engine).items())
    return Survey(
        engines=_rungs(engines),
        limiters=_rungs(limiters),
        notes=tuple(notes),
        cores=len(os.sched_getaffinity(0)),
        memory=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    )


def _rungs(trials: Sequence[tuple[str, Trial]]) -> tuple[Rung, ...]:
    rungs = [msgspec.convert(msgspec.to_builtins(trial) | {"name": name}, Rung) for name, trial in trials]
    best = next((rung.name for rung in rungs if rung.works), None)
    return tuple(replace(rung, chosen=True) if rung.name == best else rung for rung in rungs)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_look(sys.argv[1] or None, sys.argv[2] or None)))
