"""A surrogate of a simulator: one network or a committee of them, with the scales of what they learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.inner import under, within
from estran.learning.learner import Features, NotFiniteError, State
from estran.learning.surrogates.network import FieldNetwork, Fields, MlpFields


class Committee:
    """Networks that learn the same rows from different beginnings; where they disagree, they know little.

    Parameters
    ----------
    features, outputs, rng, hidden, learning_rate, average
        As for `MlpFields`.
    members
        How many.
    centre, scale
        Fields are learned as ``(y - centre) / scale``; shape (outputs,), and a number.

    Notes
    -----
    Lakshminarayanan, Pritzel, Blundell, *Simple and scalable predictive uncertainty estimation using deep ensembles*, NeurIPS 2017:
    different initial weights are enough to make members disagree away from the data.
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        rng: np.random.Generator,
        *,
        centre: NDArray[np.float64],
        scale: float,
        members: int = 1,
        hidden: Sequence[int] = (64, 64),
        learning_rate: float = 0.001,
        average: float = 0.99,
    ) -> None:
        self.centre, self.scale = centre, scale
        self.members = [
            MlpFields(features, outputs, child, hidden=hidden, learning_rate=learning_rate, average=average)
            for child in rng.spawn(members)
        ]
        self._serving = [FieldNetwork(features, outputs, rng, hidden=hidden) for _ in self.members]
        self._latest = np.zeros((0, features))

    def learn(self, x: Features, y: NDArray[Any], weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Learn a minibatch; the squared error of each row before it, in units of ``scale``, shape (n,), mean over the members.

        Raises
        ------
        NotFiniteError
            If a member diverges; it is then as it was.
        """
        targets, self._latest = (y - self.centre) / self.scale, x
        return np.asarray(np.mean([member.learn(x, targets, weights) for member in self.members], axis=0))

    def serve(self) -> None:
        """Take the averaged weights of all members into service: `predict` and `disagreement` answer with them.

        Raises
        ------
        NotFiniteError
            If they cannot answer the latest minibatch; what was in service stays.
        """
        former = [serving.state() for serving in self._serving]
        for member, serving in zip(self.members, self._serving, strict=True):
            serving.load(member.served())
        try:
            self.predict(self._latest)
        except NotFiniteError:
            for serving, state in zip(self._serving, former, strict=True):
                serving.load(state)
            raise

    def predict(self, x: Features) -> Fields:
        """The members' mean field of each row, shape (n, outputs)."""
        return mean_field(self._serving, x, self.centre, self.scale)

    def disagreement(self, x: Features) -> NDArray[np.float64]:
        """Variance of the members' answers to each row, mean over the outputs, in units of ``scale``²; shape (n,)."""
        return np.asarray(np.var([member.predict(x) for member in self._serving], axis=0).mean(axis=1))

    def state(self) -> State:
        """Of what is in service: weights of all members, ``centre`` and ``scale``."""
        parts = {"centre": self.centre.copy(), "scale": np.array([self.scale])}
        for number, member in enumerate(self._serving):
            parts |= within(f"member{number}", member.state())
        return parts


class Served:
    """A committee that only answers, from the snapshot of one.

    Raises
    ------
    StateError
        If the snapshot does not fit.
    """

    def __init__(self, features: int, hidden: Sequence[int], state: Mapping[str, NDArray[Any]]) -> None:
        self.centre, self.scale = np.asarray(state["centre"], dtype=np.float64), float(state["scale"][0])
        count = len({name.partition(".")[0] for name in state if "." in name})
        unused = np.random.default_rng(0)  # initial weights, which are replaced at once
        self._members = [FieldNetwork(features, len(self.centre), unused, hidden=hidden) for _ in range(count)]
        for number, member in enumerate(self._members):
            member.load(under(f"member{number}", state))

    def predict(self, x: Features) -> Fields:
        """The members' mean field of each row, shape (n, outputs)."""
        return mean_field(self._members, x, self.centre, self.scale)


def mean_field(members: Sequence[FieldNetwork], x: Features, centre: NDArray[np.float64], scale: float) -> Fields:
    """What the members answer, in the fields' own units."""
    return np.asarray(centre + scale * np.mean([member.predict(x) for member in members], axis=0))
