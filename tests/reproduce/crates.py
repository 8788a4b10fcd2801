"""Small crates made by hand, right and wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import msgspec

from estran.reproduce.layout import DOCUMENT, SEAL, Asked, Binding, Crate, Packed, Role, encode

DESCRIPTION = "experiment/experiment.yaml"
FILES: Mapping[str, tuple[Role, bytes]] = {
    DESCRIPTION: ("description", b"experiment: tiny\nservices: {a: {command: [sh, -c, 'exit 0']}, b: {component: mine:Thing}}\n"),
    "experiment/calibration.json": ("calibration", b"{}"),
    "experiment/mine.py": ("code", b"raise SystemExit('executed')\n"),
    "experiment/data.npz": ("data", bytes(range(256))),
    "record/run.json": ("record", b'{"schema": 1}'),
    "record/messages.parquet": ("record", b"PAR1" * 100),
    "environment/lock.json": ("environment", b'{"python": {"version": "3.11.2"}, "distributions": []}'),
    "environment/estran-0.1-py3-none-any.whl": ("estran", b"PK"),
    "ro-crate-metadata.json": ("metadata", b"{}"),
}


def crate_of(files: Mapping[str, tuple[Role, bytes]] = FILES, **more: Any) -> Crate:
    """What ``crate.json`` says of some files."""
    packed = tuple(
        Packed(path=path, role=role, size=len(data), sha256="sha256:" + hashlib.sha256(data).hexdigest())
        for path, (role, data) in sorted(files.items())
    )
    plain: dict[str, Any] = {
        "kind": "run", "experiment": "tiny", "id": "1", "status": "done", "ended": None, "parts": (), "files": packed,
        "estran": "0.1",
        "asked": Asked(verb="run", file=DESCRIPTION, seed=1), "binding": Binding(platform="simulate", on="simulate"),
    }  # fmt: skip
    return msgspec.convert({**plain, **more}, Crate)


def write(
    path: Path,
    files: Mapping[str, tuple[Role, bytes]] = FILES,
    *,
    crate: Crate | None = None,
    more: list[tuple[ZipInfo | str, bytes]] | None = None,
    seal: bool = True,
) -> Path:
    """Write a crate, with further entries that it does not list."""
    document = encode(crate or crate_of(files))
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, (_, data) in files.items():
            archive.writestr(name, data)
        archive.writestr(DOCUMENT, document)
        for entry, data in more or []:
            archive.writestr(entry, data)
        if seal:
            archive.comment = (SEAL + hashlib.sha256(document).hexdigest()).encode()
    return path
