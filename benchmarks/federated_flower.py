"""Flower's side of `federated.py`: its server and its FedAvg, with clients of plain NumPy, in a Python that has flwr.

Clients live in this process, which Flower's `Server` allows by a `ClientProxy` of one's own, so that no time goes into starting
processes. The network is written out here, and knows nothing of Estran.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import Server, SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg

logging.disable(logging.CRITICAL)
DONE = Status(Code.OK, "")


def learn(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray, rate: float) -> list[np.ndarray]:
    """One hidden layer of ReLUs, softmax, a step per row."""
    w0, b0, w1, b1 = (array.copy() for array in weights)
    for row, label in zip(x, y, strict=True):
        hidden = np.maximum(row @ w0 + b0, 0)
        scores = hidden @ w1 + b1
        odds = np.exp(scores - scores.max())
        odds /= odds.sum()
        odds[label] -= 1
        back = (w1 @ odds) * (hidden > 0)
        w1 -= rate * np.outer(hidden, odds)
        b1 -= rate * odds
        w0 -= rate * np.outer(row, back)
        b0 -= rate * back
    return [w0, b0, w1, b1]


class Client(ClientProxy):
    def __init__(self, number: int, x: np.ndarray, y: np.ndarray, orders: Any, rate: float) -> None:
        super().__init__(str(number))
        self.number, self.x, self.y, self.orders, self.rate = number, x, y, orders, rate

    def fit(self, ins: FitIns, timeout: float | None, group_id: int | None) -> FitRes:
        order = next(self.orders)
        weights = learn(parameters_to_ndarrays(ins.parameters), self.x[order], self.y[order], self.rate)
        return FitRes(DONE, ndarrays_to_parameters(weights), len(order), {})

    def evaluate(self, *_: Any) -> Any:
        raise NotImplementedError

    get_parameters = get_properties = reconnect = evaluate


def shuffles(seed: int, client: int, rows: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng([seed, client])
    while True:
        yield rng.permutation(rows)


def federated(given: dict[str, np.ndarray], seed: int, fraction: float, *, same: bool) -> list[float]:
    """Accuracy after each round; ``same`` takes the shuffles that Estran's workers drew."""
    clients, rounds, rate = int(given["clients"]), int(given["rounds"]), float(given["rate"])
    initial = [given[f"{seed}.{name}"] for name in ("w0", "b0", "w1", "b1")]
    manager, scores = SimpleClientManager(), []
    for k in range(clients):
        x, y = given[f"x{k}"], given[f"y{k}"]
        orders = iter(given[f"{seed}.orders{k}"]) if same else shuffles(seed, k, len(y))
        manager.register(Client(k, x, y, orders, rate))

    def judge(number: int, weights: list[np.ndarray], config: Any) -> tuple[float, dict[str, Any]]:
        w0, b0, w1, b1 = weights
        answers = (np.maximum(given["x"] @ w0 + b0, 0) @ w1 + b1).argmax(axis=1)
        if number:
            scores.append(float((answers == given["y"]).mean()))
        return 0.0, {}

    strategy = FedAvg(
        fraction_fit=fraction, fraction_evaluate=0.0, min_fit_clients=1, min_evaluate_clients=0, min_available_clients=clients,
        evaluate_fn=judge, initial_parameters=ndarrays_to_parameters(initial),
    )  # fmt: skip
    Server(client_manager=manager, strategy=strategy).fit(rounds, None)
    return scores


def main() -> None:
    given = dict(np.load(sys.argv[1]))
    seeds = range(int(given["seeds"]))
    found = {
        f"{fraction:g}.{same}": np.array([federated(given, seed, fraction, same=same) for seed in seeds])
        for fraction, same in ((1.0, True), (1.0, False), (0.5, False))
    }
    np.savez(sys.argv[2], **found)


if __name__ == "__main__":
    main()
