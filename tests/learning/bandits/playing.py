"""Bandits of all methods, and how they are played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estran.learning.bandits.bandit import create

CHOICES: dict[str, Any] = {
    "exp3": "exp3",
    "exp3-gamma": {"exp3": {"gamma": 0.2}},
    "exp4": {"exp4": {"experts": 3}},
    "exp4-gamma": {"exp4": {"experts": 3, "gamma": 0.2}},
    "ucb1": "ucb1",
    "thompson": "thompson",
    "thompson-gaussian": {"thompson": {"rewards": "gaussian"}},
    "linucb": {"linucb": {"features": 2}},
    "epsilon-greedy": "epsilon-greedy",
}
EACH = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
WEIGHED = [name for name in CHOICES if name.startswith("exp")]
ADVICE = np.array([[1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 0.0]])
ARMS = 4


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def make(choice: Any, arms: int = ARMS, seed: int = 0) -> Any:
    return create(choice, arms, rng(seed))


def context(choice: Any) -> Any:
    name = choice if isinstance(choice, str) else next(iter(choice))
    return {"exp4": ADVICE, "linucb": np.array([0.5, -1.0])}.get(name)


def played(bandit: Any, rounds: int, reward: Callable[[int, int], float], given: Any = None) -> tuple[NDArray[np.int64], float]:
    """How often each arm was pulled, and all that it brought."""
    pulls, total = np.zeros(bandit.arms, dtype=np.int64), 0.0
    for t in range(rounds):
        arm = bandit.choose(given)
        value = reward(t, arm)
        bandit.learn(given, arm, value)
        pulls[arm] += 1
        total += value
    return pulls, total
