"""Small experiments for the flow engine: a source, what passes messages on, and a sink, with as few other delays as can be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estran.platforms.simulated.flow.building import build
from estran.platforms.simulated.flow.engine import Engine
from estran.run.flow_figures import Figures
from estran.run.flow_responses import measure
from estran.run.prepare import read_experiment

RELAY = """
from estran.components.messages import Samples
from estran.runtime.component import Component
from estran.runtime.ports import Input, Output


class Relay(Component):
    samples: Input[Samples]
    forwarded: Output[Samples]

    async def run(self) -> None:
        async for message in self.samples:
            await self.forwarded.send(message.payload, parent=message.story)
"""
FREE = {"take": 0, "wake": 0, "receive": 0, "send": 0}
UNIT = {"cores": 8, "speed": 1.0, "memory": "1GiB", "idle_power": "10W", "busy_power": "30W"}


def source(rate: float, **settings: Any) -> dict[str, Any]:
    given = {"data": "iris", "rate": rate, "arrivals": "poisson", "partition": "shared", **settings}
    return {"on": "edge", "component": "source", "with": given, "costs": dict(FREE)}


def relay(on: str, cores: int = 1, **cost: Any) -> dict[str, Any]:
    return {"on": on, "component": "relay:Relay", "cores": cores, "costs": {"forward": cost or {"time": 0}, **FREE}}


def sink(on: str) -> dict[str, Any]:
    return {"on": on, "component": "sink", "costs": dict(FREE)}


def document(
    services: Mapping[str, Any],
    streams: list[dict[str, Any]],
    *,
    duration: str,
    hosts: Mapping[str, int],
    seed: int = 1,
    **more: Any,
) -> dict[str, Any]:
    return {
        "experiment": "flow", "seed": seed, "devices": {"unit": UNIT},
        "layers": {name: {"hosts": count, "device": "unit"} for name, count in hosts.items()},
        "services": dict(services), "streams": streams, "measure": {"duration": duration}, **more,
    }  # fmt: skip


def write(folder: Path, described: Mapping[str, Any]) -> str:
    (folder / "relay.py").write_text(RELAY)
    path = folder / "experiment.yaml"
    path.write_text(json.dumps(described))  # JSON is YAML
    return str(path)


def figures(folder: Path, described: Mapping[str, Any], threads: int = 1) -> Figures:
    """Simulate, and return all that was measured."""
    experiment, index = read_experiment(write(folder, described))
    program = build(experiment, index, None)
    with Engine(program, threads) as engine:
        for _ in engine.run():
            pass
    return Figures(program, engine)


def responses(folder: Path, described: Mapping[str, Any], threads: int = 1) -> dict[str, dict[str, Any]]:
    return measure(figures(folder, described, threads)).plain()
