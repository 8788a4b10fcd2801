"""The seam to components: what a description must know of a component without importing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

Fault: TypeAlias = tuple[tuple[str | int, ...], str]
"""A path into a service's settings, and what is wrong there; a remedy may follow after ``'; '``."""


def any_settings(settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Fault]]:
    """Accept all settings as they are: for a component that declares none."""
    return dict(settings), []


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    """What a component declares.

    Attributes
    ----------
    inputs, outputs
        Payload type by port name; an empty text fits every type.
    validate
        Takes the ``with:`` block; returns it with defaults left out and quantities in SI units, and all faults.
    settings
        JSON Schema of the ``with:`` block.
    metrics
        Names that it records, usable in ``measure.until``; None if they are not known beforehand.
    faults
        Kinds of faults of its data that it can bring about itself.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    validate: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], list[Fault]]] = any_settings
    settings: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    metrics: tuple[str, ...] | None = None
    faults: tuple[str, ...] = ()


class ComponentIndex(Protocol):
    """Finds components by name; implemented on a higher floor."""

    def names(self) -> Iterable[str]:
        """Names of the built-in and installed components."""
        ...

    def describe(self, name: str) -> ComponentFacts:
        """Facts of a component, by its name or as ``module:Class``.

        Raises
        ------
        RequestError
            If there is no such component, or its module cannot be imported; ``what`` and ``remedy`` are shown to the user.
        """
        ...
