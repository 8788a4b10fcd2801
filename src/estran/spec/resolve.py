"""From an experiment to its plan: hosts, replicas, channels, links."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from estran.spec.model import Experiment, Layer, LinkRule, LinkSpec, Service, Stream
from estran.spec.plan import Channel, Plan, PlannedHost, PlannedLink, Replica
from estran.spec.schedule import late, schedule
from estran.spec.selectors import host_names, match, match_any

_UNSHAPED = LinkSpec()


def plan(experiment: Experiment) -> Plan:
    """Work out everything that an experiment needs to exist.

    Hosts are ``<layer>-<i>``, replicas ``<service>-<i>``, spread over the matching hosts in turn. Of two rules for one
    direction between two hosts, the later one holds. Links are planned for pairs of hosts that a rule covers, and unshaped
    for pairs that only a channel needs; the latter are warned of where other rules exist.
    """
    hosts = {
        name: PlannedHost(name, layer.name, layer.device) for layer in experiment.layers.values() for name in host_names(layer)
    }
    replicas = _replicas(experiment)
    channels = tuple(channel for stream in experiment.streams for channel in _channels(stream, replicas))
    links, warnings = _links(experiment, replicas, channels)
    flat = {replica.name: replica for group in replicas.values() for replica in group}
    planned = Plan(experiment, hosts, flat, channels, links, (*warnings, *_idle(experiment, replicas, channels)))
    if not experiment.faults:
        return planned
    planned = replace(planned, injections=schedule(planned))
    return replace(planned, warnings=(*planned.warnings, *late(planned)))


def _replicas(experiment: Experiment) -> dict[str, list[Replica]]:
    """Replicas by service, spread over its hosts round robin."""
    placed: dict[str, list[Replica]] = {}
    for service in experiment.services.values():
        hosts = match_any(service.on, experiment.layers)
        count = len(hosts) if service.replicas is None else service.replicas
        placed[service.name] = [_replica(service, index, hosts) for index in range(count)]
    return placed


def _replica(service: Service, index: int, hosts: list[str]) -> Replica:
    return Replica(f"{service.name}-{index}", index, service, hosts[index % len(hosts)])


def _channels(stream: Stream, replicas: Mapping[str, list[Replica]]) -> Iterator[Channel]:
    """Every channel of a stream, by target, then by producer."""
    for target in stream.targets:
        consumers = replicas[target.service]
        near: defaultdict[str, list[Replica]] = defaultdict(list)
        for consumer in consumers:
            near[consumer.host].append(consumer)
        for producer in replicas[stream.source.service]:
            chosen = consumers if stream.routing != "paired" else [_partner(producer, near.get(producer.host) or consumers)]
            for consumer in chosen:
                yield Channel(
                    key=f"{stream.source}/{producer.name}/{consumer.name}.{target.port}",
                    stream=str(stream.source),
                    producer=producer.name,
                    output=stream.source.port,
                    consumer=consumer.name,
                    input=target.port,
                    delivery=stream.delivery,
                    routing=stream.routing,
                    capacity=stream.capacity,
                    when_full=stream.when_full,
                    rate=stream.rate,
                    sample=stream.sample,
                )


def _partner(producer: Replica, candidates: list[Replica]) -> Replica:
    return candidates[producer.index % len(candidates)]


def _links(
    experiment: Experiment, replicas: Mapping[str, list[Replica]], channels: tuple[Channel, ...]
) -> tuple[tuple[PlannedLink, ...], list[str]]:
    """Directed links, in the order in which rules and channels first ask for them; and warnings."""
    shaped: dict[tuple[str, str], int] = {}
    for number, rule in enumerate(experiment.network):
        for pair in _pairs(rule, experiment.layers):
            shaped[pair] = number
    links = [PlannedLink(*pair, experiment.network[number].link) for pair, number in shaped.items()]
    warnings = _overruled(experiment.network, set(shaped.values()))
    host_of = {replica.name: replica.host for group in replicas.values() for replica in group}
    bare: dict[tuple[str, str], Channel] = {}
    for channel in channels:
        there = (host_of[channel.producer], host_of[channel.consumer])
        for pair in (there, there[::-1]) if there[0] != there[1] else ():
            if pair not in shaped:
                bare.setdefault(pair, channel)
    links += [PlannedLink(*pair, _UNSHAPED) for pair in bare]
    return tuple(links), warnings + _uncovered(experiment, bare)


def _pairs(rule: LinkRule, layers: Mapping[str, Layer]) -> Iterator[tuple[str, str]]:
    """Directed pairs of distinct hosts that a rule covers."""
    sources, targets = match(rule.source, layers), match(rule.target, layers)
    for source in sources:
        for target in targets:
            if source != target:
                yield source, target
                if rule.symmetric:
                    yield target, source


def _overruled(network: tuple[LinkRule, ...], effective: set[int]) -> list[str]:
    """Warn of rules that change nothing: later ones cover all their pairs, or they cover none."""
    return [
        f"the network rule {rule.source} {'↔' if rule.symmetric else '→'} {rule.target} has no effect: "
        "later rules cover every pair of hosts that it names, or there is no such pair"
        for number, rule in enumerate(network)
        if number not in effective
    ]


def _uncovered(experiment: Experiment, bare: Mapping[tuple[str, str], Channel]) -> list[str]:
    """Warn of layers between which messages travel with no rule for their link, once for each pair of layers."""
    told: dict[tuple[str, str], str] = {}
    for (source, target), channel in bare.items():
        ends = source.rpartition("-")[0], target.rpartition("-")[0]
        told.setdefault((min(ends), max(ends)), channel.stream)
    return [
        f"no network rule covers {a} ↔ {b}, which {stream} crosses: its delay, rate and loss "
        f"are those of the platform; add a rule such as {{between: [{a}, {b}], delay: 10ms}}"
        for (a, b), stream in told.items()
    ]


def _idle(experiment: Experiment, replicas: Mapping[str, list[Replica]], channels: tuple[Channel, ...]) -> list[str]:
    """Warn of replicas that a stream to their service leaves out (``paired`` with fewer producers than consumers)."""
    fed = {(channel.stream, channel.input, channel.consumer) for channel in channels}
    warnings = []
    for stream in experiment.streams:
        for target in stream.targets:
            left = [r.name for r in replicas[target.service] if (str(stream.source), target.port, r.name) not in fed]
            if left:
                names = left[0] if len(left) == 1 else f"{left[0]} to {left[-1]}"
                warnings.append(f"{names} get nothing from {stream.source} (routing paired): use routing all or rotate")
    return warnings
