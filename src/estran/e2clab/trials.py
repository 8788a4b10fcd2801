"""What a scenario is launched with, one time after another: configurations of `workflow_env.yaml`, and values of an optimiser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.errors import RequestError, SpecError
from estran.spec.document import read_ansible
from estran.spec.e2clab.model import STAGES, Scenario, Task

VARIABLE: Final = "optimization_config"
_USED: Final = re.compile(rf"\b{VARIABLE}\b")

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """One launch and finalize.

    Attributes
    ----------
    configuration
        Of `workflow_env.yaml`, if one was asked for.
    values
        What templates find in ``optimization_config``; None if there is no such variable.
    number
        Which set of values that is, from 1; None if there is only one.
    """

    configuration: str | None = None
    values: Values | None = None
    number: int | None = None

    @property
    def name(self) -> str:
        """Set before what is told of it; empty if there is nothing to tell apart."""
        return " ".join(self._parts())

    def folder(self, output: Path) -> Path:
        """Where its results go."""
        return output.joinpath(*self._parts())

    def _parts(self) -> list[str]:
        own = [] if self.number is None else [f"trial-{self.number}"]
        return own if self.configuration is None else [self.configuration, *own]

    def variables(self, scenario: Scenario) -> dict[str, Any]:
        """What templates know of it."""
        known: dict[str, Any] = {} if self.values is None else {VARIABLE: dict(self.values)}
        if self.configuration is not None:
            own = scenario.configurations[self.configuration]
            known |= {"app_conf": self.configuration, **{f"env_{key}": value for key, value in own.items()}}
        return known


def trials(configurations: Sequence[str], sets: Sequence[Values]) -> list[Trial]:
    """All of them: each configuration with each set of values."""
    numbered: list[tuple[Values | None, int | None]] = [
        (values, number if len(sets) > 1 else None) for number, values in enumerate(sets, 1)
    ]
    return [
        Trial(configuration, values, number)
        for configuration in configurations or (None,)
        for values, number in numbered or [(None, None)]
    ]


def read_values(path: Path) -> tuple[Values, ...]:
    """Read a file with one map of values, or a list of maps.

    Raises
    ------
    SpecErrors
        If it is no YAML.
    RequestError
        If it cannot be read.
    SpecError
        If it holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}", where="--optimization_config") from None
    document = read_ansible(text, str(path))
    found = document.data if isinstance(document.data, list) else [document.data]
    if not found or not all(isinstance(values, Mapping) and values for values in found):
        remedy = "write such as {workers: 4, batch: 32}, or a list of such maps, of which each is launched"
        raise SpecError("no map of names and values, and no list of such", where=document.marks.where(()), remedy=remedy)
    return tuple(found)


def refuse_unknown(scenario: Scenario, sets: Sequence[Values]) -> None:
    """Refuse tasks that need values where none are given.

    Raises
    ------
    RequestError
        With the first such task's place.
    """
    using = None if sets else next(_using(scenario), None)
    if using is not None:
        raise RequestError(
            f"the task {using.name!r} needs {VARIABLE}, which an optimiser gives",
            where=str(using.where),
            remedy="give its values with --optimization_config FILE; or migrate the scenario and use factors: `estran study`",
        )


def _using(scenario: Scenario) -> Iterator[Task]:
    """Tasks that name the variable."""
    for stage in STAGES:
        yield from (task for _, task in scenario.tasks(stage) if _names(task.data))


def _names(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_names(part) for part in value.values())
    return any(map(_names, value)) if isinstance(value, list) else bool(isinstance(value, str) and _USED.search(value))
