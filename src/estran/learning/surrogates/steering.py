"""Active steering of an ensemble: which parameters to simulate next, so that the surrogate learns most from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.surrogates.committee import Committee

By: TypeAlias = Literal["none", "loss", "variance"]
Position: TypeAlias = NDArray[np.float64]
"""In the unit cube."""

LATEST: Final = 200
"""Simulations whose losses are remembered."""
NEAR: Final = 0.2
"""How far a pending simulation reaches, in sides of the unit cube."""
TRIES: Final = 50
MOMENTS: Final = 5
"""Steps of a candidate's simulation at which the committee is asked."""


def inputs(position: Position, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a surrogate is asked of a simulation's time steps: parameters and time, each from -1 to 1; shape (steps, d + 1)."""
    rows = np.empty((len(times), len(position) + 1))
    rows[:, :-1], rows[:, -1] = 2 * position - 1, 2 * times - 1
    return rows


def most_disputed(committee: Committee, candidates: NDArray[np.float64], pending: Sequence[Position] = ()) -> Position:
    """The candidate, of shape (n, d), over whose simulation the committee disagrees most.

    Parameters
    ----------
    pending
        Simulations that are asked for or running: what is near them counts less, since it will be known soon.

    Notes
    -----
    Query by committee: Seung, Opper, Sompolinsky, COLT 1992; for regression Krogh, Vedelsby, *Neural network ensembles, cross
    validation, and active learning*, NIPS 1994. Local penalties for what is pending: after González, Dai, Hennig, Lawrence, *Batch
    Bayesian optimization via local penalization*, AISTATS 2016.
    """
    times = np.linspace(0, 1, MOMENTS)
    rows = np.concatenate([inputs(position, times) for position in candidates])
    disputed = committee.disagreement(rows).reshape(len(candidates), MOMENTS).mean(axis=1)
    for position in pending:
        away = ((candidates - position) ** 2).sum(axis=1) / (2 * NEAR**2)
        disputed *= 1 - np.exp(-away)
    return np.asarray(candidates[int(disputed.argmax())])


class LossRecord:
    """How hard each of the latest simulations is to learn, and parameters near the hard ones.

    Notes
    -----
    After Breed: Dymchenko, Purandare, Raffin, *MelissaDL x Breed: towards data-efficient on-line supervised training of
    multi-parametric surrogates with active learning*, 2024. A row's part is by how many standard deviations its loss exceeds the
    mean of its batch, 0 if it does not; a simulation is chosen with a probability in proportion to the mean of its rows' parts,
    and a normal step away from its parameters is proposed.
    """

    def __init__(self) -> None:
        self._positions: dict[int, Position] = {}
        self._parts: dict[int, float] = {}
        self._order: deque[int] = deque()

    def begun(self, simulation: int, position: Position) -> None:
        """Remember where a simulation is; the oldest is forgotten."""
        if simulation in self._positions:
            return
        self._positions[simulation], self._parts[simulation] = position, 0.0
        self._order.append(simulation)
        if len(self._order) > LATEST:
            oldest = self._order.popleft()
            del self._positions[oldest], self._parts[oldest]

    def learned(self, owners: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Take in the losses of a batch, and whose rows they are."""
        spread = float(losses.std())
        if spread == 0.0:
            return
        parts = np.maximum((losses - losses.mean()) / spread, 0.0)
        for owner, part in zip(owners.tolist(), parts.tolist(), strict=True):
            if owner in self._parts:
                self._parts[owner] += 0.1 * (part - self._parts[owner])

    def propose(self, rng: np.random.Generator, spread: float) -> Position | None:
        """A position near a simulation with high losses; None while none is known."""
        parts = np.array([self._parts[simulation] for simulation in self._order])
        if not parts.size or parts.sum() <= 0:
            return None
        chosen = self._order[int(rng.choice(len(parts), p=parts / parts.sum()))]
        for _ in range(TRIES):
            position = rng.normal(self._positions[chosen], spread)
            if ((position >= 0) & (position <= 1)).all():
                return np.asarray(position)
        return np.asarray(np.clip(position, 0, 1))
