"""The parts of a plan that are on real hosts, and on emulated ones."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from estran.spec.model import Ready, Service
from estran.spec.plan import Plan, PlannedHost, Replica

STAND_IN: Final = "gateway"
"""The service that stands, in the emulated network, for the real host through which all streams go."""


def part(plan: Plan, hosts: Collection[str]) -> Plan:
    """What of a plan is on some of its hosts, and between them."""
    replicas = {name: replica for name, replica in plan.replicas.items() if replica.host in hosts}
    return replace(
        plan,
        hosts={name: host for name, host in plan.hosts.items() if name in hosts},
        replicas=replicas,
        channels=tuple(c for c in plan.channels if c.producer in replicas and c.consumer in replicas),
        links=tuple(link for link in plan.links if link.source in hosts and link.target in hosts),
        warnings=(),
    )


def with_stand_in(plan: Plan, emulated: Collection[str], gateway: str) -> tuple[Plan, str]:
    """The emulated part, with a host in place of the gateway that has this machine's speed; and the replica that runs there."""
    found = part(plan, {*emulated, gateway})
    host = found.hosts[gateway]
    device = replace(host.device, cores=os.cpu_count() or 1, speed=1.0)
    service = Service(STAND_IN, (gateway,), command=("true",), ready=Ready(output="listening"))
    replica = Replica(f"{STAND_IN}-0", 0, service, gateway)
    own = {name: one for name, one in found.replicas.items() if one.host != gateway}
    return (
        replace(
            found,
            hosts={**found.hosts, gateway: PlannedHost(gateway, host.layer, device)},
            replicas={**own, replica.name: replica},
            channels=tuple(c for c in found.channels if c.producer in own and c.consumer in own),
        ),
        replica.name,
    )
