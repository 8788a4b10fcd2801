"""The state of one service's replicas, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from estran.learning.arrivals import arrival_process
from estran.platforms.simulated.costs import Costs
from estran.platforms.simulated.flow import serving
from estran.platforms.simulated.flow.creating import NUMBERS
from estran.platforms.simulated.flow.laws import LawTable
from estran.platforms.simulated.flow.program import Hop
from estran.platforms.simulated.flow.roles import Role
from estran.platforms.simulated.flow.tables import BURSTY, DIURNAL, POISSON, REPLAY, REPLICA, STEADY, Source, Station
from estran.platforms.simulated.flow.traffic import shares
from estran.spec.model import Device

_ARRIVALS = {"fixed": STEADY, "poisson": POISSON, "bursty": BURSTY, "diurnal": DIURNAL, "replay": REPLAY}
_NO_LIMIT = np.iinfo(np.int64).max


def make_source(role: Role, replicas: int, trace: Any, folder: str) -> Source:
    """State of a source's replicas."""
    settings = role.settings
    wanted = arrival_process(settings.arrivals)
    kind = _ARRIVALS[wanted.kind]
    numbers = np.zeros(NUMBERS)
    rate = settings.rate or 1.0
    numbers[:] = rate, settings.batch, wanted.on, wanted.off, wanted.quiet, wanted.period, wanted.swing
    random = replicas if kind != STEADY else 1
    return Source(
        numbers, np.array([kind]), np.full(replicas, -1.0), np.zeros(random, np.int64), _limits(role, replicas, folder),
        np.zeros(random), np.full(random, math.inf), np.ones(random, np.bool_), np.asarray(trace, np.float64),
    )  # fmt: skip


def _limits(role: Role, replicas: int, folder: str) -> Any:
    """Messages in all, by replica, none if without end; the last one may have fewer rows, which is not modelled."""
    settings = role.settings
    rows = shares(settings, replicas, folder)
    if settings.repeat is None and settings.limit is None and rows.all():
        return np.empty(0, np.int64)
    left = np.where(rows > 0, _NO_LIMIT, 0) if settings.repeat is None else rows * settings.repeat
    if settings.limit is not None:
        left = np.minimum(left, settings.limit)
    return np.where(left == _NO_LIMIT, left, -(-left // settings.batch))


def make_station(
    role: Role, devices: Sequence[Device], device: Any, hops: Sequence[Hop], parameters: int,
    costs: Costs, laws: LawTable, servers: int, channels: int,
) -> Station:  # fmt: skip
    """State of the replicas of a service that takes messages in."""
    name, replicas = role.service.name, len(device)
    given = [hop for hop in hops if hop.consumer == name and hop.carries_models]
    published = [hop for hop in hops if hop.producer == name and hop.publishes]
    numbers, flags = np.zeros(serving.NUMBERS), np.zeros(serving.FLAGS, np.bool_)
    numbers[:] = servers, *_batch(role), *_publish(role)
    waits = role.kind == "predictor" and role.settings.before_model == "wait"
    flags[:] = waits, bool(given), role.kind == "trainer", bool(published)
    parameters = next((hop.traffic.parameters for hop in published), parameters)
    own = np.zeros(replicas, REPLICA)
    own["model"] = own["next_publication"] = math.nan
    own["device"] = device
    rows = np.array([_laws(role, one, parameters, costs, laws) for one in devices], np.int64)
    return Station(numbers, flags, rows, own, np.zeros((replicas, servers)), np.zeros(channels, np.int64))


def _batch(role: Role) -> tuple[float, float]:
    batch = getattr(role.settings, "batch", None) if role.kind in ("predictor", "trainer") else None
    return (1, 0.0) if batch is None else (batch.max_size, batch.max_delay)


def _publish(role: Role) -> tuple[float, float]:
    if role.kind != "trainer":
        return 0.0, 0.0
    return role.settings.publish.every or 0.0, float(role.settings.publish.updates or 0)


def _laws(role: Role, device: Device, parameters: int, costs: Costs, laws: LawTable) -> list[int]:
    """Rows of the costs of what a service does on one device: main, second, loading or snapshot, taking, waking."""
    operations: dict[str, tuple[str | None, str | None, str | None]] = {
        "predictor": ("predict", None, "load"),
        "trainer": ("predict", "learn", "snapshot"),
        "sink": (None, None, None),
        "pass": (role.operation, None, None),
    }
    service, named = role.service, []
    for one in operations[role.kind]:
        cost = None if one is None else costs.operation(service, device, one, parameters)
        named.append(-1 if cost is None else laws.add(f"{service.name}: {one}", cost, device.speed))
    handling = costs.handling(role.service, device)
    named.append(laws.add(f"{service.name}: take", handling.take, device.speed))
    return [*named, laws.add(f"{service.name}: wake", handling.wake)]
