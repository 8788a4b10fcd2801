"""Finding runs and printing what they left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from estran.errors import RequestError

_STYLES = {"done": "green", "failed": "red", "interrupted": "yellow", "running": "cyan"}


def find_run(run: str, out: Path, *, option: str = "--out") -> Path:
    """A run's folder, by its path, its id or the beginning of it, or ``latest``.

    Parameters
    ----------
    option
        By which the verb is given ``out``, for the message.

    Raises
    ------
    RequestError
        If there is none, or more than one.
    """
    if (Path(run) / "run.json").exists():
        return Path(run)
    if (Path(run) / "study.json").exists():
        remedy = f"name one of its runs; `estran ls {run}` lists them"
        raise RequestError("this is the folder of a study, not of a run", where=run, remedy=remedy)
    if (Path(run) / "optimize.json").exists():
        remedy = f"name a run of one of its studies: {', '.join(str(one.parent) for one in sorted(Path(run).glob('*/study.json')))}"
        raise RequestError("this is the folder of an optimisation, not of a run", where=run, remedy=remedy)
    folders = sorted((path.parent for path in out.glob("*/*/run.json")), key=lambda path: path.name)
    if run == "latest":
        if not folders:
            remedy = f"`estran run FILE` makes one; `estran ls` lists them; {option} names another folder"
            raise RequestError("there is no run yet", where=str(out), remedy=remedy)
        return folders[-1]
    found = [folder for folder in folders if folder.name.startswith(run)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RequestError(f"{len(found)} runs begin with {run!r}", where=str(out), remedy="give more of the id")
    raise RequestError(f"there is no run {run!r}", where=str(out), remedy=f"`estran ls` lists them; {option} names another folder")


def find_study(study: Path, out: Path = Path("studies")) -> Path:
    """A study's folder as it was given; for ``latest`` the newest below ``out``.

    Raises
    ------
    RequestError
        If there is none.
    """
    if study != Path("latest") or study.exists():
        return study
    folders = sorted((path.parent for path in out.glob("*/*/study.json")), key=lambda path: path.name)
    if not folders:
        raise RequestError("there is no study", where=str(out), remedy="`estran study FILE` makes one")
    return folders[-1]


def print_list(runs: Sequence[Any], studies: Sequence[Any], folder: Path, *, json: bool) -> None:
    """Print the runs and studies of a folder, newest first."""
    import msgspec

    if json:
        sys.stdout.write(msgspec.json.encode({"runs": runs, "studies": studies}).decode() + "\n")
        return
    console = Console(emoji=False)
    if runs:
        console.print(_table_of_runs(runs))
    if studies:
        console.print(_table_of_studies(studies))
    if not runs and not studies:
        missing = "" if folder.is_dir() else ": there is no such folder"
        console.print(Text(f"no runs or studies in {folder}{missing}", style="dim"))


def _table_of_runs(runs: Sequence[Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("run", "experiment", "status", "platform", "started", "duration"):
        table.add_column(column, no_wrap=column != "experiment")
    for run in sorted(runs, key=lambda run: str(run.started), reverse=True):
        duration = "" if run.duration is None else f"{run.duration:.3g}s"
        table.add_row(
            run.id,
            run.experiment,
            Text(run.status, style=_STYLES.get(run.status, "")),
            run.platform,
            str(run.started)[:16].replace("T", " "),
            duration,
        )
    return table


def _table_of_studies(studies: Sequence[Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("study", "experiment", "design", "platform", "runs"):
        table.add_column(column, no_wrap=column != "experiment")
    for study in reversed(studies):
        done = f"{study.done} of {study.runs} done"
        table.add_row(study.id, study.experiment, study.design, study.platform, study.problem or done)
    return table


def print_run(folder: Path) -> None:
    """Print a run's record with its responses as one JSON object."""
    import msgspec

    from estran.reproduce.claims import judge_all
    from estran.reproduce.observed import evidence

    path = folder / "responses.json"
    responses = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    record = msgspec.json.decode((folder / "run.json").read_bytes())
    claims = judge_all(evidence(folder)) if record.get("status") == "done" else ()
    told = {"folder": str(folder), "responses": responses, "claims": claims}
    sys.stdout.write(msgspec.json.encode(record | told).decode() + "\n")


def print_logs(folder: Path, service: str | None) -> None:
    """Print a run's log files, each line led by its replica.

    Raises
    ------
    RequestError
        If the run has no such service.
    """
    found = [path for path in sorted((folder / "logs").glob("*.log")) if service is None or _belongs(path.stem, service)]
    if not found:
        from estran.observe.queries import open_run

        services = {replica: its for replica, (its, _) in open_run(folder).replicas.items()}
        if service is not None and not any(_belongs(replica, service) for replica in services):
            known = ", ".join(sorted(set(services.values())))
            remedy = f"its services are {known}" if known else "it ended before it had any"
            raise RequestError(f"there is no service {service!r}", where=str(folder), remedy=remedy)
        print("nothing was printed" if service is None else f"{service} printed nothing", file=sys.stderr)
    for path in found:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            sys.stdout.write(f"{path.stem}: {line}\n" if len(found) > 1 else f"{line}\n")


def _belongs(replica: str, service: str) -> bool:
    return replica == service or replica.rpartition("-")[0] == service
