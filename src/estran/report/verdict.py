"""A run's outcome in words: what came out, against which baselines, how fast and how fresh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from estran.report.answers import Accuracy, Staleness
from estran.report.folder import Response, RunFolder
from estran.report.stages import Distribution
from estran.report.wording import interval, plain, quantity

_NAMES = {
    "accuracy": "accuracy",
    "no_change": "accuracy_no_change",
    "majority": "accuracy_majority",
    "p50": "latency_p50",
    "p99": "latency_p99",
    "staleness": "staleness",
}


_ORDER = (
    "accuracy", "accuracy_final", "accuracy_no_change", "accuracy_majority",
    "latency", "latency_p50", "latency_p95", "latency_p99", "latency_queueing", "latency_transfer", "latency_compute",
    "exchange_latency", "exchange_latency_p50", "exchange_latency_p95", "exchange_latency_p99", "exchange_service_time",
    "exchanges", "exchange_request_bytes", "exchange_answer_bytes",
    "staleness", "staleness_versions", "throughput", "loss", "superseded", "duplicates", "reordered",
    "cpu_seconds", "energy", "memory_peak", "bytes_sent", "bytes_received", "message_bytes",
)  # fmt: skip


def ordered(responses: Iterable[Response]) -> list[Response]:
    """Responses in the order in which people ask for them: worth of the answers, speed, freshness, flow, cost; then the others."""
    rank = {name: i for i, name in enumerate(_ORDER)}
    return sorted(responses, key=lambda response: rank.get(response.name.partition("@")[0], len(rank)))


def cause(what: str) -> tuple[str, list[str]]:
    """A failure's sentence; where it lists several complaints, what they have in common and each of them."""
    head, colon, rest = what.partition(": ")
    points = rest.split("; ")
    return (head, points) if colon and len(points) > 1 else (what, [])


@dataclass(frozen=True, slots=True)
class Figure:
    """A headline figure: its name, value in words and what to read beside it."""

    name: str
    value: str
    beside: str


def measured(run: RunFolder, what: str) -> Response | None:
    """The response that holds a headline figure."""
    response = run.responses.get(_NAMES[what])
    return response if response is not None and response.value is not None else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Headline values: from the responses, which carry confidence intervals, else from the tables. Fractions and seconds."""

    accuracy: Response | None
    no_change: float | None
    majority: float | None
    p50: Response | None
    p99: Response | None
    staleness: Response | None
    answered: bool


def outcome(run: RunFolder, accuracy: Accuracy | None, latency: Distribution | None, age: Staleness | None) -> Outcome:
    """Gather the headline values of a run."""

    def held(what: str, value: float | None, unit: str) -> Response | None:
        known = measured(run, what)
        return known or (None if value is None else Response(what, value, unit, None, None, None, ""))

    no_change = held("no_change", accuracy.overall_no_change if accuracy else None, "fraction")
    majority = held("majority", accuracy.overall_majority if accuracy else None, "fraction")
    return Outcome(
        held("accuracy", accuracy.overall if accuracy else None, "fraction"),
        no_change.value if no_change else None,
        majority.value if majority else None,
        held("p50", latency.at(0.5) if latency else None, "s"),
        held("p99", latency.at(0.99) if latency else None, "s"),
        held("staleness", age.average if age else None, "s"),
        latency is not None and latency.answers,
    )


def figures(found: Outcome) -> list[Figure]:
    """The headline figures as tiles."""
    tiles = []
    if found.accuracy is not None:
        tiles.append(Figure("accuracy", _value(found.accuracy), _ci(found.accuracy) or "no interval"))
        tiles.append(Figure("no-change baseline", quantity(found.no_change, "fraction"), "answers with the last truth"))
        tiles.append(Figure("majority baseline", quantity(found.majority, "fraction"), "answers with the commonest class"))
    for name, response in (("median latency", found.p50), ("99th percentile", found.p99), ("mean model age", found.staleness)):
        if response is not None:
            tiles.append(Figure(name, _value(response), _ci(response) or "no interval"))
    return tiles


def sentences(run: RunFolder, found: Outcome) -> list[str]:
    """The verdict line, sentence by sentence."""
    said = [_status(run)]
    if found.accuracy is not None and found.accuracy.value is not None:
        said.append(_accuracy(found, found.accuracy, found.accuracy.value))
    if found.p50 is not None and found.p99 is not None:
        subject = "answers came" if found.answered else "messages were processed"
        said.append(f"Half of the {subject} within {_value(found.p50)}, 99\u202f% within {_value(found.p99)}.")
    if found.staleness is not None:
        said.append(f"The answering model was {_value(found.staleness)} old on average.")
    return said


def _status(run: RunFolder) -> str:
    seconds = sum(float(phase.get("seconds") or 0.0) for phase in run.run.get("phases") or [])
    took = f" in {quantity(seconds, 's')}" if seconds else ""
    measured_for = float(run.run.get("duration") or 0.0)
    window = f", {quantity(measured_for, 's')} of it measured" if measured_for and run.status == "done" else ""
    if window and run.simulated:
        took, window = f": {quantity(run.warmup + measured_for, 's')} simulated in {quantity(seconds, 's')}", ""
    words = {"done": f"Done{took}{window}.", "failed": f"Failed{' after' + took[3:] if took else ''}.", "running": "Still running."}
    return words.get(run.status, f"{run.status.capitalize()}{' after' + took[3:] if took else ''}.")


def _accuracy(found: Outcome, accuracy: Response, value: float) -> str:
    within = _ci(accuracy)
    said = f"{_value(accuracy)} of the answers were right{f' ({within})' if within else ''}"
    against = [
        _against(value, baseline, name)
        for baseline, name in ((found.no_change, "the no-change baseline"), (found.majority, "the majority baseline"))
        if baseline is not None
    ]
    return f"{said}: {' and '.join(against)}." if against else f"{said}."


def _against(value: float, baseline: float, name: str) -> str:
    points = (value - baseline) * 100
    shown = quantity(baseline, "fraction")
    if abs(points) < 0.5:
        return f"no better than {name} ({shown})"
    digits = 2 if abs(points) < 10 else 3
    return f"{plain(abs(points), digits)} points {'above' if points > 0 else 'below'} {name} ({shown})"


def _value(response: Response) -> str:
    return quantity(response.value, response.unit)


def _ci(response: Response) -> str:
    if response.low is None or response.high is None:
        return ""
    return f"95\u202f% CI {interval(response.low, response.high, response.unit)}"
