"""Drift detectors: how soon they find a planted drift, how often they are wrong, and what a row costs, beside River's.

Run: python benchmarks/detectors.py
"""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
from river import drift

from estran.learning.detectors import RiverDetector
from estran.learning.reacting import create_detector

SEEDS = 20
RIVER = {
    "adwin": drift.ADWIN,
    "ddm": drift.binary.DDM,
    "eddm": drift.binary.EDDM,
    "kswin": lambda: drift.KSWIN(seed=1),
    "page-hinkley": drift.PageHinkley,
}


def errors(seed: int, *parts: tuple[int, float]) -> list[float]:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random(n) < rate for n, rate in parts]).astype(float).tolist()


def alarms(detector: Any, values: list[float]) -> list[int]:
    return [i for i, value in enumerate(values) if detector.update(value)]


def cost(detector: Any, rows: int = 2000) -> float:
    values = errors(0, (rows, 0.2))
    start = process_time()
    alarms(detector, values)
    return (process_time() - start) / rows * 1e6


def main() -> None:
    print("errors .1 -> .5 at row 1000; false alarms at .2 without drift;", SEEDS, "seeds")
    print(f"{'':14}{'median delay':>14}{'latest':>8}{'missed':>8}{'false/10k':>11}{'us/row':>8}{'river':>8}{'ratio':>7}")
    for name, theirs in RIVER.items():
        found = [alarms(create_detector(name), errors(seed, (1000, 0.1), (500, 0.5))) for seed in range(SEEDS)]
        first = [next((i - 1000 for i in each if i >= 1000), None) for each in found]
        delays = [delay for delay in first if delay is not None]
        false = sum(len(alarms(create_detector(name), errors(seed, (2000, 0.2)))) for seed in range(SEEDS))
        ours, river = cost(create_detector(name)), cost(RiverDetector(theirs()))
        print(
            f"{name:14}{np.median(delays):14.0f}{max(delays):8}{SEEDS - len(delays):8}{false / SEEDS * 5:11.2f}"
            f"{ours:8.2f}{river:8.2f}{ours / river:7.2f}"
        )


if __name__ == "__main__":
    main()
