"""What a learner's settings may be: each check gives back the value, or says what to give instead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from estran.errors import RequestError


def positive(learner: str, name: str, value: float) -> float:
    """Make sure that a setting is a positive number.

    Raises
    ------
    RequestError
        If it is not.
    """
    return within(learner, name, value, 0.0, math.inf)


def within(learner: str, name: str, value: float, low: float, high: float, *, closed: bool = False) -> float:
    """Make sure that a setting lies between two bounds; ``closed`` lets it be the lower one.

    Raises
    ------
    RequestError
        If it does not.
    """
    if not _is_number(value) or not (low < value < high or (closed and value == low)):
        first = f"from {low:g}" if closed else f"above {low:g}"
        limit = "" if high == math.inf else f" and below {high:g}"
        raise RequestError(f"{name} is {value!r}", where=learner, remedy=f"give a number {first}{limit}")
    return float(value)


def whole(learner: str, name: str, value: int, low: int = 1) -> int:
    """Make sure that a setting is a whole number of at least ``low``.

    Raises
    ------
    RequestError
        If it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise RequestError(f"{name} is {value!r}", where=learner, remedy=f"give a whole number from {low}")
    return value


def one_of(learner: str, name: str, value: str, options: Sequence[str]) -> int:
    """Make sure that a setting is one of some words, and answer which.

    Raises
    ------
    RequestError
        If it is none of them.
    """
    if value not in options:
        raise RequestError(f"{name} is {value!r}", where=learner, remedy=f"give {', '.join(options[:-1])} or {options[-1]}")
    return list(options).index(value)


def flag(learner: str, name: str, value: bool) -> bool:
    """Make sure that a setting is true or false.

    Raises
    ------
    RequestError
        If it is neither.
    """
    if not isinstance(value, bool):
        raise RequestError(f"{name} is {value!r}", where=learner, remedy="give true or false")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
