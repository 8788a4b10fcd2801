"""Plays of a stage work side by side, unless one is about another's hosts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from estran.e2clab.directory import default_directory
from estran.e2clab.plays import ReadPlay
from estran.e2clab.recording import without_secrets
from estran.e2clab.stages import Stages, TaskFailedError, said
from estran.errors import Where
from estran.tasks.result import Report, Result
from tests.spec.e2clab.scenarios import SECOND, read

WORKFLOW = """
- {hosts: cloud, launch: [{shell: server}]}
- {hosts: edge.worker.1.1, launch: [{shell: alone}]}
- {hosts: edge.worker.1.2, depends_on: [{service_selector: cloud, prefix: server, grouping: asarray}], launch: [{shell: client}]}
- {hosts: "edge.worker.1.1, edge.worker.1.3", launch: [{shell: second}]}
"""


class Runner:
    """Does tasks in place of `TaskRunner`: the first two are done once both have begun; one may fail."""

    story: list[str]
    both: asyncio.Barrier
    failing: str | None = None

    def __init__(self, hosts: Any, **_: Any) -> None:
        self.states = {name: type("State", (), {"given": {}, "found": {}})() for name in hosts}
        self.jobs = type("Jobs", (), {"jobs": {}, "failures": lambda _: []})()

    async def __aenter__(self) -> Runner:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to end."""

    async def run(self, tasks: Any, *_: Any) -> Report:
        name = tasks[0]["shell"]
        self.story.append(f"{name} begins")
        if name in ("server", "alone"):
            async with asyncio.timeout(20):
                await self.both.wait()
        self.story.append(f"{name} ends")
        if name == self.failing:
            failed = Result("cloud-0", "shell", "shell", Where("workflow.yaml", 2, 5), "failed", "native", {"msg": "no"}, 0.0)
            return Report(failed={"cloud-0": failed})
        return Report()


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    monkeypatch.setattr("estran.e2clab.stages.TaskRunner", Runner)
    Runner.story, Runner.both, Runner.failing = [], asyncio.Barrier(2), None
    scenario = read(tmp_path, SECOND, workflow=WORKFLOW)
    plays = [ReadPlay(play, {"launch": ([dict(task.data) for task in play.stages["launch"]], ())}) for play in scenario.plays]
    hosts: Any = {machine.host: None for machine in scenario.machines()}
    return Stages(scenario.marks, plays, default_directory(scenario, str), hosts, (), lambda stage, result: None)


async def test_plays_wait_for_those_that_they_are_about_and_for_no_others(stages: Stages) -> None:
    async with stages:
        await stages.run("launch", {})
    assert sorted(Runner.story[:2]) == ["alone begins", "server begins"], "each waits until the other has begun, too"
    assert Runner.story.index("server ends") < Runner.story.index("client begins")
    assert Runner.story.index("alone ends") < Runner.story.index("second begins")


async def test_a_failure_keeps_what_depends_on_it_from_beginning(stages: Stages) -> None:
    Runner.failing = "server"
    with pytest.raises(ExceptionGroup) as raised:
        async with stages:
            await stages.run("launch", {})
    assert "client begins" not in Runner.story
    assert raised.group_contains(TaskFailedError, match="the task 'shell' failed on cloud-0: no")


def test_why_a_task_failed_is_told_in_a_line() -> None:
    assert said({"msg": "non-zero return code", "rc": 3, "stderr": "a\nb\n"}) == "non-zero return code; status 3; b"
    assert said({}) == "it did not say why"


def test_secrets_are_not_kept() -> None:
    text = "g5k_pass: a\nwandb_api_key: 'b c'   # d\npassword:\nkey_name: ~/.ssh/id.pub\nbypass: on\n"
    kept = 'g5k_pass: "(hidden)"\nwandb_api_key: "(hidden)"\npassword:\nkey_name: ~/.ssh/id.pub\nbypass: on\n'
    assert without_secrets(text) == kept
