"""What is written into a run folder before the run starts: the resolved description, and the facts of code and machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from estran.errors import EstranError
from estran.run.journal import journal_folder
from estran.run.record import PATCH, RunRecord, write_json, write_text
from estran.spec.model import Experiment

ENVIRONMENT: Final = "environment.json"
"""What is installed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked to be, so that it can be asked for again.

    Attributes
    ----------
    on, overrides, seed, calibration, detail, trace
        As on the command line; the seed is that of the resolved description if none was given.
    assignment
        Levels that a study gave.
    """

    on: str = "emulate"
    overrides: tuple[str, ...] = ()
    assignment: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    calibration: str | None = None
    detail: Literal["components", "flow"] = "components"
    trace: bool = False


def describe(
    record: RunRecord, experiment: Experiment, asked: Asked, command: Sequence[str], calibration: Path | None = None
) -> None:
    """Write ``experiment.yaml``, ``assignment.json``, ``manifest.json``, ``environment.json`` and ``changes.patch``.

    Parameters
    ----------
    calibration
        The calibration file that is in force.

    Raises
    ------
    DataError
        If a file of the experiment cannot be read.
    """
    from estran.observe.containers import containers
    from estran.observe.manifest import capture, shown
    from estran.observe.secrets import known_secrets, without_in_arguments, without_in_document
    from estran.spec import dump
    from estran.spec.own_files import own_files

    source, folder, journals = Path(experiment.source), record.folder, journal_folder().absolute()
    document = without_in_document(experiment.document, known_secrets())
    write_text(folder / "experiment.yaml", dump(document))
    write_json(folder / "assignment.json", {"seed": experiment.seed, "factors": dict(experiment.assignment)})
    plain = asdict(asked) | {"overrides": without_in_arguments(asked.overrides, known_secrets()), "seed": experiment.seed}
    hosts = _platform_file(asked.on)
    captured = capture(
        source,
        command=command,
        inputs=[file for file in (calibration, hosts) if file is not None],
        own=[(name, path) for name, path in own_files(source.absolute().parent) if not path.is_relative_to(journals)],
        asked=plain,
    )
    commands = [service.command for service in experiment.services.values() if service.command is not None]
    around = source.absolute().parent
    facts = {
        "calibration": None if calibration is None else shown(calibration, around),
        "platform_file": None if hosts is None else shown(hosts, around),
        "containers": containers(commands),
    }
    write_json(folder / "manifest.json", {**captured.manifest, **facts})
    _write(folder / ENVIRONMENT, msgspec.json.format(msgspec.json.encode(captured.environment), indent=1) + b"\n")
    if captured.patch:
        _write(folder / PATCH, captured.patch)
    record.provenance.started("run")
    record.provenance.used("run", (f"file/{name}" for name in captured.manifest["hashes"]))
    if document != experiment.document:
        record.warnings.append("experiment.yaml hides what looks like a secret: loading it does not give the same experiment")


def _platform_file(on: str) -> Path | None:
    return Path(on) if on.endswith((".yaml", ".yml")) and Path(on).is_file() else None


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise EstranError(
            f"cannot write {path.name}: {error.strerror}", where=str(path.parent), remedy="free some space or check permissions"
        ) from error
