"""Reproducing a crate from its zip file to the verdict: what `estran reproduce` does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from estran.errors import EstranError, RequestError
from estran.observe.queries import open_run
from estran.reproduce.asking import POINTS, arguments, code, platform_of, write_points
from estran.reproduce.layout import RECORD, Crate
from estran.reproduce.opening import inspect, unpack
from estran.reproduce.rebuilding import Tell, here, rebuild
from estran.reproduce.rerunning import rerun
from estran.reproduce.verdict import MARGIN, Verdict, judge
from estran.run.prepare import open_platform
from estran.run.record import write_json
from estran.run.session import new_run_id
from estran.spec.document import read_text

CRATE: Final = "crate"
"""Folder of the crate's files within that of a reproduction."""
ENVIRONMENT: Final = "environment"
VERDICT: Final = "verdict.json"
MOST_VERSIONS: Final = 8
"""Distributions that are told of while it goes on; the verdict has all."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to reproduce.

    Attributes
    ----------
    on
        The platform; that of the record if not given.
    environment
        ``new``: built with the recorded versions; ``here``: this one.
    margin
        Relative difference between responses that counts as none.
    """

    crate: Path
    on: str | None = None
    environment: Literal["new", "here"] = "new"
    margin: float = MARGIN


@dataclass(frozen=True, slots=True)
class Preview:
    """What a crate would have executed, before anything is.

    Attributes
    ----------
    command
        Of ``estran``, with the crate's files below ``crate/``.
    services
        What each service of the description runs.
    code
        Files that may be executed.
    environment
        What is installed, in words.
    """

    experiment: str
    kind: str
    on: str
    command: str
    services: tuple[tuple[str, str], ...]
    code: tuple[str, ...]
    environment: str
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def preview(request: Request) -> Preview:
    """Check a crate, and say what reproducing it would execute; writes and executes nothing.

    Raises
    ------
    RequestError
        If the crate is refused, cannot be asked for again, or there is no such platform.
    """
    crate, on, description = _checked(request)
    command = ["estran", *arguments(crate, Path(CRATE), on, Path(POINTS))]
    described = read_text(description.decode("utf-8-sig", "replace"), crate.asked.file).data
    count = sum(file.path.startswith(f"{RECORD}/") and file.path.endswith("/run.json") for file in crate.files)
    return Preview(
        experiment=crate.experiment,
        kind=crate.kind if crate.kind == "run" else f"{crate.kind} of {count} runs",
        on=on,
        command=shlex.join(command),
        services=tuple(_services(described)),
        code=tuple(code(crate)),
        environment=_environment(request, crate),
        warnings=crate.warnings,
    )


def reproduce(request: Request, *, out: Path, tell: Tell) -> tuple[Path, Verdict]:
    """Unpack a crate, build its environment, make its record again, and judge; returns the folder of it all and the verdict.

    Parameters
    ----------
    out
        Where a folder for this reproduction is made.
    tell
        Is told what is being done.

    Raises
    ------
    RequestError
        If the crate is refused, or cannot be made again here.
    EstranError
        If its environment cannot be built, or the run fails.
    """
    crate, on, _ = _checked(request)
    folder = _folder(out, crate)
    root, points = folder / CRATE, folder / POINTS
    asked = arguments(crate, root, on, points)
    tell(f"unpacking into {folder}")
    unpack(request.crate, root)
    if crate.kind == "study":
        write_points(crate, root, points)
    environment = here(root) if request.environment == "here" else rebuild(crate, root, folder / ENVIRONMENT, tell)
    tell(f"running: estran {shlex.join(asked)}")
    if environment.apart:
        tell(f"not in the recorded version: {_versions(environment.apart)}")
    again = rerun(environment, asked, folder / f"{crate.kind}s")
    _finished(again)
    tell("judging")
    verdict = judge(
        root / RECORD, again, crate=str(request.crate), experiment=crate.experiment, margin=request.margin,
        environment=environment.apart, warnings=crate.warnings,
    )  # fmt: skip
    write_json(folder / VERDICT, verdict.plain())
    return folder, verdict


def _checked(request: Request) -> tuple[Crate, str, bytes]:
    """The crate, the platform that it is made again on, and its description."""
    if not request.margin > 0:
        raise RequestError(f"a margin of {request.margin:g} tolerates nothing", where="--margin", remedy="write --margin 10%")
    crate, description = inspect(request.crate)
    on = platform_of(crate, request.on)
    open_platform(on)
    return crate, on, description


def _folder(out: Path, crate: Crate) -> Path:
    """A new folder; the name of the experiment comes from another lab, and is one part of a path only if it is harmless."""
    name = crate.experiment if crate.experiment.replace("-", "").replace("_", "").replace(".", "").isalnum() else "crate"
    folder = (out / name.lstrip(".") / new_run_id()).resolve()
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        what = f"cannot make the folder: {error.strerror}"
        raise RequestError(what, where=str(folder), remedy="choose another --out") from error
    return folder


def _finished(again: Path) -> None:
    """Make sure that what was made again ended well; of a study the rows tell."""
    if not (again / "run.json").exists():
        return
    status = open_run(again).status
    if status.status != "done":
        failure = status.failure or {}
        what = f"the run {status.status}: {failure.get('what', 'no reason is recorded')}"
        raise EstranError(what, where=str(again), remedy=failure.get("remedy") or f"see `estran show {again}`")


def _versions(apart: Sequence[tuple[str, str, str]]) -> str:
    told = [f"{name} ({found or 'none'} for {recorded})" for name, recorded, found in apart[:MOST_VERSIONS]]
    more = f" and {len(apart) - MOST_VERSIONS} more" if len(apart) > MOST_VERSIONS else ""
    return ", ".join(told) + more


def _services(described: Any) -> list[tuple[str, str]]:
    services = described.get("services") if isinstance(described, dict) else None
    found = []
    for name, service in (services if isinstance(services, dict) else {}).items():
        if isinstance(service, dict):
            runs = service.get("component") or service.get("command")
            found.append((name, shlex.join(map(str, runs)) if isinstance(runs, list) else str(runs)))
    return found


def _environment(request: Request, crate: Crate) -> str:
    if request.environment == "here":
        return "this one, as it is"
    return (
        f"a new one with the versions of environment/requirements.txt, from this machine's package index, and Estran {crate.estran}"
    )
