"""The responses of a run by costs alone: the same names as at other fidelities where they mean the same."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from estran.observe.figures import Response, Responses
from estran.observe.intervals import Estimate, ratio, share
from estran.platforms.simulated.flow import tables as t
from estran.platforms.simulated.flow.bins import edges, quantile
from estran.platforms.simulated.flow.program import Hop
from estran.run.flow_figures import Figures, Floats, by_layer

_NOT_LEARNED = "costs alone do not learn: simulate without --detail flow"
_NOT_KEPT = "costs alone do not tell: simulate without --detail flow"


def measure(figures: Figures) -> Responses:
    """All responses of what has been simulated."""
    result = Responses(figures.window)
    result.lack(("accuracy", "accuracy_final", "accuracy_no_change", "accuracy_majority"), _NOT_LEARNED)
    result.lack(("memory_peak", "staleness_versions", "duplicates", "reordered"), _NOT_KEPT)
    if not figures.slots:
        result.lack(("latency", "throughput", "staleness", "utilisation", "energy"), "nothing was simulated after the warm-up")
        return result
    _latency(result, figures)
    _parts(result, figures)
    _staleness(result, figures)
    _services(result, figures)
    _streams(result, figures)
    _links(result, figures)
    _hosts(result, figures)
    return result


def _put(result: Responses, name: str, above: Any, below: Any, unit: str, n: float, note: str | None = None) -> None:
    """Add a ratio of two series over slots, if there is anything to divide by."""
    below = np.broadcast_to(np.asarray(below, np.float64), np.shape(above))
    if below.sum() > 0:
        found = ratio(above, below)
        result.values[name] = Response.of(Estimate(found.value, int(n), found.ci95, found.note), unit, note)


def _latency(result: Responses, figures: Figures) -> None:
    waiting = figures.waiting(latest=False)
    notes = [] if figures.answers else ["nothing answers in this run: to the end of each message's way"]
    notes += [f"{waiting} messages were unprocessed at the end and are not counted"] if waiting else []
    note = "; ".join(notes) or None
    for part, services in {"": figures.ends, **{name: [name] for name in figures.ends}}.items():
        suffix = f"@{part}" if part else ""
        counts = sum(figures.station(name, t.MESSAGES) for name in services)
        seconds = sum(figures.station(name, t.LATENCY) for name in services)
        total = float(np.sum(counts))
        if not total:
            names = [f"latency{kind}{suffix}" for kind in ("", "_p50", "_p95", "_p99")]
            result.lack(names, "no message was created and processed in the measured window")
            continue
        _put(result, f"latency{suffix}", seconds, counts, "s", total, note)
        shapes = figures.latency(services)
        for percent in (50, 95, 99):
            result.values[f"latency_p{percent}{suffix}"] = Response.of(_quantile(shapes, percent / 100), "s", note)
        done = sum(figures.station(name, t.DONE) for name in services)
        _put(result, f"throughput{suffix}", done, figures.slot, "/s", float(np.sum(done)), "done within the window")


def _quantile(shapes: Any, level: float) -> Estimate:
    """Quantile of histograms by slot: its interval is that of its own level, turned back (Woodruff 1952)."""
    whole = shapes.sum(axis=0)
    value, n = quantile(whole, level), int(whole.sum())
    below = shapes[:, edges()[1:] <= value].sum(axis=1) + 0.0
    found = share(below, shapes.sum(axis=1))
    if found.ci95 is None:
        return Estimate(value, n, None, found.note)
    low, high = (level + bound - found.value for bound in found.ci95)
    if low <= 0 or high >= 1:
        return Estimate(value, n, None, f"{n} observations do not bound the {level:.0%} quantile")
    width = 1 + 1 / 128  # a bin
    return Estimate(value, n, (quantile(whole, low) / width, quantile(whole, high) * width), f"{found.note}; of a histogram")


def _parts(result: Responses, figures: Figures) -> None:
    """The parts of the latency: each message at a service counts as often as ends are reached from there."""
    ends = sum((figures.station(name, t.MESSAGES) for name in figures.ends), np.zeros(figures.slots))
    totals: dict[str, Floats] = defaultdict(lambda: np.zeros(figures.slots))
    n = float(ends.sum())
    for name in figures.stations:
        reach = figures.reach[name]
        if not reach:
            continue
        carried = [hop for hop in figures.program.hops if hop.consumer == name and not hop.carries_models]
        own = {
            "queueing": reach * figures.station(name, t.QUEUEING),
            "transfer": reach * sum(figures.hop(hop, t.TRANSFER) for hop in carried),
            "compute": reach * figures.station(name, t.COMPUTE),
        }
        for kind, seconds in own.items():
            totals[kind] = totals[kind] + seconds
            passed = int(figures.station(name, t.MESSAGES).sum())
            _put(result, f"latency_{kind}@{name}", seconds, ends, "s", n, f"part of the mean latency of all; {passed} passed here")
    for kind, seconds in totals.items():
        _put(result, f"latency_{kind}", seconds, ends, "s", n, "these three sum to latency, but for what was under way at the end")


def _staleness(result: Responses, figures: Figures) -> None:
    predictors = [name for name, role in figures.program.roles.items() if role.kind == "predictor"]
    for part, services in {"": predictors, **{name: [name] for name in predictors}}.items():
        counts = sum((figures.station(name, t.STALE_MESSAGES) for name in services), np.zeros(figures.slots))
        seconds = sum((figures.station(name, t.STALE) for name in services), np.zeros(figures.slots))
        name = f"staleness@{part}" if part else "staleness"
        if counts.sum():
            _put(result, name, seconds, counts, "s", float(counts.sum()))
        else:
            result.missing[name] = "nothing was answered with a published model in the measured window"


def _services(result: Responses, figures: Figures) -> None:
    for name in figures.stations:
        replicas = len(figures.program.hosts[name])
        role = figures.program.roles[name]
        servers = role.service.cores if role.kind == "pass" else 1
        n = figures.station(name, t.DONE).sum()
        busy = figures.station(name, t.BUSY)
        each = f"mean of {replicas} replicas" if replicas > 1 else None
        _put(result, f"utilisation@{name}", busy, figures.slot * replicas * servers, "fraction", n, each)
        most = float(figures.busy(name).max()) / (figures.seconds * servers)
        result.values[f"utilisation_max@{name}"] = Response(min(most, 1.0), "fraction", replicas, None, "of the busiest replica")
        _put(result, f"queue_length@{name}", figures.station(name, t.WAITING), figures.slot * replicas, "messages", n, each)
        if name not in figures.ends:
            _put(result, f"throughput@{name}", figures.station(name, t.DONE), figures.slot, "/s", n, "done within the window")
        published = figures.station(name, t.PUBLISHED)
        if published.any():
            _put(result, f"publications@{name}", published, figures.slot, "/s", published.sum())


def _streams(result: Responses, figures: Figures) -> None:
    for kind, latest in (("loss", False), ("superseded", True)):
        sent, dropped = np.zeros(figures.slots), np.zeros(figures.slots)
        for stream, hops in _by_stream(figures, latest=latest):
            own = [sum(figures.hop(hop, column) for hop in hops) for column in (t.SENT, t.DROPPED)]
            sent, dropped = sent + own[0], dropped + own[1]
            if np.sum(own[0]):
                result.values[f"{kind}@{stream}"] = Response.of(share(own[1], own[0]), "fraction")
        if sent.sum():
            result.values[kind] = Response.of(share(dropped, sent), "fraction")
    waiting = figures.waiting(latest=False)
    result.values["unprocessed"] = Response(waiting, "messages", waiting, None, "of acknowledged streams, at the end of the run")


def _by_stream(figures: Figures, *, latest: bool) -> Iterator[tuple[str, list[Hop]]]:
    found: dict[str, list[Hop]] = {}
    for hop in figures.program.hops:
        if hop.latest == latest:
            found.setdefault(str(hop.stream.source), []).append(hop)
    yield from found.items()


def _links(result: Responses, figures: Figures) -> None:
    """How far links are used, by the layers at their ends; one link for each directed pair of hosts."""
    ways: dict[str, list[Hop]] = {}
    for hop in figures.program.hops:
        if (figures.program.link_of(hop) >= 0).any():
            ways.setdefault(figures.program.way(hop), []).append(hop)
    for way, hops in ways.items():
        used = np.unique(np.concatenate([figures.program.link_of(hop) for hop in hops]))
        count = int((used >= 0).sum())
        n = sum(figures.hop(hop, t.SENT).sum() for hop in hops)
        for name, column, unit in (("utilisation", t.LINK_BUSY, "fraction"), ("queue_length", t.LINK_WAITING, "messages")):
            total = sum(figures.hop(hop, column) for hop in hops)
            _put(result, f"{name}@{way}", total, figures.slot * count, unit, n, f"mean of {count} links" if count > 1 else None)


def _hosts(result: Responses, figures: Figures) -> None:
    program = figures.program
    cpu: dict[str, float] = defaultdict(float)
    traffic: dict[str, dict[str, float]] = {name: defaultdict(float) for name in ("message_bytes", "bytes_sent", "bytes_received")}
    for name in program.roles:
        for layer, seconds in _processor(figures, name).items():
            cpu[layer] += seconds
    for hop in program.hops:
        out, into = program.layers_of(hop.producer).split("+")[0], program.layers_of(hop.consumer).split("+")[0]
        traffic["message_bytes"][out] += float(figures.hop(hop, t.SENT).sum()) * hop.traffic.bytes
        apart = float((program.link_of(hop) >= 0).mean())
        carried = float((figures.hop(hop, t.SENT) - figures.hop(hop, t.DROPPED)).sum()) * hop.bytes * apart
        traffic["bytes_sent"][out] += carried
        traffic["bytes_received"][into] += carried
    told = {
        "message_bytes": "before transport headers",
        "bytes_sent": "with headers; without acknowledgements and what is sent again",
    }
    for name, layers in traffic.items():
        _totals(result, name, layers, "B", told.get(name, told["bytes_sent"]))
    _totals(result, "cpu_seconds", cpu, "s", "of a core of speed 1.0")
    joules: dict[str, float] = {}
    for number, layer in enumerate(program.ground.names):
        device, hosts = program.ground.device_of(number), program.experiment.layers[layer].hosts
        share_used = min(1.0, cpu[layer] / device.speed / (hosts * device.cores * figures.seconds))
        joules[layer] = hosts * figures.seconds * (device.idle_power + (device.busy_power - device.idle_power) * share_used)
    _totals(result, "energy", joules, "J", "model: idle power, plus what full load adds times utilisation")


def _totals(result: Responses, name: str, layers: dict[str, float], unit: str, note: str) -> None:
    for layer, value in layers.items():
        result.values[f"{name}@{layer}"] = Response(value, unit, 1, None, f"all hosts of the layer; {note}")
    result.values[name] = Response(math.fsum(layers.values()), unit, len(layers), None, note)


def _processor(figures: Figures, service: str) -> dict[str, float]:
    """Processor seconds of a core of speed 1.0 in the window, by layer: work, receiving and sending."""
    program = figures.program
    replicas = len(program.hosts[service])
    received = sum(float(figures.hop(hop, t.ARRIVED).sum()) for hop in program.hops if hop.consumer == service)
    sent = sum(float(figures.hop(hop, t.SENT).sum()) for hop in program.hops if hop.producer == service)
    handling = program.handling[service]
    layers = program.ground.layer_of(program.hosts[service])
    speed = np.array([program.ground.device_of(int(layer)).speed for layer in np.unique(layers)])[program.classes[service]]
    around = [received * one.receive_cpu.mean() + sent * one.send_cpu.mean() for one in handling]
    idle = [one.idle_cpu * figures.seconds for one in handling]
    seconds = np.array(around)[program.classes[service]] / replicas + np.array(idle)[program.classes[service]]
    if program.roles[service].kind != "source":
        seconds = seconds + figures.busy(service) * speed
    return by_layer(figures, service, seconds)


def save_histograms(figures: Figures, path: Path) -> None:
    """Write every histogram as rows of name, part, low, high and count; empty bins are left out."""
    import duckdb

    low, high = edges()[:-1], edges()[1:]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE histograms (name VARCHAR, part VARCHAR, low DOUBLE, high DOUBLE, count BIGINT)")
        for name, part, counts in _histograms(figures):
            some = np.flatnonzero(counts)
            columns = {"low": low[some], "high": high[some], "count": counts[some]}
            connection.register("bins", columns)
            connection.execute(
                "INSERT INTO histograms SELECT $name, $part, low, high, count FROM bins", {"name": name, "part": part}
            )
            connection.unregister("bins")
        connection.execute("COPY histograms TO $path (FORMAT parquet, COMPRESSION zstd)", {"path": str(path)})


def _histograms(figures: Figures) -> Iterable[tuple[str, str, Any]]:
    for name in figures.stations:
        if figures.slots:
            yield "latency", name, figures.latency([name]).sum(axis=0)
        for kind, row in (("queueing", t.QUEUEING_SHAPE), ("compute", t.COMPUTE_SHAPE), ("staleness", t.STALE_SHAPE)):
            yield kind, name, figures.shape(name, row)
    for hop in figures.program.hops:
        yield "transfer", hop.name, figures.transfer(hop)
