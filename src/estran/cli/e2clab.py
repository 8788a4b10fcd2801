"""Verbs on scenarios of E2Clab: check, migrate."""

from __future__ import annotations

import sys
from pathlib import Path


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
    from estran.spec.e2clab import read_scenario

    found = read_scenario(scenario, artifacts)
    print_scenario(found)
    for note in found.notes:
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
