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
REACH: Final = 0.25
"""How far a simulation teaches about others: where their correlation is e^-½, in sides of the unit cube."""
TRIES: Final = 50
MOMENTS: Final = 5
"""Steps of a candidate's simulation at which the committee is asked."""


def inputs(position: Position, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a surrogate is asked of a simulation's time steps: parameters and time, each from -1 to 1; shape (steps, d + 1)."""
    rows = np.empty((len(times), len(position) + 1))
    rows[:, :-1], rows[:, -1] = 2 * position - 1, 2 * times - 1
    return rows


def most_telling(committee: Committee, candidates: NDArray[np.float64], pending: Sequence[Position] = ()) -> Position:
    """The candidate, of shape (n, d), whose simulation is expected to take most off the committee's variance in all of the cube.

    Where the committee disagrees most is often a far corner, which tells little about the rest. So each candidate counts for what
    it tells about all of them, which stand for the cube: with v the variance of the members' answers, mean over a simulation's time
    steps, and k the correlation of two simulations, that is Σ k(i, j)² v(j).

    Parameters
    ----------
    candidates
        Drawn uniformly.
    pending
        Simulations that are asked for or running, each of which takes its own part off the variance: it will be known soon.

    Notes
    -----
    Query by committee: Seung, Opper, Sompolinsky, COLT 1992; for regression Krogh, Vedelsby, *Neural network ensembles, cross
    validation, and active learning*, NIPS 1994. Expected reduction of the variance everywhere, in place of the greatest one: Cohn,
    Ghahramani, Jordan, *Active learning with statistical models*, JAIR 4, 1996; with Gaussian processes, of which the formula is,
    Seo, Wallat, Graepel, Obermayer, IJCNN 2000. The correlation is Gaussian, of a fixed reach, instead of a fitted one.

    Examples
    --------
    >>> known = Committee(3, 1, np.random.default_rng(0), centre=np.zeros(1), scale=1.0, members=3)
    >>> most_telling(known, np.random.default_rng(1).random((64, 2))).shape
    (2,)
    """
    times = np.linspace(0, 1, MOMENTS)
    rows = np.concatenate([inputs(position, times) for position in candidates])
    variance = committee.disagreement(rows).reshape(len(candidates), MOMENTS).mean(axis=1)
    for position in pending:
        variance *= 1 - _squared_correlation(candidates, position[None])[:, 0]
    return np.asarray(candidates[int((_squared_correlation(candidates, candidates) @ variance).argmax())])


def _squared_correlation(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of simulations at every two positions, shape (len(some), len(others))."""
    squares = ((some[:, None] - others[None]) ** 2).sum(axis=2)
    return np.asarray(np.exp(-squares / REACH**2))


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
