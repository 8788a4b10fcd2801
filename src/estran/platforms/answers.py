"""What is at the other end of a host's connection is trusted in what it says only as far as that can be what was asked for."""

from __future__ import annotations

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
    try:
        return msgspec.convert(told, answer)
    except (ValueError, OverflowError, RecursionError) as error:
        raise PlatformError(f"it answers what was not asked for: {error}", where=host, remedy=REMEDY) from error


def misheard(who: str, error: BaseException) -> str:
    """That somebody says what makes no sense, in words."""
    return f"{who} says what cannot be understood ({type(error).__name__}: {error})"
