"""Opening a crate as what it is, data from others: nothing leaves its folder, nothing is executed, every hash is checked.

The names, kinds and sizes of all entries are checked before the first is read: each is a file that stays below the folder, no two
are one on any file system, and none is larger, once unpacked, than it says. ``crate.json`` is what the zip's comment seals, and the
entries are exactly the files that it lists, with their sizes and hashes.
"""

from __future__ import annotations

import hashlib
import stat
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from estran.errors import RequestError
from estran.reproduce.layout import DOCUMENT, SEAL, Crate, Packed, decode

MOST_FILES: Final = 1_000_000
MOST_BYTES: Final = 64 << 30
"""All files of a crate together, unpacked."""
MOST_RATIO: Final = 200
"""Unpacked bytes by bytes of the zip file, beyond `SMALL`: tables and text do not come near, bombs exceed it."""
SMALL: Final = 64 << 20
MOST_DOCUMENT: Final = 512 << 20
MOST_DESCRIPTION: Final = 16 << 20
_CHUNK: Final = 1 << 20
_LONGEST: Final = 255
_DEEPEST: Final = 64


def inspect(path: Path) -> tuple[Crate, bytes]:
    """Check a crate without writing anything; returns what it says of itself, and its description.

    Raises
    ------
    RequestError
        If it is no crate, incomplete, tampered with, or hostile; naming the file.
    """
    description = b""
    with _opened(path) as archive:
        crate, entries = _listed(archive, path)
        for file in crate.files:
            content = _content(archive, entries, file, path)
            if file.path == crate.asked.file:
                description = b"".join(content)
            else:
                for _ in content:
                    pass
    return crate, description


def unpack(path: Path, into: Path) -> Crate:
    """Write a crate's files below a folder that does not exist yet, checked as by `inspect`.

    Raises
    ------
    RequestError
        As `inspect`; or if a file cannot be written. What was written until then stays.
    """
    try:
        into.mkdir(parents=True)
        with _opened(path) as archive:
            crate, entries = _listed(archive, path)
            for file in crate.files:
                _write(into / file.path, _content(archive, entries, file, path), file.executable)
            (into / DOCUMENT).write_bytes(archive.read(entries[DOCUMENT]))
    except OSError as error:
        what = f"cannot write it: {error.strerror}"
        raise RequestError(what, where=str(error.filename or into), remedy="choose another --out") from error
    return crate


def sha256(path: Path) -> str:
    """``sha256:…`` of a file."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[ZipFile]:
    if not path.is_file():
        raise RequestError("there is no such crate", where=str(path), remedy="`estran export RUN --to crate` writes one")
    try:
        with ZipFile(path) as archive:
            yield archive
    except (BadZipFile, LargeZipFile, NotImplementedError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise _refused(path, "", f"it is no zip file, or damaged: {error}") from error


def _listed(archive: ZipFile, path: Path) -> tuple[Crate, dict[str, ZipInfo]]:
    """What the crate says of itself, and its entries by path: exactly those."""
    entries = _entries(archive, path)
    if DOCUMENT not in entries:
        raise _refused(path, DOCUMENT, "is missing")
    if entries[DOCUMENT].file_size > MOST_DOCUMENT:
        raise _refused(path, DOCUMENT, "is too large")
    data = archive.read(entries[DOCUMENT])
    if archive.comment.decode("ascii", "replace") != SEAL + hashlib.sha256(data).hexdigest():
        raise _refused(path, DOCUMENT, "is not what the crate was sealed with" if archive.comment else "is not sealed")
    crate = decode(data, str(path))
    listed = {file.path: file for file in crate.files}
    for name in sorted(listed.keys() - entries.keys()):
        raise _refused(path, name, "is missing")
    for name in sorted(entries.keys() - listed.keys() - {DOCUMENT}):
        raise _refused(path, name, "is not listed in crate.json")
    for name, file in listed.items():
        if entries[name].file_size != file.size:
            raise _refused(path, name, f"has {entries[name].file_size} bytes, and {file.size} were packed")
    if crate.asked.file not in listed or listed[crate.asked.file].size > MOST_DESCRIPTION:
        raise _refused(path, crate.asked.file, "is the description, and missing or too large")
    return crate, entries


def _entries(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    """Entries by their path, checked one by one and together."""
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise _refused(path, "", f"it has {len(infos):,} files; {MOST_FILES:,} are the most")
    for info in infos:
        if (wrong := _wrong(info)) is not None:
            raise _refused(path, info.orig_filename, wrong)
    _bounded(infos, path)
    _distinct(infos, path)
    return {info.filename: info for info in infos}


def _wrong(info: ZipInfo) -> str | None:
    """What is wrong with an entry by itself."""
    name, mode = info.orig_filename, info.external_attr >> 16
    parts = name.split("/")
    if name != info.filename or "\\" in name or ":" in name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "its name is not allowed"
    if any(part in ("", ".", "..") for part in parts):
        return "its name leads out of the crate"
    if len(parts) > _DEEPEST or any(len(part.encode()) > _LONGEST for part in parts):
        return "its name is too long"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "it is no file: a link, a folder, a device, a socket or a pipe"
    if info.flag_bits & 0x1:
        return "it is encrypted"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "it is compressed in a way that is not understood"
    return None


def _bounded(infos: list[ZipInfo], path: Path) -> None:
    """Refuse what would fill the disk: more than it may be, or entries that share their bytes."""
    packed, total = path.stat().st_size, sum(info.file_size for info in infos)
    if total > MOST_BYTES or total > max(SMALL, MOST_RATIO * packed):
        raise _refused(path, "", f"it would unpack to {total:,} bytes from {packed:,}")
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise _refused(path, info.filename, "it overlaps another entry")
        end = info.header_offset + 30 + len(info.filename) + info.compress_size
    if end > packed:
        raise _refused(path, "", "it is cut off")


def _distinct(infos: list[ZipInfo], path: Path) -> None:
    """Refuse names that are one on some file systems, and files that are also folders."""
    seen: dict[str, ZipInfo] = {}
    for info in infos:
        key = _folded(info.filename)
        if key in seen:
            raise _refused(path, info.filename, f"its name is that of {seen[key].filename}")
        seen[key] = info
    for key in seen:
        for parent in _parents(key):
            if parent in seen:
                raise _refused(path, seen[parent].filename, f"it is a file, and a folder of {seen[key].filename}")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _parents(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def _content(archive: ZipFile, entries: dict[str, ZipInfo], file: Packed, path: Path) -> Iterator[bytes]:
    """A file's bytes; its size and hash are checked at their end."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(entries[file.path]) as source:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > file.size:
                    raise _refused(path, file.path, "is larger than it says")
                digest.update(chunk)
                yield chunk
    except (BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise _refused(path, file.path, f"is damaged: {error}") from error
    if size != file.size or "sha256:" + digest.hexdigest() != file.sha256:
        raise _refused(path, file.path, "is not what was packed: its hash differs")


def _write(target: Path, content: Iterable[bytes], executable: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.writelines(content)
    target.chmod(0o755 if executable else 0o644)


def _refused(path: Path, name: str, what: str) -> RequestError:
    text = f"{name!r} {what}" if name else what
    return RequestError(f"the crate is refused: {text}", where=str(path), remedy="ask for the crate as it was exported")
