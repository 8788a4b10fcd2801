"""A sink: the end of a stream, where messages are counted and, if wanted, kept."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from estran.components.rolling import Pace
from estran.learning.mistakes import SettingsError
from estran.runtime.component import Component
from estran.runtime.message import Message
from estran.runtime.ports import Input

RECORD_EVERY = 0.5
_STORY = ("trace", "created", "received", "version")


@dataclass(frozen=True)
class SinkSettings:
    """What a sink keeps.

    Attributes
    ----------
    keep
        ``nothing``; ``csv``: a line per message, written as it comes; ``npz``: an array per field, written at the end.
    limit
        Messages that are kept at the most; all are counted.
    """

    keep: Literal["nothing", "csv", "npz"] = "nothing"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise SettingsError(f"limit is {self.limit}", where="sink", remedy="give 0 or more, or leave it out")


class Sink(Component):
    """Takes in messages of any type and counts them; what it keeps lies as ``<replica>.csv`` or ``.npz`` among the run's artefacts.

    Metrics: ``messages`` and ``bytes``, both so far.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("messages", "bytes")
    REQUIRED: ClassVar[tuple[str, ...]] = ("messages",)

    settings: SinkSettings
    messages: Input[Any]

    async def setup(self) -> None:
        """Make the folder for what is kept."""
        self._artefacts = Path(self.folder) / "artefacts"
        if self.settings.keep != "nothing":
            self._artefacts.mkdir(parents=True, exist_ok=True)

    async def run(self) -> None:
        """Count and keep until cancelled."""
        count = size = 0
        pace = Pace(RECORD_EVERY)
        with ExitStack() as stack:
            keeper = self._keeper(stack)
            async for message in self.messages:
                if keeper is not None and (self.settings.limit is None or count < self.settings.limit):
                    keeper.keep(message)
                count, size = count + 1, size + message.story.bytes
                if pace.due(self.clock.now()):
                    self.metrics.record("messages", count)
                    self.metrics.record("bytes", size)

    def _keeper(self, stack: ExitStack) -> _Lines | _Arrays | None:
        path = self._artefacts / self.name
        if self.settings.keep == "csv":
            return stack.enter_context(_Lines(path.with_name(f"{self.name}.csv")))
        if self.settings.keep == "npz":
            return stack.enter_context(_Arrays(path.with_name(f"{self.name}.npz")))
        return None


class _Lines:
    """A CSV with a line per message; an array is one cell, its values apart by spaces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __enter__(self) -> _Lines:
        self._file = self._path.open("w", newline="", encoding="utf-8")
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def keep(self, message: Message[Any]) -> None:
        record = _record(message)
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(record), extrasaction="ignore")
            self._writer.writeheader()
        self._writer.writerow({name: _cell(value) for name, value in record.items()})


class _Arrays:
    """An NPZ with an array per field, one entry per message; arrays of one shape are stacked, others joined end to end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fields: dict[str, list[Any]] = {}

    def __enter__(self) -> _Arrays:
        return self

    def __exit__(self, *exc: object) -> None:
        np.savez_compressed(self._path, **{name: _joined(values) for name, values in self._fields.items()})

    def keep(self, message: Message[Any]) -> None:
        for name, value in _record(message).items():
            kept = np.array(value) if isinstance(value, np.ndarray) else value
            self._fields.setdefault(name, []).append(kept)


def _record(message: Message[Any]) -> dict[str, Any]:
    """The story's chief times and the payload's fields, containers within them taken apart."""
    story: dict[str, Any] = {name: getattr(message.story, name) for name in _STORY}
    payload = message.payload
    if is_dataclass(payload) and not isinstance(payload, type):
        payload = asdict(payload)
    return story | dict(_flat(payload if isinstance(payload, Mapping) else {"payload": payload}, ""))


def _flat(fields: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            # A payload's own "version" or "created" must not hide the story's.
            yield (f"payload.{name}" if not prefix and name in _STORY else f"{prefix}{name}"), value


def _cell(value: Any) -> Any:
    return " ".join(map(str, value.ravel().tolist())) if isinstance(value, np.ndarray) else value


def _joined(values: list[Any]) -> Any:
    if all(isinstance(value, np.ndarray) for value in values):
        same = len({value.shape for value in values}) == 1
        return np.stack(values) if same else np.concatenate([value.ravel() for value in values])
    if any(value is None for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array([str(value) if isinstance(value, (list, tuple)) else value for value in values])
