"""Writing a crate: the same bytes for the same record, wherever and whenever it is written."""

from __future__ import annotations

import hashlib
import re
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from estran.errors import EstranError, RequestError
from estran.observe.manifest import digest
from estran.observe.secrets import known_secrets, secrets_in, without
from estran.reproduce.gathering import Gathered, Item, gather
from estran.reproduce.layout import DOCUMENT, METADATA, README, RECORD, SEAL, Crate, Packed, encode
from estran.reproduce.readme import readme
from estran.reproduce.records import Record, read_record
from estran.reproduce.ro_crate import metadata

FIXED: Final = (1980, 1, 1, 0, 0, 0)
"""Time of change of every file in a crate: the earliest that zip files know."""
CHUNK: Final = 1 << 20
_LICENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*|https?://\S+", re.ASCII)
TEXT: Final = (
    ".json",
    ".jsonl",
    ".yaml",
    ".yml",
    ".csv",
    ".txt",
    ".log",
    ".md",
    ".html",
    ".patch",
    ".py",
    ".sh",
    ".toml",
    ".cfg",
    ".ini",
)
_PACKED: Final = (".parquet", ".npz", ".whl", ".gz", ".zip", ".png", ".jpg", ".zst", ".xz", ".bz2")
"""Not worth compressing again."""


def write_crate(
    folder: Path, out: Path | None = None, *, experiment: Path | None = None, licence: str | None = None
) -> tuple[Path, Crate]:
    """Pack a run, a study or an optimisation.

    Parameters
    ----------
    folder
        Its folder.
    out
        The file, whose name ends with ``.zip``, or a folder for it, which is made; beside the record if not given.
    experiment
        The experiment file, if it is no longer where it was.
    licence
        Under which others may use what is in it: an SPDX identifier or a URL.

    Returns
    -------
    tuple
        The file, and what ``crate.json`` in it says.

    Raises
    ------
    RequestError
        If the licence is none, the record goes on, a file of the experiment is not what it was or holds a secret, or the file is
        there already.
    EstranError
        If it cannot be written.
    """
    if licence is not None and _LICENCE.fullmatch(licence) is None:
        remedy = "write an SPDX identifier, such as CC-BY-4.0, or a URL"
        raise RequestError(f"{licence!r} is no licence", where="--license", remedy=remedy)
    record = read_record(folder)
    gathered = gather(record, experiment)
    try:
        path = _place(out, record, gathered.crate)
    except OSError as error:
        what = f"no folder can be made here: {error.strerror}"
        raise RequestError(what, where=str(out), remedy="use --out FOLDER, or --out FILE.zip") from error
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".crate-", delete=False) as part:
            try:
                with zipfile.ZipFile(part, "w", allowZip64=True) as archive:
                    crate = _pack(archive, gathered, record, licence)
                part.close()
                Path(part.name).chmod(0o644)
                Path(part.name).replace(path)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except OSError as error:
        raise EstranError(
            f"cannot be written: {error.strerror}", where=str(path), remedy="free some space, or use --out"
        ) from error
    return path, crate


def _place(out: Path | None, record: Record, crate: Crate) -> Path:
    name = f"{crate.experiment}-{crate.id}.crate.zip"
    path = record.folder.resolve().parent / name if out is None else out if _is_file(out) else out / name
    if path.exists():
        raise RequestError("it is there already", where=str(path), remedy="remove it, or use --out")
    if out is not None and not _is_file(out):
        out.mkdir(exist_ok=True)
    if not path.parent.is_dir():
        raise RequestError("there is no such folder", where=str(path.parent), remedy="make it, or use another --out")
    return path


def _is_file(out: Path) -> bool:
    """Whether a file is meant: a crate's name ends with ``.zip``."""
    return out.suffix.lower() == ".zip" and not out.is_dir()


def _pack(archive: zipfile.ZipFile, gathered: Gathered, record: Record, licence: str | None) -> Crate:
    secrets = (*known_secrets(), *secrets_in(record.asked.get("overrides", ())))
    packed: list[Packed] = []
    warnings = list(gathered.crate.warnings)
    expected = _expected(record)
    for item in gathered.items:
        _as_left(item, expected.pop(item.path, None))
        clean = _without_secrets(item, secrets)
        if clean is not item:
            warnings.append(f"{item.path}: a secret is hidden")
        packed.append(_add(archive, clean))
    for path in expected:
        raise RequestError("it is gone, and the run has left it", where=path, remedy="restore it, or run again")
    crate = msgspec.structs.replace(gathered.crate, files=tuple(packed), warnings=tuple(warnings))
    packed.append(_add(archive, Item(README, "metadata", readme(crate, gathered.experiment, licence))))
    crate = msgspec.structs.replace(crate, files=tuple(packed))
    described = metadata(crate, record, gathered.experiment, licence)
    packed.append(_add(archive, Item(METADATA, "metadata", described)))
    crate = msgspec.structs.replace(crate, files=tuple(sorted(packed)))
    document = encode(crate)
    _add(archive, Item(DOCUMENT, "metadata", document))
    archive.comment = (SEAL + hashlib.sha256(document).hexdigest()).encode()
    return crate


def _expected(record: Record) -> dict[str, str]:
    """Hashes of what runs left, by path in the crate."""
    found: dict[str, str] = {}
    for run in record.runs:
        place = "/".join(part for part in (RECORD, record.name(run)) if part)
        found |= {f"{place}/{name}": value for name, value in run.status.artefacts.items()}
    return found


def _as_left(item: Item, expected: str | None) -> None:
    """Raise RequestError if a file is no longer what the run left."""
    if expected is not None and isinstance(item.origin, Path) and digest(item.origin) != expected:
        raise RequestError("it is no longer what the run left", where=str(item.origin), remedy="restore it, or run again")


def _without_secrets(item: Item, secrets: Iterable[str]) -> Item:
    """A file of the record without known secrets; the experiment's own must hold none."""
    if not isinstance(item.origin, Path) or item.origin.suffix.lower() not in TEXT:
        return item
    data = item.origin.read_bytes()
    if not any(secret.encode() in data for secret in secrets):
        return item
    if item.role != "record":
        raise RequestError(
            "it holds the value of a variable of the environment that is named as secrets are",
            where=str(item.origin),
            remedy="have the experiment read it from the environment, and run again",
        )
    text = without(data.decode("utf-8", "surrogateescape"), secrets)
    return replace(item, origin=text.encode("utf-8", "surrogateescape"))


def _add(archive: zipfile.ZipFile, item: Item) -> Packed:
    entry = zipfile.ZipInfo(item.path, FIXED)
    entry.create_system = 3
    entry.external_attr = (0o100755 if item.executable else 0o100644) << 16
    entry.compress_type = zipfile.ZIP_STORED if item.path.lower().endswith(_PACKED) else zipfile.ZIP_DEFLATED
    size = len(item.origin) if isinstance(item.origin, bytes) else item.origin.stat().st_size
    digest = hashlib.sha256()
    written = 0
    with archive.open(entry, "w", force_zip64=size >= zipfile.ZIP64_LIMIT) as target:
        for chunk in _chunks(item.origin):
            target.write(chunk)
            digest.update(chunk)
            written += len(chunk)
    return Packed(path=item.path, role=item.role, size=written, sha256=f"sha256:{digest.hexdigest()}", executable=item.executable)


def _chunks(origin: Path | bytes) -> Iterable[bytes]:
    if isinstance(origin, bytes):
        yield origin
        return
    with origin.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
