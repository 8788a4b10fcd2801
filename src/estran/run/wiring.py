"""From a plan and the addresses that a platform gave to the launches of all replicas."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from estran.runtime.launch import ChannelEnd, Launch, Readiness, Yielding
from estran.spec.plan import Channel, Plan, Replica, stream_ports

Address = Callable[[str, str], str]
"""By which address the first host reaches the second."""


def wire(
    plan: Plan, address: Address, components: Mapping[str, str], run_folder: Path, run_id: str, origin_ns: int
) -> list[Launch]:
    """One `Launch` for each replica.

    Parameters
    ----------
    components
        ``module:Class`` of each component service, by service name.
    """
    listening = stream_ports(plan)
    inbound: dict[str, list[Channel]] = defaultdict(list)
    outbound: dict[str, list[Channel]] = defaultdict(list)
    for channel in plan.channels:
        inbound[channel.consumer].append(channel)
        outbound[channel.producer].append(channel)

    copies = Counter(replica.service.name for replica in plan.replicas.values())
    trips = round_trips(plan)

    def launch(replica: Replica) -> Launch:
        service, experiment = replica.service, plan.experiment
        targets = sorted({channel.consumer for channel in outbound[replica.name]})
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
            inputs=tuple(_end(channel, channel.input, channel.producer) for channel in inbound[replica.name]),
            outputs=tuple(_end(channel, channel.output, channel.consumer) for channel in outbound[replica.name]),
            listen=(f"tcp/{address(replica.host, replica.host)}:{listening[replica.name]}",) if replica.name in listening else (),
            connect=tuple(f"tcp/{address(replica.host, plan.replicas[name].host)}:{listening[name]}" for name in targets),
            round_trip=trips[replica.name],
            folder=str(run_folder.resolve() / "work" / replica.name),  # where a replica works, relative paths mean others
            experiment_folder=experiment.folder,
            cores=service.cores,
            ready=Readiness(service.ready.port, service.ready.output, service.ready.file, service.ready.timeout),
            restart=service.restart,
            max_restarts=service.max_restarts,
            yields=_yielding(plan, replica),
        )

    return [launch(replica) for replica in plan.replicas.values()]


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


def _end(channel: Channel, port: str, peer: str) -> ChannelEnd:
    consumer_service = channel.consumer.rpartition("-")[0]
    group = f"{consumer_service}.{channel.input}"
    return ChannelEnd(
        channel.key, channel.stream, port, peer, channel.delivery, channel.capacity, group=group,
        rotate=channel.routing == "rotate", when_full=channel.when_full, rate=channel.rate, sample=channel.sample,
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
