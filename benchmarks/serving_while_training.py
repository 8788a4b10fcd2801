"""Inference and training on one host of one core: how long answers take, and what training gets, by how the processor is shared.

``python benchmarks/serving_while_training.py [--on emulate|simulate] [--repeats 3] [--speed 0.25]``. *Alone* is the same
experiment whose training data end during warm-up. Training's part is what its host used beyond that, over what was left. The
figures wanted: p99 of latency at most 1.5 times that of serving alone, training at least 70 % of what is left, with the share that
keeps 1.4 times that latency.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from estran.run.prepare import Simulation, prepare
from estran.run.record import QuietProgress
from estran.run.session import execute

SECONDS = 6
ATTEMPTS = 3
TEXT = f"""
experiment: serving-while-training
seed: 5
devices: {{box: {{like: cloud-vm-2, cores: 1, speed: SPEED}}}}
layers: {{edge: {{hosts: 1, device: cloud-vm-4}}, box: {{hosts: 1, device: box}}}}
network: [{{between: [edge, box], delay: 1ms, rate: 1gbit}}]
services:
  camera: {{on: edge, component: source, with: {{data: digits, rate: 100/s, arrivals: poisson}}}}
  feed: {{on: edge, component: source, with: {{data: digits, batch: 2, limit: "${{limit}}"}}}}
  detector: {{on: box, component: predictor, with: {{batch: {{max_size: 1}}}}}}
  trainer:
    on: box
    share: "${{share}}"
    component: trainer
    with: {{learner: {{mlp: {{hidden: [1024]}}}}, batch: {{max_size: 1}}, publish: {{every: 1s}}}}
streams:
  - {{from: camera.samples, to: detector.samples}}
  - {{from: feed.samples, to: trainer.samples, capacity: 16}}
  - {{from: trainer.models, to: detector.models, delivery: latest}}
factors:
  share: [100%, 30%, idle, {{latency_p99: 12ms, of: detector}}]
  limit: [1000000000, 400]
measure: {{warmup: 3s, duration: {SECONDS}s}}
"""
WAYS = {"free": "100%", "30%": "30%", "idle": "idle", "adaptive": "{{latency_p99: {}us, of: detector}}"}


def run(on: str, speed: float, share: str, limit: int) -> dict[str, float]:
    """Responses of one run, by name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "experiment.yaml")
        file.write_text(TEXT.replace("SPEED", f"{speed:g}"))
        simulation = Simulation("none") if on == "simulate" else None
        prepared = prepare(str(file), overrides=[f"share={share}", f"limit={limit}"], on=on, simulation=simulation)
        for _ in range(ATTEMPTS):  # on a machine that others use, the check of the infrastructure may fail
            made = execute(prepared, out=Path(folder, "runs"), progress=QuietProgress())[0]
            status = json.loads((made / "run.json").read_text())
            if status["status"] == "done":
                break
        else:
            raise SystemExit(f"the run failed: {status['failure']}")
        responses = json.loads((made / "responses.json").read_text())
        return {name: float(response["value"]) for name, response in responses.items()}


def main() -> None:
    """Print a line for each way of sharing."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", default="emulate", choices=("emulate", "simulate"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--speed", type=float, default=0.25, help="of the one core that both use")
    options = parser.parse_args()
    p99: dict[str, list[float]] = {name: [] for name in ("alone", *WAYS)}
    p50: dict[str, list[float]] = {name: [] for name in p99}
    part: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.repeats):
        alone = run(options.on, options.speed, "100%", 400)
        kept = round(1.4e6 * alone["latency_p99@detector"])
        found = {"alone": alone} | {name: run(options.on, options.speed, share.format(kept), 10**9) for name, share in WAYS.items()}
        left = options.speed * SECONDS - alone["cpu_seconds@box-0"]
        for name, responses in found.items():
            p99[name].append(responses["latency_p99@detector"])
            p50[name].append(responses["latency_p50@detector"])
            if name in part:
                part[name].append((responses["cpu_seconds@box-0"] - alone["cpu_seconds@box-0"]) / left)
    print(f"{options.on}, a core of speed {options.speed:g}, medians of {options.repeats}")
    print(f"{'':10}{'p50 ms':>10}{'p99 ms':>10}{'p99 / alone':>13}{'training':>10}")
    for name in p99:
        ratio = median(a / b for a, b in zip(p99[name], p99["alone"], strict=True))
        training = f"{median(part[name]):10.0%}" if name in part else f"{'–':>10}"
        print(f"{name:10}{1e3 * median(p50[name]):10.2f}{1e3 * median(p99[name]):10.2f}{ratio:13.2f}{training}")


if __name__ == "__main__":
    main()
