"""The responses of a finished run: every figure with unit, number of observations and 95 % confidence interval.

`measure` reads a run folder and returns `Responses`; what could not be measured is not among them, and the reason is kept.
Names: a bare one is for the whole run, ``name@part`` for one service, stream or host. ``docs/reference/responses.md`` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estran.observe import usage
from estran.observe.answers import graded, per_receiver, services_of, staleness
from estran.observe.channels import channel_responses
from estran.observe.exchange_responses import exchange_responses
from estran.observe.fault_responses import fault_responses
from estran.observe.figures import Response, Responses
from estran.observe.intervals import mean, proportion, quantile, ratio
from estran.observe.live import UNTIL_NAMES, LiveResponses
from estran.observe.queries import Run, open_run
from estran.observe.stories import NONE, Floats, Integers, Mask, Stories, duplicates, load, stages

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "UNTIL_NAMES", "LiveResponses", "Response", "Responses", "compute_responses", "measure", "measured_window", "recorded_until",
    "ways_end",
]  # fmt: skip

LAST_PART = 0.2
"""The share of the window, at its end, that ``accuracy_final`` is of."""


def measure(run: Run) -> Responses:
    """Measure a run.

    Raises
    ------
    EstranError
        If a file of the run folder cannot be read.
    """
    with run.database() as connection:
        result = Responses(measured_window(run, connection))
        every = load(connection)
        again = duplicates(every)
        stories = every.select(~again)
        begin, end = result.window
        inside = (stories.created >= begin) & (stories.created < end)
        services = {replica: service for replica, (service, _) in run.replicas.items()}
        hosts = {replica: host for replica, (_, host) in run.replicas.items()}
        backlog = channel_responses(result, run, connection, every, again)
        ends = ways_end(stories)
        _accuracy(result, stories.select(inside), graded(stories), services)
        _latency(result, stories, np.flatnonzero(inside & ends), services, backlog)
        _throughput(result, stories, ends, services)
        _staleness(result, stories, inside, connection, services)
        _bytes(result, stories.select(inside), hosts)
        _hosts(result, connection)
        _utilisation(result, connection, run.capacities)
        exchange_responses(result, run, connection)
        _recorded(result, connection, services)
        fault_responses(result, run, stories, ends, graded(stories))
    return result


def compute_responses(folder: Path) -> dict[str, dict[str, Any]]:
    """What `measure` finds in a run folder, as the content of its ``responses.json``."""
    return measure(open_run(folder)).plain()


def measured_window(run: Run, connection: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    """The measured window; a run that stopped before its time ends with its last record."""
    begin, end = run.status.warmup, run.status.warmup + run.status.duration
    latest = _latest(connection)
    return begin, min(end, latest) if latest is not None and latest > begin else end


def recorded_until(run: Run) -> float:
    """The latest moment of a run's clock of which there is a record: its end, if nobody wrote that down; 0 if there is none."""
    with run.database() as connection:
        return max(0.0, _latest(connection) or 0.0)


def _latest(connection: duckdb.DuckDBPyConnection) -> float | None:
    query = "SELECT max(t) FROM (SELECT max(done) t FROM messages UNION ALL SELECT max(time) FROM metrics)"
    last = connection.execute(query).fetchone()
    return None if last is None or last[0] is None else float(last[0])


def ways_end(stories: Stories) -> Mask:
    """Rows where a trace's way ends: the answers or, where nothing answers, messages that led to no further one."""
    answers: Mask = stories.answer != NONE
    if answers.any():
        return answers
    led: dict[tuple[int, int], float] = {}
    for pair, sent in zip(zip(stories.trace.tolist(), stories.origin.tolist(), strict=True), stories.sent.tolist(), strict=True):
        led[pair] = max(sent, led.get(pair, sent))
    arrived = zip(zip(stories.trace.tolist(), stories.receiver.tolist(), strict=True), stories.started.tolist(), strict=True)
    # What a receiver sent before is no consequence: an answer comes back to where its request began.
    last = np.array([led.get(pair, -math.inf) < started for pair, started in arrived], dtype=bool)
    data = stories.version == NONE  # models have versions, what they are learnt from has none
    found: Mask = last & data if (last & data).any() else last
    return found


def _variants(
    result: Responses, name: str, stories: Stories, services: Mapping[str, str], make: Callable[[Integers], Response | None]
) -> None:
    """Add ``name`` over all rows, and ``name@service`` for each service."""
    if not len(stories):
        return
    for part, rows in {"": np.arange(len(stories)), **services_of(stories, services)}.items():
        response = make(rows)
        if response is not None:
            result.values[f"{name}@{part}" if part else name] = response


def _accuracy(result: Responses, inside: Stories, judged: Stories, services: Mapping[str, str]) -> None:
    begin, end = result.window
    measured = (judged.created >= begin) & (judged.created < end)
    names = ("accuracy", "accuracy_final", "accuracy_no_change", "accuracy_majority")
    if not measured.any():
        answered = bool((inside.answer != NONE).any())
        result.lack(names, "no answer came with its truth" if answered else "nothing was answered in the measured window")
        return
    hits = (judged.truth == judged.answer).astype(np.int64)
    series = {"accuracy": hits, "accuracy_final": hits}
    series |= {f"accuracy_{rival}": per_receiver(judged, rival) for rival in ("no_change", "majority")}
    final = judged.created >= end - LAST_PART * (end - begin)
    for name, all_hits in series.items():
        rows = np.flatnonzero(measured & (final if name == "accuracy_final" else True) & (all_hits != NONE))
        kept = all_hits[rows]
        _variants(result, name, judged.select(rows), services, _proportions(kept))
        if not len(rows):
            result.missing[name] = (
                "nothing was answered in the last fifth of the window" if name == "accuracy_final" else "too few answers"
            )


def _proportions(hits: Integers) -> Callable[[Integers], Response]:
    return lambda rows: Response.of(proportion(hits[rows], trend=True), "fraction")


def _latency(result: Responses, stories: Stories, ends: Integers, services: Mapping[str, str], backlog: int) -> None:
    if not len(ends):
        names = ("latency", "latency_p50", "latency_p95", "latency_p99", "latency_queueing", "latency_transfer", "latency_compute")
        result.lack(names, "no message was created and processed in the measured window")
        return
    seconds = stories.done[ends] - stories.created[ends]
    note = None if stories.answer[ends[0]] != NONE else "nothing answers in this run: to the end of each message's way"
    if backlog:
        note = "; ".join(part for part in (note, f"{backlog} messages were unprocessed at the end and are not counted") if part)
    at_ends = stories.select(ends)
    _variants(result, "latency", at_ends, services, lambda rows: Response.of(mean(seconds[rows]), "s", note))
    for percent in (50, 95, 99):
        _variants(result, f"latency_p{percent}", at_ends, services, _quantiles(seconds, percent / 100, note))
    result.stages.extend(stages(stories, ends, services))
    for kind in ("queueing", "transfer", "compute"):
        own = [stage for stage in result.stages if stage.kind == kind]
        spent = np.sum([stage.seconds for stage in own], axis=0) if own else np.zeros(len(ends))
        result.values[f"latency_{kind}"] = Response.of(mean(spent), "s", "these three sum to latency")
        for stage in own:
            share = f"part of the mean latency of all {len(ends)}; {stage.passed} passed here"
            result.values[f"latency_{kind}@{stage.service}"] = Response.of(mean(stage.seconds), "s", share)


def _quantiles(seconds: Floats, level: float, note: str | None) -> Callable[[Integers], Response]:
    return lambda rows: Response.of(quantile(seconds[rows], level), "s", note)


def _throughput(result: Responses, stories: Stories, ends: Mask, services: Mapping[str, str]) -> None:
    begin, end = result.window
    rows = np.flatnonzero(ends & (stories.done >= begin) & (stories.done < end))
    if not len(rows):
        result.missing["throughput"] = "nothing was processed in the measured window"
        return
    done, edges = stories.done[rows], np.linspace(begin, end, usage.SLOTS + 1)

    def rate(some: Integers) -> Response:
        counts = np.histogram(done[some], edges)[0]
        estimate = ratio(counts, np.diff(edges))
        return Response(estimate.value, "/s", len(some), estimate.ci95, f"done within the window; {estimate.note}")

    _variants(result, "throughput", stories.select(rows), services, rate)


def _staleness(
    result: Responses, stories: Stories, inside: Any, connection: duckdb.DuckDBPyConnection, services: Mapping[str, str]
) -> None:
    events = connection.execute("SELECT time, replica, detail FROM events WHERE event = 'published' ORDER BY time").fetchall()
    found = staleness(stories, events)
    answered = inside & (stories.answer != NONE)
    rows = np.flatnonzero(answered & found.known)
    if not len(rows):
        why = (
            "no answer names a model version that was published"
            if answered.any()
            else "nothing was answered in the measured window"
        )
        result.lack(("staleness", "staleness_versions"), why)
        return
    unknown = int(answered.sum()) - len(rows)
    note = f"{unknown} answers by a model that was never published are not counted" if unknown else None
    for name, unit, values in (("staleness", "s", found.seconds[rows]), ("staleness_versions", "versions", found.versions[rows])):
        _variants(result, name, stories.select(rows), services, _means(values, unit, note))


def _means(values: Floats, unit: str, note: str | None) -> Callable[[Integers], Response]:
    return lambda rows: Response.of(mean(values[rows]), unit, note)


def _bytes(result: Responses, inside: Stories, hosts: Mapping[str, str]) -> None:
    """Bytes of messages by sending host; what the interfaces sent, headers and all, is ``bytes_sent``."""
    if not len(inside):
        result.missing["message_bytes"] = "no message was created and processed in the measured window"
        return
    size, origin = inside.bytes.astype(np.float64), inside.origin
    edges = np.linspace(*result.window, usage.SLOTS + 1)
    for host in sorted({hosts.get(inside.names[code], "") for code in np.unique(origin)} | {""}):
        mine = np.array([not host or hosts.get(name, "") == host for name in inside.names], dtype=bool)[origin]
        slots = np.histogram(inside.created[mine], edges, weights=size[mine])[0]
        estimate = usage.total(slots, result.window)
        told = f"messages that were processed, before transport headers; {estimate.note}"
        result.values[f"message_bytes@{host}" if host else "message_bytes"] = Response(
            float(size[mine].sum()), "B", int(mine.sum()), estimate.ci95, told
        )


def _hosts(result: Responses, connection: duckdb.DuckDBPyConnection) -> None:
    sources = usage.energy_sources(connection)
    for name, (metric, unit) in usage.CUMULATIVE.items():
        slots = usage.growth(connection, metric, result.window)
        if not slots:
            result.missing[name] = f"no host recorded {metric}"
            continue
        for host, grown in slots.items():
            note = sources.get(host, "source unknown") if name == "energy" else None
            result.values[f"{name}@{host}"] = Response.of(usage.total(grown, result.window), unit, note)
        note = "; ".join(sorted(set(sources.values()))) or "source unknown" if name == "energy" else None
        result.values[name] = Response.of(usage.total(np.sum(list(slots.values()), axis=0), result.window), unit, note)
    peaks = usage.peak_memory(connection, result.window[1])
    if not peaks:
        result.missing["memory_peak"] = "no host recorded memory"
        return
    for host, (value, count) in peaks.items():
        result.values[f"memory_peak@{host}"] = Response(
            value, "B", count, None, "largest since the start; a maximum has no interval here"
        )
    result.values["memory_peak"] = Response(
        max(value for value, _ in peaks.values()), "B", len(peaks), None, "of the host with most"
    )


def _utilisation(result: Responses, connection: duckdb.DuckDBPyConnection, capacities: Mapping[str, float]) -> None:
    """Processor time as a share of what the hosts were given; where nothing runs, none was recorded."""
    slots = {host: grown for host, grown in usage.growth(connection, "cpu_seconds", result.window).items() if host in capacities}
    if not slots:
        result.missing["utilisation"] = "no host of the plan recorded cpu_seconds"
        return
    seconds = result.window[1] - result.window[0]
    parts = {host: (grown, capacities[host]) for host, grown in slots.items()}
    for host, (grown, given) in {
        **parts,
        "": (np.sum(list(slots.values()), axis=0), sum(capacities[host] for host in slots)),
    }.items():
        share = usage.total(grown / (given * seconds), result.window)
        result.values[f"utilisation@{host}" if host else "utilisation"] = Response.of(
            share, "fraction", f"of {given:.3g} cores of speed 1"
        )


def _recorded(result: Responses, connection: duckdb.DuckDBPyConnection, services: Mapping[str, str]) -> None:
    """Means of what components recorded. A name that Estran uses itself is kept for that; the recorded one is ``recorded_…``."""
    taken = {name.partition("@")[0] for name in (*result.values, *result.missing)}
    for metric, rows in usage.recorded(connection, result.window).items():
        name = f"recorded_{metric}" if metric in taken else metric
        for part, values in _by_service(rows, services):
            result.values[f"{name}@{part}" if part else name] = Response.of(
                mean(values), "", "mean of what was recorded in the window"
            )


def _by_service(rows: list[tuple[float, str, float]], services: Mapping[str, str]) -> Iterator[tuple[str, list[float]]]:
    yield "", [value for _, _, value in rows]
    owners = [services.get(replica, replica.rpartition("-")[0] or replica) for _, replica, _ in rows]
    for service in sorted(set(owners)):
        yield service, [row[2] for row, owner in zip(rows, owners, strict=True) if owner == service]
