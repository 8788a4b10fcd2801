"""Which engine makes a study's runs: whether the chosen one can, and opening it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from estran.errors import RequestError
from estran.spec.plug_ins import loaded, plug_ins
from estran.study.engines import futures, slurm
from estran.study.engines.engine import GROUP, NAMES, Choice, Engine, Place
from estran.study.engines.local import Local


def check(choice: Choice, on: str) -> None:
    """Make sure that an engine can be used here, for runs on a platform; nothing is started.

    Raises
    ------
    RequestError
        If it cannot: what it needs is absent, it does not know an option, or such runs are not for it.
    """
    if choice.name == "local":
        choice.only()
        return
    if on.partition(":")[0] != "simulate":
        raise RequestError(
            f"only simulated runs are made on {choice.name}; on {on} they need hosts, links and processors of their own, "
            "which other work on a shared machine would disturb",
            where="--engine",
            remedy="add --on simulate, or leave --engine out",
        )
    if choice.name == "slurm":
        slurm.check(choice)
    elif choice.name in NAMES:
        futures.check(choice)
    else:
        _plugged_in(choice)


def opened(choice: Choice, place: Place) -> AbstractAsyncContextManager[Engine]:
    """An engine that ends its runs with the block, in good order.

    Raises
    ------
    RequestError
        If a job in Slurm still makes runs of the study, and another engine is chosen.
    """
    if choice.name == "slurm":
        return slurm.Slurm(choice, place)
    slurm.make_sure_of_none(place.study)
    if choice.name == "local":
        return Local(place.jobs or 1)
    if choice.name in NAMES:
        return futures.opened(choice, place)
    made: AbstractAsyncContextManager[Engine] = _plugged_in(choice)(choice, place)
    return made


def _plugged_in(choice: Choice) -> Callable[[Choice, Place], AbstractAsyncContextManager[Engine]]:
    """An installed package's engine: made of the choice and the place, an async context manager of what makes runs."""
    made: Callable[[Choice, Place], AbstractAsyncContextManager[Engine]] = loaded(plug_ins(GROUP)[choice.name], "--engine")
    return made
