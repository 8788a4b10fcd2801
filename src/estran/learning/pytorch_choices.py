"""Optimizers and devices that a module of PyTorch may learn with. Importing it imports torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch

from estran.learning.mistakes import SettingsError, check_known

Optimizer: TypeAlias = str | Mapping[str, Mapping[str, Any] | None]
"""``sgd``, ``momentum``, ``adam``; or a class of torch.optim, with its settings if any: ``{AdamW: {weight_decay: 0.01}}``."""


def checked_device(name: str, device: str) -> torch.device:
    """Where a module is to compute.

    Raises
    ------
    SettingsError
        If there is no such device, or none that we can seed.
    """
    found = torch.device("cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
        why = "" if found.type in ("cpu", "cuda") else "its generator cannot be kept"
    except (RuntimeError, TypeError, AssertionError) as error:
        why = str(error).splitlines()[0]
    if why:
        what = f"device is {device!r}: {why}"
        raise SettingsError(what, where=f"learner {name}", remedy="give cpu, or cuda where torch finds a graphics card")
    return found


def checked_optimizer(name: str, choice: Optimizer, rate: float, momentum: float) -> tuple[type[torch.optim.Optimizer], Any]:
    """Class and settings of an optimizer.

    Raises
    ------
    SettingsError
        If there is no such optimizer, it does not take a setting, or needs to ask for the loss more than once a step.
    """
    words: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
        "sgd": (torch.optim.SGD, {}),
        "momentum": (torch.optim.SGD, {"momentum": momentum}),
        "adam": (torch.optim.Adam, {"betas": (momentum, 0.999)}),
    }
    where = f"learner {name}"
    if isinstance(choice, str) and choice in words:
        kind, settings = words[choice]
        return kind, {**settings, "lr": rate}
    if not isinstance(choice, str) and not (isinstance(choice, Mapping) and len(choice) == 1):
        raise SettingsError(f"optimizer is {choice!r}", where=where, remedy="give a name, or one name with its settings")
    ((word, given),) = [(choice, None)] if isinstance(choice, str) else choice.items()
    every = vars(torch.optim).items()
    classes = {key: kind for key, kind in every if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)}
    usable = {key: kind for key, kind in classes.items() if _needs_no_closure(kind)}
    check_known(word, {*words, *usable} if isinstance(choice, str) else usable, kind="optimizer", where=where)
    own = inspect.signature(usable[word]).parameters.keys() - {"params", "lr"}
    for setting in given or {}:
        check_known(setting, own, kind=f"setting of {word}", where=where)
    return usable[word], {**(given or {}), "lr": rate}


def _needs_no_closure(kind: type) -> bool:
    closure = inspect.signature(kind.step).parameters.get("closure")  # type: ignore[attr-defined]  # an Optimizer
    return kind is not torch.optim.Optimizer and (closure is None or closure.default is not inspect.Parameter.empty)
