"""From faults and a seed to what happens when in one run. A pure function: the same plan and seed give the same schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from zlib import crc32

from estran.spec.faults import DOWN, LINK_KINDS, Chance, Fault, Injection
from estran.spec.model import Experiment
from estran.spec.plan import Plan
from estran.spec.selectors import match_any


def schedule(plan: Plan) -> tuple[Injection, ...]:
    """Every injection of a run, those at known moments in their order, then those on conditions.

    Each fault draws from a random stream of its own, named by the fault: another fault more or less moves none of its moments.
    """
    found = [one for fault in plan.experiment.faults if fault.happens for one in _injections(fault, plan)]
    return tuple(sorted(found, key=lambda one: (one.at is None, one.at or 0.0)))


def late(plan: Plan) -> list[str]:
    """Warnings of injections that no measurement reaches."""
    duration = plan.experiment.measure.duration
    return [
        f"the fault {one.fault} at {one.at:g}s comes after the end of the measurement ({duration:g}s): it will not happen"
        for one in plan.injections
        if one.at is not None and one.at >= duration
    ]


def _injections(fault: Fault, plan: Plan) -> Iterator[Injection]:
    links, hosts, replicas, outputs = _targets(fault, plan)
    for number, at in enumerate(moments(fault, plan.experiment)):
        yield Injection(
            f"{fault.name}/{number}", fault.name, fault.kind, at, fault.duration, fault.when, links, hosts, replicas, outputs,
            fault.settings,
        )  # fmt: skip


def moments(fault: Fault, experiment: Experiment) -> list[float | None]:
    """When a fault begins, or would if it took any time: seconds of the measurement, None while its condition has not held."""
    if fault.when is not None:
        return [None]
    if fault.chance is None:
        return [*sorted(fault.at)]
    return [*_drawn(fault.chance, fault, experiment)]


def _drawn(chance: Chance, fault: Fault, experiment: Experiment) -> list[float]:
    """Uniform among all ways to place so many without overlap: drawn in the room that they leave, then moved apart."""
    import numpy as np

    low, high = chance.within or (0.0, experiment.measure.duration)
    high = min(high, experiment.measure.duration)
    lasting = fault.duration or 0.0
    key = (crc32(b"faults"), crc32(fault.name.encode()))
    rng = np.random.default_rng(np.random.SeedSequence(experiment.seed, spawn_key=key))
    free = np.sort(rng.uniform(low, high - chance.times * lasting, chance.times))
    return [round(float(moment) + number * lasting, 6) for number, moment in enumerate(free)]


Targets = tuple[tuple[tuple[str, str], ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Links, hosts, replicas, outputs."""


def _targets(fault: Fault, plan: Plan) -> Targets:
    layers = plan.experiment.layers
    if fault.kind in LINK_KINDS:
        return tuple(_links(fault, plan)), (), (), ()
    if fault.kind == "corrupt":
        wanted = [text.rpartition(".") for text in fault.on]
        outputs = tuple(f"{name}.{port}" for service, _, port in wanted for name in _replicas(service, plan))
        return (), (), tuple(dict.fromkeys(output.rpartition(".")[0] for output in outputs)), outputs
    if fault.kind in ("kill", "hang", "burst", "drift"):
        return (), (), tuple(dict.fromkeys(name for text in fault.on for name in _replicas(text, plan))), ()
    hosts = tuple(match_any(fault.on, layers))
    taken = {*hosts} if fault.kind in (*DOWN, "disk-full", "memory-pressure", "clock-skew") else set()
    return (), hosts, tuple(replica.name for replica in plan.replicas.values() if replica.host in taken), ()


def _replicas(text: str, plan: Plan) -> list[str]:
    """Replicas of a service, or the one of that name."""
    return [replica.name for replica in plan.replicas.values() if text in (replica.service.name, replica.name)]


def _links(fault: Fault, plan: Plan) -> Iterator[tuple[str, str]]:
    """Directions that a fault befalls: those that are planned; of a partition, all between its sides."""
    near, far = (match_any(side, plan.experiment.layers) for side in (fault.on, fault.beyond))
    planned: Mapping[tuple[str, str], None] = dict.fromkeys((link.source, link.target) for link in plan.links)
    seen: set[tuple[str, str]] = set()
    for a in near:
        for b in far:
            for pair in ((a, b),) if fault.one_way else ((a, b), (b, a)):
                if pair not in seen and a != b and (fault.kind == "partition" or pair in planned):
                    seen.add(pair)
                    yield pair
