"""Validation: the same experiment simulated and emulated, with the same seeds, and how far the one predicts the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from estran.errors import EstranError, RequestError
from estran.observe.calibrate.setting import setting
from estran.observe.queries import open_run
from estran.run.prepare import Prepared, Simulation, experiment_folder, find_calibration, prepare
from estran.run.record import Progress, write_json
from estran.run.session import execute, new_run_id
from estran.spec.calibration import Calibration
from estran.study.verdicts import Error, Tolerance, Verdict, error, judge

SCHEMA: Final = 1
RESPONSES: Final = (
    "latency", "latency_p99", "throughput", "staleness", "accuracy", "utilisation@*",
    "exchange_latency", "exchange_latency_p99", "exchanges",
)  # fmt: skip
"""What is validated unless others are asked for: names or glob patterns of responses."""
MARGIN: Final = 0.10
POINT: Final = 0.01
"""Accuracy is judged by its difference: one point."""
RESOLUTION: Final[Mapping[str, float]] = {"s": 1e-4, "fraction": 1e-3}
"""Differences that the emulation itself does not resolve, by unit: a tenth of a millisecond, a tenth of a point."""

Announce = Callable[[Prepared], AbstractContextManager[Progress]]
"""Opens the progress display of one run."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to validate.

    Attributes
    ----------
    file
        The experiment file or its folder.
    calibration
        A calibration file; None for the one beside the experiment, ``none`` for estimates.
    replicates
        Seeds that both sides run with, at least 2: ``seed``, ``seed + 1``, …
    margin
        Relative error that is tolerated.
    """

    file: str
    calibration: str | None = None
    replicates: int = 5
    overrides: tuple[str, ...] = ()
    responses: tuple[str, ...] = RESPONSES
    margin: float = MARGIN
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """One response: its values by seed on both sides, the error and the verdict."""

    unit: str
    simulated: tuple[float, ...]
    emulated: tuple[float, ...]
    error: Error
    tolerance: Tolerance
    verdict: Verdict
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """What a validation found.

    Attributes
    ----------
    settings
        What was set on the command line.
    assignment
        The level in force for each factor.
    calibration
        File of the calibration, or None for estimates.
    calibrated_at
        Assignments of the runs that it was made from.
    held_out
        Whether none of those runs had this setting; None without a calibration.
    runs
        Run folders by side, in the order of ``seeds``.
    """

    experiment: str
    folder: str
    settings: tuple[str, ...]
    assignment: Mapping[str, Any]
    seeds: tuple[int, ...]
    margin: float
    calibration: str | None
    calibrated_at: tuple[Mapping[str, Any], ...]
    held_out: bool | None
    responses: Mapping[str, Judged]
    runs: Mapping[str, tuple[str, ...]]
    schema: int = SCHEMA

    @property
    def verdict(self) -> Verdict:
        """Valid only if every response is."""
        found = {judged.verdict for judged in self.responses.values()}
        return "invalid" if "invalid" in found else "cannot tell" if "cannot tell" in found else "valid"

    def plain(self) -> dict[str, Any]:
        """The content of ``validation.json``."""
        return {"verdict": self.verdict, **asdict(self)}


def validate(request: Request, *, out: Path, announce: Announce) -> Validation:
    """Run an experiment simulated and emulated, once with each seed, and judge every response; all run folders are kept.

    The simulated run of a seed comes first, so that what cannot be simulated is refused before anything is paid for.

    Raises
    ------
    RequestError
        If the request is wrong, or a platform cannot do what is asked.
    EstranError
        If a run fails; its folder says why.
    """
    if request.replicates < 2:
        raise RequestError(f"{request.replicates} replicates have no spread", where="--replicates", remedy="give 2 or more")
    if not request.margin > 0:
        raise RequestError(f"a margin of {request.margin:g} tolerates nothing", where="--margin", remedy="write --margin 10%")
    first = prepare(request.file, overrides=request.overrides, seed=request.seed, on="emulate")
    seeds = tuple(first.experiment.seed + index for index in range(request.replicates))
    folder = out / first.experiment.name / new_run_id()
    runs: dict[str, list[Path]] = {"simulated": [], "emulated": []}
    for seed in seeds:
        for side, on in (("simulated", "simulate"), ("emulated", "emulate")):
            runs[side].append(_run(request, seed, on, folder / "runs", announce))
    calibration, origin = find_calibration(request.calibration, experiment_folder(request.file))
    made = Validation(
        experiment=first.experiment.name,
        folder=str(folder),
        settings=request.overrides,
        assignment=dict(first.experiment.assignment),
        seeds=seeds,
        margin=request.margin,
        calibration=origin,
        calibrated_at=tuple(run.get("assignment", {}) for run in calibration.runs) if calibration else (),
        held_out=_held_out(calibration, runs["emulated"][0]),
        responses=dict(_judged(request, runs)),
        runs={side: tuple(map(str, folders)) for side, folders in runs.items()},
    )
    write_json(folder / "validation.json", made.plain())
    return made


def _run(request: Request, seed: int, on: str, out: Path, announce: Announce) -> Path:
    simulation = Simulation(request.calibration) if on == "simulate" else None
    prepared = prepare(request.file, overrides=request.overrides, seed=seed, on=on, simulation=simulation)
    with announce(prepared) as progress:
        folder, status = execute(prepared, out=out, progress=progress)
    if status == "interrupted":
        raise KeyboardInterrupt
    if status != "done":
        failure = open_run(folder).status.failure or {}
        remedy = failure.get("remedy") or f"see `estran show {folder}`"
        raise EstranError(f"the run with seed {seed} on {on} failed: {failure.get('what')}", where=str(folder), remedy=remedy)
    return folder


def _held_out(calibration: Calibration | None, emulated: Path) -> bool | None:
    if calibration is None:
        return None
    return setting(emulated) not in {run.get("setting") for run in calibration.runs}


def _judged(request: Request, runs: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, Judged]]:
    """Every response that was asked for and that at least one run measured.

    Raises
    ------
    RequestError
        If nothing of what was asked for was measured.
    """
    measured = {side: [open_run(folder).responses for folder in folders] for side, folders in runs.items()}
    every = {name for responses in measured.values() for one in responses for name in one}
    names = [name for pattern in request.responses for name in sorted(every) if fnmatchcase(name, pattern)]
    if request.responses != RESPONSES or not names:
        absent = [pattern for pattern in request.responses if not any(fnmatchcase(name, pattern) for name in every)]
        if absent:
            raise RequestError(
                f"no run measured {', '.join(absent)}", where="--responses", remedy="`estran show RUN` lists what is"
            )
    for name in dict.fromkeys(names):
        yield name, judged(name, measured["simulated"], measured["emulated"], request.margin)


def judged(
    name: str, simulated: Sequence[Mapping[str, Any]], emulated: Sequence[Mapping[str, Any]], margin: float = MARGIN
) -> Judged:
    """Judge one response.

    Parameters
    ----------
    simulated, emulated
        ``responses.json`` of each run, in the order of seeds. Seeds for which one side did not measure it do not count.
    """
    pairs = [(s[name], e[name]) for s, e in zip(simulated, emulated, strict=True) if name in s and name in e]
    known = next(one[name] for one in (*emulated, *simulated) if name in one)
    tolerance = _tolerance(name, known, margin)
    lacking = len(emulated) - len(pairs)
    note = f"not measured on both sides with {lacking} of {len(emulated)} seeds" if lacking else None
    values = tuple(s["value"] for s, _ in pairs), tuple(e["value"] for _, e in pairs)
    if not pairs:
        return Judged(known["unit"], *values, Error(0, None, None, 0.0, None), tolerance, "cannot tell", note)
    found = error(*values)
    return Judged(known["unit"], *values, found, tolerance, "cannot tell" if lacking else judge(found, tolerance), note)


def _tolerance(name: str, response: Mapping[str, Any], margin: float) -> Tolerance:
    if name.startswith("accuracy"):
        return Tolerance(None, POINT)
    return Tolerance(margin, RESOLUTION.get(response["unit"], 0.0))
