"""The verb that hands a run, a study or an optimisation over to others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from estran.cli.describe import JsonOption
from estran.errors import RequestError


def export(
    run: str = "latest",
    /,
    *,
    to: Literal["crate", "prov", "mlflow"] = "crate",
    out: str | None = None,
    experiment: Path | None = None,
    licence: Annotated[str | None, Parameter(name=("--license", "--licence"))] = None,
    runs: Path = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Pack a run, a study or an optimisation for another lab, or hand it to other tools; print where it is.

    Parameters
    ----------
    run
        A folder of a run, a study or an optimisation; a run's id (or the beginning of it), or `latest`.
    to
        `crate`: a zip file with everything that `estran reproduce` needs, which is an RO-Crate; `prov`: the provenance as
        PROV-JSON; `mlflow`: log it into MLflow.
    out
        The file; for a crate one whose name ends with `.zip`, or a folder for it, made if need be. Beside the record if not given.
        For MLflow a tracking URI, or a folder for a database; `mlruns` if not given.
    experiment
        The experiment file, or its folder, if it is no longer where it was when it ran.
    licence
        Under which others may use what is in a crate: an SPDX identifier like CC-BY-4.0, or a URL.
    runs
        Where run folders are.
    json
        Print one JSON object.
    """
    import msgspec

    from estran.observe.damage import telling

    if licence is not None and to != "crate":
        raise RequestError(
            "only a crate says under which licence it is", where="--license", remedy="leave it out, or use --to crate"
        )
    folder = _folder(run, runs)
    told: dict[str, object] = {"to": to}
    with telling(folder):
        if to == "crate":
            from estran.reproduce.writing import write_crate

            path, crate = write_crate(folder, None if out is None else Path(out), experiment=experiment, licence=licence)
            told |= {"path": str(path), "bytes": path.stat().st_size, "files": len(crate.files), "warnings": list(crate.warnings)}
        elif to == "prov":
            from estran.reproduce.prov import write_prov

            told["path"] = str(write_prov(folder, None if out is None else Path(out)))
        else:
            from estran.reproduce.mlflow import write_mlflow

            told["path"], told["run"] = write_mlflow(folder, out or "mlruns")
    if json:
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return
    _print(told)


def _folder(run: str, runs: Path) -> Path:
    from estran.cli.listing import find_run
    from estran.reproduce.layout import SIGNS

    return Path(run) if any((Path(run) / sign).is_file() for sign in SIGNS) else find_run(run, runs, option="--runs")


def _print(told: dict[str, object]) -> None:
    from rich.console import Console

    console = Console(stderr=True, emoji=False, highlight=False)
    warnings = told.get("warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    print(f"{told['path']} (run {told['run']})" if "run" in told else told["path"])
