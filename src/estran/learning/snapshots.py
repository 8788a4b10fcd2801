"""Snapshots of learners: whether one fits, and what has changed from one to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import State, StateError


def check_fits(name: str, wanted: State, given: State) -> None:
    """Make sure that a snapshot is what a learner would make itself: the same names and shapes, and finite floats.

    Parameters
    ----------
    name
        Of the learner.
    wanted, given
        A snapshot of the learner, and the one to load.

    Raises
    ------
    StateError
        Naming the array that does not fit.
    """
    if wanted.keys() != given.keys():
        raise StateError(
            f"a snapshot of {', '.join(sorted(given)) or 'nothing'} does not fit a learner of {', '.join(sorted(wanted))}",
            where=name,
            remedy="load snapshots of learners with the same settings",
        )
    for key, array in wanted.items():
        found = given[key]
        if found.shape != array.shape or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise StateError(
                f"{key} of the snapshot is {found.dtype} of shape {found.shape}, wanted finite floats of shape {array.shape}",
                where=name,
                remedy="load snapshots of learners with the same settings",
            )


def difference(old: State, new: State) -> State:
    """What must be sent to whoever has the old snapshot, so that `patched` gives the new one, bit for bit.

    An array that has not changed is left out. Of one that has changed in few places these are sent, as ``name@`` (places in the
    flat array or, where they are many, a bit for each place) and ``name=`` (values); any other is sent whole. Sparse inputs change
    few weights, dense ones change all.

    Raises
    ------
    StateError
        If the two are not snapshots of one learner: other names, shapes or types.

    Examples
    --------
    >>> old, new = {"w": np.zeros(100), "b": np.ones(3)}, {"w": np.arange(100) // 99 * 1.0, "b": np.ones(3)}
    >>> {name: array.tolist() for name, array in difference(old, new).items()}
    {'w@': [99], 'w=': [1.0]}
    """
    _check_alike(old, new)
    changes = {}
    for name, array in new.items():
        # As bytes: a zero that turned negative has changed, and a NaN may have stayed.
        before, after = (np.ascontiguousarray(state[name]).reshape(-1, 1).view(np.uint8) for state in (old, new))
        changed = (before != after).any(axis=1)
        places = np.flatnonzero(changed).astype(np.uint32 if array.size < 2**32 else np.uint64)
        if not places.size:
            continue
        marks = np.packbits(changed)
        where = places if places.nbytes <= marks.nbytes else marks
        if where.nbytes + places.size * array.itemsize >= array.nbytes:
            changes[name] = np.array(array)
        else:
            changes |= {f"{name}@": where, f"{name}=": array.reshape(-1)[places]}
    return changes


def patched(old: State, changes: State) -> State:
    """The new snapshot, from the old one and its `difference` from the new; shares no memory with either.

    Raises
    ------
    StateError
        If the changes are not of this snapshot.
    """
    new = {name: np.array(array) for name, array in old.items()}
    for name, array in changes.items():
        whole = name[:-1] if name not in new else name
        if whole not in new:
            raise _foreign(name)
        if whole == name:
            fits = (array.shape, array.dtype) == (new[name].shape, new[name].dtype)
            new[name] = np.array(array)
        elif name.endswith("="):
            places = _places(changes.get(f"{whole}@", np.zeros(0, np.uint32)), new[whole].size)
            fits = array.dtype == new[whole].dtype and array.shape == places.shape and bool((places < new[whole].size).all())
            if fits:
                new[whole].reshape(-1)[places] = array
        else:
            fits = f"{whole}=" in changes
        if not fits:
            raise _foreign(name)
    return new


def _places(where: NDArray[Any], size: int) -> NDArray[Any]:
    """Places in a flat array, from such or from a bit for each; none where there are too few bits."""
    if where.ndim != 1 or where.dtype.kind != "u":
        return np.zeros(0, np.uint32)
    if where.dtype != np.uint8:
        return where
    return np.flatnonzero(np.unpackbits(where, count=size)) if len(where) == -(-size // 8) else np.zeros(0, np.uint32)


def _check_alike(old: State, new: State) -> None:
    for name in old.keys() ^ new.keys():
        raise _foreign(name)
    for name in old:
        if (old[name].shape, old[name].dtype) != (new[name].shape, new[name].dtype):
            raise _foreign(name)


def _foreign(name: str) -> StateError:
    return StateError(
        f"{name} is not in both snapshots alike",
        where="snapshot",
        remedy="compare and patch snapshots of one learner; send a whole snapshot first",
    )
