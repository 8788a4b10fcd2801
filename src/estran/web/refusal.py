"""Requests that are refused, and by which status of HTTP: what else is wrong with a request answers 400."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from estran.errors import RequestError, Where


class Refusal(RequestError):  # noqa: N818 - an answer, as it happens an exception
    """A request that cannot be answered: 400 asked wrongly, 404 not there, 409 cannot be as things stand, 413 too long."""

    def __init__(self, status: int, what: str, *, where: Where | str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.status = status


@contextmanager
def refused(status: int) -> Iterator[None]:
    """Answer requests that something below refuses by a status; it knows nothing of HTTP."""
    try:
        yield
    except Refusal:
        raise
    except RequestError as error:
        raise Refusal(status, error.what, where=error.where, remedy=error.remedy) from error
