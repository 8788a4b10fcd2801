"""Banditron: a perceptron that is only told whether its answer was right."""

from __future__ import annotations

import importlib

import numpy as np
from numpy.typing import NDArray

from estran.learning.about import About
from estran.learning.counting import check_counts
from estran.learning.learner import Features, State
from estran.learning.linear.model import Linear
from estran.learning.linear.plan import Rule
from estran.learning.settings import within


class Banditron(Linear):
    """Banditron: gives its best answer, or with probability γ any, and learns from whether what it gave was right.

    A learner for services that are never told the right answer, only whether a user was content. Of a label it uses that one bit:
    whether it is the answer that was given. `predict` and `predict_then_learn` tell the best answer, not the one that was given to
    explore: of those (1 − γ)·(accuracy) + γ / classes are right. ``explored`` counts what was given at random.

    Parameters
    ----------
    features, classes, rng
        As for every learner.
    gamma
        Probability to explore, above 0 and below 1.
    bias
        Learn a constant beside the features.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Kakade, Shalev-Shwartz, Tewari, *Efficient bandit algorithms for online multiclass prediction*, ICML 2008, algorithm 1: with
    best answer b, given answer g drawn from P(r) = (1 − γ) 1[r = b] + γ / k, and feedback 1[g = y], the prototype of r moves by
    x·(1[g = y] 1[g = r] / P(r) − 1[b = r]); on average that is the perceptron's step. Two classes share one vector, the difference
    of their prototypes. As long as γ is fixed, it never stops exploring, and right answers also move the weights a little.

    Examples
    --------
    >>> learner = Banditron(3, 3, np.random.default_rng(0), gamma=0.2)
    >>> y = np.random.default_rng(1).integers(3, size=2000)
    >>> answers = learner.predict_then_learn(np.eye(3)[y], y)
    >>> bool((answers[-1000:] == y[-1000:]).mean() > 0.95), learner.predict(np.eye(3)).tolist()
    (True, [0, 1, 2])
    """

    name = "banditron"
    about = About("bandits", 1, "O(K·d)", "Kakade, Shalev-Shwartz, Tewari 2008, alg. 1")
    compiled = "estran.learning.linear.banditron_kernel"

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, gamma: float = 0.1, bias: bool = True) -> None:
        self._gamma = within(self.name, "gamma", gamma, 0.0, 1.0)
        # The last number of the clock, which fades elsewhere, is the seed; scores are a perceptron's.
        seed = importlib.import_module(self.compiled).seed_from(rng)
        super().__init__(features, classes, Rule.PERCEPTRON, self._gamma, bias=bias, fade=seed)

    @property
    def explored(self) -> int:
        """How many answers were drawn at random so far, though some of them may have been the best, too."""
        return int(self._live[1])

    def predict_proba(self, x: Features) -> NDArray[np.float64]:
        """Probability of each class to be given as the answer, shape (n, classes): 1 − γ + γ / k for the best, γ / k for others."""
        odds = np.full((x.shape[0], self.classes), self._gamma / self.classes)
        odds[np.arange(len(odds)), self.predict(x)] += 1 - self._gamma
        return odds

    def load(self, state: State) -> None:
        """Replace all that is remembered; raises as all linear learners do, and if the clock does not count."""
        if "clock" in state:
            check_counts(self.name, "clock", np.asarray(state["clock"], dtype=np.float64))
        super().load(state)
