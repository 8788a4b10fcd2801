"""The supervisor against real processes: readiness, restarts, deaths, orphans."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from estran.errors import PlatformError
from estran.runtime.clock import RealClock
from estran.runtime.launch import Launch, Readiness, Yielding
from estran.runtime.supervised import Supervised
from tests.runtime.agents import alive, command, running_agent


async def test_a_command_runs_and_its_lines_and_end_are_reported(tmp_path: Path) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", "echo hello; echo trouble >&2"))
        ended = await agent.wait_for("ended")
        assert (ended["status"], ended["failed"]) == (0, False)
        await asyncio.sleep(0.3)
    lines = {(row[3], row[4]) for row in agent.rows("logs")}
    assert lines == {("stdout", "hello"), ("stderr", "trouble")}


@pytest.mark.parametrize(("yields", "policy"), [(None, os.SCHED_OTHER), (Yielding(1), os.SCHED_IDLE)])
async def test_a_service_that_yields_runs_in_the_idle_class(tmp_path: Path, yields: Yielding | None, policy: int) -> None:
    async with running_agent() as agent:
        told = "import os; print(os.sched_getscheduler(0))"
        await agent.host.start(command(tmp_path, sys.executable, "-IS", "-c", told, yields=yields))
        assert (await agent.wait_for("ended"))["tail"] == [str(policy)]


async def test_a_failing_command_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", "echo cannot find the camera; exit 3"))
        ended = await agent.wait_for("ended")
    assert ended["failed"]
    assert ended["what"] == "ended with status 3"
    assert ended["tail"] == ["cannot find the camera"]


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "no-such-program"))
        ended = await agent.wait_for("ended")
    assert ended["failed"]
    assert "command not found: no-such-program" in ended["tail"]


async def test_a_command_that_cannot_be_executed_is_never_ready_however_long_that_takes_to_find_out(tmp_path: Path) -> None:
    long_way = {"PATH": ":".join("x" * 5_000)}
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "no-such-program", env=long_way))
        await agent.wait_for("ended")
    assert "ready" not in {frame["say"] for frame in agent.said}


async def test_a_new_life_is_told_of_the_faults_that_are_on(tmp_path: Path) -> None:
    """Not of those that are over, and each once."""
    told: list[Mapping[str, Any]] = []
    launch = Launch.read(command(tmp_path, "true"))
    replica = Supervised(launch, None, lambda frame: None, RealClock(time.monotonic_ns()))
    for key in ("drift/0", "burst/0"):
        replica.tell({"say": "disturb", "key": key})
    replica.tell({"say": "calm", "key": "drift/0"})
    replica._link = SimpleNamespace(write=told.append)  # type: ignore[assignment]
    replica.tell({"say": "disturb", "key": "corrupt/0"})
    assert told == [], "it is not ready to hear"
    replica._become_ready()
    replica.tell({"say": "calm", "key": "burst/0"})
    assert [(frame["say"], frame["key"]) for frame in told] == [
        ("disturb", "burst/0"), ("disturb", "corrupt/0"), ("calm", "burst/0"),
    ]  # fmt: skip


async def test_a_killed_command_names_the_signal(tmp_path: Path) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", "kill -9 $$"))
        assert (await agent.wait_for("ended"))["what"] == "was killed by signal 9 (SIGKILL)"


async def test_restarts_on_failure_until_the_limit(tmp_path: Path) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", "echo try >> tries; exit 1", restart="on-failure", max_restarts=2))
        ended = await agent.wait_for("ended")
    assert ended["restarts"] == 2
    assert (tmp_path / "tries").read_text().split() == ["try"] * 3


@pytest.mark.parametrize(
    ("program", "ready"),
    [
        ("echo listening on; sleep 60", Readiness(output="listening")),
        ("sleep 0.1; touch up; sleep 60", Readiness(file="up")),
        (f"exec {sys.executable} -m http.server 18080 --bind 127.0.0.1", Readiness(port=18080)),
    ],
)
async def test_readiness_by_output_file_and_port(tmp_path: Path, program: str, ready: Readiness) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", program, ready=ready))
        await agent.wait_for("ready")


async def test_what_never_gets_ready_is_ended_and_named(tmp_path: Path) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sleep", "60", ready=Readiness(port=1, timeout=0.3)))
        ended = await agent.wait_for("ended")
    assert ended["failed"]
    assert ended["what"] == "was not ready after 0.3s (nothing listens on port 1)"


async def test_stop_is_gentle_first_and_takes_the_whole_process_group(tmp_path: Path) -> None:
    program = "sh -c 'echo $$ > child; sleep 60' & trap 'echo bye; exit 0' TERM; wait"
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", program))
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
            await asyncio.sleep(0.02)
        child = int((tmp_path / "child").read_text())
        await agent.host.stop("tool-0", grace=2.0)
        assert not (await agent.wait_for("ended"))["failed"]
        assert not alive(child)


async def test_a_stubborn_command_is_killed_after_the_grace(tmp_path: Path) -> None:
    deaf = "trap '' TERM; echo deaf; while :; do sleep 0.05; done"
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", deaf, ready=Readiness(output="deaf")))
        await agent.wait_for("ready")
        await agent.host.stop("tool-0", grace=0.3)
        ended = await agent.wait_for("ended")
    assert (ended["status"], ended["failed"]) == (-9, False)


async def test_services_end_with_their_agent(tmp_path: Path) -> None:
    async with running_agent() as agent:
        await agent.host.start(command(tmp_path, "sh", "-c", "echo $$ > pid; sleep 60"))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            await asyncio.sleep(0.02)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
    assert not alive(pid)


async def test_files_go_both_ways_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "here").write_bytes(data)
    async with running_agent() as agent:
        await agent.host.put(tmp_path / "here", str(tmp_path / "there"))
        await agent.host.get(str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


async def test_a_command_run_to_its_end_and_one_that_takes_too_long() -> None:
    async with running_agent() as agent:
        completed = await agent.host.run(["sh", "-c", "echo out; echo err >&2; exit 4"])
        assert (completed.returncode, completed.stdout, completed.stderr) == (4, b"out\n", b"err\n")
        with pytest.raises(PlatformError, match=r"did not end within 0.2s"):
            await agent.host.run(["sleep", "60"], timeout=0.2)


async def test_a_command_whose_child_has_gone_its_own_way_is_not_waited_for() -> None:
    async with running_agent() as agent:
        with pytest.raises(PlatformError, match=r"did not end within 0.2s"):
            await agent.host.run(["sh", "-c", "setsid sleep 5 & exit 0"], timeout=0.2)
        with pytest.raises(PlatformError, match="TypeError"):
            await agent.host.run(["sleep", "3600"], timeout="soon")  # type: ignore[arg-type]
        assert (await agent.host.run(["pgrep", "-x", "-P", str(agent.pid), "sleep"])).stdout == b""


async def test_what_no_agent_can_do_is_refused_and_it_lives_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    async with running_agent() as agent:
        for offset, size in ((2**63, 1), (0, 2**60)):
            with pytest.raises(PlatformError, match=r"OverflowError|MemoryError|ValueError"):
                await agent.host.ask("get", path=str(tmp_path / "file"), offset=offset, size=size)
        assert (await agent.host.run(["true"])).returncode == 0


async def test_an_unknown_request_is_refused_and_the_agent_lives_on() -> None:
    async with running_agent() as agent:
        with pytest.raises(PlatformError, match="cannot 'dance'"):
            await agent.host.ask("dance")
        assert (await agent.host.run(["true"])).returncode == 0


async def test_an_agent_that_breaks_says_why() -> None:
    async with running_agent() as agent:
        await agent.host.task("json:loads", {})  # takes no such arguments
        told = await agent.wait_for("task-failed")
    assert told["task"] == "the host's agent"
    assert "TypeError: loads() takes" in told["what"]
