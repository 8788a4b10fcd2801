"""From the models that come to versions that can answer; what cannot be used is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from estran.components.messages import Model
from estran.learning import registry
from estran.learning.learner import Features, Learner, LearnerError, StateError
from estran.learning.packing import unpacked
from estran.runtime.message import Message


class Computes(Protocol):
    """`estran.runtime.component.Component.compute`."""

    async def __call__(self, fn: Any, *args: Any, operation: str | None = None, size: int = 1, parameters: int = 0) -> Any:
        """Return ``fn(*args)``, at the expense of the device."""
        ...


@dataclass(frozen=True, eq=False)
class Version:
    """A model that can answer; replaced as a whole, never changed."""

    learner: Learner
    number: int
    published_at: float
    parameters: int

    async def answer(self, compute: Computes, x: Features, classes: int) -> NDArray[np.float64]:
        """Class probabilities, shape (n, classes).

        Raises
        ------
        LearnerError
            If the model is for other rows or other classes, or what it gives is not finite.
        """
        odds: NDArray[np.float64] = await compute(
            self.learner.predict_proba, x, operation="predict", size=len(x), parameters=self.parameters
        )
        if odds.shape[1] != classes:
            remedy = "let trainer and predictor have samples of the same data"
            raise LearnerError(f"it knows {odds.shape[1]} classes, not {classes}", where=f"version {self.number}", remedy=remedy)
        return odds


class Intake:
    """Keeps, of each trainer, the last full model, which the changes that follow are made against."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._full: dict[str, Model] = {}

    def note(self, message: Message[Model]) -> None:
        """Keep a full model, whether it is to be loaded or not."""
        if message.payload.base is None:
            self._full[message.story.origin] = message.payload

    def lacks(self, message: Message[Model]) -> bool:
        """Whether a model holds changes against one that is not there."""
        full = self._full.get(message.story.origin)
        return message.payload.base is not None and (full is None or full.published_at != message.payload.base)

    def loaded(self, message: Message[Model]) -> Version:
        """A version that answers as the model that has come does.

        Raises
        ------
        EstranError
            If the model is no snapshot of the learner that it names, or holds what is not finite. Others may come from the learner.
        """
        model = message.payload
        if not math.isfinite(model.published_at):
            raise StateError(f"it was published at {model.published_at}", where="model", remedy="give the time of the run's clock")
        base = None if model.base is None else unpacked(self._full[message.story.origin].state)
        state = unpacked(model.state, base)
        learner = registry.create(model.learner, model.features, model.classes, self._rng)
        learner.load(state)
        return Version(learner, model.version, model.published_at, numbers(state))


def numbers(state: dict[str, NDArray[Any]]) -> int:
    """How many numbers a model consists of, as it is sent or as it is loaded."""
    return sum(int(np.size(array)) for array in state.values())
