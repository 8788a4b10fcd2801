"""One process at a time goes on with a study or an optimisation: two would make the same runs in the same folders."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from estran.errors import RequestError

_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What file systems without locks say, such as a Lustre that is mounted so: whoever works there must mind it."""


@contextmanager
def alone(document: Path) -> Iterator[None]:
    """Hold a document of the folder while its runs are made; the kernel lets go of it however this process ends.

    Raises
    ------
    RequestError
        If another process holds it, or it cannot be written.
    """
    try:
        descriptor = os.open(document, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        remedy = "copy the folder to where it can be written"
        raise RequestError(f"it cannot be gone on with: {error.strerror}", where=str(document), remedy=remedy) from error
    try:
        _lock(descriptor, document.parent)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        remedy = "wait until it has ended, or end it with Ctrl-C first"
        raise RequestError("another process is making its runs", where=str(folder), remedy=remedy) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
