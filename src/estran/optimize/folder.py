"""An optimisation's folder: what was asked, the journal, a study for each fidelity, and the tables that are made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import RequestError
from estran.optimize.fidelity import Fidelity
from estran.optimize.goals import Goals
from estran.optimize.journal import FILE, Journal
from estran.optimize.space import Space
from estran.optimize.trials import Trial, Trials
from estran.run.record import write_json, write_text
from estran.study.factors import Factor
from estran.study.folder import Asked as StudyAsked
from estran.study.folder import Folder as Study
from estran.study.rows import cell, csv_text
from estran.study.study import SEARCHED

SCHEMA: Final = 1
ASKED: Final = "optimize.json"
DIGITS: Final = 5
"""Of the numbers of runs in names of folders: how many there will be is not known beforehand."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an optimisation was asked to do: all that a later `estran resume` must know.

    Attributes
    ----------
    file
        The experiment file; ``digest`` is its SHA-256.
    fidelities
        Cheapest first; the last one, the target, is what counts.
    calibration
        The calibration file of simulated runs.
    overrides
        What was set on the command line.
    goals
        As `Goals.plain` writes them.
    trials
        Runs at the target, replicates included.
    replicates
        Of a point at the most.
    seed
        The first one; all that is drawn follows from it too.
    timeout
        Seconds that a run may take by the wall clock; None for as long as it takes.
    prune
        Which pruner ends hopeless runs; ``none`` for none.
    earlier
        Folders of studies and optimisations to start from.
    factors, details
        As in a study's file.
    """

    experiment: str
    file: str
    digest: str
    fidelities: tuple[Mapping[str, Any], ...]
    calibration: str | None
    overrides: tuple[str, ...]
    goals: Mapping[str, Any]
    trials: int
    replicates: int
    sampler: str
    seed: int
    timeout: float | None
    prune: str
    earlier: tuple[str, ...]
    factors: Mapping[str, tuple[Any, ...]]
    details: Mapping[str, Mapping[str, Any]]
    schema: int = SCHEMA


class Folder:
    """One optimisation's folder.

    Attributes
    ----------
    path
        Where it is.
    asked
        What was asked.
    """

    def __init__(self, path: Path, asked: Asked) -> None:
        self.path, self.asked = path, asked
        self._studies: dict[str, Study] = {}

    @classmethod
    def make(cls, path: Path, asked: Asked) -> Folder:
        """Begin an optimisation.

        Raises
        ------
        RequestError
            If the folder cannot be made.
        """
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise RequestError(
                f"cannot make the folder: {error.strerror}", where=str(path), remedy="choose another --out"
            ) from error
        write_json(path / ASKED, asdict(asked))
        return cls(path, asked)

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Read an optimisation that was begun.

        Raises
        ------
        RequestError
            If this is none, or of another version.
        """
        file = path / ASKED
        if not file.exists():
            raise RequestError("this is no folder of an optimisation", where=str(path), remedy="`estran optimize FILE` makes one")
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            if data.get("schema") != SCHEMA:
                raise RequestError(
                    f"its version is {data.get('schema')!r}, not {SCHEMA}", where=str(file), remedy="use the Estran that made it"
                )
            return cls(path, msgspec.convert(data, Asked))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, msgspec.ValidationError) as error:
            raise RequestError(
                f"it cannot be read: {error}", where=str(file), remedy="restore the file as it was written"
            ) from error

    @cached_property
    def space(self) -> Space:
        """What is searched."""
        return Space(tuple(Factor.read(name, levels, self.asked.details.get(name)) for name, levels in self.asked.factors.items()))

    @cached_property
    def goals(self) -> Goals:
        """What it is after."""
        return Goals.read(**self.asked.goals)

    @cached_property
    def fidelities(self) -> tuple[Fidelity, ...]:
        """Cheapest first."""
        return tuple(Fidelity(**one) for one in self.asked.fidelities)

    @property
    def target(self) -> Fidelity:
        """The one that counts."""
        return self.fidelities[-1]

    def journal(self) -> Journal:
        """Its journal, made if absent."""
        return Journal(self.path / FILE, self.space, self.goals, [one.name for one in self.fidelities])

    def trials(self) -> Trials:
        """All trials so far, as the journal tells."""
        return gathered(self.journal())

    def study(self, fidelity: str) -> Study:
        """The study of a fidelity, which holds its runs; made when the first of them is."""
        if fidelity not in self._studies:
            path = self.path / fidelity
            made = (path / "study.json").exists()
            self._studies[fidelity] = Study.open(path) if made else Study.make(path, self._study_asked(fidelity), ())
        return self._studies[fidelity]

    def _study_asked(self, fidelity: str) -> StudyAsked:
        asked = self.asked
        one = next(one for one in self.fidelities if one.name == fidelity)
        return StudyAsked(
            experiment=asked.experiment, file=asked.file, digest=asked.digest, on=one.on,
            calibration=asked.calibration if one.virtual else None, overrides=asked.overrides, design=SEARCHED, samples=None,
            replicates=asked.replicates, seed=asked.seed, retries=0, factors=asked.factors, details=asked.details, digits=DIGITS,
        )  # fmt: skip

    def write_trials(self, trials: Trials, runs: Mapping[int, str]) -> None:
        """Write ``trials.csv``, and ``times.csv`` with what depends on the clock.

        Parameters
        ----------
        runs
            Folder of each trial's run, by its number, from this folder.
        """
        names, measured = list(self.asked.factors), self.goals.responses
        header = [
            "trial",
            "point",
            "fidelity",
            "seed",
            "replicate",
            "what",
            "status",
            "folder",
            *names,
            *measured,
            "feasible",
            "why",
        ]
        write_text(self.path / "trials.csv", csv_text([*header, "failure"], _lines(trials, names, measured, runs)))
        times = [[trial.ask.number, f"{trial.told.seconds:.3f}"] for trial in trials if trial.told is not None]
        write_text(self.path / "times.csv", csv_text(["trial", "seconds"], times))


def gathered(journal: Journal) -> Trials:
    """All trials of a journal."""
    found = Trials()
    for ask, told in journal.recalled():
        found.add(ask)
        if told is not None:
            found.tell(ask.number, told)
    return found


def _lines(trials: Iterable[Trial], names: Sequence[str], measured: Sequence[str], runs: Mapping[int, str]) -> Iterator[list[Any]]:
    for trial in trials:
        ask, told = trial.ask, trial.told
        known = told.responses if told else {}
        feasible = "" if told is None or told.violations is None else json.dumps(told.feasible)
        yield [
            ask.number, ask.point, ask.fidelity, ask.seed, ask.replicate, ask.why.get("what", ""), told.status if told else "going",
            runs.get(ask.number, ""), *(cell(ask.levels[name]) for name in names),
            *(repr(known[name]) if name in known else "" for name in measured),
            feasible, json.dumps(dict(ask.why), ensure_ascii=False), (told.failure if told else None) or "",
        ]  # fmt: skip
