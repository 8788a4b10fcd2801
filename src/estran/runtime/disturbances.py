"""Which faults a replica is to bring about, over all its lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Disturbances:
    """What a replica was told to bring about and is not over: of each life that begins meanwhile, too."""

    def __init__(self) -> None:
        self._on: dict[str, Mapping[str, Any]] = {}

    def note(self, frame: Mapping[str, Any]) -> None:
        """Take what it is told; other frames are passed over."""
        if frame["say"] == "disturb":
            self._on[frame["key"]] = frame
        elif frame["say"] == "calm":
            self._on.pop(frame["key"], None)

    def frames(self) -> list[Mapping[str, Any]]:
        """What a new life is to be told."""
        return list(self._on.values())
