"""PROV-JSON of runs: who did what with what, as W3C's PROV-DM names it (https://www.w3.org/submissions/prov-json/)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from estran.errors import EstranError
from estran.observe.provenance import FILE, Line, read
from estran.observe.queries import Run
from estran.reproduce.records import Record, manifest_of, read_record

PREFIXES: Final = {
    "estran": "https://pypi.org/project/estran/#",
    "run": "urn:estran:run:",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
SUFFIX: Final = ".prov.json"

Statements = dict[str, dict[str, dict[str, Any]]]


def write_prov(folder: Path, out: Path | None = None) -> Path:
    """Write the provenance of a run, or of all runs of a study or an optimisation, as one PROV-JSON document.

    Parameters
    ----------
    out
        The file, or a folder for it that is there; beside the record if not given.

    Raises
    ------
    RequestError
        If this is no record, or it goes on.
    EstranError
        If it cannot be read or written.
    """
    record = read_record(folder)
    name = f"{record.first.status.experiment}-{record.folder.resolve().name}{SUFFIX}"
    path = record.folder.resolve().parent / name if out is None else out / name if out.is_dir() else out
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document(record), order="deterministic"), indent=1) + b"\n")
    except OSError as error:
        raise EstranError(f"cannot be written: {error.strerror}", where=str(path), remedy="use another --out") from error
    return path


def document(record: Record) -> dict[str, Any]:
    """The document as plain data: entities, activities, agents, and the relations between them."""
    found: Statements = {}
    for run in record.runs:
        _Writer(found, run).write()
    return {"prefix": dict(PREFIXES), **found}


class _Writer:
    """Writes the statements of one run into a document."""

    def __init__(self, found: Statements, run: Run) -> None:
        self._found, self._run = found, run
        self._hashes: dict[str, str] = {}

    def write(self) -> None:
        """All of them."""
        status, manifest = self._run.status, manifest_of(self._run)
        self._hashes = {**manifest["hashes"], **status.artefacts}
        path = self._run.folder / FILE
        lines = read(path) if path.exists() else []
        times = dict(self._times())
        for activity in dict.fromkeys(["run", *times, *(line.activity for line in lines)]):
            self._activity(activity, times.get(activity, {}))
        for number, line in enumerate(lines):
            self._line(number, line)
        self._agents(manifest)

    def _times(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Wall-clock times of the run and its phases."""
        status = self._run.status
        yield "run", {"prov:startTime": status.started, **({"prov:endTime": status.ended} if status.ended else {})}
        for phase in status.phases:
            yield f"phase/{phase['name']}", {"prov:startTime": phase["started"], "estran:seconds": phase["seconds"]}

    def _activity(self, name: str, facts: dict[str, Any]) -> None:
        kind, _, rest = name.partition("/")
        plain = {"prov:type": f"estran:{kind}", "prov:label": rest or self._run.status.id, **facts}
        if name == "run":
            plain |= {"estran:status": self._run.status.status, "estran:platform": self._run.status.platform}
            plain |= {"estran:seed": self._run.status.seed}
        else:
            self._add("wasInformedBy", f"part-{name}", {"prov:informed": self._id(name), "prov:informant": self._id("run")})
        self._add("activity", name, {key: value for key, value in plain.items() if value is not None}, named=True)

    def _line(self, number: int, line: Line) -> None:
        seconds = {} if line.time is None else {"estran:seconds": line.time}
        if line.entity is not None:
            self._entity(line.entity)
            relation = "used" if line.what == "used" else "wasGeneratedBy"
            ends = {"prov:activity": self._id(line.activity), "prov:entity": self._id(line.entity)}
            self._add(relation, f"{number}", ends | seconds)
        elif seconds or line.note:
            facts = self._found["activity"][self._id(line.activity)]
            facts |= {f"estran:{line.what}": line.time} if seconds else {}
            facts |= {"estran:ended_with": line.note} if line.note else {}

    def _entity(self, name: str) -> None:
        kind, _, rest = name.partition("/")
        facts = {"prov:type": f"estran:{kind}", "prov:label": rest}
        if rest in self._hashes:
            facts["estran:sha256"] = self._hashes[rest].removeprefix("sha256:")
        self._add("entity", name, facts, named=True)

    def _agents(self, manifest: dict[str, Any]) -> None:
        software = {"prov:type": "prov:SoftwareAgent", "prov:label": f"Estran {manifest['estran']}"}
        self._add("agent", "estran", software, named=True)
        self._add("wasAssociatedWith", "estran", {"prov:activity": self._id("run"), "prov:agent": self._id("estran")})
        if agent := manifest.get("agent"):
            person = {
                "prov:type": "prov:Person",
                "prov:label": agent["name"],
                **({"estran:id": agent["id"]} if "id" in agent else {}),
            }
            self._add("agent", "person", person, named=True)
            self._add("wasAssociatedWith", "person", {"prov:activity": self._id("run"), "prov:agent": self._id("person")})
            self._add("actedOnBehalfOf", "estran", {"prov:delegate": self._id("estran"), "prov:responsible": self._id("person")})

    def _add(self, kind: str, name: str, facts: dict[str, Any], *, named: bool = False) -> None:
        place = self._id(name) if named else f"_:{quote(f'{self._run.status.id}-{kind}-{name}', safe='-._').replace('%', '_')}"
        self._found.setdefault(kind, {}).setdefault(place, {}).update(facts)

    def _id(self, name: str) -> str:
        return f"run:{quote(f'{self._run.status.id}/{name}', safe='/-._')}"
