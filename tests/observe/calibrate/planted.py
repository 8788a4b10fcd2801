"""A run folder of which every cost is known: a small queueing model, recorded as a real run would be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estran.observe.calibrate.transfer import line_bytes
from estran.observe.rows import EventRow, MessageRow, MetricRow, OperationRow
from estran.observe.store import LIVE, Store


@dataclass(frozen=True)
class Truth:
    """What is planted; seconds, bytes, per second."""

    rate: float = 400.0
    cameras: int = 2
    duration: float = 20.0
    delay: float = 0.010
    jitter: float = 0.0
    line: float = 20e6
    extra: float = 0.5e-3
    wake: float = 0.2e-3
    operation: tuple[float, float] = (100e-6, 40e-6)
    take: tuple[float, float] = (50e-6, 30e-6)
    receive_cpu: float = 300e-6
    send_cpu: float = 250e-6
    idle_cpu: float = 0.02
    late: float = 0.8e-3
    pauses: float = 0.0
    restarted: bool = False
    cold: float = 0.0
    most: int = 4
    poisson: bool = True
    size: float = 500.0
    seed: int = 7


def plant(folder: Path, truth: Truth = Truth(), **changes: Any) -> Path:
    """Write the run; ``changes`` replace entries of its ``run.json``."""
    rng = np.random.default_rng(truth.seed)
    sent = [_departures(truth, rng) for _ in range(truth.cameras)]
    rows, received = [], []
    for camera, times in enumerate(sent):
        size = np.maximum(rng.lognormal(np.log(truth.size), 0.3, len(times)), 64).astype(int)
        received.append(_carried(truth, times, size, rng))
        rows += [(at, camera, seq, times[seq], size[seq]) for seq, at in enumerate(received[-1])]
    rows.sort()
    messages, operations = _serve(truth, rows, rng)
    metrics = _processor(truth, sent, rows, messages, operations)
    late = {"n": 1000, "mean": truth.late, "slept": 0.0, "quantiles": (truth.late * np.linspace(0, 2, 41)).tolist()}
    events = [
        EventRow(truth.duration, f"edge-{i}", f"camera-{i}", "timer-lateness", json.dumps(late)) for i in range(truth.cameras)
    ]
    _documents(folder, truth, changes)
    with Store(folder / LIVE) as store:
        for table, added in (("messages", messages), ("operations", operations), ("metrics", metrics), ("events", events)):
            store.add(table, added)
        store.compact(folder)
    return folder


def _departures(truth: Truth, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    count = int(truth.rate * truth.duration)
    if truth.poisson:
        return np.cumsum(rng.exponential(1 / truth.rate, count))
    return np.arange(count) / truth.rate + 1e-4 * rng.random()


def _carried(truth: Truth, sent: Any, size: Any, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A line, first come, first served, and then the way; nothing overtakes."""
    serial = line_bytes(size) * 8 / truth.line
    free, left = 0.0, []
    for at, length in zip(sent, serial, strict=True):
        free = max(free, at) + length
        left.append(free)
    jitter = rng.normal(0, truth.jitter, len(sent)) if truth.jitter else 0.0
    trips = 2 * truth.delay * (rng.random(len(sent)) < truth.cold)
    return np.maximum.accumulate(np.array(left) + truth.delay + rng.gamma(4, truth.extra / 4, len(sent)) + jitter + trips)


def _serve(truth: Truth, rows: list[Any], rng: np.random.Generator) -> tuple[list[MessageRow], list[OperationRow]]:
    messages, operations = [], []
    free, at = 0.0, 0
    while at < len(rows):
        started = max(free, rows[at][0] + rng.gamma(4, truth.wake / 4))
        batch = [row for row in rows[at : at + truth.most] if row[0] <= started]
        wall = (truth.operation[0] + truth.operation[1] * len(batch)) * rng.lognormal(-0.005, 0.1)
        take = (truth.take[0] + truth.take[1] * len(batch)) * rng.lognormal(-0.005, 0.1)
        free = started + wall + take + (0.005 if rng.random() < truth.pauses else 0.0)
        operations.append(OperationRow(started + wall, "fog-0", "detector-0", "predict", len(batch), wall, wall))
        for received, camera, seq, sent, size in batch:
            name = f"camera-{camera}"
            trace = f"{name}:samples:{seq}"
            messages.append(
                MessageRow(trace, "camera.samples", name, seq, "detector-0", sent, sent, received, started, free, int(size))
            )
        at += len(batch)
    return messages, operations


def _processor(truth: Truth, sent: Any, rows: Any, messages: Any, operations: Any) -> list[MetricRow]:
    times = np.arange(0, truth.duration, 0.2)

    def until(when: Any, what: Any) -> np.ndarray[Any, Any]:
        order = np.argsort(when)
        sums = np.concatenate(([0.0], np.cumsum(np.broadcast_to(what, len(when))[order])))
        return sums[np.searchsorted(np.asarray(when)[order], times, "right")]

    ends = np.array([operation.time for operation in operations])
    size = np.array([operation.size for operation in operations])
    used = {f"camera-{i}": (f"edge-{i}", until(one, truth.send_cpu)) for i, one in enumerate(sent)}
    spent = until(ends, [operation.cpu for operation in operations]) + until(ends, truth.take[0] + truth.take[1] * size)
    used["detector-0"] = ("fog-0", spent + until([row[0] for row in rows], truth.receive_cpu))
    if truth.restarted:  # a new process counts from 0
        used = {name: (host, values - (times > truth.duration / 2) * values.max()) for name, (host, values) in used.items()}
    return [
        MetricRow(float(time), host, name, "process_cpu", float(value + truth.idle_cpu * time))
        for name, (host, values) in used.items()
        for time, value in zip(times, values, strict=True)
    ]


def _documents(folder: Path, truth: Truth, changes: Any) -> None:
    device = {"name": "board", "cores": 4, "speed": 0.5}
    cameras = [f"camera-{i}" for i in range(truth.cameras)]
    hosts = {**{name: f"edge-{i}" for i, name in enumerate(cameras)}, "detector-0": "fog-0"}
    asked = {"delay": truth.delay, "jitter": truth.jitter, "rate": truth.line, "loss": 0.0}
    pairs = [pair for i in range(truth.cameras) for pair in ((f"edge-{i}", "fog-0"), ("fog-0", f"edge-{i}"))]
    channel = {"stream": "camera.samples", "consumer": "detector-0", "delivery": "acknowledged", "capacity": 1024}
    plan = {
        "hosts": [{"name": host, "layer": host[:-2], "device": device} for host in hosts.values()],
        "replicas": [
            {"name": name, "service": name[:-2], "host": host, "component": "source" if "camera" in name else "predictor"}
            for name, host in hosts.items()
        ],
        "channels": [{**channel, "producer": name} for name in cameras],
        "links": [{"source": a, "target": b, **asked} for a, b in pairs],
    }
    measured = {**asked, "delay": truth.delay + 2e-4}
    network = {"links": [{"source": a, "target": b, "asked": asked, "measured": measured, "ok": True} for a, b in pairs]}
    run = {"schema": 1, "id": folder.name, "experiment": "planted", "status": "done", "platform": "emulate", "seed": truth.seed}
    run |= {"warmup": 0.0, "duration": truth.duration} | changes
    folder.mkdir(parents=True)
    for name, document in {"plan": plan, "network": network, "run": run, "assignment": {"factors": {"rate": truth.rate}}}.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
