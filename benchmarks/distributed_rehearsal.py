"""Four workers that rehearse rows of each other: how accurate beside one buffer of the same size, and at what cost in time.

    python benchmarks/distributed_rehearsal.py accuracy mnist.npz --seeds 5
    python benchmarks/distributed_rehearsal.py time --replicates 5

``accuracy``: ten classes in five tasks of two, each row once, in virtual time: four workers with batches of 10, 10 representatives
and a quarter of the buffer each, averaged after each step, beside one worker with batches of 40, 40 representatives and the whole
buffer, on the same rows in the same order. Sources are those of ``rehearsal.py``.

``time``: emulated, or with ``--on simulate``; four workers and an aggregator, links of 100 Mbit/s and 5 ms; plain incremental
training, rehearsal from own buffers, from all buffers, and from all buffers asking less ahead, or not. Each replicate runs all of
them, one after another; shown is the median over replicates of the time from batch to batch, and of its ratio to plain training's
in the same replicate, with all ratios; and each worker's processor time per batch, in milliseconds, where it is real.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from rehearsal import cell, load

from estran.components.aggregator import Aggregator
from estran.components.messages import Samples
from estran.components.rehearser import Rehearser
from estran.learning import registry
from estran.learning.continual import split
from tests.components.stage import Stage, play

WORKERS, BATCH, HIDDEN = 4, 10, [400, 400]
GOAL_POINTS, GOAL_TIME = 1.0, 1.05

EXPERIMENT = """
experiment: rehearsal-time
seed: 1
layers: {edge: {hosts: 4, device: cloud-vm-8}, cloud: {hosts: 1, device: cloud-vm-8}}
network: [{between: [edge, cloud], delay: 5ms, rate: 100mbit}, {between: [edge, edge], delay: 5ms, rate: 100mbit}]
services:
  camera: {on: edge, component: source, with: {data: rows.npz, batch: 10}}
  worker: {on: edge, component: rehearser, with: "${rehearsal}", ready: {timeout: 90s}}
  server:
    on: cloud
    component: aggregator
    ready: {timeout: 90s}
    with: {learner: {mlp: {hidden: "${hidden}"}}, policy: "${policy}"}
streams:
  - {from: camera.samples, to: worker.samples}
  - {from: server.rounds, to: worker.rounds, delivery: latest}
  - {from: worker.updates, to: server.updates}
  - {from: worker.recalls, to: worker.peers, routing: all}
factors:
  rehearsal: [{learner: naive}]
  hidden: [[400, 400]]
  policy: [synchronous]
measure: {warmup: 3s, duration: 12s}
"""
ER = {"er": {"buffer": 250}}
KINDS: dict[str, dict[str, Any]] = {
    "naive": {"learner": "naive"},
    "er, own": {"learner": ER, "over": "own"},
    "er, union": {"learner": ER, "over": "union"},
    "er, union, one by one": {"learner": ER, "over": "union", "together": 1},
    "er, union, ahead 2": {"learner": ER, "over": "union", "ahead": 2, "together": 1},
    "er, union, ahead 0": {"learner": ER, "over": "union", "ahead": 0, "together": 1},
}
SITES: dict[str, dict[str, Any]] = {
    "synchronous, 400-400": {"hidden": [400, 400], "policy": {"kind": "synchronous", "batch": BATCH}},
    "local-sgd(8), 400-400": {"hidden": [400, 400], "policy": {"kind": "local-sgd", "steps": 8, "batch": BATCH}},
    "local-sgd(8), 64": {"hidden": [64], "policy": {"kind": "local-sgd", "steps": 8, "batch": BATCH}},
}


def trained(source: str, seed: int, workers: int, buffer: int, kind: str, over: str = "union") -> float:
    """Share of all rows asked that is answered rightly after the last task."""
    tasks = split(*load(source), per_task=2)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(task.y)) for task in tasks]
    x = np.concatenate([task.x[order] for task, order in zip(tasks, orders, strict=True)])
    y = np.concatenate([task.y[order] for task, order in zip(tasks, orders, strict=True)])
    batch = BATCH * WORKERS // workers
    learner = kind if kind == "naive" else {kind: {"buffer": buffer // workers, "representatives": batch}}
    stage = Stage(seed=seed)
    mlp = {"mlp": {"hidden": HIDDEN}}
    server = stage.add(Aggregator, "server", {"learner": mlp, "policy": {"kind": "synchronous", "batch": batch}})
    settings = {"learner": learner, "over": over}
    parts = [stage.add(Rehearser, "worker", settings, index=index, replicas=workers) for index in range(workers)]

    async def scene() -> None:
        stage.connect(server, "rounds", *[(part, "rounds") for part in parts], delivery="latest")
        for index, part in enumerate(parts):
            stage.connect(part, "updates", (server, "updates"))
            stage.connect(part, "recalls", *[(other, "peers") for other in parts])
            starts = range(index * batch, len(y) - batch + 1, workers * batch)
            rows = [Samples(x[at : at + batch], y[at : at + batch], at, 1 + int(y.max())) for at in starts]
            stage.hand(part, "samples", rows)
        # All takes no time, but for a worker's wait for more rows.
        await stage.run(1.0)

    play(scene)
    model = registry.create(mlp, x.shape[1], 1 + int(y.max()), rng)
    model.load(server._server.state)
    return float(np.mean(np.concatenate([model.predict(task.asked) == task.truth for task in tasks])))


def accuracy(source: str, seeds: int, strategies: list[str]) -> None:
    buffer = 200 if source == "digits" else 1000
    print(f"{source}: buffer of {buffer} in all, {seeds} seeds")
    for kind in strategies:
        one, four = [], []
        for seed in range(seeds):
            one.append(trained(source, seed, 1, buffer, kind))
            four.append(trained(source, seed, WORKERS, buffer, kind))
            print(f"  seed {seed}: one {one[-1]:.4f}, four {four[-1]:.4f}", flush=True)
        gaps = [100 * (b - a) for a, b in zip(one, four, strict=True)]
        error = statistics.stdev(gaps) / len(gaps) ** 0.5
        means = f"one {cell(one)}   four {cell(four)}"
        print(f"{kind:10} {means}   difference {statistics.mean(gaps):+.2f} points, standard error {error:.2f}", flush=True)


def seconds_per_batch(
    folder: Path, site: dict[str, Any], kind: dict[str, Any], seed: int, platform: str
) -> tuple[float, dict[str, float]]:
    levels = {"rehearsal": kind, **site}
    options = [part for key, value in levels.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "estran.cli.main", "run", "experiment.yaml", "--on", platform, "--seed", str(seed), "--json"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    run = folder / json.loads(done.stdout)["folder"]
    import duckdb

    metrics = f"SELECT time, value FROM '{run / 'metrics.parquet'}' WHERE time >= 3 AND metric = "
    learned = duckdb.sql(f"{metrics} 'learned' AND replica = 'server-0' ORDER BY time").fetchall()
    (start, first), (end, last) = learned[0], learned[-1]
    batches = (last - first) / (BATCH * WORKERS)
    if not batches:
        raise SystemExit(f"{site} {kind}: nothing was learned after the first 3 s; the machine is too busy")
    found = json.loads((run / "responses.json").read_text())
    figures = {name: found[f"{name}@worker"]["value"] for name in ("rehearsal_wait", "remote_share") if f"{name}@worker" in found}
    for index in range(WORKERS):
        spent = duckdb.sql(f"{metrics} 'process_cpu' AND replica = 'worker-{index}' AND time <= {end} ORDER BY time").fetchall()
        if spent:
            figures["cpu_ms"] = figures.get("cpu_ms", 0.0) + 1e3 * (spent[-1][1] - spent[0][1]) / batches / WORKERS
    return (end - start) / batches, figures


def measured(replicates: int, sites: list[str], kinds: list[str], platform: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "experiment.yaml").write_text(EXPERIMENT)
        rng = np.random.default_rng(0)
        y = np.repeat(np.arange(10), 200)
        rows = np.clip(rng.normal(size=(len(y), 784)) * 0.3 + np.eye(10)[y] @ rng.random((10, 784)), 0, 1).astype(np.float32)
        np.savez(folder / "rows.npz", x=rows, y=y)
        for site in sites:
            took: dict[str, list[float]] = {kind: [] for kind in kinds}
            extra: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
            for replicate in range(replicates):
                for kind in kinds:
                    seconds, figures = seconds_per_batch(folder, SITES[site], KINDS[kind], replicate, platform)
                    took[kind].append(seconds)
                    extra[kind].append(figures)
            print(f"\n{site}; {replicates} replicates")
            for kind, times in took.items():
                ratios = [mine / plain for mine, plain in zip(times, took[kinds[0]], strict=True)]
                spread = " ".join(f"{ratio:.3f}" for ratio in ratios)
                means = {key: statistics.mean(one[key] for one in extra[kind]) for key in extra[kind][0]}
                told = " ".join(f"{key} {value:.4f}" for key, value in means.items())
                print(
                    f"{kind:20} {1e3 * statistics.median(times):8.2f} ms   x {statistics.median(ratios):.3f} ({spread})  {told}",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "time"])
    parser.add_argument("source", nargs="?", default="digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--strategies", nargs="+", default=["naive", "er", "er-ace"])
    parser.add_argument("--sites", nargs="+", choices=SITES, default=list(SITES))
    parser.add_argument("--on", choices=["emulate", "simulate"], default="emulate")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="the first is what others are compared with")
    parser.add_argument("--replicates", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.what == "accuracy":
        accuracy(chosen.source, chosen.seeds, chosen.strategies)
    else:
        measured(chosen.replicates, chosen.sites, chosen.kinds, chosen.on)
