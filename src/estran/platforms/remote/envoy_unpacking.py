"""Unpacks what comes to a host, and packs what goes back; an envoy learns this module, so it is of Python 3.8.

Often it is only asked what is there already: what is slow to import is imported where it is needed.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any


def is_unpacked(envoy: Any, data: bytes, folder: str) -> bool:
    """Whether a folder is there, which it is only if it is whole."""
    return os.path.isdir(envoy.place(folder))


def unpack(envoy: Any, data: bytes, archive: str, folder: str) -> None:
    """Unpack an archive into a folder, and remove the archive; see `unpacked`."""
    archive = envoy.place(archive)
    try:
        unpacked(archive, envoy.place(folder))
    finally:
        with contextlib.suppress(OSError):
            os.unlink(archive)


def unpacked(archive: str, folder: str) -> None:
    """Unpack an archive into a folder that is there afterwards as a whole, whoever else does the same."""
    import shutil
    import tarfile
    import tempfile

    os.makedirs(os.path.dirname(folder), exist_ok=True)
    made = tempfile.mkdtemp(prefix=".unpacking-", dir=os.path.dirname(folder))
    try:
        with tarfile.open(archive) as packed:
            if hasattr(tarfile, "data_filter"):
                packed.extractall(made, filter="data")
            else:
                packed.extractall(made)  # noqa: S202 - the archive is the controller's own, and its checksum was compared
        os.chmod(made, 0o755)  # noqa: S103 - the packages are no secret
        with contextlib.suppress(OSError):  # another has been quicker
            os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    if not os.path.isdir(folder):
        raise OSError("cannot make " + folder)


def pack(envoy: Any, data: bytes, folder: str) -> Any:
    """All regular files below a folder, as an archive; how many there are and how large."""
    import io
    import tarfile

    folder = envoy.place(folder)
    found = io.BytesIO()
    count = 0
    with tarfile.open(fileobj=found, mode="w:gz", compresslevel=1) as packed:
        for where, _, names in os.walk(folder):
            for name in sorted(names):
                path = os.path.join(where, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    packed.add(path, os.path.relpath(path, folder), recursive=False)
                    count += 1
    return {"files": count}, found.getvalue()
