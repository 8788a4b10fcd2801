"""Verbs about predictions: calibrate and validate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from estran.cli.describe import JsonOption, SetOption


def calibrate(*runs: str, out: Path = Path("calibration.json"), folder: Path = Path("runs"), json: JsonOption = False) -> None:
    """Learn from finished runs what work costs, for `--on simulate`.

    Parameters
    ----------
    runs
        Emulated or deployed runs of one experiment: run folders, ids (or the beginning of them), or `latest`.
    out
        The calibration file; `--on simulate` finds `calibration.json` beside the experiment file by itself.
    folder
        Where run folders are.
    json
        Print the calibration as one JSON object instead of tables.
    """
    from rich.console import Console

    from estran.cli.listing import find_run
    from estran.observe.calibrate.fit import calibrate as fit
    from estran.observe.damage import telling
    from estran.report.calibrated import print_calibration
    from estran.spec.calibration import FILE_NAME

    folders = [find_run(run, folder) for run in runs]
    with telling(*folders):
        calibration = fit(folders)
    calibration.save(out)
    if json:
        sys.stdout.write(out.read_text(encoding="utf-8"))
    else:
        print_calibration(Console(emoji=False), calibration)
        print(f"→ {out} (used with --calibration {out}, or where {FILE_NAME} lies beside the experiment file)", file=sys.stderr)


def validate(
    file: str,
    /,
    *,
    calibration: str | None = None,
    replicates: int = 5,
    set_: SetOption = None,
    responses: Annotated[list[str] | None, Parameter(negative=())] = None,
    margin: str = "10%",
    seed: int | None = None,
    out: Path = Path("validations"),
    json: JsonOption = False,
) -> int:
    """Run an experiment simulated and emulated, and say of each response whether the one predicts the other.

    Parameters
    ----------
    file
        The experiment file, or its folder.
    calibration
        The calibration file; `calibration.json` beside the experiment file if not given, `none` for estimates.
    replicates
        Seeds with which both are run.
    set_
        `path=value`: choose a factor's level, or change a place in the document. Repeatable.
    responses
        Name or glob pattern of a response (`utilisation@*`). Repeatable.
    margin
        Relative error that is tolerated; accuracy may be one point off.
    seed
        The first seed, instead of the file's.
    out
        Folder for the result and its run folders.
    json
        Print one JSON object at the end, and no progress.
    """
    import msgspec
    from rich.console import Console

    from estran.cli.progress import progress_on
    from estran.report.validated import print_validation
    from estran.study.validation import RESPONSES, Request, validate

    console = Console(stderr=True, emoji=False)
    wanted = tuple(responses) if responses else RESPONSES
    request = Request(file, calibration, replicates, tuple(set_ or ()), wanted, fraction(margin), seed)
    found = validate(request, out=out, announce=lambda prepared: progress_on(console, prepared, quiet=json))
    if json:
        sys.stdout.write(msgspec.json.encode(found.plain()).decode() + "\n")
    else:
        print_validation(Console(emoji=False), found)
    return 0 if found.verdict == "valid" else 1


def fraction(text: str) -> float:
    """A share, such as ``10%``."""
    from estran.errors import RequestError
    from estran.units import QuantityError, parse

    try:
        return parse(text, "fraction")
    except QuantityError as error:
        raise RequestError(str(error), where="--margin", remedy="write --margin 10%") from error
