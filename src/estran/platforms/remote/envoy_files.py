"""Files that come to a host; sent with the envoy, see `estran.platforms.remote.envoy`.

What is slow to import and not always needed is imported where it is: the processor time of a host that is reached is mostly that of
Python's imports.
"""

from __future__ import annotations

import contextlib
import os


class Refused(Exception):  # noqa: N818 - a word, not a defect
    """A request cannot be met; the controller is told why."""


class Arriving:
    """A file under way: complete beside its place before it is put there."""

    def __init__(self, path: str) -> None:
        import hashlib
        import tempfile

        self.path = path
        self.digest = hashlib.sha256()
        self.error: OSError | None = None
        self.part: str | None = None
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor, self.part = tempfile.mkstemp(prefix=".estran-", dir=os.path.dirname(path))
            self.file = os.fdopen(descriptor, "wb")
        except OSError as error:
            self.error = error

    def take(self, data: bytes) -> None:
        """Append; the first failure is kept until the whole is asked for."""
        if self.error is None:
            self.digest.update(data)
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error

    def complete(self, sha256: str, mode: int | None) -> None:
        """Move into place, or remove what there is and say why."""
        try:
            if self.error is None and self.part is not None:
                try:
                    self.file.close()
                    if self.digest.hexdigest() != sha256:
                        raise Refused(self.path + " arrived with other bytes than were sent")
                    os.chmod(self.part, 0o644 if mode is None else mode)
                    os.replace(self.part, self.path)
                    return
                except OSError as error:
                    self.error = error
            raise Refused("cannot write {}: {}".format(self.path, self.error.strerror if self.error else "no file"))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Remove what there is of it beside its place."""
        if self.part is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.part)


def digest_if_file(path: str) -> str | None:
    """SHA-256 of a file, or None if there is none."""
    if not os.path.isfile(path):
        return None
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            piece = file.read(1 << 20)
            if not piece:
                return digest.hexdigest()
            digest.update(piece)


def new_folder(prefix: str) -> str:
    """Make a folder of this user alone, in the first place for temporary files that takes one."""
    places = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    places += ["/tmp", "/var/tmp", "/usr/tmp", os.getcwd()]  # noqa: S108 - nobody can foresee the name
    problems = []
    for place in places:
        path = os.path.join(os.path.abspath(place), prefix + os.urandom(6).hex())
        try:
            os.mkdir(path, 0o700)
            return path
        except OSError as error:
            problems.append("{}: {}".format(place, error.strerror))
    raise SystemExit("estran: no folder for temporary files ({})".format(", ".join(problems)))


def removed(folder: str) -> None:
    """Remove a folder with all in it, as far as that can be done."""
    try:
        os.rmdir(folder)
    except OSError:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
