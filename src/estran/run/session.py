"""From an experiment file to a finished run folder: what `estran run` does, as one function."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from estran.components.index import Components
from estran.errors import EstranError, RequestError
from estran.platforms.base import Platform, Problem
from estran.run.conductor import Conductor
from estran.run.record import Progress, RunRecord, Status, write_json
from estran.spec import load
from estran.spec.model import Experiment
from estran.spec.plan import Plan
from estran.spec.resolve import plan as make_plan

PLATFORM_GROUP = "estran.platforms"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that has been asked for and checked, and not yet started."""

    experiment: Experiment
    plan: Plan
    platform: Platform
    components: Mapping[str, str]
    problems: tuple[Problem, ...]


def open_platform(name: str) -> Platform:
    """Find a platform by the name given to ``--on``.

    Raises
    ------
    RequestError
        If there is none of that name.
    """
    found = {entry.name: entry for entry in entry_points(group=PLATFORM_GROUP)}
    if name not in found:
        raise RequestError(
            f"there is no platform {name!r} in this version", where="--on", remedy=f"choose one of {', '.join(sorted(found))}"
        )
    platform: Platform = found[name].load()()
    return platform


def prepare(file: str, *, overrides: Sequence[str] = (), seed: int | None = None, on: str = "emulate") -> Prepared:
    """Load an experiment, plan it, and ask the platform what it cannot do of it.

    Raises
    ------
    SpecErrors
        All that is wrong with the file.
    RequestError
        If the file or the platform does not exist.
    """
    platform = open_platform(on)
    experiment, index = read_experiment(file, overrides=overrides, seed=seed)
    plan = make_plan(experiment)
    components = {
        service.name: index.path(service.component) for service in experiment.services.values() if service.component is not None
    }
    problems = asyncio.run(platform.check(plan))
    return Prepared(experiment, plan, platform, components, tuple(problems))


def read_experiment(file: str, *, overrides: Sequence[str] = (), seed: int | None = None) -> tuple[Experiment, Components]:
    """Load an experiment file with everything that is known of components."""
    path = Path(file)
    if path.is_dir():
        path = path / "experiment.yaml"
    if not path.exists():
        raise RequestError("no such file", where=file, remedy="`estran init` writes a ready-to-run experiment")
    index = Components(path.resolve().parent)
    chosen = [*overrides, *([f"seed={seed}"] if seed is not None else [])]
    return load(path, overrides=chosen, components=index), index


def execute(prepared: Prepared, *, out: Path, progress: Progress, command: Sequence[str] = ()) -> tuple[Path, Status]:
    """Run what was prepared; return the run folder and how it ended.

    Raises
    ------
    RequestError
        If the platform cannot do what is asked; nothing has been started.
    KeyboardInterrupt
        If the run was interrupted; everything has been given back, and what was measured is in the folder.
    """
    fatal = [problem for problem in prepared.problems if problem.fatal]
    if fatal:
        raise RequestError("; ".join(f"{p.where}: {p.what}" for p in fatal), where="platform", remedy=fatal[0].remedy)
    experiment = prepared.experiment
    run_id = new_run_id()
    folder = make_folder(out / experiment.name / run_id)
    record = RunRecord(
        folder,
        {"id": run_id, "experiment": experiment.name, "platform": prepared.platform.name, "seed": experiment.seed},
        progress,
    )
    record.warnings.extend([*prepared.plan.warnings, *(problem.what for problem in prepared.problems)])
    _describe(prepared, folder, command or sys.argv)
    conductor = Conductor(prepared.plan, prepared.platform, prepared.components, folder, run_id, record, progress)
    return folder, asyncio.run(_interruptible(conductor))


async def _interruptible(conductor: Conductor) -> Status:
    """Conduct; the first Ctrl-C or SIGTERM ends the run in good order, later ones are ignored meanwhile."""
    task = asyncio.create_task(conductor.conduct())
    with _signals(task):
        try:
            return await task
        except asyncio.CancelledError:
            return "interrupted"


@contextmanager
def _signals(task: asyncio.Task[Status]) -> Any:
    loop = asyncio.get_running_loop()
    asked = False

    def interrupt() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


def new_run_id() -> str:
    """A run's id: when it was started, and enough chance to be unique."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def make_folder(folder: Path) -> Path:
    """Make a run folder.

    Raises
    ------
    RequestError
        If it cannot be made.
    """
    try:
        (folder / "logs").mkdir(parents=True)
    except OSError as error:
        raise RequestError(f"cannot make the run folder: {error.strerror}", where=str(folder), remedy="choose another with --out") from error
    return folder


def _describe(prepared: Prepared, folder: Path, command: Sequence[str]) -> None:
    """Write what is known before the start: the resolved description, the plan, the facts of machine and code."""
    from ruamel.yaml import YAML

    from estran.observe.manifest import manifest

    experiment = prepared.experiment
    with (folder / "experiment.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(dict(experiment.document), file)
    write_json(folder / "assignment.json", {"seed": experiment.seed, "factors": dict(experiment.assignment)})
    write_json(folder / "plan.json", plain_plan(prepared.plan))
    write_json(folder / "manifest.json", manifest(Path(experiment.source), command=list(command)))


def plain_plan(plan: Plan) -> dict[str, Any]:
    """A plan as JSON: hosts, replicas, channels, links and warnings."""
    return {
        "experiment": plan.experiment.name,
        "seed": plan.experiment.seed,
        "assignment": dict(plan.experiment.assignment),
        "measure": asdict(plan.experiment.measure),
        "hosts": [asdict(host) for host in plan.hosts.values()],
        "replicas": [
            {
                "name": replica.name, "service": replica.service.name, "index": replica.index, "host": replica.host,
                "component": replica.service.component, "command": replica.service.command, "settings": dict(replica.service.settings),
            }
            for replica in plan.replicas.values()
        ],
        "channels": [asdict(channel) for channel in plan.channels],
        "links": [{"source": link.source, "target": link.target, **asdict(link.link)} for link in plan.links],
        "warnings": list(plan.warnings),
    }  # fmt: skip


def clean_leftovers() -> list[str]:
    """Remove what killed runs left: processes, control groups, unfinished stores; return what was done, in words."""
    from estran.observe.store import recover
    from estran.platforms.emulated.leftovers import remove_groups
    from estran.run.journal import end_processes, leftovers

    done = []
    for left in leftovers():
        killed = end_processes(left.run_id)
        groups = remove_groups(left.run_id)
        try:
            recovered = left.folder.exists() and recover(left.folder)
            _mark_killed(left.folder)
        except EstranError as error:
            done.append(f"{left.run_id}: {error}")
            continue
        left.path.unlink()
        done.append(f"{left.run_id}: {killed} processes, {groups} control groups" + (", records recovered" if recovered else ""))
    return done


def _mark_killed(folder: Path) -> None:
    import json

    path = folder / "run.json"
    if not path.exists():
        return
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["status"] == "running":
        phase = data["phases"][-1]["name"] if data["phases"] else "start"
        what = "the conductor was killed"
        data["status"] = "failed"
        data["failure"] = {"phase": phase, "what": what, "host": None, "service": None, "remedy": "run it again", "log_tail": []}
        write_json(path, data)
