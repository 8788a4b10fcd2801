"""A realistic run folder made from a small queueing model, for the tests of whatever reads run folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from estran.observe.responses import compute_responses

CLASSES = 10
DEVICES: dict[str, dict[str, Any]] = {
    "edge": {"name": "raspberry-pi-4", "cores": 4, "speed": 0.25, "memory": 4 * 2**30, "idle_power": 2.6, "busy_power": 6.4},
    "fog": {"name": "jetson-orin-nano", "cores": 6, "speed": 0.6, "memory": 8 * 2**30, "idle_power": 4.2, "busy_power": 14.0},
    "cloud": {"name": "cloud-vm-8", "cores": 8, "speed": 1.0, "memory": 32 * 2**30, "idle_power": 22.0, "busy_power": 95.0},
}
LINKS = {("edge", "fog"): (0.005, 100e6), ("fog", "cloud"): (0.040, 50e6)}


@dataclass(frozen=True)
class Scene:
    """What the synthetic run is like; times in seconds."""

    cameras: int = 4
    duration: float = 20.0
    warmup: float = 2.0
    rate: float = 50.0
    publish: float = 0.5
    predictor: bool = True
    seed: int = 42


def write_run(folder: Path, scene: Scene = Scene(), **changes: Any) -> Path:
    """Write a whole run folder; ``changes`` replace entries of its ``run.json``."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(scene.seed)
    hosts = _hosts(scene)
    messages = _messages(scene, rng)
    tables = {
        "messages": messages,
        "metrics": _metrics(scene, hosts, messages, rng),
        "operations": _operations(messages),
        "events": _events(scene, hosts),
    }
    for name, table in tables.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet", compression="zstd")
    documents = {
        "run": _run(scene) | changes,
        "plan": _plan(scene, hosts),
        "network": _network(hosts, rng),
        "assignment": {"seed": scene.seed, "factors": {"placement": "fog", "publish_every": "0.5s"}},
        "manifest": _manifest(),
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1))
    for replica in _replicas(scene):
        (folder / "logs" / f"{replica}.log").write_text(f"{replica}: ready\n")
    (folder / "responses.json").write_text(json.dumps(compute_responses(folder)))
    return folder


def fail(folder: Path, **failure: Any) -> Path:
    """Turn a run folder into that of a run whose trainer died."""
    document = json.loads((folder / "run.json").read_text())
    document["status"] = "failed"
    document["failure"] = {
        "phase": "measure",
        "what": "the service trainer-0 ended with exit code 1 after 7.3 s",
        "host": "cloud-0",
        "service": "trainer-0",
        "remedy": "mend the component or set 'restart: on-failure' for the service",
        "log_tail": [
            "Traceback (most recent call last):",
            '  File "my_trainer.py", line 41, in run',
            "    await self.compute(self.learner.learn, batch.x, batch.y)",
            "ValueError: shapes (32,64) and (63,10) not aligned",
        ],
    } | failure
    document["phases"][-3]["status"] = "failed"
    (folder / "run.json").write_text(json.dumps(document))
    return folder


def _hosts(scene: Scene) -> dict[str, str]:
    """Layer of each host."""
    return {f"edge-{i}": "edge" for i in range(scene.cameras)} | {"fog-0": "fog", "cloud-0": "cloud"}


def _replicas(scene: Scene) -> dict[str, tuple[str, str, str]]:
    """Service, component and host of each replica."""
    replicas = {f"camera-{i}": ("camera", "source", f"edge-{i}") for i in range(scene.cameras)}
    if scene.predictor:
        replicas["detector-0"] = ("detector", "predictor", "fog-0")
    return replicas | {"trainer-0": ("trainer", "trainer", "cloud-0")}


def _channels(scene: Scene) -> list[dict[str, Any]]:
    consumers = (["detector-0"] if scene.predictor else []) + ["trainer-0"]
    ways = [
        ("camera.samples", f"camera-{i}", "samples", to, "samples", "acknowledged")
        for i in range(scene.cameras)
        for to in consumers
    ]
    if scene.predictor:
        ways.append(("trainer.models", "trainer-0", "models", "detector-0", "models", "latest"))
    return [
        {
            "key": f"{stream}/{producer}/{consumer}.{entry}",
            "stream": stream,
            "producer": producer,
            "output": output,
            "consumer": consumer,
            "input": entry,
            "delivery": delivery,
            "routing": "paired",
            "capacity": 1024,
        }
        for stream, producer, output, consumer, entry, delivery in ways
    ]


def _pairs(hosts: Mapping[str, str]) -> list[tuple[str, str, float, float]]:
    """Every direction of every link: source, target, delay and rate asked."""
    pairs = []
    for (near, far), (delay, rate) in LINKS.items():
        for a in (h for h, layer in hosts.items() if layer == near):
            for b in (h for h, layer in hosts.items() if layer == far):
                pairs += [(a, b, delay, rate), (b, a, delay, rate)]
    return pairs


def _plan(scene: Scene, hosts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "experiment": "visual-inspection",
        "seed": scene.seed,
        "hosts": [{"name": name, "layer": layer, "device": DEVICES[layer]} for name, layer in hosts.items()],
        "replicas": [
            {
                "name": name,
                "service": service,
                "index": int(name.rpartition("-")[2]),
                "host": host,
                "component": component,
                "command": None,
            }
            for name, (service, component, host) in _replicas(scene).items()
        ],
        "channels": _channels(scene),
        "links": [
            {"source": a, "target": b, "delay": delay, "jitter": 0.002 if delay > 0.01 else 0.0, "rate": rate, "loss": 0.0}
            for a, b, delay, rate in _pairs(hosts)
        ],
        "warnings": [],
    }


def _network(hosts: Mapping[str, str], rng: np.random.Generator) -> dict[str, Any]:
    links = [
        {
            "source": a,
            "target": b,
            "asked": {"delay": delay, "jitter": 0.002 if delay > 0.01 else 0.0, "rate": rate, "loss": 0.0},
            "measured": {
                "delay": delay + float(rng.uniform(0.00005, 0.0003)),
                "jitter": 0.0021 if delay > 0.01 else 0.00004,
                "rate": rate * float(rng.uniform(0.93, 0.96)),
                "loss": None,
            },
            "ok": True,
            "complaint": None,
        }
        for a, b, delay, rate in _pairs(hosts)
    ]
    cpus = [
        {
            "host": host,
            "asked": DEVICES[layer]["speed"],
            "measured": DEVICES[layer]["speed"] * float(rng.uniform(0.98, 1.02)),
            "ok": True,
            "complaint": None,
        }
        for host, layer in hosts.items()
    ]
    facts = {
        "privilege": "root",
        "delay": {"engine": "nfqueue", "limits": "one core: about 39000 small packets per second"},
        "cpu": {"limiter": "cgroup-v1", "limits": "quota 1 to 5 ms, corrected from the accounting"},
        "fallbacks": [
            "netem is not in this kernel: delays come from the NFQUEUE relay",
            "cgroup v2 has no cpu controller here: shares come from cgroup v1",
        ],
    }
    return {"links": links, "cpus": cpus, "facts": facts}


def _messages(scene: Scene, rng: np.random.Generator) -> dict[str, Any]:
    samples = _samples(scene, rng)
    parts = [_to_trainer(samples, rng)]
    if scene.predictor:
        models = _models(scene, rng)
        parts += [_to_detector(samples, models, scene, rng), models]
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    nullable = {key: pa.array(columns[key], pa.int64(), mask=columns[key] < 0) for key in ("version", "truth", "answer")}
    return columns | nullable


def _samples(scene: Scene, rng: np.random.Generator) -> dict[str, np.ndarray]:
    per_camera = int(scene.duration * scene.rate)
    camera = np.repeat(np.arange(scene.cameras), per_camera)
    seq = np.tile(np.arange(per_camera), scene.cameras)
    created = seq / scene.rate + rng.uniform(0, 0.5 / scene.rate, seq.size)
    arrived = 1 + (created / scene.duration * CLASSES).astype(int)
    newest = rng.random(seq.size) < 0.55
    truth = np.where(newest, arrived - 1, rng.integers(0, arrived))
    order = np.argsort(created)
    return {"camera": camera[order], "seq": seq[order], "created": created[order], "truth": truth[order]}


def _queue(arrivals: np.ndarray, service: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of service in a single-server queue (Lindley's recursion, vectorised)."""
    order = np.argsort(arrivals)
    total = np.cumsum(service[order])
    start = np.maximum.accumulate(arrivals[order] - (total - service[order])) + (total - service[order])
    started = np.empty_like(start)
    started[order] = start
    return started, started + service


def _row(stream: str, receiver: str, samples: dict[str, np.ndarray], times: list[np.ndarray], size: int) -> dict[str, Any]:
    sent, received, started, done = times
    count = sent.size
    origins = np.array([f"camera-{i}" for i in range(int(samples["camera"].max()) + 1)])[samples["camera"]]
    return {
        "trace": np.char.add(np.char.add(origins, ":samples:"), samples["seq"].astype(str)),
        "stream": np.full(count, stream),
        "origin": origins,
        "seq": samples["seq"],
        "receiver": np.full(count, receiver),
        "created": samples["created"],
        "sent": sent,
        "received": received,
        "started": started,
        "done": done,
        "bytes": np.full(count, size),
        "version": np.full(count, -1),
        "truth": np.full(count, -1),
        "answer": np.full(count, -1),
    }


def _to_detector(samples: dict[str, np.ndarray], models: dict[str, Any], scene: Scene, rng: np.random.Generator) -> dict[str, Any]:
    count = samples["seq"].size
    sent = samples["created"] + rng.gamma(2, 0.0002, count)
    received = sent + 0.0053 + rng.gamma(2, 0.0003, count)
    speed = min(1.0, 0.8 / (scene.cameras * scene.rate * 0.003))
    started, done = _queue(received, rng.gamma(6, 0.0005, count) * speed)
    row = _row("camera.samples", "detector-0", samples, [sent, received, started, done], 612)
    version = np.searchsorted(models["done"], started) - 1
    arrived = 1 + (samples["created"] / scene.duration * CLASSES).astype(int)
    known = np.where(version >= 0, models["sent"][np.maximum(version, 0)], 0.0)
    since = samples["created"] - (arrived - 1) * scene.duration / CLASSES
    chance = 0.94 - 0.75 * np.exp(-np.maximum(known, 0.05) / 1.5) - 0.55 * np.exp(-since / 0.4) * (samples["truth"] == arrived - 1)
    right = rng.random(count) < chance
    row["truth"] = samples["truth"]
    row["answer"] = np.where(right, samples["truth"], (samples["truth"] + 1 + rng.integers(0, CLASSES - 1, count)) % CLASSES)
    row["version"] = np.maximum(version, 0)
    return row


def _to_trainer(samples: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    count = samples["seq"].size
    sent = samples["created"] + rng.gamma(2, 0.0002, count)
    received = sent + 0.0458 + np.abs(rng.normal(0, 0.002, count))
    span = float(samples["created"].max())
    started, done = _queue(received, rng.gamma(6, 0.00055, count) * min(1.0, span / (count * 0.0038)))
    return _row("camera.samples", "trainer-0", samples, [sent, received, started, done], 612)


def _models(scene: Scene, rng: np.random.Generator) -> dict[str, Any]:
    sent = np.arange(scene.publish, scene.duration, scene.publish)
    count = sent.size
    fake = {
        "camera": np.zeros(count, int),
        "seq": ((sent - 0.12) * scene.rate).astype(int),
        "created": sent - 0.12,
        "truth": np.zeros(count, int),
    }
    received = sent + 0.0462 + rng.gamma(2, 0.0006, count)
    started = received + rng.gamma(2, 0.001, count)
    row = _row("trainer.models", "detector-0", fake, [sent, received, started, started + 0.0004], 21_400)
    row["origin"], row["seq"] = np.full(count, "trainer-0"), np.arange(count)
    row["version"] = np.arange(count)
    return row


def _metrics(scene: Scene, hosts: Mapping[str, str], messages: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    time = np.arange(0, scene.duration + 0.05, 0.1)
    rows: list[tuple[np.ndarray, str, str, np.ndarray]] = []
    share = {"edge": 0.35, "fog": 0.62, "cloud": 0.78}
    for host, layer in hosts.items():
        device = DEVICES[layer]
        load = np.clip(rng.normal(share[layer], 0.05, time.size) + 0.1 * np.sin(time / 3), 0, 1)
        cpu = np.cumsum(load * device["speed"]) * 0.1
        power = device["idle_power"] + load * (device["busy_power"] - device["idle_power"]) / device["cores"]
        traffic = scene.rate * 700 * (2 if layer == "edge" else scene.cameras)
        rows += [
            (time, host, "cpu_seconds", cpu),
            (time, host, "memory", 38e6 + 2e5 * time + rng.normal(0, 2e5, time.size)),
            (
                time,
                host,
                "rx_bytes",
                np.cumsum(traffic * (0.05 if layer == "edge" else 1) * rng.uniform(0.8, 1.2, time.size)) * 0.1,
            ),
            (
                time,
                host,
                "tx_bytes",
                np.cumsum(traffic * (1 if layer == "edge" else 0.08) * rng.uniform(0.8, 1.2, time.size)) * 0.1,
            ),
            (time, host, "power", power),
            (time, host, "energy", np.cumsum(power) * 0.1),
        ]
    return {
        "time": np.concatenate([r[0] for r in rows]),
        "host": np.concatenate([np.full(r[0].size, r[1]) for r in rows]),
        "replica": np.full(sum(r[0].size for r in rows), ""),
        "metric": np.concatenate([np.full(r[0].size, r[2]) for r in rows]),
        "value": np.concatenate([r[3] for r in rows]),
    }


def _operations(messages: Mapping[str, Any]) -> dict[str, Any]:
    learned = np.flatnonzero(messages["receiver"] == "trainer-0")[::16]
    wall = messages["done"][learned] - messages["started"][learned]
    return {
        "time": messages["done"][learned],
        "host": np.full(learned.size, "cloud-0"),
        "replica": np.full(learned.size, "trainer-0"),
        "operation": np.full(learned.size, "learn"),
        "size": np.full(learned.size, 16),
        "wall": wall * 16,
        "cpu": wall * 15,
    }


def _events(scene: Scene, hosts: Mapping[str, str]) -> dict[str, Any]:
    rows = [(0.0, host, name, event, "") for name, (_, _, host) in _replicas(scene).items() for event in ("started", "ready")]
    published = np.arange(scene.publish, scene.duration, scene.publish)
    rows += [(0.0, host, "", "energy-source", _power_model(layer)) for host, layer in hosts.items()]
    rows += [(float(t), "cloud-0", "trainer-0", "published", json.dumps({"version": i})) for i, t in enumerate(published)]
    if scene.predictor:
        rows += [(float(t) + 0.05, "fog-0", "detector-0", "swapped", json.dumps({"version": i})) for i, t in enumerate(published)]
    rows += [(scene.duration, host, name, "ended", "status 0") for name, (_, _, host) in _replicas(scene).items()]
    names = ("time", "host", "replica", "event", "detail")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _power_model(layer: str) -> str:
    device = DEVICES[layer]
    return f"model: {device['name']}, {device['idle_power']:g} W idle to {device['busy_power']:g} W busy"


def _run(scene: Scene) -> dict[str, Any]:
    seconds = {"provision": 0.06, "connect": 0.1, "shape": 0.12, "verify": 2.1, "prepare": 0.05, "launch": 0.7}
    seconds |= {"warmup": scene.warmup, "measure": scene.duration - scene.warmup, "finalise": 0.4, "collect": 0.5}
    return {
        "schema": 1,
        "id": "20261123-184502-fog",
        "experiment": "visual-inspection",
        "status": "done",
        "platform": "emulate",
        "seed": scene.seed,
        "started": "2026-11-23T18:45:02Z",
        "ended": "2026-11-23T18:45:28Z",
        "warmup": scene.warmup,
        "duration": scene.duration - scene.warmup,
        "phases": [
            {"name": name, "started": f"2026-11-23T18:45:{2 + i:02d}Z", "seconds": took, "status": "done"}
            for i, (name, took) in enumerate(seconds.items())
        ],
        "failure": None,
        "warnings": [],
    }


def _manifest() -> dict[str, Any]:
    return {
        "estran": "0.1.0",
        "python": "3.11.2",
        "packages": {"numpy": "2.2.1", "eclipse-zenoh": "1.10.2", "duckdb": "2.0.0"},
        "kernel": "Linux 6.1.0 x86_64",
        "cpu": "2 × Intel Xeon, 2.6 GHz",
        "git": {"commit": "db07474c0ffee", "dirty": False},
        "hashes": {"experiment.yaml": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        "command": ["estran", "run", "experiment.yaml", "--seed", "42"],
    }


EVIL = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\"'&"


def hostile(folder: Path) -> Path:
    """Put markup and control characters into every string of a run folder that a user can choose."""
    run = json.loads((folder / "run.json").read_text()) | {"experiment": EVIL, "warnings": [EVIL]}
    (folder / "run.json").write_text(json.dumps(run))
    fail(folder, what=EVIL, remedy=EVIL, log_tail=[EVIL, "\x1b[31mred\x1b[0m \x00 \u2028", "[bold]not markup[/bold] [/]"])
    plan = json.loads((folder / "plan.json").read_text())
    for host in plan["hosts"]:
        host["device"]["name"] = EVIL
    for replica in plan["replicas"]:
        replica["component"] = EVIL
    (folder / "plan.json").write_text(json.dumps(plan))
    responses = json.loads((folder / "responses.json").read_text()) | {EVIL: {"value": 1.0, "unit": EVIL, "n": 1, "note": EVIL}}
    (folder / "responses.json").write_text(json.dumps(responses))
    network = json.loads((folder / "network.json").read_text())
    network["facts"]["fallbacks"] = [EVIL]
    network["links"][0] |= {"ok": False, "complaint": EVIL}
    (folder / "network.json").write_text(json.dumps(network))
    events = pq.read_table(folder / "events.parquet").to_pylist()
    for event in events:
        event["detail"] = EVIL if event["event"] == "energy-source" else event["detail"]
    pq.write_table(pa.Table.from_pylist(events), folder / "events.parquet")
    messages = pq.read_table(folder / "messages.parquet")
    stream = pa.array([EVIL if name == "camera.samples" else name for name in messages["stream"].to_pylist()])
    pq.write_table(messages.set_column(messages.schema.get_field_index("stream"), "stream", stream), folder / "messages.parquet")
    return folder
