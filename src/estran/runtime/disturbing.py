"""Faults that a replica brings about itself, the same on every platform: of its data, its messages and its clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from estran.runtime.clock import Clock
from estran.runtime.component import Component
from estran.runtime.transport import Corruptible


class SkewedClock:
    """A clock that may go ahead of the true one; what is recorded is by the true one.

    Attributes
    ----------
    offset
        Seconds that it is ahead.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset = 0.0

    def now(self) -> float:
        """Seconds since the run's origin, as this clock has it."""
        return self._clock.now() + self.offset

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await self._clock.sleep(seconds)


def hear(component: Component, frame: Mapping[str, Any]) -> None:
    """Do what a frame says: ``disturb`` begins a fault, ``calm`` ends it.

    Parameters
    ----------
    frame
        With the injection's ``key``, its ``kind`` and ``settings``, and the ``outputs`` that it befalls.
    """
    kind, begins, settings = frame["kind"], frame["say"] == "disturb", frame["settings"]
    if kind == "corrupt":
        for name in frame["outputs"]:
            _corrupt(component, name, settings["share"] if begins else 0.0)
    elif kind == "clock-skew":
        _skew(component, settings["offset"] if begins else 0.0)
    elif begins:
        component.disturb(kind, settings)
    else:
        component.calm(kind)


def _corrupt(component: Component, output: str, share: float) -> None:
    surroundings = component._surroundings
    key = (crc32(surroundings.service.encode()), surroundings.index, crc32(b"corrupt"), crc32(output.encode()))
    rng = np.random.default_rng(np.random.SeedSequence(surroundings.seed, spawn_key=key))
    for sender in getattr(component, output).senders:
        if isinstance(sender, Corruptible):
            sender.corrupt((lambda: bool(rng.random() < share)) if share else None)


def _skew(component: Component, offset: float) -> None:
    if not isinstance(component.clock, SkewedClock):
        component.clock = SkewedClock(component.clock)
    component.clock.offset = offset
