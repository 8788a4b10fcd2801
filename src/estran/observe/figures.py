"""What a run's measurement comes out as: responses, and the reasons for those that are not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from estran.observe.intervals import Estimate, possible
from estran.observe.stories import Stage


@dataclass(frozen=True, slots=True)
class Response:
    """One measured figure."""

    value: float
    unit: str
    n: int
    ci95: tuple[float, float] | None = None
    note: str | None = None

    @classmethod
    def of(cls, estimate: Estimate, unit: str, note: str | None = None) -> Response:
        """A response from an estimate; the notes are joined. No interval of a share goes below 0 or above 1."""
        notes = "; ".join(part for part in (note, estimate.note) if part)
        interval = estimate.ci95
        if interval is not None:
            interval = possible(interval, estimate.value, unit)
        return cls(estimate.value, unit, estimate.n, interval, notes or None)

    def plain(self) -> dict[str, Any]:
        """As plain data, without what is absent."""
        data = {"value": self.value, "unit": self.unit, "n": self.n, "ci95": self.ci95 and list(self.ci95), "note": self.note}
        return {key: value for key, value in data.items() if value is not None}


@dataclass(frozen=True)
class Responses:
    """What one run measured.

    Attributes
    ----------
    values
        By name.
    missing
        Why an expected response is not there, by name.
    stages
        The parts of the end-to-end latency; the means of all sum to the value of ``latency``.
    window
        Begin and end of what was measured, in seconds of the run's clock.
    """

    window: tuple[float, float]
    values: dict[str, Response] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)

    def lack(self, names: Iterable[str], why: str) -> None:
        """Say why some responses are not there."""
        self.missing.update(dict.fromkeys(names, why))

    def plain(self) -> dict[str, dict[str, Any]]:
        """The content of ``responses.json``."""
        return {name: response.plain() for name, response in self.values.items()}

    def save(self, folder: Path) -> None:
        """Write ``responses.json`` in one step."""
        part = folder / "responses.json.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode(self.plain()), indent=1))
        part.replace(folder / "responses.json")
