"""Training buffers between a producer and a trainer that go at paces of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.settings import one_of, whole

Policy: TypeAlias = Literal["reservoir", "firo", "fifo"]
POLICIES: Final = ("reservoir", "firo", "fifo")


@dataclass(frozen=True)
class Rows:
    """What a buffer hands out.

    Attributes
    ----------
    x, y
        Shapes (n, features) and (n, outputs).
    weights
        Shape (n,).
    owner
        Which simulation each row is of, shape (n,).
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    weights: NDArray[np.float64]
    owner: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)


class Reservoir:
    """Rows that wait for training, and perhaps stay for more of it.

    Parameters
    ----------
    features, outputs
        Width of a row and of its target.
    capacity
        Rows that it holds at the most.
    threshold
        Rows that must be there before any is handed out, which mixes the beginnings of the first simulations.
    policy
        ``fifo``: each row is handed out once, in the order of production, which is a biased one: time steps come in their order
        and simulations one after another. ``firo``: first in, random out; each once, in random order. ``reservoir``: rows are drawn
        with replacement from all that are there, so that training never waits for production; a new row takes the place of a
        random one that has been handed out before, and where there is none of those, production waits. So no row is lost unseen.

    Raises
    ------
    RequestError
        If a setting is out of range.

    Notes
    -----
    Meyer, Schouler, Caulk, Ribés, Raffin, *Training deep surrogate models with large scale online learning*, ICML 2023. There the
    reservoir is emptied once production has ended; here it goes on for as long as the run does.

    Examples
    --------
    >>> rows, rng = Reservoir(1, 1, capacity=3, threshold=2), np.random.default_rng(0)
    >>> for value in (1.0, 2.0, 3.0):
    ...     rows.put(np.array([value]), np.array([value]), rng)
    >>> rows.room(), rows.ready(2)
    (False, True)
    >>> drawn = rows.draw(30, rng)
    >>> sorted(set(drawn.y[:, 0].tolist())), rows.room()
    ([1.0, 2.0, 3.0], True)
    """

    def __init__(self, features: int, outputs: int, *, capacity: int, threshold: int = 1, policy: Policy = "reservoir") -> None:
        one_of("reservoir", "policy", policy, POLICIES)
        self.features, self.outputs = features, outputs
        self.policy, self.capacity = policy, whole("reservoir", "capacity", capacity)
        self.threshold = min(whole("reservoir", "threshold", threshold), capacity)
        self._x, self._y = np.zeros((capacity, features)), np.zeros((capacity, outputs), np.float32)
        self._weights, self._owner = np.ones(capacity), np.full(capacity, -1, np.int64)
        self.uses = np.zeros(capacity, np.int64)
        self._free = list(range(capacity - 1, -1, -1))
        self._fresh: list[int] = []
        self._seen: list[int] = []
        self.produced = self.drawn = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._seen)

    def room(self) -> bool:
        """Whether a row can be put in."""
        return bool(self._free or self._seen)

    def put(self, x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator, *, weight: float = 1.0, owner: int = 0) -> None:
        """Take in a row; there must be room.

        Parameters
        ----------
        rng
            Chooses which row makes room where the buffer is full.
        """
        slot = self._free.pop() if self._free else _taken(self._seen, int(rng.integers(len(self._seen))))
        self._x[slot], self._y[slot], self._weights[slot], self._owner[slot] = x, y, weight, owner
        self.uses[slot] = 0
        self._fresh.append(slot)
        self.produced += 1

    def fields(self) -> NDArray[np.float64]:
        """The targets of all rows that are there."""
        return np.asarray(self._y[self._seen + self._fresh], dtype=np.float64)

    def ready(self, n: int) -> bool:
        """Whether so many rows can be drawn."""
        return len(self) >= (self.threshold if self.policy == "reservoir" else max(n, self.threshold))

    def draw(self, n: int, rng: np.random.Generator) -> Rows:
        """Hand out so many rows; they must be `ready`."""
        if self.policy == "reservoir":
            return self._rows(self._mixed(n, rng))
        if self.policy == "firo":
            slots = [_taken(self._fresh, int(rng.integers(len(self._fresh)))) for _ in range(n)]
        else:
            slots, self._fresh = self._fresh[:n], self._fresh[n:]
        rows = self._rows(np.array(slots, dtype=np.int64))
        self._free += slots
        return rows

    def _mixed(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Slots drawn with replacement; those that were fresh are seen now."""
        was_seen = len(self._seen)
        places = rng.integers(len(self), size=n).tolist()
        chosen = [self._seen[place] if place < was_seen else self._fresh[place - was_seen] for place in places]
        for place in sorted({place - was_seen for place in places if place >= was_seen}, reverse=True):
            self._seen.append(_taken(self._fresh, place))
        return np.array(chosen, dtype=np.int64)

    def _rows(self, slots: NDArray[np.int64]) -> Rows:
        np.add.at(self.uses, slots, 1)
        self.drawn += len(slots)
        return Rows(self._x[slots], self._y[slots].astype(np.float64), self._weights[slots], self._owner[slots])


def _taken(slots: list[int], place: int) -> int:
    """Take one out of a list whose order does not matter."""
    slots[place], slots[-1] = slots[-1], slots[place]
    return slots.pop()
