"""cgroup v2 for real, in a kernel that has it."""

from __future__ import annotations

import json

import pytest

from tests.uml.harness import UmlError, requires_uml, run_in_uml

pytestmark = [pytest.mark.uml, requires_uml]

LIMITS = """
import json, os, subprocess, sys, time
from estran.platforms.emulated.limits.cgroup import leftovers, remove_tree
from estran.platforms.emulated.limits.ladder import choose_limiter
from estran.platforms.emulated.limits.shares import burner, measure_share

def groups():
    return sorted(folder for folder, _, _ in os.walk("/sys/fs/cgroup") if folder != "/sys/fs/cgroup")

result = {}
limiter, trials = choose_limiter("run")
result["chosen"], result["after choice"] = limiter.name, groups()
with limiter:
    result["shares"] = {share: measure_share(limiter.host(f"h{share}", share, None), 0.6) for share in (0.1, 0.4)}

    # Two services that could have 0.3 together on a host of 0.2.
    both = limiter.host("both", 0.2, None)
    services = [both.service(name, 0.15) for name in "ab"]
    with burner() as one, burner() as two:
        services[0].attach(one)
        services[1].attach(two)
        before, start = both.usage(), time.monotonic()
        for _ in range(4):
            time.sleep(0.25)
            limiter.step()
        result["both"] = (both.usage().cpu - before.cpu) / (time.monotonic() - start)

    slow = limiter.host("slow", 0.4, None)
    paced = slow.service("a", 0.4)
    caps = [(folder / "cpu.max").read_text() for folder in (*slow.folders, *paced.folders)]
    with burner() as pid:
        paced.attach(pid)
        slow.pace(0.25)
        time.sleep(0.1)
        before, start = paced.usage().cpu, time.monotonic()
        time.sleep(0.8)
        result["paced"] = (paced.usage().cpu - before) / (time.monotonic() - start)
        slow.pace(1.0)
        result["caps as before"] = caps == [(folder / "cpu.max").read_text() for folder in (*slow.folders, *paced.folders)]
        paced.freeze(True)
        before = paced.usage().cpu
        time.sleep(0.3)
        result["frozen"] = paced.usage().cpu - before
        paced.freeze(False)
        time.sleep(0.5)
        result["went on"] = paced.usage().cpu - before

    host = limiter.host("memory", 0.9, 64 << 20)
    greedy = host.service("greedy", 0.9)
    hog = subprocess.Popen([sys.executable, "-IS", "-c", "input(); x = bytearray(200 << 20)"], stdin=subprocess.PIPE)
    greedy.attach(hog.pid)
    hog.communicate(b"\\n")
    result["hog"], result["kills"], result["peak"] = hog.returncode, host.oom_kills(), host.usage().peak
    greedy.remove()
    result["kills kept"] = host.oom_kills()

    late = limiter.host("late", 0.02, None).service("a", 0.02)
    left = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
    late.attach(left.pid)
result["left"], result["after close"] = left.wait(10), groups()
result["controllers"] = open("/sys/fs/cgroup/cgroup.subtree_control").read().split()

# A killed owner.
script = '''
import subprocess, sys, time
from estran.platforms.emulated.limits.ladder import make_limiter
service = make_limiter("cgroup2", "killed").host("h", 0.1, None).service("a", 0.1)
child = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
service.attach(child.pid)
print("up", flush=True)
time.sleep(60)
'''
owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
owner.stdout.readline()
result["owned"] = [str(path) for path in leftovers()]
owner.kill()
owner.wait()
result["leftovers"] = [path.name for path in leftovers()]
for path in leftovers():
    remove_tree(path)
result["after clean"] = groups()
print(json.dumps(result))
"""


def test_limits_in_cgroup_v2() -> None:
    result = json.loads(run_in_uml(LIMITS, timeout=90).splitlines()[-1])
    assert result["chosen"] == "cgroup2"
    assert result["after choice"] == []
    for share, measured in result["shares"].items():
        # The guest has no CPU of its own: on a loaded machine it is starved, never too fast.
        assert 0.5 * float(share) < measured < 1.15 * float(share)
    assert result["both"] < 0.2 * 1.15
    assert 0 < result["paced"] < 0.13
    assert result["caps as before"]
    assert result["frozen"] < 0.01 < result["went on"]
    assert (result["hog"], result["kills"], result["kills kept"]) == (-9, 1, 1)
    assert result["peak"] <= (64 << 20) * 1.01
    assert result["left"] == -9
    assert result["after close"] == []
    assert result["controllers"] == []
    assert result["owned"] == []
    assert result["leftovers"] == ["killed"]
    assert result["after clean"] == []


DELEGATED = """
import json, os, subprocess, sys
from pathlib import Path
home = Path("/sys/fs/cgroup/user")
home.mkdir()
Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+cpu +memory")
for path in (home, home / "cgroup.procs", home / "cgroup.subtree_control", home / "cgroup.threads"):
    os.chown(path, 1000, 1000)
alone = '''
import os
from estran.platforms.emulated.limits import cgroup2, throttle  # before the user changes, who may not read them
from estran.platforms.emulated.limits.ladder import choose_limiter
from estran.platforms.emulated.limits.shares import measure_share
os.setgid(1000); os.setuid(1000)
limiter, trials = choose_limiter("user", want="cgroup2")
with limiter:
    print(limiter.name, 0.05 < measure_share(limiter.host("h", 0.2, 64 << 20), 0.5) < 0.23)
print(open("/proc/self/cgroup").read().strip(), sorted(p.name for p in os.scandir("/sys/fs/cgroup/user") if p.is_dir()))
'''
def run(before=""):
    join = "from pathlib import Path; Path('/sys/fs/cgroup/user/cgroup.procs').write_text('0');"
    code = join + before + "exec(" + repr(alone) + ")"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout + done.stderr
print(json.dumps([run(), run("import subprocess; other = subprocess.Popen(['sleep', '30'], stdout=-3, stderr=-3);")]))
os._exit(0)
"""


def test_a_delegated_group_works_and_its_own_processes_are_moved_aside_and_back() -> None:
    alone, crowded = json.loads(run_in_uml(DELEGATED, timeout=60).splitlines()[-1])
    assert alone.splitlines() == ["cgroup2 True", "0::/user []"]
    assert "can therefore hand no controllers to children" in crowded
    assert "Delegate=yes" in crowded


def test_the_harness_reports_failures_and_kills_at_the_timeout() -> None:
    with pytest.raises(UmlError, match="exited with 3") as failure:
        run_in_uml("print('said'); raise SystemExit(3)", cgroup2=False)
    assert "said" in str(failure.value)
    with pytest.raises(UmlError, match="killed after 3 s"):
        run_in_uml("import time; time.sleep(100)", cgroup2=False, timeout=3)
