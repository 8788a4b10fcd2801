"""A study's folder: what was asked, the design, the runs, the table of responses. What the run folders say is what holds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from estran.errors import EstranError, RequestError
from estran.observe.queries import open_run
from estran.run.record import write_json, write_text
from estran.study.factors import Factor
from estran.study.rows import OWN, Row, cell, csv_text, design_text, read_design

SCHEMA: Final = 1
DOCUMENT: Final = "study.json"
"""What was asked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a study was asked to do: all that a later `estran resume` must know.

    Attributes
    ----------
    file
        The experiment file; ``digest`` is its SHA-256, so that nothing is resumed with another one.
    on, calibration
        The platform, and the calibration file of simulated runs.
    overrides
        What was set on the command line.
    design, samples, replicates, seed
        As on the command line, the first seed resolved.
    retries
        How often a failed run is made again.
    factors, details
        Levels of each factor, and of those that are no plain list of levels what else there is to say (`Factor.details`).
    digits
        Of the numbers in names of run folders; 0 for as many as the last run's number has.
    notes
        What to know of the design.
    engine, engine_options
        What makes the runs, unless `estran resume` is told otherwise.
    """

    experiment: str
    file: str
    digest: str
    on: str
    calibration: str | None
    overrides: tuple[str, ...]
    design: str
    samples: int | None
    replicates: int
    seed: int
    retries: int
    factors: Mapping[str, tuple[Any, ...]]
    engine: str = "local"
    engine_options: tuple[str, ...] = ()
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    digits: int = 0
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a row has come, and its last attempt's folder and number.

    ``todo``, ``done``, ``failed`` or ``interrupted``; in studies of an optimisation also ``pruned`` or ``timed-out``.
    """

    status: str
    folder: Path | None = None
    attempts: int = 0
    responses: Mapping[str, Mapping[str, Any]] | None = None
    failure: str | None = None


def digest(file: Path) -> str:
    """SHA-256 of an experiment file."""
    return sha256(file.read_bytes()).hexdigest()


class Folder:
    """One study's folder.

    Attributes
    ----------
    path
        Where it is.
    asked, rows
        What was asked, and what is to be run.
    """

    def __init__(self, path: Path, asked: Asked, rows: Sequence[Row]) -> None:
        self.path, self.asked, self.rows = path, asked, tuple(rows)

    @classmethod
    def make(cls, path: Path, asked: Asked, rows: Sequence[Row]) -> Folder:
        """Begin a study.

        Raises
        ------
        RequestError
            If the folder cannot be made.
        """
        try:
            (path / "runs").mkdir(parents=True)
        except OSError as error:
            raise RequestError(
                f"cannot make the folder: {error.strerror}", where=str(path), remedy="choose another --out"
            ) from error
        write_text(path / "design.csv", design_text(rows, list(asked.factors)))
        write_json(path / DOCUMENT, asdict(asked))
        return cls(path, asked, rows)

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Read a study that was begun.

        Raises
        ------
        RequestError
            If this is no study, or of another version.
        """
        file = path / DOCUMENT
        if not file.exists():
            raise RequestError("this is no folder of a study", where=str(path), remedy=_instead(path))
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            if data.get("schema") != SCHEMA:
                raise RequestError(
                    f"its version is {data.get('schema')!r}, not {SCHEMA}", where=str(file), remedy="use the Estran that made it"
                )
            asked = msgspec.convert(data, Asked)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, msgspec.ValidationError) as error:
            raise RequestError(
                f"it cannot be read: {error}", where=str(file), remedy="restore the file as it was written"
            ) from error
        return cls(path, asked, read_design(path / "design.csv"))

    def factors(self) -> tuple[Factor, ...]:
        """The factors that vary."""
        return tuple(Factor.read(name, levels, self.asked.details.get(name)) for name, levels in self.asked.factors.items())

    def add(self, row: Row) -> None:
        """Add a row to the design of a study that grows while it goes on."""
        self.rows = (*self.rows, row)
        write_text(self.path / "design.csv", design_text(self.rows, list(self.asked.factors)))

    def attempt(self, row: Row, number: int) -> Path:
        """Folder of an attempt at a row."""
        digits = self.asked.digits or len(str(len(self.rows)))
        return self.path / "runs" / f"{row.run:0{digits}d}-{number}"

    def outcome(self, row: Row) -> Outcome:
        """How far a row has come, as its run folders tell.

        A run that was killed is still to be made: its folder is kept, and the next attempt has another number.
        """
        return self._outcome((self.path / "runs").glob(self.attempt(row, 0).name[:-1] + "*"))

    def outcomes(self) -> dict[int, Outcome]:
        """Of every row, by its number, in order."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in (self.path / "runs").glob("*-*"):
            found[path.name.partition("-")[0]].append(path)
        return {row.run: self._outcome(found[self.attempt(row, 0).name.partition("-")[0]]) for row in self.rows}

    def _outcome(self, attempts: Iterable[Path]) -> Outcome:
        failures = 0
        last = Outcome("todo")
        for number, folder in sorted((int(path.name.rpartition("-")[2]), path) for path in attempts):
            status, failure = _ended(folder)
            if status == "done":
                return Outcome("done", folder, number, open_run(folder).responses)
            failures += status == "failed"
            last = Outcome("failed" if failures > self.asked.retries else "todo", folder, number, None, failure)
        return last

    def write_table(self, outcomes: Mapping[int, Outcome]) -> None:
        """Write ``responses.csv``: a line for every row of the design, also for those without responses."""
        names = list(self.asked.factors)
        responses = sorted({name for outcome in outcomes.values() for name in outcome.responses or ()})
        header = [*OWN, *names, "status", "attempts", "folder", *responses]
        write_text(self.path / "responses.csv", csv_text(header, self._lines(outcomes, names, responses)))
        units = {name: one["unit"] for outcome in outcomes.values() for name, one in (outcome.responses or {}).items()}
        write_json(self.path / "units.json", {name: units[name] for name in responses})

    def _lines(self, outcomes: Mapping[int, Outcome], names: Sequence[str], responses: Sequence[str]) -> Iterator[list[Any]]:
        for row in self.rows:
            outcome = outcomes.get(row.run, Outcome("todo"))
            measured = outcome.responses or {}
            values = [repr(measured[name]["value"]) if name in measured else "" for name in responses]
            folder = "" if outcome.folder is None else outcome.folder.relative_to(self.path).as_posix()
            levels = [cell(row.levels[name]) for name in names]
            yield [row.run, row.block, row.point, row.seed, *levels, outcome.status, outcome.attempts, folder, *values]


def _instead(path: Path) -> str:
    """What to name instead of a folder that is no study's: an optimisation has one for each fidelity."""
    inside = sorted(one.parent for one in path.glob(f"*/{DOCUMENT}")) if (path / "optimize.json").exists() else []
    return f"it is of an optimisation; name {' or '.join(map(str, inside))}" if inside else "`estran study FILE` makes one"


def _ended(folder: Path) -> tuple[str, str | None]:
    """How a run ended, and why it failed; ``cut`` where it was killed before it could say."""
    try:
        status = open_run(folder).status
    except EstranError:
        return "cut", None
    failure = (status.failure or {}).get("what")
    return (status.status if status.status in ("done", "failed", "interrupted") else "cut"), failure
