"""Cgroups: reading where they are, and real v1 groups where this machine has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.limits import cgroup
from estran.platforms.emulated.limits.cgroup import (
    leftovers,
    memberships,
    mounts,
    own_group,
    remove_tree,
)
from estran.platforms.emulated.limits.cgroup1 import Tree1
from estran.platforms.emulated.limits.cgroup2 import Tree2
from estran.platforms.emulated.limits.cgroup_groups import CgroupHost, CgroupLimiter
from estran.platforms.emulated.limits.ladder import choose_limiter
from estran.platforms.emulated.limits.shares import burner, measure_share, verify_shares

HYBRID = r"""
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/ab /sys/fs/cgroup/my\040memory rw,relatime shared:4 master:2 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
""".strip()


def test_mounts_are_read_with_escapes_and_shared_controllers() -> None:
    together, apart, unified = mounts(HYBRID)
    assert {"cpu", "cpuacct"} <= together.controllers
    assert not together.v2
    assert apart.path == Path("/sys/fs/cgroup/my memory")
    assert apart.root == "/docker/ab"
    assert unified.v2


def test_memberships_by_controller() -> None:
    assert memberships("4:cpu,cpuacct:/user\n3:name=systemd:/\n0::/user.slice/a:b\n") == {
        "cpu": "/user",
        "cpuacct": "/user",
        "name=systemd": "/",
        "": "/user.slice/a:b",
    }


def test_own_group_is_relative_to_what_is_mounted() -> None:
    _, memory, _ = mounts(HYBRID)
    assert own_group(memory, "/docker/ab/x") == memory.path / "x"
    assert own_group(memory, "/docker/ab") == memory.path
    assert own_group(memory, "/elsewhere") == memory.path


def test_v2_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cgroup.events").write_text("")
    (tmp_path / "cgroup.controllers").write_text("pids\n")
    monkeypatch.setattr("estran.platforms.emulated.limits.cgroup2.mounts", lambda: [cgroup.Mount(tmp_path, "/", frozenset(), True)])
    monkeypatch.setattr("estran.platforms.emulated.limits.cgroup2.memberships", lambda: {"": "/"})
    missing = Tree2("run").missing()
    assert missing is not None
    assert "cpu, memory" in missing
    assert "Delegate=yes" in missing


def test_of_processes_that_have_ended_a_v1_group_keeps_the_sum_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("estran.platforms.emulated.limits.cgroup1._moved", lambda pid: (1, 2))
    tree = Tree1("run")
    tree._roots = {"cpuacct": tmp_path}
    group = tmp_path / "service"
    group.mkdir()
    for pid in range(1, 101):
        (group / "cgroup.procs").write_text(f"7\n{pid + 1000}\n")
        moved = tree._io("service")
    assert moved == (1 + 100, 2 + 200)
    assert [set(book.running) for book in tree._io_books.values()] == [{7, 1100}]


trial = CgroupLimiter(Tree1("trial")).trial()
needs_v1 = pytest.mark.skipif(not trial.works, reason=f"cgroup v1: {trial.why}")
pytestmark = pytest.mark.root


@pytest.fixture
def limiter() -> Iterator[CgroupLimiter]:
    with CgroupLimiter(Tree1("test")) as limiter:
        yield limiter
    assert not folders("test")


def folders(name: str) -> list[str]:
    return [folder for mount in mounts() for folder, _, _ in os.walk(mount.path) if f"/estran/{name}/" in f"{folder}/"]


def hog(size: int) -> subprocess.Popen[bytes]:
    """Waits for a byte, then fills memory."""
    return subprocess.Popen([sys.executable, "-IS", "-c", f"input(); x = bytearray({size}); input()"], stdin=subprocess.PIPE)


@needs_v1
def test_trial_and_choice_leave_nothing_behind() -> None:
    limiter, trials = choose_limiter("choice", want="cgroup1")
    assert limiter.name == "cgroup1"
    assert trials["cgroup1"].works
    assert not folders("choice")


@needs_v1
def test_share_of_a_service_and_of_a_host_with_more_cores(limiter: CgroupLimiter) -> None:
    # Four cores of speed 0.1: one service of one core gets 0.1, not 0.4.
    host = limiter.host("edge-0", 0.4, None)
    service = host.service("a", 0.1)
    with burner() as pid:
        service.attach(pid)
        time.sleep(0.05)
        before, start = service.usage(), time.monotonic()
        time.sleep(0.8)
        after = service.usage()
        assert (after.cpu - before.cpu) / (time.monotonic() - start) < 0.13
        assert after.throttled > before.throttled
        assert host.usage().cpu == pytest.approx(after.cpu, rel=0.2)
        assert after.memory > 0


@needs_v1
def test_a_service_that_yields_has_what_the_others_leave(limiter: CgroupLimiter) -> None:
    host = limiter.host("edge-0", 0.4, None)
    first, yielding = host.service("first", 0.4), host.service("yielding", 0.4, yields=True)
    assert [folder for folder in yielding.folders if (folder / "cpu.idle").exists() and (folder / "cpu.idle").read_text() == "1\n"]
    with burner() as serving, burner() as training:
        yielding.attach(training)
        steps(limiter, 3)
        alone = yielding.share
        first.attach(serving)
        steps(limiter, 4)
        beside = yielding.share
    steps(limiter, 8)  # what was used too much is given back
    assert alone > 0.9 * 0.4
    assert beside < 0.5 * 0.4
    assert yielding.share > 0.9 * 0.4


def steps(limiter: CgroupLimiter, count: int) -> None:
    for _ in range(count):
        time.sleep(0.25)
        limiter.step()


@needs_v1
def test_services_together_stay_below_the_hosts_cap(limiter: CgroupLimiter) -> None:
    host = limiter.host("edge-0", 0.2, None)
    services = [host.service(name, 0.15) for name in "abc"]
    with burner() as one, burner() as two, burner() as three:
        for service, pid in zip(services, (one, two, three), strict=True):
            service.attach(pid)
        time.sleep(0.05)
        before, start = host.usage(), time.monotonic()
        for _ in range(4):
            time.sleep(0.25)
            limiter.step()
        used = (host.usage().cpu - before.cpu) / (time.monotonic() - start)
    assert used < 0.2 * 1.15


@needs_v1
def test_correction_can_raise_and_lower_nested_caps(limiter: CgroupLimiter) -> None:
    host = limiter.host("edge-0", 0.3, None)
    assert isinstance(host, CgroupHost)
    services = [host.service(name, 0.3) for name in "ab"]
    for factors in ((1.6, 1.6), (0.6, 1.6), (0.6, 0.6), (1.0, 1.3)):
        for service, factor in zip(services, factors, strict=True):
            service.corrector.factor = factor
            host._apply(service)
    host.corrector.factor = 0.6
    host._cap()


@needs_v1
def test_measured_share_and_its_group_is_gone_afterwards(limiter: CgroupLimiter) -> None:
    host = limiter.host("edge-0", 0.1, None)
    assert 0.03 < measure_share(host, 0.3) < 0.125
    assert not [folder for folder in folders("test") if "share-probe" in folder]


@needs_v1
def test_verified_is_what_one_thread_gets(limiter: CgroupLimiter) -> None:
    # Four cores of speed 0.2 are most of one local core; one thread must not get that.
    (measure,) = verify_shares([(limiter.host("edge-0", 0.8, None), 0.2)], 0.3)
    assert measure.asked == 0.2
    assert 0.05 < measure.measured < 0.25


@needs_v1
def test_memory_limit_is_the_hosts_and_kills_are_counted_for_good(limiter: CgroupLimiter) -> None:
    host = limiter.host("edge-0", 1.0, 64 * 2**20)
    innocent, greedy = host.service("innocent", 1.0), host.service("greedy", 1.0)
    with hog(8 * 2**20) as small, hog(200 * 2**20) as large:
        innocent.attach(small.pid)
        greedy.attach(large.pid)
        assert host.oom_kills() == 0
        large.communicate(b"\n", timeout=20)
        assert large.returncode == -signal.SIGKILL
        assert host.oom_kills() == 1
        assert host.usage().peak <= 64 * 2**20
        greedy.remove()
        assert host.oom_kills() == 1
        assert small.poll() is None
        innocent.remove()
        assert small.wait(5) == -signal.SIGKILL


@needs_v1
def test_writes_are_accounted_and_stay_so_when_the_writer_has_ended(limiter: CgroupLimiter, tmp_path: Path) -> None:
    host = limiter.host("edge-0", 1.0, None)
    service = host.service("a", 1.0)
    script = f"import os; input(); os.write(os.open({str(tmp_path / 'f')!r}, 65), bytes(2**20)); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-IS", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        service.attach(writer.pid)
        writer.stdin.write(b"\n")
        writer.stdin.flush()
        writer.stdout.readline()
        written = service.usage().written
        if written == 0 and os.statvfs(tmp_path).f_fsid == 0:
            pytest.skip("the folder for temporary files is on no block device")
        assert 2**20 <= written < 1.1 * 2**20  # and some metadata
        writer.communicate(b"\n")
    service.remove()
    assert host.usage().written >= written


@needs_v1
def test_names_of_controller_files_do_not_clash_and_doubles_are_refused(limiter: CgroupLimiter) -> None:
    host = limiter.host("tasks", 0.1, None)
    host.service("cgroup.procs", 0.1)
    with pytest.raises(PlatformError, match="tasks: has a group"):
        host.service("cgroup.procs", 0.1)
    with pytest.raises(PlatformError, match="exists"):
        limiter.host("tasks", 0.1, None)


@needs_v1
def test_attaching_what_has_ended_says_so(limiter: CgroupLimiter) -> None:
    service = limiter.host("edge-0", 0.1, None).service("a", 0.1)
    with burner() as pid:
        pass
    with pytest.raises(PlatformError, match="it has ended"):
        service.attach(pid)


OWNER = """
import sys, time
from estran.platforms.emulated.limits.cgroup_groups import CgroupLimiter
from estran.platforms.emulated.limits.cgroup1 import Tree1
import subprocess
service = CgroupLimiter(Tree1("killed")).host("edge-0", 0.02, 64 << 20).service("a", 0.02)
script = "read x; while :; do sh -c 'ulimit -t 20; while :; do :; done'; done"
child = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
service.attach(child.pid)
child.stdin.write(b"\\n")
child.stdin.flush()
print(child.pid, flush=True)
time.sleep(60)
"""


@needs_v1
def test_a_killed_owners_groups_are_found_and_cleared_with_all_in_them() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    mine = [path for path in leftovers() if path.name == "killed"]
    assert mine == []  # the owner lives
    owner.kill()
    owner.wait()
    owner.stdout.close()
    mine = [path for path in leftovers() if path.name == "killed"]
    assert {"cpu", "cpuacct", "memory"} <= {path.parts[4] for path in mine}
    for path in mine:
        remove_tree(path)
    assert not folders("killed")
    deadline = time.monotonic() + 5
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not running(child)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@needs_v1
def test_remove_tree_refuses_the_group_that_it_runs_in() -> None:
    script = """
import os
from estran.platforms.emulated.limits.cgroup import remove_tree
from estran.platforms.emulated.limits.cgroup_groups import CgroupLimiter
from estran.platforms.emulated.limits.cgroup1 import Tree1
tree = Tree1("inside")
service = CgroupLimiter(tree).host("edge-0", 1.0, None).service("a", 1.0)
service.attach(os.getpid())
remove_tree(tree._folders[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "will not remove the group that this process is in" in done.stderr
    for path in leftovers():
        if path.name == "inside":
            remove_tree(path)
    assert not folders("inside")


def test_remove_tree_of_nothing_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "none")


@needs_v1
def test_a_paced_host_gets_its_part_and_then_all_again(limiter: CgroupLimiter) -> None:
    host = limiter.host("edge-0", 0.4, None)
    services = [host.service(name, 0.3) for name in "ab"]  # together above the host's: it has a cap of its own
    caps = [(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us") for one in (host, *services) for folder in one.folders]
    shares = [[int(file.read_text()) for file in cap] for cap in caps if cap[0].exists()]
    with burner() as pid:
        services[0].attach(pid)
        host.pace(0.25)
        time.sleep(0.1)
        before, start = services[0].usage().cpu, time.monotonic()
        time.sleep(0.8)
        assert (services[0].usage().cpu - before) / (time.monotonic() - start) < 0.1
    host.pace(1.0)
    assert [[int(file.read_text()) for file in cap] for cap in caps if cap[0].exists()] == shares
    with pytest.raises(PlatformError, match="edge-0: a CPU share"):
        host.pace(0.001)


@needs_v1
def test_a_frozen_service_does_nothing_until_it_is_let_go_on(limiter: CgroupLimiter) -> None:
    service = limiter.host("edge-0", 0.5, None).service("a", 0.5)
    with burner() as pid:
        service.attach(pid)
        time.sleep(0.1)
        service.freeze(True)
        before = service.usage().cpu
        time.sleep(0.3)
        assert service.usage().cpu - before < 0.01
        service.freeze(False)
        time.sleep(0.3)
        assert service.usage().cpu - before > 0.01
