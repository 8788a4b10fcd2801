"""A run folder's documents as plain values; what is missing is empty, what is malformed is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estran.errors import DataError, RequestError


@dataclass(frozen=True, slots=True)
class Host:
    """One host of the plan."""

    name: str
    layer: str
    device: str


@dataclass(frozen=True, slots=True)
class Replica:
    """One running copy of a service; ``kind`` is its component or the first word of its command."""

    name: str
    service: str
    kind: str
    host: str


@dataclass(frozen=True, slots=True)
class Channel:
    """One producer replica's way to one consumer replica."""

    stream: str
    producer: str
    consumer: str
    delivery: str


@dataclass(frozen=True, slots=True)
class Response:
    """A measured response; ``low`` and ``high`` bound the 95 % confidence interval, where there is one."""

    name: str
    value: float | None
    unit: str
    n: int | None
    low: float | None
    high: float | None
    note: str


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The documents of one run."""

    folder: Path
    run: Mapping[str, Any]
    hosts: Mapping[str, Host]
    replicas: Mapping[str, Replica]
    channels: tuple[Channel, ...]
    links: tuple[Mapping[str, Any], ...]
    plan_warnings: tuple[str, ...]
    network: Mapping[str, Any]
    responses: Mapping[str, Response]
    manifest: Mapping[str, Any]
    assignment: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.run.get("experiment") or self.folder.parent.name)

    @property
    def status(self) -> str:
        """``running``, ``done``, ``failed`` or ``interrupted``."""
        return str(self.run.get("status", "unknown"))

    @property
    def simulated(self) -> bool:
        """Whether its time was simulated, so that nothing of it was measured on this machine."""
        return self.run.get("platform") == "simulate"

    @property
    def by_costs(self) -> bool:
        """Whether cost models alone ran: there are responses and histograms, but no single messages."""
        return self.run.get("detail") == "flow"

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """What went wrong, if the run failed."""
        failure = self.run.get("failure")
        return failure if isinstance(failure, dict) else None

    @property
    def warmup(self) -> float:
        """Seconds of the run's clock before measuring starts."""
        return float(self.run.get("warmup") or 0.0)

    @property
    def window(self) -> tuple[float, float]:
        """When measuring began and ended, in seconds of the run's clock; without a known end, everything after the beginning."""
        duration = self.run.get("duration")
        return (self.warmup, self.warmup + float(duration) if duration else float("inf"))

    @property
    def factors(self) -> Mapping[str, Any]:
        """The level in force for each factor."""
        factors = self.assignment.get("factors", self.assignment)
        return factors if isinstance(factors, dict) else {}


def read_folder(folder: Path) -> RunFolder:
    """Read the JSON documents of a run folder.

    Raises
    ------
    RequestError
        If there is no run in ``folder``.
    DataError
        If one of its documents is not the JSON object that it should be.
    """
    if not (folder / "run.json").is_file():
        raise RequestError(
            "there is no run here (no run.json)", where=str(folder), remedy="give a run folder; 'estran ls' lists them"
        )
    names = ("run", "plan", "network", "responses", "manifest", "assignment")
    return gathered(folder, {name: read_document(folder / f"{name}.json") for name in names})


def gathered(folder: Path, documents: Mapping[str, Mapping[str, Any]]) -> RunFolder:
    """A run folder's documents, by name, as plain values; those that are not there are empty."""
    found = {name: documents.get(name, {}) for name in ("run", "plan", "network", "responses", "manifest", "assignment")}
    plan = found["plan"]
    return RunFolder(
        folder=folder,
        run=found["run"],
        hosts=_by_name(_host(host) for host in _entries(plan.get("hosts"))),
        replicas=_by_name(_replica(replica) for replica in _entries(plan.get("replicas"))),
        channels=tuple(_channel(channel) for channel in _entries(plan.get("channels"))),
        links=tuple(_entries(plan.get("links"))),
        plan_warnings=tuple(str(warning) for warning in plan.get("warnings") or []),
        network=found["network"],
        responses={name: _response(name, entry) for name, entry in found["responses"].items()},
        manifest=found["manifest"],
        assignment=found["assignment"],
    )


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object of a run folder, empty where there is no such file.

    Raises
    ------
    DataError
        If the file is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"not valid JSON: {error}", where=str(path), remedy="the file was cut short or edited; run again"
        ) from error
    if not isinstance(document, dict):
        raise DataError("not a JSON object", where=str(path), remedy="the file was edited; run again")
    return document


def _entries(container: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; of anything else none."""
    return [value for value in container if isinstance(value, dict)] if isinstance(container, list) else []


def _by_name(items: Any) -> dict[str, Any]:
    return {item.name: item for item in items}


def _host(entry: Mapping[str, Any]) -> Host:
    return Host(str(entry.get("name", "")), str(entry.get("layer", "")), str((entry.get("device") or {}).get("name", "")))


def _replica(entry: Mapping[str, Any]) -> Replica:
    command = entry.get("command") or [""]
    kind = str(entry.get("component") or command[0])
    return Replica(str(entry.get("name", "")), str(entry.get("service", "")), kind, str(entry.get("host", "")))


def _channel(entry: Mapping[str, Any]) -> Channel:
    return Channel(*(str(entry.get(key, "")) for key in ("stream", "producer", "consumer", "delivery")))


def _response(name: str, entry: Any) -> Response:
    fields = entry if isinstance(entry, dict) else {"value": entry}
    low, high = fields.get("ci95") or (None, None)
    return Response(
        name, fields.get("value"), str(fields.get("unit") or ""), fields.get("n"), low, high, str(fields.get("note") or "")
    )
