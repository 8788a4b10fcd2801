"""One tree of errors: each says what happened, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a user's file; lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.file, self.line, self.column]
        return ":".join(str(part) for part in parts if part is not None)


class EstranError(Exception):
    """Root of every error that Estran raises on purpose.

    Parameters
    ----------
    what
        What happened, in one sentence without a final full stop.
    where
        The place: a file position, a host, a service, a phase.
    remedy
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: Where | str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.remedy is None else f"{text}\n  → {self.remedy}"


class RequestError(EstranError):
    """The request was wrong: a bad option, a missing file, a verb that is not built."""

    exit_code = 2


class SpecError(RequestError):
    """An experiment file is wrong at one place."""


class SpecErrors(RequestError):  # noqa: N818 - it is many
    """All that is wrong with an experiment file, in the order of the file."""

    def __init__(self, errors: Sequence[SpecError]) -> None:
        count = len(errors)
        super().__init__(f"{count} error{'s' if count != 1 else ''} in the experiment file")
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class PlatformError(EstranError):
    """A platform cannot do, or failed to do, what was asked of it."""


class VerifyError(PlatformError):
    """A measured link or CPU share is outside tolerance of what was asked."""


class ServiceError(EstranError):
    """A service died, never got ready, or raised."""


class TransportError(EstranError):
    """A stream broke in a way that its delivery class does not allow."""


class DataError(EstranError):
    """A dataset is missing, malformed or unsuitable."""


def cause(error: EstranError | ExceptionGroup[Exception]) -> EstranError:
    """The first of our own errors in a group; anything else is a defect of Estran and is raised as it is."""
    if isinstance(error, EstranError):
        return error
    ours, others = error.split(EstranError)
    if others is not None or ours is None:
        raise error
    first: EstranError | ExceptionGroup[EstranError] = ours
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first


def expected(error: EstranError | ExceptionGroup[Exception]) -> bool:
    """Whether all that was raised is our own."""
    return isinstance(error, EstranError) or error.split(EstranError)[1] is None
