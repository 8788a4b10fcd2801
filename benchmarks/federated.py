"""FedAvg's accuracy after each round beside Flower's, on the same partitions of the digits.

    python benchmarks/federated.py PYTHON

PYTHON is an interpreter that can import flwr (``python -m venv … && pip install flwr``). Ten clients have one digit each; a fifth
of the rows is kept from all of them to judge by. Both sides begin with the same weights. With the same shuffles of each client's
rows, which Flower's clients are handed, all is alike; with shuffles and draws of clients of their own, what is compared are means
over seeds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from estran.components.aggregator import Aggregator
from estran.components.messages import Model, Samples
from estran.components.worker import Worker
from estran.learning import registry
from estran.learning.datasets import load
from estran.learning.orders import partition
from estran.runtime.component import Component, generator
from estran.runtime.ports import Input
from tests.components.stage import Stage, play

CLIENTS, ROUNDS, SEEDS, RATE = 10, 40, 8, 0.05
LEARNER = {"mlp": {"hidden": [32], "learning_rate": RATE, "dtype": "float64"}}
GOAL = 0.01


class Judge(Component):
    models: Input[Model]

    async def setup(self) -> None:
        self.states: list[dict[str, np.ndarray]] = []

    async def run(self) -> None:
        async for message in self.models:
            self.states.append(message.payload.state)


def federated(parts: list[tuple[np.ndarray, np.ndarray]], seed: int, fraction: float) -> list[dict[str, np.ndarray]]:
    """The model after each round."""
    stage = Stage(seed=seed, cost={"snapshot": 0.1})
    policy = {"kind": "fedavg", "fraction": fraction, "batch": 200}
    server = stage.add(Aggregator, "server", {"learner": LEARNER, "policy": policy})
    judge = stage.add(Judge, "judge")
    workers = [stage.add(Worker, "worker", {"least": len(y)}, index=k, replicas=CLIENTS) for k, (_, y) in enumerate(parts)]

    async def scene() -> None:
        stage.connect(server, "models", (judge, "models"))
        stage.connect(server, "rounds", *[(worker, "rounds") for worker in workers], delivery="latest")
        for worker, (x, y) in zip(workers, parts, strict=True):
            stage.hand(worker, "samples", [Samples(x, y, 0, CLIENTS)])
            stage.connect(worker, "updates", (server, "updates"))
        await stage.run(0.1 * ROUNDS + 0.05)

    play(scene)
    return list(judge.states)


def accuracy(state: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    scores = np.maximum(x @ state["w0"] + state["b0"], 0) @ state["w1"] + state["b1"]
    return float((scores.argmax(axis=1) == y).mean())


def main() -> None:
    data = load("digits")
    order = np.random.default_rng(0).permutation(len(data.y))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    x, y = data.x[test], data.y[test]
    own = [train[partition(data.y[train], "by-class", k, CLIENTS)] for k in range(CLIENTS)]
    parts = [(data.x[rows], data.y[rows]) for rows in own]
    ours, spent = {}, {}
    for fraction in (1.0, 0.5):
        begun = time.perf_counter()
        models = [federated(parts, seed, fraction)[:ROUNDS] for seed in range(SEEDS)]
        spent[fraction] = time.perf_counter() - begun
        ours[fraction] = np.array([[accuracy(state, x, y) for state in run] for run in models])
    given: dict[str, np.ndarray | int | float] = {
        "x": x,
        "y": y,
        "clients": CLIENTS,
        "rounds": ROUNDS,
        "rate": RATE,
        "seeds": SEEDS,
    }
    for k, (rows, labels) in enumerate(parts):
        given |= {f"x{k}": rows, f"y{k}": labels}
    for seed in range(SEEDS):
        state = registry.create(LEARNER, x.shape[1], CLIENTS, generator(seed, "server", 0)).state()
        given |= {f"{seed}.{name}": array for name, array in state.items()}
        for k, (_, labels) in enumerate(parts):
            rng = generator(seed, "worker", k)
            given[f"{seed}.orders{k}"] = np.array([rng.permutation(len(labels)) for _ in range(ROUNDS)])
    theirs = flower(given)
    print(f"{'clients in a round, shuffles':32} {'largest difference over rounds':>32} {'last round: Estran':>20} {'Flower':>8}")
    for name, fraction, told in (
        ("1.True", 1.0, "all, the same"),
        ("1.False", 1.0, f"all, mean of {SEEDS} seeds"),
        ("0.5.False", 0.5, f"half, mean of {SEEDS} seeds"),
    ):
        mine, other = ours[fraction], theirs[name]
        apart = np.abs(mine - other).max() if name == "1.True" else np.abs(mine.mean(axis=0) - other.mean(axis=0)).max()
        noise = np.hypot(mine.std(axis=0), other.std(axis=0)).max() / SEEDS**0.5
        verdict = "" if name != "1.True" else f"  (goal {100 * GOAL:g} points)"
        last = f"{mine[:, -1].mean():19.4f} {other[:, -1].mean():8.4f}"
        print(f"{told:32} {100 * apart:20.2f} points ± {100 * noise:.1f} {last}{verdict}")
    print(f"{SEEDS} x {ROUNDS} rounds in virtual time took {spent[1.0]:.1f} s with all clients, {spent[0.5]:.1f} s with half")


def flower(given: dict[str, np.ndarray | int | float]) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(there, **given)  # type: ignore[arg-type]
        script = Path(__file__).with_name("federated_flower.py")
        subprocess.run([sys.argv[1], str(script), str(there), str(back)], check=True)
        return dict(np.load(back))


if __name__ == "__main__":
    main()
