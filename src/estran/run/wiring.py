"""From a plan and the addresses that a platform gave to the launches of all replicas."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from estran.errors import PlatformError
from estran.platforms.base import OPEN, Access
from estran.runtime.launch import ChannelEnd, Launch, Readiness, Yielding
from estran.spec.faults import DOWN
from estran.spec.plan import Channel, Plan, Replica, router_port, stream_ports

Address = Callable[[str, str], str]
"""By which address the first host reaches the second."""

ROUTER: Final = "estran.runtime.router:route"
ANY, LOOPBACK = "0.0.0.0", "127.0.0.1"  # noqa: S104 - who may connect is told by certificates


def wire(
    plan: Plan,
    address: Address,
    components: Mapping[str, str],
    run_folder: Path,
    run_id: str,
    origin_ns: int,
    access: Access = OPEN,
) -> list[Launch]:
    """One `Launch` for each replica.

    Parameters
    ----------
    components
        ``module:Class`` of each component service, by service name.

    Raises
    ------
    PlatformError
        If a channel needs a router and there is none.
    """
    listening = stream_ports(plan)
    inbound: dict[str, list[Channel]] = defaultdict(list)
    outbound: dict[str, list[Channel]] = defaultdict(list)
    for channel in plan.channels:
        inbound[channel.consumer].append(channel)
        outbound[channel.producer].append(channel)

    copies = Counter(replica.service.name for replica in plan.replicas.values())
    trips = round_trips(plan)
    routed = routed_channels(plan, access)

    def dials(source: str, name: str) -> str:
        return endpoint(address, access, source, plan.replicas[name].host, listening[name])

    def dials_router(source: str) -> str:
        return endpoint(address, access, source, access.router or source, router_port(plan))

    def launch(replica: Replica) -> Launch:
        service, experiment = replica.service, plan.experiment
        targets = sorted({channel.consumer for channel in outbound[replica.name] if channel.key not in routed})
        dialled = any(channel.key not in routed for channel in inbound[replica.name])
        passed_on = any(channel.key in routed for channel in (*inbound[replica.name], *outbound[replica.name]))
        return Launch(
            replica=replica.name,
            service=service.name,
            index=replica.index,
            replicas=copies[service.name],
            host=replica.host,
            seed=experiment.seed,
            origin_ns=origin_ns,
            component=components.get(service.name),
            command=service.command,
            settings=service.settings,
            env={**_environment(plan, replica, address, run_id), **service.env},
            inputs=tuple(_end(c, c.input, c.producer, c.key in routed) for c in inbound[replica.name]),
            outputs=tuple(_end(c, c.output, c.consumer, c.key in routed) for c in outbound[replica.name]),
            listen=(listens(address, access, replica.host, listening[replica.name]),) if dialled else (),
            connect=tuple(dials(replica.host, name) for name in targets),
            router=dials_router(replica.host) if passed_on else None,
            security=access.security.get(replica.host),
            round_trip=trips[replica.name],
            folder=str(run_folder.resolve() / "work" / replica.name),  # where a replica works, relative paths mean others
            experiment_folder=experiment.folder,
            cores=service.cores,
            mortal=any(injection.kind in DOWN for injection in plan.injections),
            ready=Readiness(service.ready.port, service.ready.output, service.ready.file, service.ready.timeout),
            restart=service.restart,
            max_restarts=service.max_restarts,
            yields=_yielding(plan, replica),
        )

    return [launch(replica) for replica in plan.replicas.values()]


def routed_channels(plan: Plan, access: Access) -> set[str]:
    """Keys of the channels whose consumer their producer cannot dial.

    Raises
    ------
    PlatformError
        If there are any, and no router that both can dial.
    """
    hosts = {channel.key: (plan.replicas[channel.producer].host, plan.replicas[channel.consumer].host) for channel in plan.channels}
    routed = {key for key, (near, far) in hosts.items() if not access.can_dial(near, far)}
    if routed and (access.router is None or access.router in access.behind):
        key = min(routed)
        raise PlatformError(
            f"{hosts[key][0]} cannot dial {hosts[key][1]} for the channel {key}",
            where=hosts[key][1],
            remedy="name a gateway that both can dial, or place the consumer on a host that can be dialled",
        )
    return routed


def router_task(plan: Plan, address: Address, access: Access) -> tuple[str, Mapping[str, Any]] | None:
    """The task (``module:function`` and settings) that the agent of ``access.router`` is to run; None if nothing needs it."""
    if access.router is None or not routed_channels(plan, access):
        return None
    security = access.security.get(access.router)
    listen = [listens(address, access, access.router, router_port(plan))]
    return ROUTER, {"listen": listen, "security": None if security is None else asdict(security)}


def endpoint(address: Address, access: Access, source: str, target: str, port: int) -> str:
    """Where one host dials another, or itself: by a translated address a host may not reach itself."""
    itself = source == target and target in access.translated
    return f"{access.protocol}/{LOOPBACK if itself else in_endpoint(address(source, target))}:{port}"


def listens(address: Address, access: Access, host: str, port: int) -> str:
    """Where a host listens: a translated address is none that it could listen on."""
    return f"{access.protocol}/{ANY if host in access.translated else in_endpoint(address(host, host))}:{port}"


def in_endpoint(address: str) -> str:
    """An address as it stands before a port: one of IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def round_trips(plan: Plan) -> dict[str, float]:
    """Seconds that a message and its answer take at the most on the links of each replica, four deviations of jitter included."""
    one_way = {(link.source, link.target): link.link.delay + 4 * link.link.jitter for link in plan.links}
    trips = dict.fromkeys(plan.replicas, 0.1)
    for channel in plan.channels:
        near, far = plan.replicas[channel.producer].host, plan.replicas[channel.consumer].host
        trip = one_way.get((near, far), 0.0) + one_way.get((far, near), 0.0)
        for replica in (channel.producer, channel.consumer):
            trips[replica] = max(trips[replica], trip)
    return trips


def _yielding(plan: Plan, replica: Replica) -> Yielding | None:
    share = replica.service.share
    if not share.yields:
        return None
    watched = [other.name for other in plan.replicas.values() if other.host == replica.host and other.service.name == share.of]
    return Yielding(plan.hosts[replica.host].device.cores, share.most, share.latency_p99, tuple(watched))


def _end(channel: Channel, port: str, peer: str, routed: bool) -> ChannelEnd:
    consumer_service = channel.consumer.rpartition("-")[0]
    group = f"{consumer_service}.{channel.input}"
    return ChannelEnd(
        channel.key, channel.stream, port, peer, channel.delivery, channel.capacity, group=group,
        rotate=channel.routing == "rotate", when_full=channel.when_full, rate=channel.rate, sample=channel.sample, routed=routed,
    )  # fmt: skip


def _environment(plan: Plan, replica: Replica, address: Address, run_id: str) -> dict[str, str]:
    """What a command may want to know: who and where it is, and how to reach the other hosts."""
    known = {
        "ESTRAN_RUN": run_id,
        "ESTRAN_EXPERIMENT": plan.experiment.name,
        "ESTRAN_FOLDER": plan.experiment.folder,
        "ESTRAN_SERVICE": replica.service.name,
        "ESTRAN_REPLICA": replica.name,
        "ESTRAN_INDEX": str(replica.index),
        "ESTRAN_HOST": replica.host,
        "ESTRAN_ADDRESS": address(replica.host, replica.host),
    }
    if replica.service.command is not None:
        for host in plan.hosts:
            known[f"ESTRAN_ADDRESS_{host.upper().replace('-', '_')}"] = address(replica.host, host)
    return known
