"""CPU limits: error of the share over 50 slow hosts, how far a short job is stretched, and what the limits cost.

The peer is what container engines do: one cgroup quota with the kernel's usual period of 100 ms.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from estran.platforms.emulated.limits.cgroup_groups import CgroupHost, CgroupService
from estran.platforms.emulated.limits.ladder import RUNGS, make_limiter
from estran.platforms.emulated.limits.limiter import HostGroup, Limiter, ServiceGroup
from estran.platforms.emulated.limits.shares import burner

HOSTS, SHARE = 50, 0.02
JOB, JOB_SHARE, JOBS = 0.005, 0.1, 20
USUAL_PERIOD = 100_000

JOB_SCRIPT = f"""
import time
walls = []
input()
for _ in range({JOBS}):
    time.sleep(0.12)
    start, used = time.monotonic(), time.process_time()
    while time.process_time() < used + {JOB}:
        pass
    walls.append(time.monotonic() - start)
print(*walls)
"""


def usual(limiter: Limiter, groups: list[tuple[HostGroup, ServiceGroup]]) -> None:
    """Replace our caps by the usual ones."""
    for _, service in groups:
        group = cast("CgroupService", service)
        cast("CgroupHost", group.host).tree.cap(group.path, round(group.cpu * USUAL_PERIOD), USUAL_PERIOD)


def groups_of(limiter: Limiter, count: int, share: float) -> list[tuple[HostGroup, ServiceGroup]]:
    hosts = [limiter.host(f"host-{index}", share, 2**30) for index in range(count)]
    return [(host, host.service("service", share)) for host in hosts]


def clock(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)


def share_errors(limiter: Limiter, seconds: float, *, peer: bool) -> tuple[list[float], float, float]:
    """Relative errors of all hosts' shares, milliseconds to make and join a group, and cores spent on limiting."""
    with ExitStack() as stack:
        start = time.monotonic()
        groups = groups_of(limiter, HOSTS, SHARE)
        if peer:
            usual(limiter, groups)
        pids = []
        for _, service in groups:
            pids.append(stack.enter_context(burner()))
            service.attach(pids[-1])
        made = (time.monotonic() - start) / HOSTS * 1e3
        settle(limiter, 2.0, correct=not peer)
        cost, began, before = spent(limiter), time.monotonic(), [clock(pid) for pid in pids]
        settle(limiter, seconds, correct=not peer)
        passed, after = time.monotonic() - began, [clock(pid) for pid in pids]
        errors = [(end - begin) / passed / SHARE - 1 for begin, end in zip(before, after, strict=True)]
        return errors, made, (spent(limiter) - cost) / passed


def settle(limiter: Limiter, seconds: float, *, correct: bool) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(0.25, max(0.0, deadline - time.monotonic())))
        if correct:
            limiter.step()


def spent(limiter: Limiter) -> float:
    """CPU seconds of this process and of the limiter's own."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    guard = getattr(limiter, "pid", None)
    worker = [int(pid) for pid in Path(f"/proc/{guard}/task/{guard}/children").read_text().split()] if guard else []
    return mine.ru_utime + mine.ru_stime + sum(clock(pid) for pid in worker)


def stretch(limiter: Limiter, *, peer: bool) -> list[float]:
    """Wall time over CPU time of short jobs with pauses between them; 1/share is right, 1 is full speed."""
    groups = groups_of(limiter, 1, JOB_SHARE)
    with subprocess.Popen([sys.executable, "-IS", "-c", JOB_SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        time.sleep(0.1)
        if peer:
            usual(limiter, groups)
        groups[0][1].attach(worker.pid)
        output, _ = worker.communicate(b"\n")
    return [float(wall) / JOB for wall in output.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the share measurement")
    seconds = parser.parse_args().seconds
    table = Table(
        "limiter", "share error", "min … max", "within 4 %", "5 ms job", "group + join", "cores spent", title=f"{HOSTS} × {SHARE}"
    )
    for rung in RUNGS:
        trial = make_limiter(rung, f"bench-{os.getpid()}").trial()
        if not trial.works:
            print(f"{rung}: not here: {trial.why}")
            continue
        for peer in (False, True) if rung.startswith("cgroup") else (False,):
            with make_limiter(rung, f"bench-{os.getpid()}") as limiter:
                errors, made, cost = share_errors(limiter, seconds, peer=peer)
            with make_limiter(rung, f"bench-{os.getpid()}") as limiter:
                stretches = stretch(limiter, peer=peer)
            table.add_row(
                rung + (", quota of 100 ms (peer)" if peer else ""),
                f"{statistics.median(map(abs, errors)):.1%} median",
                f"{min(errors):+.1%} … {max(errors):+.1%}",
                f"{sum(abs(error) <= 0.04 for error in errors)}/{HOSTS}",
                f"{statistics.median(stretches):.1f}× (asked {1 / JOB_SHARE:.0f}×)",
                f"{made:.1f} ms",
                f"{cost:.3f}",
            )
    Console(width=132).print(table, f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
