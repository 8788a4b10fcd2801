"""Which responses are better low, and which high; of all others a difference is only higher or lower."""

from __future__ import annotations

from typing import Final

GOOD_LOW: Final = (
    "latency", "staleness", "exchange_latency", "exchange_service_time", "energy", "bytes", "message_bytes", "loss", "duplicates",
    "reordered", "unprocessed", "cpu_seconds", "memory_peak",
)  # fmt: skip
"""Beginnings of the names of responses that are better low."""
GOOD_HIGH: Final = ("accuracy", "accuracy_final", "throughput", "exchanges")
"""Names of responses that are better high."""


def higher_is_better(response: str) -> bool | None:
    """Whether more of a response is better; None if that is not known. A part (``latency@detector``) is like the whole."""
    base = response.partition("@")[0]
    if base in GOOD_HIGH:
        return True
    return False if base.startswith(GOOD_LOW) else None
