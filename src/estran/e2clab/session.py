"""Runs of a scenario from its files to finished run folders: what `estran e2clab run` does, as one function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from estran.e2clab.conductor import ScenarioConductor
from estran.e2clab.plays import ReadPlay, read_plays
from estran.e2clab.plugins import find_plugins
from estran.e2clab.topology import topology
from estran.e2clab.trials import Trial, read_values, refuse_unknown, trials
from estran.errors import RequestError
from estran.platforms.emulated.envoys import command as envoy_command
from estran.platforms.emulated.platform import EmulatedPlatform
from estran.run.prepare import Prepared, open_platform, planned
from estran.run.record import Progress, Status
from estran.run.session import execute
from estran.spec.e2clab import Scenario, read_scenario
from estran.spec.suggest import did_you_mean
from estran.tasks.modules import known_modules


@dataclass(frozen=True, slots=True)
class Asked:
    """A scenario that has been asked to be run and is fit for it."""

    scenario: Scenario
    artifacts: Path
    plays: Sequence[ReadPlay]
    trials: Sequence[Trial]
    plugins: Mapping[str, Path]
    prepared: Prepared


def ask(
    scenario: Path, artifacts: Path, *, on: str, configurations: Sequence[str], duration: float, values: Path | None = None
) -> Asked:
    """Read a scenario and find out whether it can be run, before anything starts.

    Parameters
    ----------
    values
        A file with what templates are to find in ``optimization_config``.

    Raises
    ------
    SpecErrors
        All that is wrong with its files, or cannot be done here.
    SpecError
        If the file of values holds something else.
    RequestError
        If there is no such configuration, folder or platform, or the platform cannot do what is asked.
    """
    found = read_scenario(scenario, artifacts, modules=known_modules())
    for name in configurations:
        if name not in found.configurations:
            remedy = did_you_mean(name, found.configurations, kind="configuration")
            raise RequestError(f"workflow_env.yaml has no configuration {name!r}", where="--app_conf", remedy=remedy)
    sets = read_values(values) if values is not None else ()
    refuse_unknown(found, sets)
    plays = read_plays(found, artifacts)
    platform = open_platform(on)
    if platform.virtual:
        raise RequestError("tasks cannot be simulated", where="--on", remedy="use --on emulate, or `estran e2clab migrate`")
    plan = planned(topology(found, envoy_command(), duration))
    if not isinstance(platform, EmulatedPlatform):
        plan = replace(plan, replicas={})  # envoys come with the platform
    problems = asyncio.run(platform.check(plan))
    return Asked(
        found,
        artifacts,
        plays,
        trials(configurations, sets),
        find_plugins(found, artifacts),
        Prepared(plan.experiment, plan, platform, {}, tuple(problems)),
    )


def runs(
    asked: Asked,
    *,
    repeats: int,
    out: Path,
    command: Sequence[str],
    watched: Callable[[], AbstractContextManager[Progress]],
) -> Iterator[tuple[Path, Status]]:
    """Run a scenario and repeat it so many times, each from hosts on, until a run is not done; yield each folder with its status.

    Parameters
    ----------
    watched
        Makes who is told how a run goes.
    """
    for repeat in range(1, repeats + 2):
        conduct = partial(
            ScenarioConductor, scenario=asked.scenario, artifacts=asked.artifacts, plays=asked.plays,
            plugins=asked.plugins, trials=asked.trials, repeat=repeat, command=command,
        )  # fmt: skip
        with watched() as progress:
            folder, status = execute(asked.prepared, out=out, progress=progress, command=command, conduct=conduct)
        yield folder, status
        if status != "done":
            return
