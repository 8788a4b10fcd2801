"""``ro-crate-metadata.json``: a crate in the terms of RO-Crate 1.1 and its Process and Workflow Run Crate profiles 0.5.

The experiment file is the workflow, Estran the language that it is written in; every run is an action that used the experiment's
files and levels and left its folder. Sources: https://w3id.org/ro/crate/1.1 and https://w3id.org/ro/wfrun.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from estran.reproduce.actions import Entity, Ids, actions, agent_of, escaped
from estran.reproduce.layout import DOCUMENT, LOCK, METADATA, README, Crate, Packed
from estran.reproduce.records import Record
from estran.spec.model import Experiment

CONTEXT: Final = ("https://w3id.org/ro/crate/1.1/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"})
RO_CRATE: Final = "https://w3id.org/ro/crate/1.1"
WORKFLOW_CRATE: Final = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES: Final = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
BIOSCHEMAS: Final = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
URL: Final = "https://pypi.org/project/estran/"
LANGUAGE: Final = "#estran"
UNLICENSED: Final = "No licence was given: ask the authors before you use it."
WHOLE: Final = 200
"""Runs of which all files are listed at the most; of more, each has its responses only, and ``crate.json`` lists all."""
_TYPES: Final = {
    "yaml": "application/yaml", "yml": "application/yaml", "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/jsonl",
    "log": "text/plain", "py": "text/x-python", "patch": "text/x-diff", "whl": "application/zip", "npz": "application/zip",
    "md": "text/markdown", "csv": "text/csv", "json": "application/json", "html": "text/html", "txt": "text/plain",
}  # fmt: skip


def metadata(crate: Crate, record: Record, experiment: Experiment, licence: str | None) -> bytes:
    """The document; the same bytes for the same crate.

    Parameters
    ----------
    crate
        With all files but this one and ``crate.json``.
    licence
        SPDX identifier or URL; None if nobody has said.
    """
    ids = Ids(crate, record, whole=len(record.runs) <= WHOLE)
    data = list(_data(crate, ids))
    did = actions(crate, record, experiment, ids)
    ids.tell(data)
    agent = agent_of(record)
    graph: list[Entity] = [
        _descriptor(),
        _root(crate, experiment, licence, data, did.names, agent),
        _workflow(crate, experiment, did.inputs, did.outputs),
        *(entity for entity in data if entity["@id"] != escaped(crate.asked.file)),
        *did.parameters,
        *did.values,
        *did.actions,
        *([agent] if agent else []),
        *_contextual(crate, licence),
    ]
    document = {"@context": CONTEXT, "@graph": [_compact(entity) for entity in graph]}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def refer(names: Iterable[str]) -> list[dict[str, str]]:
    """References to entities."""
    return [{"@id": name} for name in names]


def _compact(entity: Entity) -> Entity:
    """An entity with single values in place of lists of one."""
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in entity.items()}


def _descriptor() -> Entity:
    return {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": refer((RO_CRATE, WORKFLOW_CRATE))}


def _root(
    crate: Crate,
    experiment: Experiment,
    licence: str | None,
    data: Sequence[Entity],
    did: Iterable[str],
    agent: Entity | None,
) -> Entity:
    title = experiment.title or crate.experiment
    words = f"{crate.kind} {crate.id} of the experiment {crate.experiment} on {crate.binding.platform}"
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{title}: {crate.kind} {crate.id}",
        "description": f"{words}. {experiment.description}".strip(),
        "datePublished": crate.ended or "1980-01-01",
        "license": UNLICENSED if licence is None else {"@id": _license(licence)},
        "conformsTo": refer(PROFILES),
        "mainEntity": {"@id": escaped(crate.asked.file)},
        "hasPart": refer([*(entity["@id"] for entity in data), DOCUMENT]),
        "mentions": refer(did),
        **({"author": {"@id": agent["@id"]}} if agent else {}),
    }


def _workflow(crate: Crate, experiment: Experiment, inputs: Sequence[str], outputs: Sequence[str]) -> Entity:
    packed = crate.file(crate.asked.file)
    assert packed is not None
    return {
        **_file(packed),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": crate.experiment,
        "description": experiment.description or experiment.title or f"the experiment {crate.experiment}",
        "version": packed.sha256.removeprefix("sha256:")[:12],
        "programmingLanguage": {"@id": LANGUAGE},
        "conformsTo": {"@id": BIOSCHEMAS},
        "softwareRequirements": refer([URL, LOCK]),
        "input": refer(inputs),
        "output": refer(outputs),
    }


def _data(crate: Crate, ids: Ids) -> Iterator[Entity]:
    """Files; of many runs, one file for each."""
    for packed in crate.files:
        if ids.listed(packed.path):
            yield _file(packed)


def _file(packed: Packed) -> Entity:
    suffix = packed.path.rpartition(".")[2].lower()
    kind = _TYPES.get(suffix) or mimetypes.guess_type(packed.path, strict=True)[0] or "application/octet-stream"
    return {
        "@id": escaped(packed.path),
        "@type": "File",
        "name": packed.path.rpartition("/")[2],
        "encodingFormat": kind,
        "contentSize": str(packed.size),
        "sha256": packed.sha256.removeprefix("sha256:"),
        **({"about": {"@id": "./"}} if packed.path == README else {}),
    }


def _contextual(crate: Crate, licence: str | None) -> Iterator[Entity]:
    version = {"softwareVersion": crate.estran} if crate.estran else {}
    yield {"@id": DOCUMENT, "@type": "File", "name": DOCUMENT, "encodingFormat": "application/json"}
    yield {"@id": LANGUAGE, "@type": "ComputerLanguage", "name": "Estran's experiment file", "url": {"@id": URL}}
    yield {"@id": URL, "@type": "SoftwareApplication", "name": "Estran", "url": URL, **version}
    for url, (name, version_of) in PROFILES.items():
        yield {"@id": url, "@type": "CreativeWork", "name": name, "version": version_of}
    if licence is not None:
        yield {"@id": _license(licence), "@type": "CreativeWork", "name": licence, "description": f"licence {licence}"}


def _license(text: str) -> str:
    return text if "://" in text else f"https://spdx.org/licenses/{text}"
