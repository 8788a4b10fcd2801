"""What goes into a crate: the files of the experiment as they were when it ran, the record, the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import RequestError, SpecErrors
from estran.observe.installed import source
from estran.observe.manifest import digest
from estran.observe.secrets import HIDDEN, known_secrets, without_in_document
from estran.reproduce.layout import (
    ENVIRONMENT,
    EXPERIMENT,
    LOCK,
    RECORD,
    REQUIREMENTS,
    Asked,
    Binding,
    Crate,
    Part,
    Role,
)
from estran.reproduce.naming import named
from estran.reproduce.records import Record, files, manifest_of
from estran.reproduce.requirements import requirements
from estran.reproduce.wheel import wheel
from estran.run.prepare import experiment_path
from estran.spec import load
from estran.spec.document import read_file
from estran.spec.model import Experiment
from estran.spec.selectors import match_any

CODE: Final = frozenset(
    {".py", ".pyx", ".sh", ".ipynb", ".c", ".h", ".cpp", ".cu", ".rs", ".go", ".js", ".ts", ".java", ".jl", ".r", ".lua"}
)
"""Suffixes of files that are code; so is every file that may be executed."""
MOST_WARNINGS: Final = 20
"""Runs that are named at the most because they failed."""
_MACHINE: Final = ("kernel", "os", "cpu", "gpus", "machine")


@dataclass(frozen=True, slots=True)
class Item:
    """A file to be packed: where it goes, what for, and where it is or what it holds."""

    path: str
    role: Role
    origin: Path | bytes

    @property
    def executable(self) -> bool:
        """Whether it may be executed."""
        return isinstance(self.origin, Path) and bool(self.origin.stat().st_mode & 0o100)


@dataclass(frozen=True, slots=True)
class Gathered:
    """A crate without the list of its files, and its files."""

    crate: Crate
    items: tuple[Item, ...]
    experiment: Experiment


def gather(record: Record, experiment: Path | None = None) -> Gathered:
    """Find everything that belongs into a record's crate, and make sure that it is what the record speaks of.

    Parameters
    ----------
    experiment
        The experiment file, or its folder, if it is no longer where it was.

    Raises
    ------
    RequestError
        If a file of the experiment is gone or not what it was when it ran, or holds a secret.
    """
    manifest = manifest_of(record.first)
    file = Path(manifest["source"]).expanduser() if experiment is None else experiment_path(str(experiment))
    own, calibration, left = _own(file, manifest)
    described = _described(file, manifest["asked"])
    lock = record.first.document("environment") or {}
    environment, problems = _environment(lock, manifest)
    kept = [Item(f"{RECORD}/{name}", "record", path) for name, path in files(record)]
    warnings = [*_warnings(record, manifest, file), *left, *problems]
    crate = Crate(
        kind=record.kind,
        experiment=record.first.status.experiment,
        id=record.folder.resolve().name,
        status=record.status,
        ended=record.ended,
        asked=_asked(record, manifest, f"{EXPERIMENT}/{file.name}", calibration),
        parts=tuple(_parts(described)),
        binding=_binding(record, manifest),
        claims=tuple(described.document.get("claims") or ()),
        warnings=tuple(warnings),
        estran=str(manifest["estran"]),
    )
    return Gathered(crate, tuple(sorted([*own, *kept, *environment], key=lambda item: item.path)), described)


def _own(file: Path, manifest: Mapping[str, Any]) -> tuple[list[Item], str | None, list[str]]:
    """The experiment's files, where among them the calibration is, and which are left out: changed, and named by nothing."""
    if not file.is_file():
        raise RequestError("the experiment is no longer there", where=str(file), remedy="say where it is: --experiment FILE")
    wanted = dict(manifest["hashes"])
    wanted.pop(manifest.get("platform_file"), None)  # it is about hosts that others have not
    found: list[Item] = []
    calibration = "none" if manifest["asked"]["calibration"] == "none" else None
    wrong: dict[str, RequestError] = {}
    for name, recorded in wanted.items():
        path = file.parent / Path(name).expanduser()
        if (problem := _changed(path, recorded)) is not None:
            wrong[name] = problem
            continue
        inside = not Path(name).expanduser().is_absolute()
        place = f"{EXPERIMENT}/{name if inside else _free(path.name, wanted)}"
        if name == manifest.get("calibration"):
            calibration = place
        found.append(Item(place, _role(path, file, calibration == place), path))
    for name in sorted(wrong.keys() & _belonging(file, manifest, wanted) if wrong else ()):
        raise wrong[name]
    return (
        found,
        calibration,
        [f"{name} is not in the crate: {wrong[name].what}, and nothing in the experiment names it" for name in sorted(wrong)],
    )


def _belonging(file: Path, manifest: Mapping[str, Any], wanted: Mapping[str, str]) -> set[str]:
    """Files that the run cannot do without: the description, the calibration, and what they name."""
    asked = manifest["asked"]
    texts = [file.read_text(encoding="utf-8", errors="replace"), *asked["overrides"], *map(str, asked["assignment"].values())]
    outside = {name for name in wanted if Path(name).expanduser().is_absolute()}
    return {file.name, str(manifest.get("calibration")), *outside, *named(wanted.keys() - outside, file.parent, texts)}


def _free(name: str, taken: Mapping[str, str]) -> str:
    while name in taken:
        name = f"asked-{name}"
    return name


def _changed(path: Path, recorded: str) -> RequestError | None:
    """What is wrong with a file that is gone or not what it was."""
    remedy = "restore it as it was (see changes.patch in the run's folder), or run again"
    if not path.is_file():
        return RequestError("it is gone since the run", where=str(path), remedy=remedy)
    if digest(path) != recorded:
        return RequestError("it has changed since the run", where=str(path), remedy=remedy)
    return None


def _role(path: Path, file: Path, is_calibration: bool) -> Role:
    if path == file:
        return "description"
    if is_calibration:
        return "calibration"
    return "code" if path.suffix.lower() in CODE or path.stat().st_mode & 0o100 else "data"


def _described(file: Path, asked: Mapping[str, Any]) -> Experiment:
    """The description as it was asked for; one that holds secrets is refused."""
    overrides = [override for override in asked["overrides"] if HIDDEN not in override]
    try:
        plain = read_file(file).data
        experiment = load(file, overrides=overrides, assignment=asked["assignment"])
    except SpecErrors as errors:
        raise RequestError(f"it can no longer be read: {errors}", where=str(file), remedy="use the Estran that ran it") from errors
    if without_in_document(plain, known_secrets()) != plain:
        raise RequestError(
            "it holds what looks like a secret",
            where=str(file),
            remedy="leave it out of the file and run again: commands have the environment that Estran is started in",
        )
    return experiment


def _environment(lock: Mapping[str, Any], manifest: Mapping[str, Any]) -> tuple[list[Item], list[str]]:
    text, problems = requirements(lock.get("distributions", ()))
    items = [
        Item(LOCK, "environment", msgspec.json.format(msgspec.json.encode(lock, order="sorted"), indent=1) + b"\n"),
        Item(REQUIREMENTS, "environment", text.encode()),
    ]
    if manifest.get("estran_source") == source():
        name, data = wheel()
        return [*items, Item(f"{ENVIRONMENT}/{name}", "estran", data)], problems
    return items, [*problems, "Estran is another here than the one that ran: it is not in the crate"]


def _warnings(record: Record, manifest: Mapping[str, Any], file: Path) -> Iterator[str]:
    if record.missing:
        yield f"{record.missing} runs of the study are not done: estran resume"
    failed = [run for run in record.runs if run.status.status != "done"]
    for run in failed[:MOST_WARNINGS]:
        why = (run.status.failure or {}).get("what", "no reason is recorded")
        yield f"{record.name(run) or 'the run'} {run.status.status}: {why}"
    if len(failed) > MOST_WARNINGS:
        yield f"{len(failed) - MOST_WARNINGS} more runs are not done"
    for name, size in manifest["unhashed"].items():
        yield f"{file.parent.name}/{name} ({size >> 20} MiB) is not in the crate, and no hash of it was recorded"
    others = {str(manifest_of(run)["estran_source"]) for run in record.runs if run.status.status == "done"}
    if len(others) > 1:
        yield f"its runs were made by {len(others)} different states of Estran"


def _asked(record: Record, manifest: Mapping[str, Any], file: str, calibration: str | None) -> Asked:
    asked = manifest["asked"]
    if record.kind == "run":
        return Asked(
            verb="run", file=file, seed=asked["seed"], overrides=tuple(asked["overrides"]), assignment=asked["assignment"],
            calibration=calibration, detail=asked["detail"], trace=asked["trace"],
        )  # fmt: skip
    told = record.asked
    return Asked(
        verb="study" if record.kind == "study" else "optimize",
        file=file,
        seed=int(told.get("seed", asked["seed"])),
        overrides=tuple(asked["overrides"]),
        calibration=calibration,
        **{name: told[name] for name in ("design", "samples", "replicates", "retries") if name in told},
    )


def _parts(experiment: Experiment) -> Iterator[Part]:
    for layer in experiment.layers.values():
        hosts = {f"{layer.name}-{index}" for index in range(min(layer.hosts, 1000))}
        services = [
            service.name
            for service in experiment.services.values()
            if layer.name in service.on or not hosts.isdisjoint(match_any(service.on, {layer.name: layer}))
        ]
        yield Part(
            layer=layer.name,
            hosts=layer.hosts,
            device=layer.device.name,
            cores=layer.device.cores,
            speed=layer.device.speed,
            memory=layer.device.memory,
            services=tuple(services),
        )


def _binding(record: Record, manifest: Mapping[str, Any]) -> Binding:
    on = str(manifest["asked"]["on"])
    file = manifest.get("platform_file")
    return Binding(
        platform=record.first.status.platform,
        on=on if file is None else Path(file).name,
        file=None if file is None else manifest["hashes"][file],
        machine={name: manifest[name] for name in _MACHINE if name in manifest},
    )
