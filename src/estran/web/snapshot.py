"""All figures of a run as they are now, as one plain value: what the page's stream and Prometheus are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from estran.report.network import group, links, worth_telling
from estran.report.verdict import ordered
from estran.run.journal import leftovers
from estran.study.rows import cell
from estran.web.alerts import alerts
from estran.web.answers import WINDOW
from estran.web.drawing import Arrow, Drawing
from estran.web.following import Shown
from estran.web.placing import Placing, Way
from estran.web.traffic import Key

CLOSING: Final = 1.0
"""Seconds that a run usually takes after its measurement."""
MOST_HOSTS: Final = 200
MOST_REPLICAS: Final = 200

_LINK: Final = ("delay", "rate", "loss")
_UNITS: Final = {"accuracy": "fraction", "throughput": "/s", "samples": "", "staleness": "s", "energy": "J"}


Snapshot = dict[str, Any]
Broken = set[str | tuple[str, str]]
"""Hosts, replicas and outputs, and directions between hosts."""


def snapshot(run: Shown, drawing: Drawing, now: datetime) -> Snapshot:
    """Everything that the page shows besides charts and logs.

    Parameters
    ----------
    now
        The time of day, for how long phases take and how long the run will.
    """
    broken, exchanges = _broken(run), _exchanges(run, drawing.places())
    return {
        "run": _record(run, now),
        "figures": _figures(run),
        "hosts": _hosts(run)[:MOST_HOSTS],
        "replicas": list(_replicas(run))[:MOST_REPLICAS],
        "edges": {arrow.identity: _edge(run, arrow, broken) for arrow in drawing.arrows},
        "exchanges": exchanges,
        "arrows": _unplanned(drawing, exchanges),
        "links": _links(run),
        "boxes": {identity: _box(run, box.hosts, broken) for identity, box in drawing.boxes},
        "chips": {
            f"{identity}.{index}": _chip(run, chip.replicas, broken)
            for identity, box in drawing.boxes
            for index, chip in enumerate(box.chips)
        },
        "models": run.facts.models.plain(),
        "alerts": [asdict(alert) for alert in alerts(run)],
        "faults": [asdict(fault) for fault in run.facts.happenings.faults.values()],
        "events": run.facts.happenings.events[-40:][::-1],
    }


def _record(run: Shown, now: datetime) -> dict[str, Any]:
    record = run.folder.run
    names = ("id", "experiment", "platform", "seed", "started", "ended", "failure", "warnings")
    killed = not run.over and any(left.run_id == record.get("id") for left in leftovers()[0])
    return {name: record.get(name) for name in names} | {
        "status": "killed" if killed else run.folder.status,
        "over": run.over or killed,
        "whole": run.whole,
        "clock": run.facts.newest,
        "factors": {name: cell(level) for name, level in run.folder.factors.items()},
        "phases": list(_phases(run, now, killed=killed)),
        "left": None if killed else _left(run, now),
        "until": run.measure().get("until"),
    }


def _phases(run: Shown, now: datetime, *, killed: bool) -> Iterator[dict[str, Any]]:
    """Phases with their times; the last one of a killed run lasted until its last record, as far as that tells."""
    expected = {"warm up": run.measure().get("warmup"), "measure": run.measure().get("duration")}
    until = {"warm up": run.facts.newest, "measure": max(0.0, run.facts.newest - run.folder.warmup)}
    for phase in run.folder.run.get("phases") or []:
        name, status, took = phase["name"], phase.get("status"), phase.get("seconds")
        if took is None and not run.over:
            took = until.get(name) if killed else _since(phase.get("started"), now)
        status = "failed" if killed and status == "running" else status
        yield {"name": name, "status": status, "seconds": took, "expected": expected.get(name)}


def _since(stamp: Any, now: datetime) -> float | None:
    try:
        return max(0.0, (now - datetime.fromisoformat(str(stamp)).astimezone(UTC)).total_seconds())
    except ValueError:
        return None


def _left(run: Shown, now: datetime) -> float | None:
    """Seconds that the run will still take, at the most; None where that is over or not known."""
    measure = run.measure()
    if run.over or "duration" not in measure:
        return None
    whole = float(measure.get("warmup") or 0.0) + float(measure["duration"])
    begun = [phase for phase in run.folder.run.get("phases") or [] if phase.get("name") == "warm up"]
    passed = (_since(begun[0].get("started"), now) or 0.0) if begun else 0.0
    return max(whole - passed, 0.0) + CLOSING


def _figures(run: Shown) -> list[dict[str, Any]]:
    """Of a run that is over its responses, with their intervals; of one that goes on the newest figures."""
    if run.whole and run.folder.responses:
        whole = [response for response in ordered(run.folder.responses.values()) if "@" not in response.name]
        return [
            {
                "name": one.name, "value": one.value, "unit": one.unit,
                "ci95": None if one.low is None else [one.low, one.high], "n": one.n,
            }
            for one in whole
        ]  # fmt: skip
    found = run.facts.answers.figures(run.facts.newest)
    used = [run.facts.machines.grown("energy", host) for host in run.folder.hosts]
    if known := [joules for joules in used if joules is not None]:
        found["energy"] = sum(known)
    return [{"name": name, "value": value, "unit": _UNITS.get(name, "s")} for name, value in found.items()]


def flow(run: Shown, channels: list[Key]) -> dict[str, Any]:
    """What flows on some channels: of a run that goes on lately, of one that is over on the average."""
    return run.facts.traffic.flow(channels, run.facts.newest, whole=run.whole)


def _broken(run: Shown) -> Broken:
    """What is broken on purpose now."""
    return {one for fault in run.facts.happenings.faults.values() if fault.ended is None for one in fault.broken}


def _edge(run: Shown, arrow: Arrow, broken: Broken) -> dict[str, Any]:
    """What flows on an arrow, what its label tells, and the last version of a model that arrived on it."""
    hosts = run.folder.replicas
    ways = {(hosts[a].host, hosts[b].host) for _, a, b in arrow.channels}
    link = arrow.link
    return flow(run, list(arrow.channels)) | {
        "asked": {name: link.asked(name) for name in _LINK} if link else {},
        "probed": {name: link.measured(name) for name in _LINK} if link and link.probed else {},
        "ok": link.ok if link else None,
        "broken": not broken.isdisjoint(ways),
        "version": _carried(run, arrow.channels),
        "label": flow(run, list(arrow.told)) | {"version": _carried(run, arrow.told)} if arrow.told else None,
    }


def _exchanges(run: Shown, places: Mapping[str, str]) -> list[dict[str, Any]]:
    """What commands ask of each other, with the nodes that it is drawn between, where those are drawn."""
    return [
        {"port": key[0], "client": key[1], "server": key[2], "source": places.get(key[1]), "target": places.get(key[2])}
        | flow(run, [key])
        for key in sorted(run.facts.traffic.exchanges)
    ]


def _unplanned(drawing: Drawing, exchanges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arrows of exchanges, which nobody planned: those on a port between like hosts are one."""
    together: dict[Way, list[dict[str, Any]]] = {}
    for one in exchanges:
        source, target = one["source"], one["target"]
        if source is not None and target is not None and source != target:
            name = f"exchange {source} {target} {one['port']}"
            together.setdefault(Way(name, source, target, name), []).append(one)
    if not together:
        return []
    placing = Placing(drawing)
    routes = placing.add(together)
    return [
        {"id": way.identity, "port": like[0]["port"], "route": asdict(routes[way.identity]), "bottom": placing.bottom}
        | {name: sum(one[name] for one in like) for name in ("rate", "bytes")}
        | {"spent": sum(one["rate"] * (one["transfer"] or 0.0) for one in like)}
        for way, like in together.items()
    ]


def _carried(run: Shown, channels: tuple[Key, ...]) -> int | None:
    versions = [run.facts.models.newest(consumer, [producer]) for _, producer, consumer in channels]
    return max((version for version in versions if version is not None), default=None)


def _seconds(run: Shown) -> float:
    return max(run.facts.newest, WINDOW) if run.whole else WINDOW


def _hosts(run: Shown) -> list[dict[str, Any]]:
    machines, newest, capacities = run.facts.machines, run.facts.newest, run.run.capacities
    plan = run.run.document("plan") or {}
    memory = {host.get("name"): (host.get("device") or {}).get("memory") for host in plan.get("hosts") or []}
    return [
        {
            "name": host.name, "layer": host.layer, "device": host.device, "capacity": capacities.get(host.name),
            "cpu": machines.now("cpu_seconds", host.name, newest, _seconds(run)),
            "memory": machines.newest("memory", host.name), "most": memory.get(host.name),
            "power": machines.now("energy", host.name, newest, _seconds(run)), "energy": machines.grown("energy", host.name),
            "received": machines.now("rx_bytes", host.name, newest, _seconds(run)),
            "sent": machines.now("tx_bytes", host.name, newest, _seconds(run)),
        }
        for host in run.folder.hosts.values()
    ]  # fmt: skip


def _replicas(run: Shown) -> Iterator[dict[str, Any]]:
    happened = run.facts.happenings.replicas
    into, out_of = defaultdict[str, list[Key]](list), defaultdict[str, list[Key]](list)
    for key in run.facts.traffic.channels:
        out_of[key[1]].append(key)
        into[key[2]].append(key)
    for replica in run.folder.replicas.values():
        known = happened.get(replica.name)
        yield {
            "name": replica.name, "service": replica.service, "kind": replica.kind, "host": replica.host,
            "state": known.state if known else "planned", "restarts": known.restarts if known else 0,
            "errors": known.errors if known else 0, "detail": known.detail if known else "", "version": _version(run, replica.name),
            "in": flow(run, into[replica.name])["rate"], "out": flow(run, out_of[replica.name])["rate"],
        }  # fmt: skip


def _version(run: Shown, replica: str) -> int | None:
    """The version that a replica answers with or, where it answers nothing, has got last."""
    facts = run.facts
    return facts.answers.serving.get(replica, facts.models.newest(replica))


def _links(run: Shown) -> list[dict[str, Any]]:
    """Links between layers as they were asked for and probed, and what flows over them now."""
    groups = group(links(run.folder), run.folder.hosts)
    hosts = {name: replica.host for name, replica in run.folder.replicas.items()}
    carried: dict[tuple[str | None, str | None], list[Key]] = {}
    for key in run.facts.traffic.channels:
        carried.setdefault((hosts.get(key[1]), hosts.get(key[2])), []).append(key)
    return [
        {
            "source": one.source, "target": one.target, "links": len(one.links), "probed": one.probed, "ok": one.ok,
            "complaints": [f"{link.source} → {link.target}: {link.complaint}" for link in one.failed[:5]],
            "quantities": {name: [one.asked(name), one.measured(name)] for name in worth_telling(groups)},
            "now": _over(run, [key for link in one.links for key in carried.get((link.source, link.target), [])]),
        }
        for one in groups
    ]  # fmt: skip


def _over(run: Shown, channels: list[Key]) -> dict[str, Any] | None:
    """What flows over links; None where no stream does."""
    return flow(run, channels) if channels else None


def _box(run: Shown, hosts: tuple[str, ...], broken: Broken) -> dict[str, float | bool | None]:
    """Means over like hosts: share of the processor, memory and power."""
    machines, newest = run.facts.machines, run.facts.newest
    capacities = run.run.capacities

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    used = [machines.now("cpu_seconds", host, newest, _seconds(run)) for host in hosts]
    shares = [None if value is None else value / capacities[host] for host, value in zip(hosts, used, strict=True)]
    return {
        "broken": not broken.isdisjoint(hosts),
        "cpu": mean(shares),
        "memory": mean([machines.newest("memory", host) for host in hosts]),
        "power": mean([machines.now("energy", host, newest, _seconds(run)) for host in hosts]),
    }


def _chip(run: Shown, replicas: tuple[str, ...], broken: Broken) -> dict[str, Any]:
    """Like replicas together: their states, restarts and the range of their versions."""
    happened = run.facts.happenings.replicas
    states = [happened[name].state if name in happened else "planned" for name in replicas]
    versions = [version for name in replicas if (version := _version(run, name)) is not None]
    return {
        "broken": not broken.isdisjoint(replicas),
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
        "restarts": sum(happened[name].restarts for name in replicas if name in happened),
        "versions": [min(versions), max(versions)] if versions else None,
    }
