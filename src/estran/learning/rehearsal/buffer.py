"""A rehearsal buffer: some of the rows that came, kept by a policy and drawn to be learned again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.learning.draws import seed_from
from estran.learning.learner import Labels, State, StateError
from estran.learning.settings import one_of, whole

Policy: TypeAlias = Literal["reservoir", "class-balanced", "greedy", "fifo", "firo", "loss"]
Slots: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]

POLICIES: Final = ("reservoir", "class-balanced", "greedy", "fifo", "firo", "loss")


@dataclass(frozen=True)
class Memories:
    """Rows that are rehearsed.

    Attributes
    ----------
    x, y
        Shapes (n, d) and (n,).
    scores
        What the network answered to each when it was kept, shape (n, classes); no columns where nothing keeps them.
    """

    x: Floats
    y: Labels
    scores: Floats

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def joined(cls, parts: Sequence[Memories]) -> Memories:
        """Rows from several buffers, one after another; there must be one part at least."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "scores")))


class Buffer:
    """At most ``size`` rows with their classes, indexed by slot and counted by class.

    Every draw comes from a seed and a counter that are part of the snapshot, so a loaded buffer goes on alike.

    Parameters
    ----------
    size
        How many rows it holds, N.
    features, classes
        Width of a row, and number of classes.
    rng
        Source of the seed.
    policy
        Who stays, once it is full:

        - ``reservoir``: every row offered so far is held with the same probability (Vitter 1985, algorithm R).
        - ``class-balanced``: a row of a class that is not the largest takes the place of one of the largest; one of a largest
          class is held as a reservoir of its class would (Chrysakis, Moens 2020, algorithm 1).
        - ``greedy``: the same, but a row of a largest class is not taken (Prabhu, Torr, Dokania 2020, algorithm 1).
        - ``fifo``: the latest ``size`` rows.
        - ``firo``: first in, random out: every row is taken, for one that is drawn by chance (Meyer et al. 2023).
        - ``loss``: rows come in as by ``reservoir``; who goes is drawn, likelier the less it was lost last (Buzzega et al. 2020,
          section 4.4).
    candidates
        How many rows of each batch are offered, drawn by chance, c; None for all.
    scores
        Whether the network's answers are kept with the rows.

    Raises
    ------
    RequestError
        If a setting is out of range, or there is not a slot for every class.

    Notes
    -----
    Vitter, *Random sampling with a reservoir*, ACM TOMS 11, 1985. Chrysakis, Moens, *Online continual learning from imbalanced
    data*, ICML 2020. Prabhu, Torr, Dokania, *GDumb*, ECCV 2020. Meyer et al., *Training deep surrogate models with large scale
    online learning*, ICML 2023. Buzzega et al., *Rethinking experience replay: a bag of tricks*, ICPR 2020. Bouvier et al.,
    *Efficient data-parallel continual learning with asynchronous distributed rehearsal buffers*, CCGrid 2024, for N, c and r.

    Examples
    --------
    >>> buffer = Buffer(3, 1, 2, np.random.default_rng(0), policy="fifo")
    >>> buffer.offer(np.arange(5)[:, None], np.array([0, 1, 0, 1, 1])).tolist()
    [0, 1, 2, 0, 1]
    >>> sorted(buffer.memories(buffer.draw(2)).x[:, 0].tolist()), buffer.held.tolist()
    ([3.0, 4.0], [1, 2])
    """

    name: Final = "buffer"

    def __init__(
        self,
        size: int,
        features: int,
        classes: int,
        rng: np.random.Generator,
        *,
        policy: Policy = "reservoir",
        candidates: int | None = None,
        scores: bool = False,
    ) -> None:
        self.size, self._policy = whole(self.name, "buffer", size), one_of(self.name, "policy", policy, POLICIES)
        if size < classes:
            raise RequestError(
                f"a buffer of {size} rows is smaller than the number of classes, {classes}",
                where=self.name,
                remedy=f"give it {classes} rows or more",
            )
        self.features, self.classes = features, classes
        self.candidates = None if candidates is None else whole(self.name, "candidates", candidates)
        self._x, self._scores = np.zeros((size, features), np.float32), np.zeros((size, classes if scores else 0), np.float32)
        self._labels, self._losses = np.full(size, -1, np.int64), np.zeros(size)
        # By class: held, offered, ever the largest; and seed, draws, rows held and rows offered: see the kernel.
        self._counts, self._counters = np.zeros((3, classes), np.int64), np.array([seed_from(rng), 0.0, 0.0, 0.0])
        self._before: _Before | None = None

    def __len__(self) -> int:
        """How many rows it holds."""
        return int(self._counters[2])

    @property
    def held(self) -> NDArray[np.int64]:
        """How many rows of each class it holds, shape (classes,)."""
        return np.array(self._counts[0])

    @property
    def offered(self) -> int:
        """How many rows were offered."""
        return int(self._counters[3])

    def offer(
        self, x: NDArray[Any], y: Labels, *, losses: NDArray[np.float64] | None = None, scores: NDArray[Any] | None = None
    ) -> Slots:
        """Offer the rows of a batch, or ``candidates`` of them.

        Parameters
        ----------
        x, y
            Finite rows, shape (n, d), and their classes.
        losses, scores
            What the network lost on each row, and answered to it, where that is known.

        Returns
        -------
        Slots
            Where each candidate went, in order, or -1 if it was not taken.
        """
        from estran.learning.rehearsal import buffer_kernel as kernel

        chosen: Any = slice(None)
        if self.candidates is not None and self.candidates < len(y):
            chosen = np.empty(self.candidates, np.int64)
            kernel.subset(self._counters, len(y), chosen)
            chosen.sort()
        fresh = np.ascontiguousarray(y[chosen], dtype=np.int64)
        lost = np.zeros(len(fresh)) if losses is None else np.ascontiguousarray(losses[chosen], dtype=np.float64)
        slots = np.empty(len(fresh), np.int64)
        kernel.admit(self._policy, self._counters, fresh, lost, self._labels, self._losses, self._counts, slots)
        # The last row to come to a slot stays there.
        taken = slots >= 0
        places = slots[taken]
        if self._before is not None:
            self._before.keep(places, self._x, self._scores)
        self._x[places] = x[chosen][taken]
        if scores is not None and self._scores.shape[1]:
            self._scores[places] = scores[chosen][taken]
        return slots

    def draw(self, count: int) -> Slots:
        """Slots of so many different rows, every set of them alike likely; of all rows, where it holds fewer."""
        from estran.learning.rehearsal import buffer_kernel as kernel

        slots = np.empty(min(count, len(self)), np.int64)
        kernel.subset(self._counters, len(self), slots)
        return slots

    def memories(self, slots: Slots | slice = slice(None)) -> Memories:
        """The rows of some slots, or all rows held."""
        places = np.arange(len(self))[slots] if isinstance(slots, slice) else slots
        return Memories(self._x[places], self._labels[places], self._scores[places])

    def lose(self, slots: Slots, losses: NDArray[np.float64]) -> None:
        """Take note of what the network lost on some rows when they were learned again."""
        self._losses[slots] = losses

    def begin(self) -> None:
        """Remember what is held, for `undo`, until `commit`: only rows that are replaced from now on are copied."""
        self._before = _Before(self)

    def commit(self) -> None:
        """Forget what `begin` remembered."""
        self._before = None

    def undo(self) -> None:
        """Go back to what was held at `begin`."""
        if self._before is not None:
            self._before.restore(self)
        self._before = None

    def state(self) -> State:
        """Copies of ``x``, ``labels`` (-1 in an empty slot), ``losses``, ``scores``, ``counts`` by class, and ``counters``."""
        return {part: array.copy() for part, array in self._arrays().items()}

    def load(self, state: State) -> None:
        """Replace everything held.

        Raises
        ------
        StateError
            If the snapshot does not fit. What was held before is then unchanged.
        """
        self.check(state)
        for part, own in self._arrays().items():
            own[...] = state[part]
        self._before = None

    def check(self, state: State) -> None:
        """Make sure that a snapshot fits.

        Raises
        ------
        StateError
            If it does not, naming the part.
        """
        own = self._arrays()
        if own.keys() != state.keys():
            raise _misfit(f"it has {', '.join(sorted(state)) or 'nothing'}, not {', '.join(sorted(own))}")
        for part, array in own.items():
            found = state[part]
            if found.shape != array.shape or found.dtype.kind != array.dtype.kind or not np.isfinite(found).all():
                raise _misfit(f"{part} is {found.dtype} of shape {found.shape}, wanted {array.dtype} of shape {array.shape}")
        labels, counters = state["labels"], state["counters"]
        fill = np.count_nonzero(labels >= 0)
        if labels.min() < -1 or labels.max() >= self.classes or (labels[fill:] != -1).any():
            raise _misfit("its labels are not classes in the slots that are taken first")
        held, offered, full = state["counts"]
        right = np.array_equal(held, np.bincount(labels[:fill], minlength=self.classes)) and counters[2] == fill
        if not right or (offered < held).any() or counters[3] != offered.sum() or not np.isin(full, (0, 1)).all():
            raise _misfit("its counts are not those of the rows that it holds")
        if (counters < 0).any() or (counters >= 2**53).any():
            raise _misfit("its counters are out of range")

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "x": self._x,
            "labels": self._labels,
            "losses": self._losses,
            "scores": self._scores,
            "counts": self._counts,
            "counters": self._counters,
        }


class _Before:
    """What a buffer held, with copies of only those rows that were replaced since."""

    def __init__(self, buffer: Buffer) -> None:
        self._small = [array.copy() for array in self._numbers(buffer)]
        self._kept = np.zeros(buffer.size, np.bool_)
        self._rows: list[tuple[Slots, Floats, Floats]] = []

    def keep(self, places: Slots, x: Floats, scores: Floats) -> None:
        fresh = places[~self._kept[places]]
        if fresh.size:
            self._kept[fresh] = True
            self._rows.append((fresh, x[fresh], scores[fresh]))

    def restore(self, buffer: Buffer) -> None:
        for own, array in zip(self._numbers(buffer), self._small, strict=True):
            own[...] = array
        for places, x, scores in self._rows:
            buffer._x[places], buffer._scores[places] = x, scores

    @staticmethod
    def _numbers(buffer: Buffer) -> tuple[NDArray[Any], ...]:
        return buffer._labels, buffer._losses, buffer._counts, buffer._counters


def _misfit(what: str) -> StateError:
    return StateError(
        f"the snapshot does not fit: {what}", where=Buffer.name, remedy="load snapshots of buffers with the same settings"
    )
