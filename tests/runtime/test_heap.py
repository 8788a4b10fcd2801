"""The threads of a service share few heaps."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

import pytest

from estran.runtime.heap import ARENAS
from estran.runtime.launch import Launch
from tests.runtime.agents import running_agent

CROWD = """
import ctypes, threading
from pathlib import Path
from estran.runtime.component import Component

def heaps():
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fopen(b"heaps.xml", b"w"))
    libc.malloc_info(0, file)
    libc.fclose(file)
    return Path("heaps.xml").read_text().count("<heap nr=")

class Crowd(Component):
    async def run(self):
        def take():
            taken = bytes(8192)
            together.wait()
            together.wait()
        together = threading.Barrier(17)
        threads = [threading.Thread(target=take) for _ in range(16)]
        for thread in threads:
            thread.start()
        together.wait()
        self.log.info("heaps: %d", heaps())
        together.wait()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc's malloc")
@pytest.mark.parametrize(("env", "most"), [({}, ARENAS), ({"MALLOC_ARENA_MAX": "2"}, 2)])
async def test_many_threads_share_few_heaps(tmp_path: Path, env: dict[str, str], most: int) -> None:
    (tmp_path / "parts.py").write_text(CROWD)
    launch = Launch(
        "crowd-0", "crowd", 0, 1, "host-0", 1, time.monotonic_ns(), component="parts:Crowd", env=env,
        folder=str(tmp_path / "work"), experiment_folder=str(tmp_path),
    )  # fmt: skip
    async with running_agent() as agent:
        await agent.host.start(launch.plain())
        await agent.wait_for("ready")
        await agent.host.go(time.monotonic_ns())
        ended = await agent.wait_for("ended")
    assert not ended["failed"]
    assert 2 <= int(ended["tail"][-1].rpartition(": ")[2]) <= most
