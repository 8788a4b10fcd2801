"""Run folders with planted rows, through the real store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from estran.observe.rows import MessageRow
from estran.observe.store import LIVE, Store

HOSTS = {
    "camera-0": "edge-0",
    "camera-1": "edge-1",
    "gate-0": "fog-0",
    "detector-0": "fog-0",
    "detector-1": "fog-1",
    "trainer-0": "cloud-0",
}


SPEED, CORES = 0.5, 4


def channel(stream: str, producer: str, consumer: str, delivery: str = "acknowledged") -> dict[str, Any]:
    return {
        "key": f"{stream}/{producer}/{consumer}.in",
        "stream": stream,
        "producer": producer,
        "consumer": consumer,
        "delivery": delivery,
    }


def write_folder(
    folder: Path,
    tables: Mapping[str, Sequence[tuple[Any, ...]]],
    *,
    warmup: float = 0.0,
    duration: float = 100.0,
    channels: Sequence[Mapping[str, Any]] = (),
    live: bool = False,
) -> Path:
    run = {"schema": 1, "id": folder.name, "experiment": "planted", "status": "done", "platform": "emulate", "seed": 1}
    run |= {"started": "2026-11-23T18:00:00Z", "warmup": warmup, "duration": duration}
    replicas = [{"name": name, "service": name.rpartition("-")[0], "host": host} for name, host in HOSTS.items()]
    device = {"name": "planted", "cores": CORES, "speed": SPEED}
    hosts = [{"name": host, "layer": host.rpartition("-")[0], "device": device} for host in sorted(set(HOSTS.values()))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "plan.json").write_text(json.dumps({"hosts": hosts, "replicas": replicas, "channels": list(channels)}))
    with Store(folder / LIVE) as store:
        for table, rows in tables.items():
            store.add(table, rows)
        if not live:
            store.compact(folder)
    return folder


def hop(seq: int, created: float, **changes: Any) -> MessageRow:
    """A sample from camera-0 to detector-0: 1 ms at the sender, 10 ms under way, 2 ms in the queue, 5 ms of work."""
    row = MessageRow(
        f"camera-0:samples:{seq}", "camera.samples", "camera-0", seq, "detector-0",
        created, created + 0.001, created + 0.011, created + 0.013, created + 0.018, 100,
    )  # fmt: skip
    return row._replace(**changes)
