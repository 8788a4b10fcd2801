"""Estran as a wheel, made of what is imported here: so that a crate can be run with the very code that made its record."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import estran

_FIXED: Final = (1980, 1, 1, 0, 0, 0)
_TAG: Final = "py3-none-any"


@functools.cache
def wheel() -> tuple[str, bytes]:
    """Name and content of the wheel: the same bytes for the same code."""
    version = estran.__version__
    info = f"estran-{version}.dist-info"
    files = dict(_package())
    files |= {f"{info}/{name}": data for name, data in _information()}
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: estran {version}\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(files.items())]
    files[record] = "\n".join([*lines, f"{record},,"]).encode() + b"\n"
    return f"estran-{version}-{_TAG}.whl", _zipped(files)


def _package() -> Iterator[tuple[str, bytes]]:
    """Modules, data files and examples."""
    root = Path(estran.__file__).parent
    examples = root / "examples" if (root / "examples").is_dir() else root.parent.parent / "examples"
    for folder, name in ((root, "estran"), (examples, "estran/examples")):
        for where, folders, names in os.walk(folder):
            folders[:] = [one for one in folders if one not in ("__pycache__", "runs", "studies") and Path(where, one) != examples]
            for one in names:
                path = Path(where, one)
                if not one.endswith((".nbi", ".nbc", ".pyc")):
                    yield f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _information() -> Iterator[tuple[str, bytes]]:
    distribution = metadata.distribution("estran")
    for name in ("METADATA", "entry_points.txt"):
        text = distribution.read_text(name)
        if text is not None:
            yield name, text.encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _FIXED)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
