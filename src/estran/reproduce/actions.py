"""What runs did, as entities of RO-Crate: actions that used files and values of parameters, and left files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from estran.observe.queries import Run
from estran.reproduce.layout import RECORD, Crate
from estran.reproduce.records import Record
from estran.spec.model import Experiment

PARAMETER: Final = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
RESPONSES: Final = "responses.json"
STATUS: Final = "run.json"
_COMPLETED: Final = "http://schema.org/CompletedActionStatus"
_FAILED: Final = "http://schema.org/FailedActionStatus"

Entity = dict[str, Any]


class Ids:
    """Names of files as entities, and which parameter each is an example of.

    Attributes
    ----------
    left
        Paths of what each run left and is listed, by its place: all of it or, with ``whole`` false, its responses alone.
    """

    def __init__(self, crate: Crate, record: Record, *, whole: bool) -> None:
        self.left: dict[str, list[str]] = {_place(record, run): [] for run in record.runs}
        self._others: set[str] = set()
        self._examples: dict[str, str] = {}
        for packed in crate.files:
            place = next((place for place in _parents(packed.path) if place in self.left), None)
            if place is not None and (whole or packed.path in (place + RESPONSES, place + STATUS)):
                self.left[place].append(packed.path)
            elif place is not None:
                self._others.add(packed.path)

    def listed(self, path: str) -> bool:
        """Whether a file is an entity."""
        return path not in self._others

    def example(self, file: str, parameter: str) -> str:
        """Note that a file is an example of a parameter; return its name."""
        self._examples[file] = parameter
        return file

    def tell(self, entities: Iterable[Entity]) -> None:
        """Say of entities which parameter they are examples of."""
        for entity in entities:
            if entity["@id"] in self._examples:
                entity["exampleOfWork"] = {"@id": self._examples[entity["@id"]]}


@dataclass(slots=True)
class Actions:
    """Entities of all runs: formal parameters, the values that they had, and the actions; and their names."""

    parameters: list[Entity] = field(default_factory=list)
    values: list[Entity] = field(default_factory=list)
    actions: list[Entity] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Of the actions."""
        return [action["@id"] for action in self.actions]


def actions(crate: Crate, record: Record, experiment: Experiment, ids: Ids) -> Actions:
    """All runs as actions, with what they used and left."""
    found = Actions()
    examples: dict[str, list[str]] = {}
    given = {f"#{_id('input', packed.path)}": packed.path for packed in crate.files if packed.role in ("calibration", "data")}
    for parameter, path in given.items():
        examples[parameter] = [ids.example(escaped(path), parameter)]
        found.parameters.append(_parameter(parameter, path, "File"))
    factors = {name: f"#{_id('factor', name)}" for name in (*experiment.factors, "seed")}
    found.parameters += [_parameter(parameter, name, "PropertyValue") for name, parameter in factors.items()]
    outcome = "#output-record"
    used = [escaped(packed.path) for packed in crate.files if packed.role in ("description", "calibration", "code", "data")]
    for run in record.runs:
        values = list(_values(run, record.name(run), factors))
        for value in values:
            examples.setdefault(value["exampleOfWork"]["@id"], []).append(value["@id"])
        left = _left(record, run, ids)
        examples.setdefault(outcome, []).extend(ids.example(name, outcome) for name in left[:1])
        found.values += values
        found.actions.append(_action(crate, record, run, [*used, *(value["@id"] for value in values)], left))
    found.inputs = [*given, *factors.values()]
    if outcome in examples:
        found.parameters.append(_parameter(outcome, "what was measured", "File"))
        found.outputs = [outcome]
    for entity in found.parameters:
        if entity["@id"] in examples:
            entity["workExample"] = [{"@id": name} for name in examples[entity["@id"]]]
    return found


def agent_of(record: Record) -> Entity | None:
    """Who made the runs, if they said."""
    told = (record.first.document("manifest") or {}).get("agent")
    if not told:
        return None
    return {"@id": told.get("id") or f"#{_id('agent', told['name'])}", "@type": "Person", "name": told["name"]}


def _parameter(name: str, title: str, kind: str) -> Entity:
    return {"@id": name, "@type": "FormalParameter", "name": title, "additionalType": kind, "conformsTo": {"@id": PARAMETER}}


def _values(run: Run, place: str, factors: dict[str, str]) -> Iterable[Entity]:
    assigned = run.document("assignment") or {}
    levels = {**assigned.get("factors", {}), "seed": assigned.get("seed", run.status.seed)}
    for name, level in levels.items():
        if name in factors:
            yield {
                "@id": f"#{_id('value', place or run.status.id, name)}",
                "@type": "PropertyValue",
                "name": name,
                "value": str(level),
                "exampleOfWork": {"@id": factors[name]},
            }


def _left(record: Record, run: Run, ids: Ids) -> list[str]:
    """Names of what a run left, its responses first."""
    place = _place(record, run)
    return [escaped(path) for path in sorted(ids.left[place], key=lambda path: (path != place + RESPONSES, path))]


def _place(record: Record, run: Run) -> str:
    """Of a run in the crate, with ``/`` at its end."""
    return f"{RECORD}/{record.name(run)}".rstrip("/") + "/"


def _parents(path: str) -> Iterator[str]:
    """Folders around a file, the nearest first, each with ``/`` at its end."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path + "/"


def _action(crate: Crate, record: Record, run: Run, used: list[str], left: list[str]) -> Entity:
    status, agent = run.status, agent_of(record)
    done = status.status == "done"
    levels = (run.document("assignment") or {}).get("factors", {})
    chosen = ", ".join(f"{name}={level}" for name, level in levels.items())
    entity: Entity = {
        "@id": f"#{_id('run', record.name(run) or status.id)}",
        "@type": "CreateAction",
        "name": f"run {status.id}",
        "description": f"{crate.experiment} on {status.platform}, seed {status.seed}" + (f", {chosen}" if chosen else ""),
        "instrument": {"@id": escaped(crate.asked.file)},
        "object": [{"@id": name} for name in used],
        "result": [{"@id": name} for name in left],
        "actionStatus": _COMPLETED if done else _FAILED,
        "startTime": _time(status.started),
        "endTime": _time(status.ended or status.started),
    }
    if not done:
        entity["error"] = str((status.failure or {}).get("what", status.status))
    if agent is not None:
        entity["agent"] = {"@id": agent["@id"]}
    return entity


def _time(text: str | None) -> str:
    """As the profiles want it: with an offset in digits."""
    return (text or "1970-01-01").replace("Z", "+00:00")


def escaped(path: str) -> str:
    """A path as the name of an entity."""
    return quote(path, safe="/-._~!$&'()*+,;=:@")


def _id(*parts: str) -> str:
    return "-".join(quote(part, safe="-._~").replace("%", "_") for part in parts)
