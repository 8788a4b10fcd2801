"""Snapshots in fewer bytes: as differences, in eight or sixteen bits a number, or both."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.learning.learner import State, StateError
from estran.learning.snapshots import difference, patched

Precision: TypeAlias = Literal["exact", "float16", "int8"]

LEAST: Final = 64
"""Numbers that an array must have to be sent in fewer bits. Counters and biases are smaller, and hardly cost a byte."""
_VALUES, _SCALE = "~", "*"
_STEPS: Final = 127


def packed(state: State, precision: Precision = "exact", base: State | None = None) -> dict[str, NDArray[Any]]:
    """A snapshot as it is sent.

    Parameters
    ----------
    state
        The snapshot.
    precision
        ``exact``: bit for bit. ``int8``: every number is a multiple of 1/127 of the array's largest, and off by half such a step
        at the most. ``float16``: off by 1/2048 of itself or 2⁻²⁵ of the largest, whichever is more. Only arrays of floats with
        64 numbers or more are rounded.
    base
        A snapshot that the receiver has: only what differs from it is sent, and it is the difference that is rounded, which is
        smaller than the numbers themselves, and so are the steps.

    Raises
    ------
    StateError
        If the base is of another learner.

    Notes
    -----
    The scale of each array goes with it: ``w~`` are the values of ``w``, ``w*`` is their scale, in the type of ``w``. The rest is
    as `estran.learning.snapshots.difference` has it.

    Examples
    --------
    >>> state = {"w": np.linspace(-1, 1, 1000, dtype=np.float32)}
    >>> [sum(array.nbytes for array in packed(state, precision).values()) for precision in ("exact", "float16", "int8")]
    [4000, 2004, 1004]
    >>> bool(abs(unpacked(packed(state, "int8"))["w"] - state["w"]).max() <= 0.5 / 127 + 1e-7)
    True
    """
    if base is not None and {name: (array.shape, array.dtype) for name, array in base.items()} != {
        name: (array.shape, array.dtype) for name, array in state.items()
    }:
        raise _misfit("the base has other arrays than the snapshot")
    rounded = {name for name, array in state.items() if precision != "exact" and _roundable(array)}
    rest = {name: array for name, array in state.items() if name not in rounded}
    sent = dict(rest if base is None else difference({name: base[name] for name in rest}, rest))
    for name in sorted(rounded):
        values = state[name] if base is None else state[name] - base[name]
        if base is None or values.any():
            sent |= _rounded(name, values, precision)
    return sent


def unpacked(sent: State, base: State | None = None) -> dict[str, NDArray[Any]]:
    """The snapshot that was sent, from what `packed` made of it and the same base; shares no memory with either.

    Raises
    ------
    StateError
        If it does not fit the base, or values have no scale.
    """
    plain = {name: array for name, array in sent.items() if name[-1:] not in (_VALUES, _SCALE)}
    values = {name[:-1]: array for name, array in sent.items() if name.endswith(_VALUES)}
    scales = {name[:-1]: array for name, array in sent.items() if name.endswith(_SCALE)}
    if values.keys() != scales.keys():
        raise _misfit("values and scales are not of the same arrays")
    state = {name: np.array(array) for name, array in (plain if base is None else patched(base, plain)).items()}
    for name, array in values.items():
        restored = _restored(name, array, scales[name])
        if base is not None and (name not in base or (base[name].shape, base[name].dtype) != (restored.shape, restored.dtype)):
            raise _misfit(f"{name} is not in the base alike")
        state[name] = restored if base is None else base[name] + restored
    return state


def _roundable(array: NDArray[Any]) -> bool:
    # What is not finite goes as it is, and is refused where it arrives.
    return array.dtype.kind == "f" and array.size >= LEAST and bool(np.isfinite(array).all())


def _rounded(name: str, values: NDArray[Any], precision: Precision) -> dict[str, NDArray[Any]]:
    largest = np.abs(values).max()
    scale = values.dtype.type(largest / _STEPS if precision == "int8" else largest)
    # Of numbers so small that their scale is none, nothing is left.
    parts = values / scale if scale > 0 and np.isfinite(scale) else np.zeros_like(values)
    kept = np.clip(np.rint(parts), -_STEPS, _STEPS).astype(np.int8) if precision == "int8" else parts.astype(np.float16)
    return {f"{name}{_VALUES}": kept, f"{name}{_SCALE}": np.array([scale])}


def _restored(name: str, values: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
    if values.dtype not in (np.int8, np.float16) or scale.shape != (1,) or scale.dtype.kind != "f" or not np.isfinite(scale).all():
        raise _misfit(f"{name} is {values.dtype} with a scale of shape {scale.shape}, {scale.dtype}")
    return np.asarray(values.astype(scale.dtype) * scale[0], dtype=scale.dtype)


def _misfit(what: str) -> StateError:
    remedy = "unpack with the base that it was packed with, of a learner with the same settings"
    return StateError(f"what was sent does not fit: {what}", where="snapshot", remedy=remedy)
