"""The flow engine against SimPy on one scenario, in messages per CPU second, in the same run.

N cameras send 50 kB every 10 s over links of 10 Mbit/s and 20 ms to access points (250 cameras each), whose links of 100 Mbit/s
they share; a detector behind each takes 20 ms per image (load 0.5), first come, first served; a model of 5 MB is pushed to all
detectors every 5 minutes. SimPy has it twice: *natural*, a process per camera and message with a `Resource` per queue; and *lean*,
callbacks on timeouts, with queues as the time when they are free. All three must agree on the mean latency.

    python benchmarks/flow.py            at 1,000, 10,000 and 100,000 cameras
    python benchmarks/flow.py --full     and a million cameras for one simulated hour: seconds and memory
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import simpy

from estran.platforms.simulated.flow.building import build
from estran.platforms.simulated.flow.engine import Engine
from estran.run.flow_figures import Figures
from estran.run.flow_responses import measure
from estran.run.prepare import read_experiment

CELL, PERIOD, SERVICE, PUBLISH, LOAD = 250, 10.0, 0.020, 300.0, 0.1
ROUNDS = 3
EXAMPLE = Path(__file__).parents[1] / "examples" / "million-devices"
FREE = {"take": 0, "wake": 0, "receive": 0, "send": 0}


def experiment_file(folder: Path, cameras: int, seconds: float) -> str:
    cells = max(1, cameras // CELL)
    images = {"data": "images.npz", "rate": 1 / PERIOD, "partition": "shared"}
    trainer = {"learner": {"mlp": {"hidden": [50]}}, "publish": {"every": f"{PUBLISH}s"}}
    document = {
        "experiment": "benchmark", "seed": 1,
        "devices": {"unit": {"cores": 4, "speed": 1.0, "memory": "1GiB", "idle_power": "1W", "busy_power": "2W"}},
        "layers": {
            "edge": {"hosts": cameras, "device": "unit"}, "cell": {"hosts": cells, "device": "unit"},
            "fog": {"hosts": cells, "device": "unit"}, "cloud": {"hosts": 1, "device": "unit"},
        },
        "network": [
            {"between": ["edge", "cell"], "delay": "20ms", "rate": "10mbit"},
            {"between": ["cell", "fog"], "delay": "1ms", "rate": "100mbit"},
            {"between": ["fog", "cloud"], "delay": "20ms", "rate": "1gbit"},
        ],
        "services": {
            "camera": {"on": "edge", "component": "source", "with": images, "costs": FREE},
            "access": {"on": "cell", "component": "relay:Relay", "costs": {"forward": 0, **FREE}},
            "detector": {"on": "fog", "component": "predictor", "costs": {"predict": f"{SERVICE}s", "load": f"{LOAD}s", **FREE},
                         "with": {"batch": {"max_size": 1}, "before_model": "answer_prior"}},
            "sampler": {"on": "fog", "component": "source", "with": images, "costs": FREE},
            "trainer": {"on": "cloud", "component": "trainer", "with": trainer,
                        "costs": {"predict": "100us", "learn": "100us", "snapshot": 0, **FREE}},
        },
        "streams": [
            {"from": "camera.samples", "to": "access.samples"}, {"from": "access.forwarded", "to": "detector.samples"},
            {"from": "sampler.samples", "to": "trainer.samples"},
            {"from": "trainer.models", "to": "detector.models", "delivery": "latest"},
        ],
        "measure": {"warmup": f"{2 * PERIOD}s", "duration": f"{seconds}s"},
    }  # fmt: skip
    for name in ("relay.py", "images.npz"):
        (folder / name).write_bytes((EXAMPLE / name).read_bytes())
    path = folder / "experiment.yaml"
    path.write_text(json.dumps(document))
    return str(path)


def ours(cameras: int, seconds: float, threads: int = 1) -> tuple[float, float, float, dict[str, Any]]:
    """Messages per CPU second, mean latency, wall seconds (loading and compiling included), and what the links take."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        experiment, index = read_experiment(experiment_file(Path(folder), cameras, seconds))
        program = build(experiment, index, None)
        with Engine(program, threads) as engine:
            started = time.process_time()
            for _ in engine.run():
                pass
            spent = time.process_time() - started
        found = measure(Figures(program, engine)).values
        wall = time.perf_counter() - begun
    first, second = program.hops[0].bits / 10e6, program.hops[1].bits / 100e6
    messages = cameras / PERIOD * (seconds + 2 * PERIOD)
    return (
        messages / spent,
        found["latency"].value,
        wall,
        {"first": first, "second": second, "extra": float(program.wires.hops["extra"][0])},
    )


def natural(cameras: int, seconds: float, takes: dict[str, float]) -> tuple[float, float]:
    """A process per camera and per message."""
    environment, rng = simpy.Environment(), np.random.default_rng(1)
    links = [simpy.Resource(environment) for _ in range(max(1, cameras // CELL))]
    detectors = [simpy.Resource(environment) for _ in links]
    total, count, warm = 0.0, 0, 2 * PERIOD

    def camera(cell: int) -> Generator[Any, Any, None]:
        yield environment.timeout(rng.random() * PERIOD)
        while True:
            environment.process(message(cell, environment.now))
            yield environment.timeout(PERIOD)

    def message(cell: int, created: float) -> Generator[Any, Any, None]:
        nonlocal total, count
        yield environment.timeout(takes["first"] + 0.020 + takes["extra"])
        with links[cell].request() as mine:
            yield mine
            yield environment.timeout(takes["second"])
        yield environment.timeout(0.001 + takes["extra"])
        with detectors[cell].request() as mine:
            yield mine
            yield environment.timeout(SERVICE)
        if created >= warm:
            total, count = total + environment.now - created, count + 1

    for number in range(cameras):
        environment.process(camera(number % len(links)))
    started = time.process_time()
    environment.run(until=warm + seconds)
    return cameras / PERIOD * (seconds + warm) / (time.process_time() - started), total / count


def lean(cameras: int, seconds: float, takes: dict[str, float]) -> tuple[float, float]:
    """One event per message and queue, and queues as the time when they are free."""
    environment, rng = simpy.Environment(), np.random.default_rng(1)
    cells = max(1, cameras // CELL)
    link, detector = [0.0] * cells, [0.0] * cells
    total, count, warm = 0.0, 0, 2 * PERIOD

    def later(delay: float, do: Callable[[Any], None]) -> None:
        environment.timeout(delay).callbacks.append(do)

    def camera(cell: int) -> Callable[[Any], None]:
        def fire(_: Any) -> None:
            created = environment.now
            later(takes["first"] + 0.020 + takes["extra"], lambda _: access(cell, created))
            later(PERIOD, fire)

        return fire

    def access(cell: int, created: float) -> None:
        link[cell] = max(environment.now, link[cell]) + takes["second"]
        later(link[cell] + 0.001 + takes["extra"] - environment.now, lambda _: detect(cell, created))

    def detect(cell: int, created: float) -> None:
        nonlocal total, count
        detector[cell] = max(environment.now, detector[cell]) + SERVICE
        if created >= warm:
            total, count = total + detector[cell] - created, count + 1

    for number in range(cameras):
        later(rng.random() * PERIOD, camera(number % cells))
    started = time.process_time()
    environment.run(until=warm + seconds)
    return cameras / PERIOD * (seconds + warm) / (time.process_time() - started), total / count


def compare(cameras: int) -> None:
    ours(cameras, 5)  # compile, or load the compiled code
    mine = [ours(cameras, 30_000_000 / cameras) for _ in range(ROUNDS)]
    takes = mine[0][3]
    rivals = {"natural": natural(cameras, 30, takes), "lean": lean(cameras, 60, takes)}
    speed = statistics.median(one[0] for one in mine)
    print(f"{cameras:>9,} cameras   messages per CPU second   flow is   mean latency")
    print(f"{'estran flow':>17}{speed:26,.0f}{'':>10}{mine[0][1] * 1e3:12.2f} ms")
    for name, (rate, latency) in rivals.items():
        print(f"{'SimPy ' + name:>17}{rate:26,.0f}{speed / rate:9.0f}x{latency * 1e3:12.2f} ms", flush=True)


def full() -> None:
    speed, latency, wall, _ = ours(1_000_000, 3600 - 2 * PERIOD, threads=2)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"1,000,000 cameras, 3600 simulated s: {wall:.1f} s, {memory:.0f} MB, {speed:,.0f} messages/CPU s, {latency * 1e3:.2f} ms"
    )
    print(f"goal: 60 s; the ratio is {60 / wall:.2f}")


def main() -> None:
    for cameras in (1_000, 10_000, 100_000):
        compare(cameras)
    if "--full" in sys.argv:
        full()


if __name__ == "__main__":
    main()
