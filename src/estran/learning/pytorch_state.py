"""Snapshots of PyTorch's modules and optimizers as arrays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from estran.learning.learner import State, StateError

SAME_SETTINGS: Final = "load snapshots of the same module with the same settings"


def memory(module: torch.nn.Module, optimizer: torch.optim.Optimizer, where: str) -> dict[str, torch.Tensor]:
    """What an optimizer remembers, by the parameter's name and its own."""
    found = {}
    for name, weights in module.named_parameters():
        for key, part in optimizer.state.get(weights, {}).items():
            if isinstance(part, torch.Tensor):
                found[f"optimizer.{name}.{key}"] = part
            elif part is not None:
                what = f"the optimizer remembers {key}, a {type(part).__name__}"
                raise StateError(what, where=where, remedy="choose an optimizer that remembers tensors only, such as adam")
    return found


def array(tensor: torch.Tensor, key: str, where: str) -> NDArray[Any]:
    """A tensor as an array of its own.

    Raises
    ------
    StateError
        If NumPy has no such type.
    """
    try:
        return np.array(tensor.detach().cpu().numpy())
    except TypeError as error:
        what = f"{key} is {str(tensor.dtype).removeprefix('torch.')}, which NumPy has not"
        raise StateError(what, where=where, remedy="keep weights in float32 or float64") from error


def check_fits(name: str, wanted: State, given: State) -> None:
    """Make sure that a snapshot has the same names, shapes and types, and is finite; modules also count in integers."""
    if wanted.keys() != given.keys():
        odd = ", ".join(sorted(wanted.keys() ^ given.keys())[:3])
        raise StateError(f"the snapshot does not fit: {odd} is on one side only", where=name, remedy=SAME_SETTINGS)
    for key, array in wanted.items():
        found = given[key]
        if (found.shape, found.dtype) != (array.shape, array.dtype) or not np.isfinite(found).all():
            what = f"{key} of the snapshot is {found.dtype} of shape {found.shape}"
            raise StateError(f"{what}, wanted finite {array.dtype} of shape {array.shape}", where=name, remedy=SAME_SETTINGS)
