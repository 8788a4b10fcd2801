"""What lies where in a crate, and ``crate.json``, which says so with types.

A crate is a zip file with, at its top::

    crate.json                 what is in it: this module's `Crate`
    ro-crate-metadata.json     the same for everyone: an RO-Crate of the Process and Workflow Run Crate profiles, 0.5
    README.md                  for people
    experiment/                the description, components, calibration and data, as they lay below the experiment's folder
    record/                    the folder of the run, the study or the optimisation, without scratch
    environment/               lock.json, requirements.txt, and Estran itself as a wheel
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from estran.errors import RequestError

SCHEMA: Final = 1
"""Version of ``crate.json``."""
DOCUMENT: Final = "crate.json"
METADATA: Final = "ro-crate-metadata.json"
README: Final = "README.md"
EXPERIMENT: Final = "experiment"
RECORD: Final = "record"
ENVIRONMENT: Final = "environment"
LOCK: Final = f"{ENVIRONMENT}/lock.json"
"""What the run's ``environment.json`` says: Python, and every distribution with its version and origin."""
REQUIREMENTS: Final = f"{ENVIRONMENT}/requirements.txt"
"""The lock for pip and uv: ``name==version``, or ``name @ url``, a line each, without Estran."""
SEAL: Final = "estran-crate/1 sha256:"
"""The zip file's comment: this, and the SHA-256 of ``crate.json`` in hexadecimal digits."""

Kind = Literal["run", "study", "optimisation"]
Role = Literal["description", "calibration", "code", "data", "record", "environment", "estran", "metadata"]
"""What a file is for. ``code`` is all Python and programs of the experiment's folder, ``data`` its other files."""


class Packed(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A file of a crate: its path with ``/``, its role, bytes, ``sha256:…`` of its content, and whether it may be executed."""

    path: str
    role: Role
    size: int
    sha256: str
    executable: bool = False


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A layer's part in the experiment, whatever platform provides its hosts.

    Attributes
    ----------
    hosts
        How many.
    device
        Catalogue type of each, of ``cores`` of relative ``speed``, and ``memory`` in bytes.
    services
        What runs there.
    """

    layer: str
    hosts: int
    device: str
    cores: int
    speed: float
    memory: float
    services: tuple[str, ...]


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """The platform that took the parts when the record was made. Another lab may bind them to another.

    Attributes
    ----------
    platform
        Name of the platform: ``simulate``, ``emulate``, ``ssh``, ``slurm`` …
    on
        What ``--on`` said: for a platform file its name only, for the file is about hosts that others have not.
    file
        ``sha256:…`` of the platform file.
    machine
        What the controller was: ``kernel``, ``cpu``, ``memory``, ``name`` as the manifest has them.
    """

    platform: str
    on: str
    file: str | None = None
    machine: Mapping[str, Any] = {}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, as a session can ask again: options of ``estran run`` or ``estran study``.

    Attributes
    ----------
    file
        The experiment file, a path within the crate.
    overrides
        ``path=value``, as ``--set`` takes them. A value that was secret is ``<redacted>``.
    assignment
        Levels that a run of a study was given; a study's are in its ``design.csv``.
    seed
        Of the run, or the study's first.
    calibration
        A path within the crate, ``none`` for estimates, or None where there was none or it had no meaning.
    detail
        ``components`` or ``flow``.
    trace
        Whether the order of events was written.
    design, samples, replicates, retries
        Of a study: as on the command line. Its points, in order and with their seeds, are ``record/design.csv``.
    verb
        ``run``, ``study`` or ``optimize``.
    """

    verb: Literal["run", "study", "optimize"]
    file: str
    seed: int
    overrides: tuple[str, ...] = ()
    assignment: Mapping[str, Any] = {}
    calibration: str | None = None
    detail: Literal["components", "flow"] = "components"
    trace: bool = False
    design: str | None = None
    samples: int | None = None
    replicates: int | None = None
    retries: int | None = None


class Crate(msgspec.Struct, frozen=True, kw_only=True):
    """``crate.json``.

    Attributes
    ----------
    schema
        `SCHEMA`.
    kind, experiment, id
        What was packed: kind of folder, the experiment's name, the folder's name.
    status
        Of a run its own; of a study ``done`` if every run of its design is; of an optimisation, if any is; else ``failed``.
    ended
        When the record ended, ISO 8601 UTC.
    asked
        How to ask for it again.
    parts, binding
        The experiment's roles, and apart from them the platform that took them.
    claims
        The statements of the description's ``claims:``, as written there.
    files
        All files but ``crate.json``, sorted by path.
    warnings
        What the reader must know: left out or redacted files, runs that failed, what was not recorded.
    estran
        Version that made the record.
    """

    schema: int = SCHEMA
    kind: Kind
    experiment: str
    id: str
    status: str
    ended: str | None
    asked: Asked
    parts: tuple[Part, ...]
    binding: Binding
    claims: tuple[Any, ...] = ()
    files: tuple[Packed, ...] = ()
    warnings: tuple[str, ...] = ()
    estran: str

    def file(self, path: str) -> Packed | None:
        """The file of that path, or None."""
        return next((file for file in self.files if file.path == path), None)


def encode(crate: Crate) -> bytes:
    """``crate.json``, the same bytes for the same crate."""
    return msgspec.json.format(msgspec.json.encode(crate, order="sorted"), indent=1) + b"\n"


def decode(data: bytes, where: str) -> Crate:
    """Read ``crate.json``.

    Raises
    ------
    RequestError
        If it is none, or of another version.
    """
    try:
        version = msgspec.json.decode(data, type=_Versioned).schema
        if version != SCHEMA:
            raise RequestError(
                f"its version is {version}, and {SCHEMA} is understood", where=f"{where}: {DOCUMENT}", remedy="use a newer Estran"
            )
        return msgspec.json.decode(data, type=Crate)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RequestError(
            f"it cannot be read: {error}", where=f"{where}: {DOCUMENT}", remedy="ask for the crate as it was exported"
        ) from error


def kind_of(folder: Path) -> Kind:
    """What a folder is.

    Raises
    ------
    RequestError
        If it is none of these.
    """
    for name, kind in SIGNS.items():
        if (folder / name).is_file():
            return kind
    raise RequestError(
        "this is no folder of a run, a study or an optimisation", where=str(folder), remedy="`estran ls` lists the runs"
    )


class _Versioned(msgspec.Struct):
    schema: int


SIGNS: Final[Mapping[str, Kind]] = {"run.json": "run", "study.json": "study", "optimize.json": "optimisation"}
"""Files that tell what a folder is."""
