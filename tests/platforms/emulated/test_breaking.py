"""Faults of emulated hosts for real: each kind, what it does, and that nothing of it is left when it is healed."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.platform import EmulatedPlatform, EmulatedProvision
from estran.runtime.launch import Launch
from estran.runtime.tree import tree
from estran.spec import load_text
from estran.spec.faults import Injection
from estran.spec.plan import Plan
from estran.spec.resolve import plan as make_plan

pytestmark = pytest.mark.root

PORT = 18_311
HOSTS = """
experiment: broken
layers: {edge: {hosts: 1, device: raspberry-pi-4}, fog: {hosts: 1, device: raspberry-pi-4}}
network: [{between: [edge, fog], delay: 5ms}]
services:
  writer: {on: edge, command: [sleep, "600"], restart: on-failure}
  other: {on: fog, command: [sleep, "600"], ports: [18311]}
"""
BOTH = (("edge-0", "fog-0"), ("fog-0", "edge-0"))

ANSWER = (
    "import socket,sys; s=socket.create_server((sys.argv[1],int(sys.argv[2]))); s.settimeout(60); c,_=s.accept()\n"
    "while d:=c.recv(9): c.sendall(d)"
)
ASK = (
    "import socket,sys,time; c=socket.create_connection((sys.argv[1],int(sys.argv[2])),5); c.setsockopt(6,1,1)\n"
    "for i in range(600):\n"
    "    t=time.monotonic(); c.sendall(b'estran'); assert c.recv(9)==b'estran'\n"
    "    open(sys.argv[3],'a').write(f'{time.monotonic()} {time.monotonic()-t}\\n'); time.sleep(.02)"
)
WRITES = """
import time
for number in range(100000):
    try:
        with open("written", "a") as file:
            file.write(f"{number}\\n")
        print("ok", flush=True)
    except OSError as error:
        print(f"errno {error.errno}", flush=True)
    time.sleep(0.05)
"""


def _plan(text: str = HOSTS) -> Plan:
    return make_plan(load_text(text))


@asynccontextmanager
async def provided(platform: EmulatedPlatform, folder: Path, plan: Plan | None = None) -> AsyncIterator[Broken]:
    plan = plan or _plan()
    async with platform.provide(plan, folder, f"break-{secrets.token_hex(3)}") as provision, asyncio.TaskGroup() as group:
        broken = Broken(provision, folder)
        work = [group.create_task(host.serve()) for host in provision.hosts.values()]
        work += [group.create_task(broken.follow(name)) for name in provision.hosts]
        try:
            yield broken
        finally:
            await asyncio.gather(*(host.close() for host in provision.hosts.values()))
            await asyncio.wait(work, timeout=5)
            for task in work:
                task.cancel()


class Broken:
    """A provision, and what its hosts have said."""

    def __init__(self, provision: EmulatedProvision, folder: Path) -> None:
        self.provision = provision
        self.folder = folder
        self.frames: list[dict[str, Any]] = []
        self.lines: list[str] = []

    async def follow(self, name: str) -> None:
        async for frame in self.provision.hosts[name].events():
            self.frames.append(dict(frame))
            if frame["say"] == "rows" and frame["table"] == "logs":
                self.lines += [str(row[4]) for row in frame["rows"]]

    async def start(self, replica: str, host: str, code: str, *arguments: str, restart: str = "on-failure") -> None:
        launch = Launch(
            replica, replica.rpartition("-")[0], 0, 1, host, 1, time.monotonic_ns(),
            command=("python3", "-u", "-c", code, *arguments), folder=str(self.folder / replica), restart=restart,  # type: ignore[arg-type]
        )  # fmt: skip
        await self.provision.hosts[host].start(launch.plain())
        await self.until(lambda: self.said("ready", replica) > 0)

    def said(self, what: str, replica: str) -> int:
        return sum(frame["say"] == what and frame.get("replica") == replica for frame in self.frames)

    def pids(self, replica: str) -> list[int]:
        """Of its lives, in their own process namespace."""
        rows = [row for frame in self.frames if frame["say"] == "rows" and frame["table"] == "events" for row in frame["rows"]]
        return [int(row[4].removeprefix("pid ")) for row in rows if row[2] == replica and row[3] == "started"]

    async def until(self, holds: Callable[[], bool], patience: float = 20.0) -> None:
        async with asyncio.timeout(patience):
            while not holds():
                await asyncio.sleep(0.02)

    def echoes(self) -> list[tuple[float, float]]:
        """When an echo came, and how long it took."""
        path = self.folder / "echoes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(float(line.split()[0]), float(line.split()[1])) for line in lines if len(line.split()) == 2]


async def talk(broken: Broken) -> None:
    """Have two hosts exchange small packets all the time."""
    address = broken.provision.address("edge-0", "fog-0")
    await broken.start("other-0", "fog-0", ANSWER, broken.provision.address("fog-0", "fog-0"), str(PORT))
    await asyncio.sleep(0.5)
    await broken.start("writer-0", "edge-0", ASK, address, str(PORT), str(broken.folder / "echoes"))
    await broken.until(lambda: len(broken.echoes()) > 10)


@pytest.mark.parametrize("engine", ["nfqueue", "tun", "loopback"])
async def test_a_cut_is_silent_and_over_when_it_is_mended(engine: str, tmp_path: Path) -> None:
    cut = Injection("wan/0", "wan", "cut", 0.0, None, links=BOTH)
    async with provided(EmulatedPlatform(engine), tmp_path) as broken:
        await talk(broken)
        await broken.provision.inject(cut)
        await asyncio.sleep(0.3)
        before = len(broken.echoes())
        await asyncio.sleep(0.7)
        assert len(broken.echoes()) == before
        await broken.provision.heal(cut)
        await broken.until(lambda: len(broken.echoes()) > before + 20)
        times = [took for _, took in broken.echoes()]
        assert min(times[-15:]) == pytest.approx(min(times[:before]), abs=0.005)
        assert not broken.said("ended", "writer-0")


@pytest.mark.parametrize("engine", ["nfqueue", "loopback"])
async def test_a_degraded_link_is_slower_and_then_as_before(engine: str, tmp_path: Path) -> None:
    first = Injection("slow/0", "slow", "degrade", 0.0, None, links=BOTH, settings={"delay": 0.05})
    second = Injection("slower/0", "slower", "degrade", 0.0, None, links=BOTH, settings={"delay": 0.1})
    async with provided(EmulatedPlatform(engine), tmp_path) as broken:
        await talk(broken)

        async def best() -> float:
            count = len(broken.echoes()) + 1
            await broken.until(lambda: len(broken.echoes()) > count + 7)
            return min(took for _, took in broken.echoes()[count:])

        before = await best()
        await broken.provision.inject(first)
        assert await best() >= 0.1
        await broken.provision.inject(second)
        assert await best() >= 0.2
        await broken.provision.heal(first)
        assert await best() >= 0.2
        await broken.provision.heal(second)
        assert before == pytest.approx(await best(), abs=0.005)


async def test_a_flapping_link_comes_and_goes_until_it_is_healed(tmp_path: Path) -> None:
    flap = Injection("wan/0", "wan", "flap", 0.0, None, links=BOTH, settings={"period": 1.0, "share": 0.6})
    async with provided(EmulatedPlatform(), tmp_path) as broken:
        await talk(broken)
        await broken.provision.inject(flap)
        await asyncio.sleep(3.5)
        await broken.provision.heal(flap)
        count = len(broken.echoes())
        await broken.until(lambda: len(broken.echoes()) > count + 20)
        moments = [at for at, _ in broken.echoes()]
        gaps = [later - at for at, later in itertools.pairwise(moments) if later - at > 0.4]
        assert len(gaps) >= 2


@pytest.mark.parametrize("limiter", ["cgroup1", "throttle"])
async def test_a_crashed_host_is_dead_and_silent_and_comes_back(limiter: str, tmp_path: Path) -> None:
    crash = Injection("down/0", "down", "crash", 0.0, 1.0, hosts=("edge-0",), replicas=("writer-0",))
    child = "import subprocess,time\nsubprocess.Popen(['sleep','600'],start_new_session=True)\ntime.sleep(600)"
    async with provided(EmulatedPlatform(limiter=limiter), tmp_path) as broken:
        await broken.start("writer-0", "edge-0", child, restart="never")
        await broken.until(lambda: len(broken.pids("writer-0")) == 1)
        async with asyncio.timeout(20):
            while await running(broken, "sleep") != 1:
                await asyncio.sleep(0.1)
        await broken.provision.inject(crash)
        assert await running(broken, "sleep") == 0
        await asyncio.sleep(0.5)
        assert len(broken.pids("writer-0")) == 1
        await broken.provision.heal(crash)
        await broken.until(lambda: broken.said("ready", "writer-0") == 2)
        assert len(broken.pids("writer-0")) == 2
        assert broken.said("ended", "writer-0") == 1


async def running(broken: Broken, name: str) -> int:
    """How many processes of a name the run has, those aside that have ended."""
    script = 'for f in /proc/[0-9]*/cmdline; do tr "\\0" " " <$f; echo; done 2>/dev/null'
    done = await broken.provision.hosts["edge-0"].run(["sh", "-c", script])
    return sum(line.startswith(f"{name} ") for line in done.stdout.decode().splitlines())


async def test_a_killed_service_is_restarted_as_its_policy_says(tmp_path: Path) -> None:
    kill = Injection("boom/0", "boom", "kill", 0.0, None, replicas=("writer-0", "other-0"))
    async with provided(EmulatedPlatform(), tmp_path) as broken:
        await broken.start("writer-0", "edge-0", "import time; time.sleep(600)", restart="on-failure")
        await broken.start("other-0", "fog-0", "import time; time.sleep(600)", restart="never")
        await broken.provision.inject(kill)
        await broken.until(lambda: broken.said("ready", "writer-0") == 2 and broken.said("ended", "other-0") == 1)
        (ended,) = [frame for frame in broken.frames if frame["say"] == "ended"]
        assert ended["what"] == "was killed by the fault boom/0"
        await broken.provision.heal(kill)
        assert broken.said("restarting", "other-0") == 0


async def test_a_service_that_is_killed_for_a_time_stays_down_for_it(tmp_path: Path) -> None:
    kill = Injection("boom/0", "boom", "kill", 0.0, 0.5, replicas=("writer-0", "other-0"))
    async with provided(EmulatedPlatform(), tmp_path) as broken:
        for name, host, restart in (("writer-0", "edge-0", "on-failure"), ("other-0", "fog-0", "never")):
            await broken.start(name, host, "import time; time.sleep(600)", restart=restart)
        await broken.provision.inject(kill)
        await asyncio.sleep(0.6)
        assert [broken.said("ready", name) for name in ("writer-0", "other-0")] == [1, 1]
        await broken.provision.heal(kill)
        await broken.until(lambda: [broken.said("ready", name) for name in ("writer-0", "other-0")] == [2, 2])


@pytest.mark.parametrize("limiter", ["cgroup1", "throttle"])
async def test_a_hung_service_says_nothing_until_it_goes_on(limiter: str, tmp_path: Path) -> None:
    hang = Injection("stuck/0", "stuck", "hang", 0.0, None, replicas=("writer-0",))
    async with provided(EmulatedPlatform(limiter=limiter), tmp_path) as broken:
        await broken.start("writer-0", "edge-0", WRITES)
        await broken.until(lambda: len(broken.lines) > 5)
        await broken.provision.inject(hang)
        await asyncio.sleep(0.5)
        said = len(broken.lines)
        await asyncio.sleep(0.7)
        assert len(broken.lines) == said
        await broken.provision.heal(hang)
        await broken.until(lambda: len(broken.lines) > said + 5)


async def test_a_full_disk_takes_no_byte_more_and_touches_no_other_host(tmp_path: Path) -> None:
    full = Injection("full/0", "full", "disk-full", 0.0, None, hosts=("edge-0",))
    async with provided(EmulatedPlatform(), tmp_path) as broken:
        await broken.start("writer-0", "edge-0", WRITES)
        await broken.start("other-0", "fog-0", WRITES.replace("written", "elsewhere"))
        await broken.until(lambda: (tmp_path / "writer-0" / "written").exists())
        await broken.provision.inject(full)
        size, elsewhere = size_of(tmp_path / "writer-0" / "written"), size_of(tmp_path / "other-0" / "elsewhere")
        await broken.until(lambda: "errno 27" in broken.lines)
        await broken.until(lambda: size_of(tmp_path / "other-0" / "elsewhere") > elsewhere)
        assert size_of(tmp_path / "writer-0" / "written") == size
        await broken.provision.heal(full)
        await broken.until(lambda: size_of(tmp_path / "writer-0" / "written") > size)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("limiter", ["cgroup1", "throttle"])
async def test_pressure_takes_the_hosts_memory_and_gives_it_back(limiter: str, tmp_path: Path) -> None:
    press = Injection("tight/0", "tight", "memory-pressure", 0.0, None, hosts=("edge-0",), settings={"memory": 64 << 20})
    plan = _plan()
    async with provided(EmulatedPlatform(limiter=limiter), tmp_path, plan) as broken:
        await broken.start("writer-0", "edge-0", "import time; time.sleep(600)")
        before = await hogs(broken)
        await broken.provision.inject(press)
        async with asyncio.timeout(20):
            while (held := await hogs(broken)) < before + (60 << 20):
                await asyncio.sleep(0.1)
        await broken.provision.heal(press)
        assert held >= before + (60 << 20)
        assert await hogs(broken) == 0
        all_of_it = {"memory": plan.hosts["edge-0"].device.memory}
        greedy = Injection("x/0", "x", "memory-pressure", 0.0, None, hosts=("edge-0",), settings=all_of_it)
        with pytest.raises(PlatformError, match="no less than all the memory"):
            await broken.provision.inject(greedy)


async def hogs(broken: Broken) -> int:
    """Bytes that are held by processes that only take memory."""
    look = "tr '\\0' ' ' <$p/cmdline | grep -q 'hog[.]py' && awk '/VmRSS/{print $2}' $p/status"
    script = f"for p in /proc/[0-9]*; do {look}; done 2>/dev/null"
    done = await broken.provision.hosts["edge-0"].run(["bash", "-c", script])
    return sum(int(line) * 1024 for line in done.stdout.split())


async def test_what_a_platform_cannot_do_is_refused(tmp_path: Path) -> None:
    async with provided(EmulatedPlatform("loopback"), tmp_path) as broken:
        lossy = Injection("bad/0", "bad", "degrade", 0.0, None, links=BOTH, settings={"loss": 0.1})
        with pytest.raises(PlatformError, match="cannot be emulated on TCP"):
            await broken.provision.inject(lossy)
        with pytest.raises(PlatformError, match="no replica 'nobody-0'"):
            await broken.provision.hosts["edge-0"].ask("break", key="k", kind="kill", replicas=["nobody-0"], settings={})


def test_a_tree_of_processes_has_those_that_left_the_session(tmp_path: Path) -> None:
    import subprocess

    script = "setsid sleep 60 & sleep 60 & wait"
    shell = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        deadline = time.monotonic() + 5
        while len(tree(shell.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(tree(shell.pid)) == 3
        assert os.getpid() not in tree(shell.pid)
    finally:
        for pid in tree(shell.pid):
            os.kill(pid, 9)
        shell.wait()
