"""The seam between a study and what makes its runs: an engine makes a task and says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

from estran.errors import EstranError, RequestError
from estran.spec.plug_ins import plug_ins
from estran.study.worker import Task

Tell = Callable[[str], None]
"""Tells whoever watches a study what its engine does."""
GROUP: Final = "estran.study_engines"
NAMES: Final = ("local", "slurm", "ray", "parsl")
_Number = TypeVar("_Number", int, float)


class Engine(Protocol):
    """Makes runs. As many tasks are asked of it at once as it is wide; each leaves a run folder, which is what holds.

    Attributes
    ----------
    width
        Tasks that may be asked of it at once.
    going
        Names of the run folders that it makes already, since an earlier session: they are to be asked of it again.
    """

    @property
    def width(self) -> int: ...

    @property
    def going(self) -> AbstractSet[str]: ...

    async def make(self, task: Task, began: Callable[[], None]) -> str:
        """Make a run. ``done``, ``failed`` or ``interrupted``; its folder tells more.

        Parameters
        ----------
        began
            Is called when the run begins, which may be long after it was asked for.

        Raises
        ------
        EngineError
            If what made the run ended in its middle; it may be asked for again.
        EstranError
            If no run can be made at all.
        """
        ...


class EngineError(EstranError):
    """What made a run of a study ended in its middle."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine, and what is asked of it.

    Attributes
    ----------
    name
        One of `NAMES`, or what an installed package calls its own.
    options
        What ``--engine-option`` gave; a name without ``=value`` has no value.
    """

    name: str = "local"
    options: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, options: tuple[str, ...]) -> Choice:
        """From the command line.

        Raises
        ------
        RequestError
            If there is no such engine, or an option is given twice.
        """
        if name not in NAMES and name not in (known := plug_ins(GROUP)):
            names = ", ".join((*NAMES, *sorted(known)))
            raise RequestError(f"there is no engine {name!r}", where="--engine", remedy=f"choose {names}")
        found: dict[str, str | None] = {}
        for option in options:
            key, equals, value = option.partition("=")
            if not key or key in found:
                what = "is given twice" if key else f"{option!r} has no name"
                raise RequestError(f"{key} {what}".strip(), where="--engine-option", remedy="write name=value, each name once")
            found[key] = value if equals else None
        return cls(name, found)

    def only(self, *names: str) -> None:
        """Refuse options other than these.

        Raises
        ------
        RequestError
            Naming the first unknown one.
        """
        for name in self.options:
            if name not in names:
                known = f"it takes {', '.join(names)}" if names else "leave it out"
                raise RequestError(f"{self.name} has no option {name!r}", where="--engine-option", remedy=known)

    def number(self, name: str, otherwise: _Number) -> _Number:
        """An option that is a positive number; ``otherwise`` has its type, and holds if it is not given.

        Raises
        ------
        RequestError
            If it is something else.
        """
        if name not in self.options:
            return otherwise
        text = self.options[name]
        try:
            value = type(otherwise)(text or "")
        except ValueError:
            value = type(otherwise)(0)
        if not 0 < value < float("inf"):
            raise RequestError(f"{name}={text} is no positive number", where="--engine-option", remedy=f"write {name}={otherwise}")
        return value


@dataclass(frozen=True, slots=True)
class Place:
    """For whom an engine works: the study's folder and id, how many runs side by side, and who is told."""

    study: Path
    jobs: int | None
    tell: Tell


def from_root(task: Task) -> Task:
    """A task whose folder is named from the root, so that it is the same wherever the task is made."""
    return {**task, "out": str(Path(task["out"]).resolve())}
