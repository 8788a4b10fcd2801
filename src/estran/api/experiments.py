"""An experiment as Python asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estran.errors import RequestError
from estran.spec.model import Experiment as Description
from estran.study.rows import cell

Set = Mapping[str, Any] | Sequence[str] | None
"""Levels of factors, and changes of places in the document: a map, or options ``path=value`` as on the command line."""


@dataclass(frozen=True)
class Experiment:
    """An experiment file that has been checked, with what is set in it.

    Attributes
    ----------
    file
        Where it is.
    set
        Options ``path=value``.
    seed
        Instead of the file's; None for that.
    description
        The whole experiment as typed data, quantities in SI units.
    """

    file: str
    set: tuple[str, ...]
    seed: int | None
    description: Description = field(repr=False)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.description.name

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """Levels of each factor."""
        return self.description.factors

    @property
    def levels(self) -> Mapping[str, Any]:
        """The level in force for each factor."""
        return self.description.assignment

    def _repr_html_(self) -> str:
        from estran.report.inline import experiment
        from estran.run.prepare import plain_plan, planned

        try:
            plan = plain_plan(planned(self.description))
        except RequestError:  # too many hosts to draw each
            plan = {}
        return experiment(self.name, self.description.title, self.factors, self.levels, plan)


def load(path: str | Path, *, set: Set = None, seed: int | None = None) -> Experiment:  # noqa: A002 the option's name
    """Read and check an experiment file.

    Parameters
    ----------
    path
        The experiment file, or its folder.
    set
        Levels of factors and changes of places in the document, such as ``{"placement": "edge", "measure.duration": "5s"}``.
    seed
        Instead of the file's.

    Raises
    ------
    SpecErrors
        All that is wrong, each with file, line and column.
    RequestError
        If there is no such file.
    """
    from estran.run.prepare import read_experiment

    options = as_options(set)
    return Experiment(str(path), options, seed, read_experiment(str(path), overrides=options, seed=seed)[0])


def asked(experiment: Experiment | str | Path, set: Set, seed: int | None) -> Experiment:  # noqa: A002 the option's name
    """An experiment that is given itself, or as its file, with what is set for one verb; read only where that is not yet done."""
    if not isinstance(experiment, Experiment):
        return load(experiment, set=set, seed=seed)
    if set is None and seed is None:
        return experiment
    options = (*experiment.set, *as_options(set))
    return load(experiment.file, set=options, seed=experiment.seed if seed is None else seed)


def as_options(set: Set) -> tuple[str, ...]:  # noqa: A002 the option's name
    """Options ``path=value``."""
    if isinstance(set, Mapping):
        return tuple(f"{name}={cell(value)}" for name, value in set.items())
    if isinstance(set, str):
        raise RequestError(f"{set!r} is text", where="set", remedy='give a map, as set={"placement": "edge"}')
    return tuple(set or ())


def command(verb: str, experiment: Experiment, **options: Any) -> list[str]:
    """The command line that asks for the same: for the record."""
    words = ["estran", verb, experiment.file]
    for option in experiment.set:
        words += ["--set", option]
    options = {"seed": experiment.seed, **options}
    for name, value in options.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False:
            for one in value if isinstance(value, tuple) else (value,):
                words += [f"--{name.replace('_', '-')}", str(one)]
    return words
