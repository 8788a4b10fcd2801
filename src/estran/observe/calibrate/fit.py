"""From finished runs to a calibration: what work costs there, for the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from estran.errors import RequestError
from estran.observe.calibrate.handling import handling_fits
from estran.observe.calibrate.operations import operation_fits
from estran.observe.calibrate.readings import Reading, read
from estran.observe.calibrate.setting import setting
from estran.observe.calibrate.transfer import link_fits, stream_fits
from estran.observe.queries import Run, open_run
from estran.spec.calibration import Calibration
from estran.spec.costs import CommandModel

_MACHINE: Final = ("cpu", "kernel", "hardware")


def calibrate(folders: Sequence[Path]) -> Calibration:
    """Fit what the runs in some folders tell.

    Raises
    ------
    RequestError
        If there is none, one is of no use (`readings.read` says when), or they do not belong together.
    EstranError
        If a folder is damaged.
    """
    if not folders:
        raise RequestError("no run was named", where="calibrate", remedy="name one or more run folders; `estran ls` lists them")
    readings = [read(open_run(folder)) for folder in folders]
    _same("experiment", {str(one.run.folder): one.run.status.experiment for one in readings})
    _same("kind of platform", {str(one.run.folder): one.run.status.platform.partition(":")[0] for one in readings})
    native = readings[0].run.status.platform.partition(":")[0] != "emulate"
    warnings: list[str] = [warning for one in readings for warning in _load_warnings(one.run)]
    return Calibration(
        runs=tuple(_about(one.run) for one in readings),
        machine=_machine(readings[0].run),
        processor="native" if native else "quota",
        operations=operation_fits(readings, native=native, warnings=warnings),
        handling=handling_fits(readings, native=native, warnings=warnings),
        streams=stream_fits(readings, warnings=warnings),
        links=link_fits(readings),
        commands=_commands(readings),
        warnings=tuple(warnings),
    )


def _same(what: str, found: Mapping[str, str]) -> None:
    first = next(iter(found.values()))
    for folder, value in found.items():
        if value != first:
            remedy = "make one calibration file for each"
            raise RequestError(f"its {what} is {value}, and that of the first run is {first}", where=folder, remedy=remedy)


def _load_warnings(run: Run) -> list[str]:
    return [
        f"{run.status.id}: {warning}" for warning in run.status.warnings if "processors of this machine were busy" in str(warning)
    ]


def _about(run: Run) -> dict[str, Any]:
    assignment = run.document("assignment") or {}
    return {
        "folder": str(run.folder),
        "experiment": run.status.experiment,
        "platform": run.status.platform,
        "seed": run.status.seed,
        "assignment": dict(assignment.get("factors", {})),
        "setting": setting(run.folder),
    }


def _machine(run: Run) -> dict[str, Any]:
    manifest = run.document("manifest") or {}
    return {name: manifest[name] for name in _MACHINE if name in manifest}


def _commands(readings: Sequence[Reading]) -> dict[str, CommandModel]:
    """Models of command services; of several runs, the one whose model rests on the latest run holds."""
    found: dict[str, CommandModel] = {}
    for reading in readings:
        if any(not seat.component for seat in reading.seats.values()):
            from estran.observe.observed_commands import observed_models

            found |= observed_models(reading.run)
    return found
