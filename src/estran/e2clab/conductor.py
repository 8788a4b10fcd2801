"""The conductor of one run of a scenario: hosts and links as of any run, then E2Clab's stages in place of services."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from estran.e2clab.directory import Directory, default_directory
from estran.e2clab.monitoring import sampled
from estran.e2clab.plays import ReadPlay
from estran.e2clab.plugins import deploy
from estran.e2clab.recording import Recording, without_secrets
from estran.e2clab.stages import Stages
from estran.e2clab.trials import Trial
from estran.errors import PlatformError, VerifyError
from estran.observe.live import LiveResponses
from estran.observe.manifest import manifest
from estran.platforms.base import Host, Provision
from estran.platforms.emulated.envoys import Meeting, arriving, meeting
from estran.platforms.remote.host import RemoteHost
from estran.run.collector import Collector
from estran.run.conductor import Conductor, begin
from estran.run.journal import Journal
from estran.run.record import Status, write_json, write_text
from estran.run.wiring import wire
from estran.spec.e2clab.model import Scenario, Stage
from estran.spec.e2clab.scenario import FILES
from estran.spec.model import LinkSpec

LOOK: Final = 0.25


@runtime_checkable
class Reaching(Protocol):
    """A `Provision` whose real hosts have envoys already."""

    @property
    def remotes(self) -> Mapping[str, RemoteHost]: ...


@dataclass(slots=True, kw_only=True)
class ScenarioConductor(Conductor):
    """Conducts one run of a scenario.

    Parameters
    ----------
    trials
        With what to launch and finalize, one after another, after one prepare.
    plugins
        Files of plug-ins by the name of their service.
    repeat
        Which repeat this is, from 1.
    command
        The command line.
    """

    scenario: Scenario
    artifacts: Path
    plays: Sequence[ReadPlay]
    plugins: Mapping[str, Path] = field(default_factory=dict)
    trials: Sequence[Trial] = (Trial(),)
    repeat: int = 1
    command: Sequence[str] = ()

    async def conduct(self) -> Status:
        """Keep copies of the scenario's files, then conduct; see `Conductor.conduct`."""
        kept = self.folder / "scenario"
        kept.mkdir()
        files = [path for name in FILES if (path := self.scenario.folder / name).exists()]
        files += sorted(self.plugins.values())
        for path in files:
            write_text(kept / path.name, without_secrets(path.read_text(encoding="utf-8")))
        sent = [path for path in sorted(self.artifacts.rglob("*")) if path.is_file()][:1000]
        write_json(self.folder / "manifest.json", manifest(files[0], command=list(self.command), inputs=[*files[1:], *sent]))
        configurations = list(dict.fromkeys(one.configuration for one in self.trials if one.configuration is not None))
        self.record.note(repeat=self.repeat, configurations=configurations, artifacts=str(self.artifacts.resolve()))
        if any(one.values is not None for one in self.trials):
            self.record.note(optimization_config={one.name: dict(one.values or {}) for one in self.trials})
        return await Conductor.conduct(self)

    async def _work(self, provision: Provision, hosts: Mapping[str, Host], collector: Collector, live: LiveResponses) -> None:
        with self.record.phase("verify"):
            self._of_one_kind(provision)
            await self._verify(provision)
            self._shaped()
            address = self._address(provision)
        async with self._reached(provision, hosts) as reached:
            with Recording(self.folder, self.record.provenance) as recording:
                directory = await self._directory(address, reached, recording)
                folders = (self.artifacts, self.scenario.folder)
                try:
                    async with Stages(self.scenario.marks, self.plays, directory, reached, folders, recording.add) as stages:
                        await self._all(stages, provision, hosts, reached, collector)
                finally:
                    self.record.note(tasks=recording.count)

    def _of_one_kind(self, provision: Provision) -> None:
        """Raise PlatformError where real hosts could not dial emulated ones."""
        inside = [name for name in self.plan.hosts if isinstance(provision, Reaching) and name not in provision.remotes]
        if inside:
            remedy = "let all layers be real, or all be emulated"
            raise PlatformError("emulated hosts beside real ones cannot be dialled by them", where=inside[0], remedy=remedy)

    def _shaped(self) -> None:
        """Raise VerifyError where links were asked for and none was probed: then nothing has shaped them."""
        asked = next((link for link in self.plan.links if link.link != LinkSpec()), None)
        if asked is not None and not self.verification.links:
            what = f"the platform {self.platform.name} has not shaped the links that network.yaml asks for"
            place = f"{asked.source} → {asked.target}"
            raise VerifyError(what, where=place, remedy="use --on emulate, or networks: null to take the network as it is")

    @asynccontextmanager
    async def _reached(self, provision: Provision, hosts: Mapping[str, Host]) -> AsyncIterator[Mapping[str, RemoteHost]]:
        """Hosts by their envoys: those that the platform has sent, or, on emulated hosts, those that are its services there."""
        if isinstance(provision, Reaching):
            self.record.warnings.append(
                "samples are of whole hosts, with whatever else runs there; what programs exchange is not observed, "
                "since hosts of scenarios have no agent that could"
            )
            yield provision.remotes
            return
        with meeting(self.run_id, hosts, Journal(self.run_id, self.folder).write) as place:
            async with arriving(place, hosts) as waiting:
                with self.record.phase("envoys"):
                    launches = wire(self.plan, provision.address, self.components, self.folder, self.run_id, provision.now_ns())
                    async with asyncio.TaskGroup() as group:
                        for launch in launches:
                            told = replace(launch, env={**launch.env, **place.environment})
                            group.create_task(hosts[launch.host].start(told.plain()))
                    reached, *_ = await asyncio.gather(waiting, asyncio.to_thread(importlib.import_module, "duckdb"))
                self._note_rooms(place, reached)
                yield reached

    def _note_rooms(self, place: Meeting, reached: Mapping[str, RemoteHost]) -> None:
        reasons = {why for name in reached if (why := place.note(name)) is not None}
        if reasons:
            why = "; ".join(sorted(reasons))
            self.record.warnings.append(f"tasks write into this machine's file system: hosts have no layer of their own ({why})")

    async def _directory(self, address: Callable[[str], str], reached: Mapping[str, RemoteHost], recording: Recording) -> Directory:
        """Who is registered, by plug-ins where services have them."""
        if not self.plugins:
            return default_directory(self.scenario, address)
        with self.record.phase("deploy"):
            return await deploy(self.scenario, self.plugins, reached, address, partial(recording.add, "deploy"))

    def _address(self, provision: Provision) -> Callable[[str], str]:
        """Addresses of hosts, which must be the same for all."""
        names = list(self.plan.hosts)
        for name in names[1:2]:
            if provision.address(names[0], name) != provision.address(name, name):
                raise PlatformError(
                    "hosts have no addresses of their own here", where="emulated platform",
                    remedy="scenarios need network namespaces: see `estran doctor`",
                )  # fmt: skip
        return lambda host: provision.address(host, host)

    async def _all(
        self,
        stages: Stages,
        provision: Provision,
        hosts: Mapping[str, Host],
        reached: Mapping[str, RemoteHost],
        collector: Collector,
    ) -> None:
        if self._has("prepare"):
            with self.record.phase("prepare"):
                await stages.run("prepare", self._variables(Trial(), self.artifacts))
        await provision.enforce()
        origin_ns = provision.now_ns()
        clock = provision.clock(origin_ns)
        collector.begin(origin_ns)
        async with asyncio.TaskGroup() as group:
            for name, host in hosts.items():
                group.create_task(begin(host, origin_ns, provision.sampler(name), provision.observer(name)))
        real = reached if isinstance(provision, Reaching) else {}
        async with sampled(real, origin_ns, collector.take, collector.fail) as clocks:
            if clocks:
                self.record.note(clocks={name: asdict(clock) for name, clock in clocks.items()})
            for trial in self.trials:
                await self._trial(stages, trial)
        self.record.note(duration=round(clock.now(), 6))

    def _measured(self) -> bool:
        return any(phase.name.startswith("wait") and phase.status == "done" for phase in self.record.phases)

    def _has(self, stage: Stage) -> bool:
        return any(read.tasks.get(stage) for read in self.plays)

    async def _trial(self, stages: Stages, trial: Trial) -> None:
        """Launch, wait and finalize, with the variables of one trial."""
        suffix = f" {trial.name}" if trial.name else ""
        output = trial.folder(self.folder / "output")
        output.mkdir(parents=True, exist_ok=True)
        with self.record.phase(f"launch{suffix}"):
            await stages.run("launch", self._variables(trial, self.artifacts))
        duration = self.plan.experiment.measure.duration
        with self.record.phase(f"wait{suffix}", duration if duration >= LOOK else None):
            await _wait(stages, duration)
        if self._has("finalize"):
            with self.record.phase(f"finalize{suffix}"):
                await stages.run("finalize", self._variables(trial, output))

    def _variables(self, trial: Trial, working: Path) -> dict[str, Any]:
        """What templates know on every host."""
        return {
            "working_dir": str(working.resolve()), "scenario_dir": str(self.scenario.folder.resolve()),
            "artifacts_dir": str(self.artifacts.resolve()), "current_repeat": self.repeat, **trial.variables(self.scenario),
        }  # fmt: skip


async def _wait(stages: Stages, seconds: float) -> None:
    """Let the workload run, for as long as no task in the background fails."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        await asyncio.sleep(min(left, LOOK))
        stages.look_at_jobs()
