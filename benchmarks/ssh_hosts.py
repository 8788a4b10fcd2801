"""How quickly hosts over SSH are reached and commanded, against OpenSSH alone in the same run; and the controller's memory.

Real sshd in network namespaces of this machine, so hosts and controller share its processors: figures are the ratios. Needs root.
Run: ``python benchmarks/ssh_hosts.py [--hosts 8 32] [--repeats 5]``.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from estran.platforms.remote.bootstrap import local_host
from estran.platforms.ssh.connection import all_reached
from estran.platforms.ssh.target import Target
from tests.platforms.ssh.sshd import machines


async def ours(targets: Mapping[str, Target]) -> tuple[float, float, float]:
    """Seconds to the first answer of all hosts from nothing, and to one more; processor seconds of the controller for the first."""
    begun, used = time.perf_counter(), time.process_time()
    async with all_reached(targets, "benchmark") as hosts:
        await asyncio.gather(*(host.run(["true"]) for host in hosts.values()))
        cold, used = time.perf_counter() - begun, time.process_time() - used
        begun = time.perf_counter()
        await asyncio.gather(*(host.run(["true"]) for host in hosts.values()))
        return cold, time.perf_counter() - begun, used


async def openssh(targets: Mapping[str, Target]) -> float:
    """Seconds of one command on all hosts by ``ssh``, all at once: what a shell script does for each command."""
    begun = time.perf_counter()

    async def one(target: Target) -> None:
        options = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={target.known_hosts}", "-i", target.keys[0]]
        process = await asyncio.create_subprocess_exec("ssh", *options, f"root@{target.host}", "true")
        if await process.wait():
            raise SystemExit("ssh failed")

    await asyncio.gather(*(one(target) for target in targets.values()))
    return time.perf_counter() - begun


async def memory(count: int) -> float:
    """MB that the controller takes more with so many envoys at its hands."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with AsyncExitStack() as stack:
        for number in range(count):
            await stack.enter_async_context(local_host(f"m{number}", "benchmark"))
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, machines(max(options.hosts), Path(folder)) as found:
        for count in options.hosts:
            targets = {name: replace(machine.target, python="/usr/bin/python3") for name, machine in list(found.items())[:count]}
            rows = [(*asyncio.run(ours(targets)), asyncio.run(openssh(targets))) for _ in range(options.repeats)]
            cold, warm, used, ssh = (statistics.median(column) for column in zip(*rows, strict=True))
            print(
                f"{count:3} hosts: first command {cold:.2f} s, next {warm * 1e3:.0f} ms; ssh for each {ssh:.2f} s "
                f"→ a further command is {ssh / warm:.0f}× quicker, the first {ssh / cold:.2f}×; "
                f"the controller's part: {used / count * 1e3:.1f} ms of processor per host"
            )
    more = asyncio.run(memory(100))
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"100 hosts: the controller has {whole:.0f} MB, {more:.0f} of them for hosts")


if __name__ == "__main__":
    main()
