"""The rung without cgroups: shares, memory, accounting, and that nothing stays stopped whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.limits.shares import burner, measure_share
from estran.platforms.emulated.limits.throttle import Throttle


@pytest.fixture
def throttle() -> Iterator[Throttle]:
    with Throttle() as throttle:
        yield throttle


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def never_stopped(pid: int, seconds: float = 0.3) -> bool:
    """Nobody stops the process any more, and it is not stopped now."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if state(pid) == "T":
            return False
        time.sleep(0.002)
    return True


def used(read: Callable[[], float], seconds: float) -> float:
    before, start = read(), time.monotonic()
    time.sleep(seconds)
    return (read() - before) / (time.monotonic() - start)


def test_trial() -> None:
    trial = Throttle().trial()
    assert trial.works, trial.why
    assert "memory" in trial.limits


def test_share_measured(throttle: Throttle) -> None:
    assert 0.05 < measure_share(throttle.host("edge-0", 0.1, None), 0.3) < 0.11


def test_a_service_that_yields_has_what_the_others_leave(throttle: Throttle) -> None:
    host = throttle.host("edge-0", 0.2, None)
    first, yielding = host.service("first", 0.15), host.service("yielding", 0.2, yields=True)
    with burner() as serving, burner() as training:
        yielding.attach(training)
        alone = used(lambda: yielding.usage().cpu, 0.4)
        first.attach(serving)
        before = first.usage().cpu, yielding.usage().cpu
        time.sleep(0.8)
        after = first.usage().cpu, yielding.usage().cpu
        assert alone > 0
        assert after[1] - before[1] < after[0] - before[0]
        assert used(lambda: host.usage().cpu, 0.4) < 0.22


def test_services_together_stay_below_the_hosts_cap(throttle: Throttle) -> None:
    host = throttle.host("edge-0", 0.2, None)
    services = [host.service(name, 0.15) for name in "ab"]
    with burner() as one, burner() as two:
        services[0].attach(one)
        services[1].attach(two)
        assert used(lambda: host.usage().cpu, 0.6) < 0.22
        assert services[0].usage().cpu > 0
        assert services[1].usage().throttled > 0


def test_children_are_held_too_even_those_that_live_for_milliseconds(throttle: Throttle) -> None:
    service = throttle.host("edge-0", 0.1, None).service("a", 0.1)
    script = "read x; while :; do (i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done); done"
    shell = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE)
    try:
        service.attach(shell.pid)
        assert shell.stdin is not None
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        time.sleep(0.3)
        # The kernel's own books: what the shell's children used, in ticks of 10 ms.
        assert used(lambda: sum(os_times(shell.pid)), 1.5) < 0.16
    finally:
        shell.kill()
        shell.communicate()


def os_times(pid: int) -> tuple[float, ...]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return tuple(int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15])


def test_memory_limit_kills_the_largest_and_counts(throttle: Throttle) -> None:
    host = throttle.host("edge-0", 2.0, 64 * 2**20)
    service = host.service("a", 2.0)
    script = "input(); x = bytearray(b'x') * (200 << 20); input()"
    with subprocess.Popen([sys.executable, "-IS", "-c", script], stdin=subprocess.PIPE) as large, burner() as small:
        service.attach(small)
        service.attach(large.pid)
        large.communicate(b"\n", timeout=20)
        assert large.returncode == -signal.SIGKILL
        assert until(lambda: host.oom_kills() == 1)
        assert state(small) != "gone"
        assert host.usage().peak > 64 * 2**20


def test_who_is_continued_by_another_is_stopped_again(throttle: Throttle) -> None:
    service = throttle.host("edge-0", 0.02, None).service("a", 0.02)
    with burner() as pid:
        service.attach(pid)
        assert until(lambda: state(pid) == "T")
        deadline = time.monotonic() + 0.5
        start = service.usage().cpu
        while time.monotonic() < deadline:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.02)
        assert service.usage().cpu - start < 0.2


def test_a_removed_service_is_killed_with_its_children(throttle: Throttle) -> None:
    service = throttle.host("edge-0", 0.05, None).service("a", 0.05)
    shell = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & sleep 60 & wait"])
    service.attach(shell.pid)
    assert until(lambda: len(children(shell.pid)) == 2)
    below = children(shell.pid)
    service.remove()
    assert shell.wait(5) == -signal.SIGKILL
    assert until(lambda: all(state(pid) in ("gone", "Z") for pid in below))


def test_close_continues_nothing_it_should_kill_and_ends_its_processes() -> None:
    throttle = Throttle()
    service = throttle.host("edge-0", 0.05, None).service("a", 0.05)
    with burner() as pid:
        service.attach(pid)
        guard = throttle.pid
        assert guard is not None
        (worker,) = children(guard)
        throttle.close()
        assert until(lambda: state(pid) == "Z")
        assert until(lambda: state(guard) == "gone" and state(worker) == "gone")


@contextmanager
def held() -> Iterator[tuple[Throttle, int, int, int]]:
    """A throttler, its guard's and worker's pids, and a process that it holds at 2 % of a core."""
    throttle = Throttle()
    with burner() as pid:
        throttle.host("edge-0", 0.02, None).service("a", 0.02).attach(pid)
        guard = throttle.pid
        assert guard is not None
        (worker,) = children(guard)
        assert until(lambda: state(pid) == "T")
        try:
            yield throttle, guard, worker, pid
        finally:
            throttle.close()


@pytest.mark.parametrize("victim", ["guard", "worker"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killing_either_process_of_the_throttler_leaves_nothing_stopped(victim: str, number: signal.Signals) -> None:
    with held() as (throttle, guard, worker, pid):
        os.kill({"guard": guard, "worker": worker}[victim], number)
        assert until(lambda: state(pid) == "R")
        assert until(lambda: state(worker) == "gone")
        assert never_stopped(pid)
        assert until(lambda: state(guard) in ("gone", "Z"))
        with pytest.raises(PlatformError, match="ended with status"):
            throttle.step()


OWNER = """
import subprocess, time
from estran.platforms.emulated.limits.throttle import Throttle
throttle = Throttle()
service = throttle.host("edge-0", 0.02, None).service("a", 0.02)
child = subprocess.Popen(["/bin/sh", "-c", "ulimit -t 10; while :; do :; done"], stdout=subprocess.DEVNULL, start_new_session=True)
service.attach(child.pid)
print(child.pid, throttle.pid, flush=True)
time.sleep(60)
"""


def test_killing_the_owner_leaves_nothing_stopped_and_no_throttler() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    pid, guard = map(int, owner.stdout.readline().split())
    try:
        assert until(lambda: state(pid) == "T")
        owner.kill()
        owner.wait()
        assert until(lambda: state(guard) == "gone")
        assert state(pid) != "T"
        assert never_stopped(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        owner.stdout.close()


def test_a_fork_of_the_owner_can_put_itself_under_the_limits(throttle: Throttle) -> None:
    service = throttle.host("edge-0", 0.05, None).service("a", 0.05)
    pid = os.fork()
    if pid == 0:
        service.attach(os.getpid())
        while True:
            pass
    try:
        assert until(lambda: state(pid) == "T")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_attaching_what_has_ended_says_so(throttle: Throttle) -> None:
    service = throttle.host("edge-0", 0.1, None).service("a", 0.1)
    with burner() as pid:
        pass
    with pytest.raises(PlatformError, match="it has ended"):
        service.attach(pid)


UNPRIVILEGED = """
import os, shutil, sys
from estran.platforms.emulated.limits import cgroup, cgroup1, cgroup2, throttle
from estran.platforms.emulated.limits.ladder import choose_limiter
from estran.platforms.emulated.limits.shares import measure_share
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
if not os.access(sys.executable, os.X_OK):  # a checkout below /root
    sys.executable = shutil.which("python3", path="/usr/bin:/bin") or sys.exit("no interpreter for the user nobody")
limiter, trials = choose_limiter("user")
with limiter:
    print(limiter.name, 0.1 < measure_share(limiter.host("edge-0", 0.2, None), 0.3) < 0.22, *trials)
"""


@pytest.mark.root
def test_the_ladder_ends_here_for_a_user_without_privilege() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    done = subprocess.run([sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=False)
    if "no interpreter for the user nobody" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip(f"the user nobody cannot read this checkout: {done.stderr[-200:]}")
    assert done.stdout == "throttle True cgroup2 cgroup1 throttle\n", done.stdout + done.stderr


def test_a_paced_host_gets_its_part_and_then_all_again(throttle: Throttle) -> None:
    host = throttle.host("edge-0", 0.4, None)
    host.service("gone", 0.1).remove()
    service = host.service("a", 0.4)
    with burner() as pid:
        service.attach(pid)
        whole = used(lambda: service.usage().cpu, 0.6)
        host.pace(0.25)
        part = used(lambda: service.usage().cpu, 0.8)
        host.pace(1.0)
        again = used(lambda: service.usage().cpu, 0.6)
    assert whole > 0
    assert part < 0.13
    assert again > 0
    with pytest.raises(PlatformError, match="edge-0: a CPU share"):
        host.pace(0.001)


def test_a_frozen_service_does_nothing_until_it_is_let_go_on(throttle: Throttle) -> None:
    service = throttle.host("edge-0", 0.3, None).service("a", 0.3)
    with burner() as pid:
        service.attach(pid)
        assert used(lambda: service.usage().cpu, 0.3) > 0
        service.freeze(True)
        time.sleep(0.02)
        assert used(lambda: service.usage().cpu, 0.4) < 0.01
        service.freeze(False)
        assert used(lambda: service.usage().cpu, 0.4) > 0
