"""Verbs on scenarios of E2Clab: check, migrate, run."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from estran.cli.describe import JsonOption, OnOption


def check(scenario: Path, artifacts: Path | None = None, /) -> None:
    """Find all errors of a scenario, each at file:line:column; if there are none, say what is done with it.

    Parameters
    ----------
    scenario
        The folder with `layers_services.yaml`, `network.yaml` and `workflow.yaml`.
    artifacts
        The folder with the files that tasks send; then their presence is checked, too.
    """
    from estran.cli.e2clab_summary import print_scenario
    from estran.e2clab.plays import refused
    from estran.spec.e2clab import read_scenario
    from estran.spec.e2clab.ansible import KNOWN_MODULES
    from estran.tasks import known_modules

    found = read_scenario(scenario, artifacts, modules=known_modules() | KNOWN_MODULES)
    print_scenario(found)
    for note in (*found.notes, *refused(found, artifacts)):
        print(f"note: {note}", file=sys.stderr)
    print(f"{scenario}: ok", file=sys.stderr)


def migrate(scenario: Path, artifacts: Path | None = None, /, *, to: Path | None = None) -> None:
    """Write the experiment file that a scenario comes nearest to; what cannot be carried over is a comment at its place.

    Parameters
    ----------
    scenario
        The folder with `layers_services.yaml`, `network.yaml` and `workflow.yaml`.
    artifacts
        The folder with the files that tasks send.
    to
        The file to write, which must not be there yet; standard output if not given.
    """
    from estran.e2clab.migrate import migrate as migrated
    from estran.errors import RequestError
    from estran.spec.e2clab import read_scenario

    text = migrated(read_scenario(scenario, artifacts), artifacts, to)
    if to is None:
        print(text, end="")
        return
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RequestError("it is already there", where=str(to), remedy="choose another with --to, or remove it") from None
    except OSError as error:
        raise RequestError(f"cannot be written: {error.strerror}", where=str(to), remedy="choose another with --to") from error
    print(f"→ estran check {to}", file=sys.stderr)


def run(
    scenario: Path,
    artifacts: Path,
    /,
    *,
    on: OnOption = "emulate",
    app_conf: Annotated[str, Parameter(name=("--app_conf", "--app-conf"))] = "",
    optimization_config: Annotated[Path | None, Parameter(name=("--optimization_config", "--optimization-config"))] = None,
    repeat: int = 0,
    duration: float = 0.0,
    out: Path = Path("runs"),
    json: JsonOption = False,
) -> int:
    """Run a scenario: hosts, links, prepare, launch, wait, finalize, give back.

    Parameters
    ----------
    scenario
        The folder with `layers_services.yaml`, `network.yaml` and `workflow.yaml`.
    artifacts
        The folder with the files that tasks send.
    on
        The platform: `emulate`, `emulate:ENGINE` to insist on one of the engines that `estran doctor` lists, or a platform file.
    app_conf
        Configurations of `workflow_env.yaml`, separated by commas: each is launched and finalized, after one prepare.
    optimization_config
        A YAML file with a map, which templates find in the variable of that name. Of a list of maps each is launched and finalized.
    repeat
        How often to run it again after the first time, each time from new hosts on, as long as runs succeed.
    duration
        Seconds between launch and finalize.
    out
        Folder for run folders.
    json
        Print one JSON object per run at its end, and no progress.
    """
    from rich.console import Console

    from estran.cli.listing import print_run
    from estran.cli.progress import progress_on
    from estran.e2clab.session import ask, runs
    from estran.report.page import reported
    from estran.report.table import print_summary

    names = [name for part in app_conf.split(",") if (name := part.strip())]
    asked = ask(scenario, artifacts, on=on, configurations=names, duration=duration, values=optimization_config)
    statuses = []
    watched = partial(progress_on, Console(stderr=True, emoji=False), asked.prepared, quiet=json)
    for folder, status in runs(asked, repeats=repeat, out=out, command=sys.argv, watched=watched):
        statuses.append(status)
        if json:
            print_run(folder)
        else:
            print_summary(Console(emoji=False), folder)
        if (unreported := reported(folder)) is not None:
            raise unreported
    return 0 if all(status == "done" for status in statuses) else 1
