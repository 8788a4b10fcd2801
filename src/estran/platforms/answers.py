"""What is at the other end of a host's connection is trusted in what it says only as far as that can be what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from estran.errors import PlatformError

REMEDY = "see whether something else than Estran runs there"

NO_SENSE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What comes of taking in what makes no sense."""


def understood(told: Any, answer: Any, host: str) -> Any:
    """An answer as the type that was asked for.

    Raises
    ------
    PlatformError
        If it is none, with the name of the host.
    """
    with _asked_for(host):
        return msgspec.convert(told, answer)


def decoded(told: bytes, answer: Any, host: str) -> Any:
    """The same, of an answer that is JSON text."""
    with _asked_for(host):
        return msgspec.json.decode(told, type=answer)


@contextmanager
def _asked_for(host: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, RecursionError) as error:
        raise PlatformError(f"it answers what was not asked for: {error}", where=host, remedy=REMEDY) from error


def misheard(who: str, error: BaseException) -> str:
    """That somebody says what makes no sense, in words."""
    return f"{who} says what cannot be understood ({type(error).__name__}: {error})"
