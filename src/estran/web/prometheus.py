"""A run's figures as Prometheus reads them, and the dashboard that Grafana shows them on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from estran.web.following import Shown
from estran.web.snapshot import Snapshot

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Metric:
    """A metric with its samples: labels and value."""

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def exposition(run: Shown | None, state: Snapshot | None) -> str:
    """The text that a scrape of ``/metrics`` gets; without a run only that there is none.

    The format is Prometheus' text format 0.0.4.
    """
    if run is None or state is None:
        return "# HELP estran_runs Runs that are followed.\n# TYPE estran_runs gauge\nestran_runs 0\n"
    return "".join(_written(metric) for metric in _metrics(run, state) if metric.samples)


def _written(metric: Metric) -> str:
    lines = [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
    lines += [f"{metric.name}{_labels(labels)} {value!r}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _metrics(run: Shown, state: Snapshot) -> Iterator[Metric]:
    record = state["run"]
    of = {"run": str(record["id"]), "experiment": str(record["experiment"])}
    about = of | {"status": str(record["status"]), "platform": str(record["platform"]), "seed": str(record["seed"])}
    yield Metric("estran_runs", "gauge", "Runs that are followed.", [({}, 1.0)])
    yield Metric("estran_run_info", "gauge", "The run that is followed, and how it is going.", [(about, 1.0)])
    yield Metric("estran_run_seconds", "gauge", "The run's clock.", [(of, float(record["clock"]))])
    yield from _answers(run, of)
    for name, kind, help_, key in _HOSTS:
        samples = [(of | {"host": h["name"], "layer": h["layer"]}, float(h[key])) for h in state["hosts"] if h[key] is not None]
        yield Metric(name, kind, help_, samples)
    yield from _channels(run, of)
    replicas = [(of | {"replica": r["name"], "host": r["host"]}, r) for r in state["replicas"]]
    restarts = [(labels, float(r["restarts"])) for labels, r in replicas]
    yield Metric("estran_replica_restarts_total", "counter", "Restarts of a replica.", restarts)
    running = [(labels, float(r["state"] == "running")) for labels, r in replicas]
    yield Metric("estran_replica_running", "gauge", "Whether a replica runs.", running)
    versions = [(labels, float(r["version"])) for labels, r in replicas if r["version"] is not None]
    yield Metric("estran_model_version", "gauge", "The model's version that a replica answers with or has got last.", versions)
    kinds = Counter((alert["kind"], alert["level"]) for alert in state["alerts"])
    alerts = [(of | {"kind": kind, "level": level}, float(n)) for (kind, level), n in kinds.items()]
    yield Metric("estran_alerts", "gauge", "What the page warns of now.", alerts)


_HOSTS: Final = (
    ("estran_host_cpu_cores", "gauge", "Processor in use, in cores of speed 1.0.", "cpu"),
    ("estran_host_cpu_capacity_cores", "gauge", "Processor that the host was given.", "capacity"),
    ("estran_host_memory_bytes", "gauge", "Memory in use.", "memory"),
    ("estran_host_power_watts", "gauge", "Power.", "power"),
    ("estran_host_energy_joules_total", "counter", "Energy since the start of sampling.", "energy"),
)


def _answers(run: Shown, of: Mapping[str, str]) -> Iterator[Metric]:
    figures = run.facts.answers.figures(run.facts.newest)
    single = (
        ("estran_accuracy_ratio", "Accuracy of the last 500 answers.", "accuracy"),
        ("estran_throughput_answers_per_second", "Answers a second, over 5 s.", "throughput"),
        ("estran_staleness_seconds", "Mean age of the model that answered, over 5 s.", "staleness"),
    )
    for name, help_, key in single:
        yield Metric(name, "gauge", help_, [(of, figures[key])] if key in figures else [])
    yield Metric("estran_answers_total", "counter", "Answers so far.", [(of, figures.get("samples", 0.0))])
    for name, key, help_ in (
        ("estran_latency_seconds", "latency", "End-to-end latency, over 5 s."),
        ("estran_exchange_latency_seconds", "exchange_latency", "From a command's request to its answer, over 5 s."),
    ):
        levels = ((50, "0.5"), (95, "0.95"), (99, "0.99"))
        found = [({**of, "quantile": text}, figures[f"{key}_p{level}"]) for level, text in levels if f"{key}_p{level}" in figures]
        yield Metric(name, "gauge", help_, found)


def _channels(run: Shown, of: Mapping[str, str]) -> Iterator[Metric]:
    channels = [
        (dict(of) | {"stream": stream, "producer": producer, "consumer": consumer}, recent, (stream, producer, consumer))
        for (stream, producer, consumer), recent in run.facts.traffic.channels.items()
    ]
    totals = [(labels, float(recent.total[0])) for labels, recent, _ in channels]
    yield Metric("estran_stream_messages_total", "counter", "Messages that a consumer has processed.", totals)
    sizes = [(labels, float(recent.total[1])) for labels, recent, _ in channels]
    yield Metric("estran_stream_bytes_total", "counter", "Bytes of those messages.", sizes)
    for name, key, help_ in (
        ("estran_stream_transfer_seconds", "transfer", "Mean time under way, over 5 s."),
        ("estran_stream_wait_seconds", "wait", "Mean time in the consumer's queue, over 5 s."),
    ):
        flows = [(labels, run.facts.traffic.flow([one], run.facts.newest, whole=run.whole)[key]) for labels, _, one in channels]
        yield Metric(name, "gauge", help_, [(labels, value) for labels, value in flows if value is not None])


def dashboard() -> dict[str, Any]:
    """A dashboard for Grafana 9 or later, to be imported; it asks which data source of Prometheus to use."""
    panels = [_panel(number, *one) for number, one in enumerate(_PANELS)]
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    runs = {
        "name": "run", "label": "Run", "type": "query", "query": "label_values(estran_run_info, run)", "refresh": 2, "multi": True,
        "includeAll": True, "datasource": {"type": "prometheus", "uid": "${source}"},
    }  # fmt: skip
    return {
        "title": "Estran", "uid": "estran", "schemaVersion": 39, "version": 1, "refresh": "5s", "tags": ["estran"],
        "editable": True, "time": {"from": "now-15m", "to": "now"}, "timezone": "browser", "panels": panels,
        "templating": {"list": [source, runs]},
    }  # fmt: skip


_PANELS: Final = (
    ("Accuracy", "percentunit", 'estran_accuracy_ratio{run=~"$run"}', "{{run}}"),
    ("Latency, end to end", "s", 'estran_latency_seconds{run=~"$run"}', "p{{quantile}}"),
    ("Answers per second", "ops", 'estran_throughput_answers_per_second{run=~"$run"}', "{{run}}"),
    ("Age of the model that answered", "s", 'estran_staleness_seconds{run=~"$run"}', "{{run}}"),
    ("Messages per second", "ops", 'sum by (stream) (rate(estran_stream_messages_total{run=~"$run"}[30s]))', "{{stream}}"),
    ("Time under way", "s", 'avg by (stream) (estran_stream_transfer_seconds{run=~"$run"})', "{{stream}}"),
    (
        "Processor in use",
        "percentunit",
        'estran_host_cpu_cores{run=~"$run"} / estran_host_cpu_capacity_cores{run=~"$run"}',
        "{{host}}",
    ),
    ("Memory", "bytes", 'estran_host_memory_bytes{run=~"$run"}', "{{host}}"),
    ("Power", "watt", 'estran_host_power_watts{run=~"$run"}', "{{host}}"),
    ("Model versions", "none", 'estran_model_version{run=~"$run"}', "{{replica}}"),
    ("Restarts", "none", 'estran_replica_restarts_total{run=~"$run"}', "{{replica}}"),
    ("Alerts", "none", 'estran_alerts{run=~"$run"}', "{{kind}}"),
)


def _panel(number: int, title: str, unit: str, query: str, legend: str) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number + 1, "title": title, "type": "timeseries", "datasource": source,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [{"refId": "A", "expr": query, "legendFormat": legend, "datasource": source}],
    }  # fmt: skip
