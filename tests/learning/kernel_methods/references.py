"""Kernel machines in plain NumPy, as their papers have them: one function of label-signed examples, nothing reused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
GAMMA = 0.4


def gaussian(a: Array, b: Array) -> Array:
    return np.asarray(np.exp(-GAMMA * ((a[:, None] - b[None]) ** 2).sum(axis=2)))


def kernels() -> dict[str, tuple[Callable[[Array, Array], Array], dict[str, Any]]]:
    """Each kernel, and the settings that ask for it."""
    return {
        "gaussian": (gaussian, {"kernel": "gaussian", "gamma": GAMMA}),
        "polynomial": (
            lambda a, b: (0.3 * a @ b.T + 2.0) ** 3,
            {"kernel": "polynomial", "gamma": 0.3, "degree": 3, "offset": 2.0},
        ),
        "linear": (lambda a, b: a @ b.T, {"kernel": "linear"}),
    }


def violation(scores: Array, label: int) -> tuple[float, Array]:
    """Margin of a row, and what a step adds to each function: ±1 of one, or +1 of the label's and −1 of its rival's."""
    if len(scores) == 1:
        sign = 1.0 if label else -1.0
        return float(sign * scores[0]), np.array([sign])
    others = np.where(np.arange(len(scores)) == label, -np.inf, scores)
    direction = np.zeros(len(scores))
    direction[label], direction[int(others.argmax())] = 1.0, -1.0
    return float(scores[label] - others.max()), direction


class Joint:
    """Σ αᵢ·K(sᵢ, ·)·vᵢ with v the direction of a step over classes; learns where the margin is at most the threshold."""

    def __init__(
        self,
        classes: int,
        kernel: Callable[[Array, Array], Array],
        *,
        threshold: float = 0.0,
        step: float = 1.0,
        after: Callable[[Joint], None] | None = None,
    ) -> None:
        self.outputs, self.kernel, self.threshold, self.step, self.after = (
            1 if classes == 2 else classes,
            kernel,
            threshold,
            step,
            after,
        )
        self.supports: list[Array] = []
        self.alphas: list[float] = []
        self.directions: list[Array] = []

    def scores(self, row: Array) -> Array:
        if not self.supports:
            return np.zeros(self.outputs)
        return np.asarray(self.kernel(row[None], np.array(self.supports))[0] @ self.table())

    def table(self) -> Array:
        """Coefficients, shape (supports, functions)."""
        return np.asarray(np.array(self.alphas)[:, None] * np.array(self.directions))

    def margin(self, i: int) -> float:
        """Of support i, in the direction in which it was learned."""
        return float(self.directions[i] @ self.scores(self.supports[i]))

    def learn(self, row: Array, label: int) -> None:
        margin, direction = violation(self.scores(row), label)
        if margin > self.threshold or (margin == self.threshold and self.threshold):
            return
        self.supports.append(row.copy())
        self.alphas.append(self.step)
        self.directions.append(direction)
        if self.after:
            self.after(self)

    def answer_then_learn(self, row: Array, label: int) -> int:
        scores = self.scores(row)
        answer = int(scores[0] > 0) if self.outputs == 1 else int(scores.argmax())
        self.learn(row, label)
        return answer

    def drop(self, i: int) -> None:
        for kept in (self.supports, self.alphas, self.directions):
            kept.pop(i)
