"""One perceptron in two places: the layers below the cut, and those from it on. Plain NumPy, a gradient step per batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import Labels, NotFiniteError, State

Values = NDArray[np.floating[Any]]


def divided(state: State, cut: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Weights of the layers below the cut, and of those from it on: ``w0`` to ``b{cut - 1}``, and the rest."""
    below = {name: array for name, array in state.items() if int(name[1:]) < cut}
    return below, {name: array for name, array in state.items() if name not in below}


@dataclass(frozen=True)
class Stack:
    """Layers on top of each other, each a matrix, biases and a ReLU; ``top`` if the last has no ReLU, because it gives scores.

    Notes
    -----
    Gupta, Raskar, *Distributed learning of deep neural network over multiple agents*, J. Network and Computer Applications 116,
    2018: activations of the cut layer go up, gradients by them come down, and rows stay where they are. Labels go along.
    """

    weights: Mapping[str, NDArray[Any]]
    top: bool

    def forward(self, x: Values) -> list[Values]:
        """What goes into each layer, and what comes out of the last."""
        dtype = next(iter(self.weights.values())).dtype
        values = [np.asarray(x, dtype)]
        for layer in self._layers():
            scores = values[-1] @ self.weights[f"w{layer}"] + self.weights[f"b{layer}"]
            last = self.top and layer == self._layers()[-1]
            values.append(scores if last else np.maximum(scores, 0))
        return values

    def stepped(self, values: list[Values], gradient: Values, rate: float) -> tuple[Stack, Values]:
        """The layers after one step, and the gradient by what went into the first.

        Parameters
        ----------
        values
            As `forward` gave them.
        gradient
            By what came out of the last.

        Raises
        ------
        NotFiniteError
            If a weight is not finite after the step.
        """
        moved: dict[str, NDArray[Any]] = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for layer, below, above in reversed(list(zip(self._layers(), values[:-1], values[1:], strict=True))):
                if not (self.top and layer == self._layers()[-1]):
                    gradient = gradient * (above > 0)
                weights = self.weights[f"w{layer}"]
                dtype = weights.dtype
                moved[f"w{layer}"] = (weights - rate * (below.T @ gradient)).astype(dtype)
                moved[f"b{layer}"] = (self.weights[f"b{layer}"] - rate * gradient.sum(axis=0)).astype(dtype)
                gradient = (gradient @ weights.T).astype(dtype)
        if not all(np.isfinite(array).all() for array in moved.values()):
            raise NotFiniteError(
                "learning diverged", where="split", remedy="lower learning_rate; nothing of this batch was learned"
            )
        return Stack({name: moved[name] for name in self.weights}, self.top), gradient

    def _layers(self) -> list[int]:
        return sorted({int(name[1:]) for name in self.weights})


def loss_gradient(scores: Values, labels: Labels) -> Values:
    """Gradient of the mean cross-entropy by the scores."""
    odds: Values = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    odds[np.arange(len(labels)), labels] -= 1
    return odds / len(labels)
