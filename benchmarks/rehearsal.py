"""Continual learning on split images: accuracy, forgetting and speed of every strategy; and Avalanche's replay beside.

``python benchmarks/rehearsal.py mnist.npz usps.h5 digits --seeds 5``: an archive with ``X_train``, ``y_train``, ``X_test`` and
``y_test``; groups ``train`` and ``test`` of ``data`` and ``target`` (needs h5py); or scikit-learn's digits, a fifth to be asked.
Ten classes come in five tasks of two, each row once, in an order drawn by the seed; layers of 400 and 400, batches of 10, η 0.1,
and 10 representatives from a buffer of 1000 (digits: 200). ``ACC`` is the mean over tasks, ``all`` the share of all rows asked;
± is the standard deviation over seeds. Speed counts new rows by processor time of learning; GDumb learns when it is asked, which
counts.

``--scenario domain-incremental`` has labels 0 and 1 in every task, and boundaries by count. ``--policies`` compares buffers of
``er``.

``--avalanche PYTHON`` runs Avalanche's replay with the same network, tasks, optimizer and buffer by the interpreter of an
environment where ``avalanche-lib`` is installed, and ``er`` on the same rows (``--rows`` of each task).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from estran.learning import registry
from estran.learning.continual import Labelled, Scores, Task, learn_in_turn, split
from estran.learning.rehearsal.buffer import POLICIES

HIDDEN, BATCH, RATE = [400, 400], 10, 0.1
STRATEGIES = ("naive", "er", "er-ace", "der++", "a-gem", "gdumb", "lwf", "ewc")
BUFFERED = ("er", "er-ace", "der++", "a-gem", "gdumb")
REFERENCE = {
    "mnist": {"naive": 0.195, "er": 0.904, "er-ace": 0.921, "gdumb": 0.895},
    "usps": {"naive": 0.167, "er": 0.833, "der++": 0.865, "gdumb": 0.889, "a-gem": 0.393},
    "digits": {"er": 0.633},
}
"""Share of all rows asked that a prototype in PyTorch answered rightly, with the same network, batch and buffer."""


def load(source: str) -> tuple[Labelled, Labelled]:
    if source == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        x, y = digits.data[order] / 16, digits.target[order]
        return (x[:1437], y[:1437]), (x[1437:], y[1437:])
    if Path(source).suffix == ".npz":
        archive = np.load(source)
        parts = [(archive[f"X_{part}"], archive[f"y_{part}"]) for part in ("train", "test")]
    else:
        import h5py

        with h5py.File(source) as file:
            parts = [(file[part]["data"][:], file[part]["target"][:]) for part in ("train", "test")]
    top = max(1.0, float(parts[0][0].max()))
    train, test = ((x.reshape(len(x), -1) / top, y.astype(np.int64)) for x, y in parts)
    return train, test


def choice(name: str, buffer: int, domains: int, **more: Any) -> registry.Choice:
    settings: dict[str, Any] = {"hidden": HIDDEN, "batch": BATCH, "learning_rate": RATE, **more}
    if name in BUFFERED:
        settings["buffer"] = buffer
    if domains and name in ("lwf", "ewc"):
        settings["boundary"] = domains
    return {name: settings}


def measured(what: registry.Choice, tasks: list[Task], seeds: int) -> list[Scores]:
    classes = 1 + max(int(task.y.max()) for task in tasks)
    registry.warm(what)
    found = []
    for seed in range(seeds):
        learner = registry.create(what, tasks[0].x.shape[1], classes, np.random.default_rng(seed))
        found.append(learn_in_turn(learner, tasks, np.random.default_rng(1000 + seed), clock=time.process_time))
    return found


def cell(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else float('nan'):.3f}"


def line(name: str, scores: list[Scores], reference: float | None) -> None:
    seconds = [score.learning + (score.answering if name == "gdumb" else 0) for score in scores]
    speed = statistics.median(score.rows / spent for score, spent in zip(scores, seconds, strict=True))
    columns = (
        cell([score.average_accuracy for score in scores]),
        cell([score.overall_accuracy for score in scores]),
        f"{reference:.3f}" if reference else "–",
        cell([score.forgetting for score in scores]),
        cell([score.backward_transfer for score in scores]),
        cell([score.forward_transfer for score in scores]),
    )
    print(f"{name:16}" + "".join(f"{column:>16}" for column in columns) + f"{speed:12,.0f}", flush=True)


def compare(source: str, tasks: list[Task], buffer: int, seeds: int, names: list[str], policies: bool, domains: bool) -> None:
    print(f"\n{source}: {len(tasks)} tasks, {sum(len(task.y) for task in tasks):,} rows, buffer {buffer}, {seeds} seeds")
    print(
        f"{'':16}"
        + "".join(f"{head:>16}" for head in ("ACC", "all", "prototype", "forgetting", "BWT", "FWT"))
        + f"{'rows/CPU s':>12}"
    )
    size = len(tasks[0].y) if domains else 0
    if policies:
        for policy in POLICIES:
            line(f"er {policy}", measured(choice("er", buffer, size, policy=policy), tasks, seeds), None)
        return
    known = REFERENCE.get(Path(source).stem, {}) if not domains else {}
    for name in names:
        line(name, measured(choice(name, buffer, size), tasks, seeds), known.get(name))


def beside_avalanche(interpreter: str, tasks: list[Task], buffer: int, rows: int) -> None:
    """The same rows through both, one after the other; Avalanche with one thread and with as many as PyTorch takes."""
    some = [replace(task, x=task.x[:rows], y=task.y[:rows]) for task in tasks]
    classes = 1 + max(int(task.y.max()) for task in tasks)
    arrays: dict[str, Any] = {
        "tasks": len(some),
        "batch": BATCH,
        "hidden": np.array(HIDDEN),
        "classes": classes,
        "rate": RATE,
        "buffer": buffer,
    }
    for i, task in enumerate(some):
        arrays |= {f"x{i}": task.x, f"y{i}": task.y, f"asked{i}": task.asked, f"truth{i}": task.truth}
    script = Path(__file__).with_name("rehearsal_avalanche.py")
    print(f"\nreplay of {sum(len(task.y) for task in some):,} rows, {len(some)} tasks, buffer {buffer}")
    print(f"{'':30}{'rows/s':>10}{'rows/CPU s':>12}{'all':>8}")
    what = choice("er", buffer, 0)
    registry.warm(what)
    speeds: list[tuple[float, float]] = []
    for chunk in (BATCH, 1000):
        learner = registry.create(what, tasks[0].x.shape[1], classes, np.random.default_rng(0))
        scores = learn_in_turn(learner, some, np.random.default_rng(0), chunk=chunk, clock=time.perf_counter)
        learner = registry.create(what, tasks[0].x.shape[1], classes, np.random.default_rng(0))
        processor = learn_in_turn(learner, some, np.random.default_rng(0), chunk=chunk, clock=time.process_time).rows_per_second
        speeds.append((scores.rows_per_second, processor))
        print(
            f"{f'estran er, chunks of {chunk}':30}{speeds[-1][0]:10,.0f}{processor:12,.0f}{scores.overall_accuracy:8.3f}",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "tasks.npz"
        np.savez(archive, **arrays)
        for threads in ("1", ""):
            env = {**os.environ, **({"OMP_NUM_THREADS": threads} if threads else {})}
            done = subprocess.run(
                [interpreter, "-W", "ignore", str(script), str(archive), "0"],
                env=env,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found = json.loads(done.stdout.splitlines()[-1])
            name = f"avalanche, {threads or 'all'} thread{'' if threads else 's'}"
            print(f"{name:30}{found['wall']:10,.0f}{found['processor']:12,.0f}{found['overall']:8.3f}", end="")
            wall, processor = speeds[0][0] / found["wall"], speeds[0][1] / found["processor"]
            print(f"   ours is {wall:.0f}x by wall, {processor:.0f}x by processor time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="mnist.npz, usps.h5, digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--buffer", type=int)
    parser.add_argument("--scenario", default="class-incremental", choices=("class-incremental", "domain-incremental"))
    parser.add_argument("--names", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--policies", action="store_true")
    parser.add_argument("--avalanche", metavar="PYTHON")
    parser.add_argument("--rows", type=int, default=2000)
    chosen = parser.parse_args()
    for source in chosen.sources:
        train, test = load(source)
        buffer = chosen.buffer or (200 if source == "digits" else 1000)
        tasks = split(train, test, scenario=chosen.scenario)
        if chosen.avalanche:
            beside_avalanche(chosen.avalanche, tasks, buffer, chosen.rows)
        else:
            compare(source, tasks, buffer, chosen.seeds, chosen.names, chosen.policies, chosen.scenario == "domain-incremental")


if __name__ == "__main__":
    main()
