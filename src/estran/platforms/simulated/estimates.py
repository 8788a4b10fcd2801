"""What the ready components' work costs where nothing better is known: estimates, and every run that uses one says so.

They were read off emulated runs of the visual-inspection example and of wider models (64 to 4096 features, up to a million
parameters) on one core of a 2020s cloud server, which is the speed 1.0 of the catalogue. They are right to a factor of two or so
for the bundled learners and say little about others: calibrate.
"""

from __future__ import annotations

from typing import Final

from estran.spec.costs import Cost

_PER_CALL: Final = {"predict": 60e-6, "learn": 30e-6, "snapshot": 10e-6, "load": 1e-3, "aggregate": 50e-6}
_PER_ITEM: Final = {"predict": 1e-6, "learn": 1e-6}
_PER_PARAMETER: Final = {"predict": 0.4e-9, "learn": 1.4e-9}
"""Seconds per item and parameter: two and six operations on memory that the cache holds."""
_COPIED: Final = {"snapshot": 0.5e-9, "load": 5e-9, "aggregate": 5e-9}
"""Seconds per parameter, once per call."""

RECEIVE: Final = Cost(400e-6, 100e-6)
"""Processor time of receiving messages that come together, and each of them, all threads together."""
SEND: Final = Cost(200e-6, 100e-6)
"""Processor time of sending so; acknowledgements that come back cost the first part again."""
TAKE: Final = Cost(80e-6, 50e-6)
"""Time on the way of each message between being taken up and being done, beside operations: per batch, and per message."""
WAKE: Final = Cost(100e-6)
"""From arrival at an idle replica to being taken up."""
EXTRA: Final = Cost(300e-6)
"""From being sent to having arrived, beside the link's own delay and rate."""


def estimate(component: str, operation: str, parameters: int) -> Cost | None:
    """Estimated cost of an operation at speed 1.0.

    Parameters
    ----------
    component
        Name in the experiment file; the estimate holds for any that does these operations with one of the bundled learners.
    operation
        ``predict``, ``learn``, ``snapshot``, ``load`` or ``aggregate``; nothing is known of others.
    parameters
        Numbers that the model consists of.
    """
    if operation not in _PER_CALL:
        return None
    copied = _COPIED.get(operation, 0.0) * parameters
    each = _PER_ITEM.get(operation, 0.0) + _PER_PARAMETER.get(operation, 0.0) * parameters
    return Cost(_PER_CALL[operation] + copied, each)
