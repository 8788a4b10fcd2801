"""What all forecasters have in common: one array of numbers, the checks, and the calls of the compiled part."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.counting import check_counts
from estran.learning.experts.plan import HEAD
from estran.learning.learner import LearnerError, NotFiniteError, State
from estran.learning.settings import whole
from estran.learning.snapshots import check_fits

Array = NDArray[Any]


class Weighing:
    """A forecaster whose shares follow one score an expert: the losses so far, or what stands for them.

    Subclasses are the methods; their settings are keywords.
    """

    name: ClassVar[str]
    about: ClassVar[About]

    def __init__(
        self,
        experts: int,
        rng: np.random.Generator,
        method: float,
        *,
        eta: float | None = None,
        anytime: float = 0.0,
        limit: float = math.inf,
        share: float = 0.0,
        low: float = 0.0,
        high: float = 1.0,
        rule: Array | None = None,
    ) -> None:
        self.experts = whole(self.name, "experts", experts)
        # The order is that of estran.learning.experts.plan.
        self._plan = np.array([method, eta or 0.0, anytime, limit, share if experts > 1 else 0.0, low, high])
        self._rule = np.zeros((2, 0)) if rule is None else rule
        self._live, self._spare = np.zeros((2, HEAD + experts))
        self._live[0] = _kernel().seed_from(rng)
        self._nobody = np.empty((0, experts))

    @property
    def rounds(self) -> int:
        """How many rounds were learned."""
        return int(self._live[2])

    def shares(self) -> NDArray[np.float64]:
        """Probability of each expert in the coming round, shape (experts,)."""
        found = np.empty(self.experts)
        _kernel().shares_now(self._plan, self._live, self._rule, found)
        return found

    def choose(self) -> int:
        """The expert to follow in the coming round; what is drawn is counted, so that the next call draws anew."""
        return int(_kernel().choose(self._plan, self._live, self._rule))

    def learn(self, losses: NDArray[np.float64]) -> None:
        """Learn what a round cost each expert, shape (experts,); raises as `learn_many`."""
        self._learn(self._rounds(losses, 1)[None], self._nobody)

    def learn_many(self, losses: NDArray[np.float64]) -> None:
        """Learn rounds, shape (n, experts), exactly as if they came one at a time.

        Raises
        ------
        LearnerError
            If the shape does not fit, or a loss is out of range. No round is then learned.
        NotFiniteError
            If a loss is NaN or infinite, or the sum of an expert's losses gets so. No round is then learned.
        """
        self._learn(self._rounds(losses, 2), self._nobody)

    def share_then_learn(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Learn rounds as `learn_many` does, and return the shares before each, shape (n, experts)."""
        rounds = self._rounds(losses, 2)
        before = np.empty(rounds.shape)
        self._learn(rounds, before)
        return before

    def state(self) -> State:
        """``losses``: the score of each expert; ``clock``: seed of the draws, draws made, rounds learned."""
        return {"clock": self._live[:HEAD].copy(), "losses": self._live[HEAD:].copy()}

    def load(self, state: State) -> None:
        """Replace everything learned.

        Raises
        ------
        StateError
            If a part is missing, unknown, of another shape, not finite, or ``clock`` does not count.
        """
        check_fits(self.name, self.state(), state)
        check_counts(self.name, "clock", state["clock"])
        self._live[:HEAD], self._live[HEAD:] = state["clock"], state["losses"]

    @classmethod
    def warm(cls) -> None:
        """Compile what is needed, or load it from numba's cache, so that a run does not wait for it."""
        forecaster = cast("Any", cls)(2, np.random.default_rng(0))
        forecaster.learn(np.zeros(2))
        forecaster.shares()
        forecaster.choose()

    def _rounds(self, losses: Any, dimensions: int) -> Array:
        found = np.ascontiguousarray(losses, dtype=np.float64)
        if found.ndim != dimensions or found.shape[-1] != self.experts:
            raise LearnerError(
                f"losses of shape {np.shape(losses)} do not fit {self.experts} experts",
                where=self.name,
                remedy=f"hand in an array of shape {f'({self.experts},)' if dimensions == 1 else f'(n, {self.experts})'}",
            )
        # The compiled part knows writable arrays only, though it does not write to these.
        return found if found.flags.writeable else found.copy()

    def _learn(self, losses: Array, before: Array) -> None:
        bad = _kernel().learn(self._plan, self._live, self._spare, losses, self._rule, before)
        if bad >= 0:
            self._refuse(losses, bad)
        self._live, self._spare = self._spare, self._live

    def _refuse(self, losses: Array, bad: int) -> None:
        """Say what was wrong with the round where the compiled part stopped."""
        which, low, high = losses[bad], *self._plan[-2:]
        where = f"in round {bad} of {len(losses)}"
        if not np.isfinite(which).all():
            what = f"a loss is NaN or infinite {where}"
            raise NotFiniteError(what, where=self.name, remedy="leave out what was not measured; no round was learned")
        if (which < low).any() or (which > high).any():
            value = which[(which < low) | (which > high)][0]
            remedy = "scale losses of [a, b] as (loss - a) / (b - a), rewards as (b - reward) / (b - a); no round was learned"
            raise LearnerError(f"a loss is {value:g} {where}, not from {low:g} to {high:g}", where=self.name, remedy=remedy)
        what = f"losses add up to more than a float can hold {where}"
        raise NotFiniteError(what, where=self.name, remedy="scale them to about 1; no round was learned")


@functools.cache
def _kernel() -> Any:
    """The compiled part, imported (and numba with it) when it is first needed."""
    return importlib.import_module("estran.learning.experts.kernel")
