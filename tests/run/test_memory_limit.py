"""A service that exceeds its device's memory: the run fails and says which one, where, and what the limit was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.run import unprivileged
from tests.run.experiments import assert_nothing_left, estran, record, run_folder, write

HUNGRY = """
experiment: tiny
seed: 1
devices:
  mote: {like: cloud-vm-2, memory: 96MiB}
layers:
  edge: {hosts: 1, device: mote}
  cloud: {hosts: 1, device: cloud-vm-2}
services:
  calm: {on: cloud, command: [sleep, "60"]}
  hungry: {on: edge, command: [sh, -c, "exec python3 eat.py"]RESTART}
measure: {warmup: 0.2s, duration: DURATION}
"""

EAT = """
import os, subprocess, sys, time
greed = "import time; time.sleep(0.6); eaten = bytearray(b'x') * (200 << 20); time.sleep(60)"
if os.path.exists("fed"):
    time.sleep(60)
open("fed", "w").close()
print("about to eat", flush=True)
if "child" in os.environ.get("WHO", ""):
    subprocess.run([sys.executable, "-c", greed])
    time.sleep(60)
exec(greed)
"""

BLAME = "hungry-0 on edge-0 was killed for exceeding the memory of its device (96MiB for all services of edge-0)"


def prepare(folder: Path, restart: str = "", duration: str = "20s", who: str = "itself") -> None:
    (folder / "eat.py").write_text(EAT)
    text = HUNGRY.replace("RESTART", f"{restart}, env: {{WHO: {who}}}").replace("DURATION", duration)
    write(folder, text.replace("eat.py", str(folder / "eat.py")))


@pytest.mark.parametrize("who", ["itself", "child"])
@pytest.mark.parametrize("as_root", [True, False], ids=["root", "rootless"])
def test_the_failure_names_service_host_and_limit(as_root: bool, who: str) -> None:
    if as_root and os.geteuid() != 0:
        pytest.skip("needs root, for cgroups")
    if not as_root:
        unprivileged.need("open")
    with unprivileged.home() as home:
        prepare(home, who=who)
        failed = estran("run", "experiment.yaml", cwd=home, through=[] if as_root else unprivileged.through("open"))
        failure = record(home)["failure"]
        assert failed.returncode == 1
        assert (failure["host"], failure["service"], failure["what"]) == ("edge-0", "hungry-0", BLAME)
        assert "more memory" in failure["remedy"]
        assert failure["log_tail"] == ["about to eat"]
        assert "exceeding the memory" in " ".join((failed.stdout + failed.stderr).split())
        assert (run_folder(home) / "report.html").exists()
        assert_nothing_left(record(home)["id"])


def test_a_service_that_may_be_restarted_is(tmp_path: Path) -> None:
    prepare(tmp_path, restart=", restart: on-failure", duration="3s")
    done = estran("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(
        BLAME.replace("hungry-0 on edge-0 was", "hungry-0 on edge-0 was restarted: was") == w for w in record(tmp_path)["warnings"]
    )
    assert_nothing_left(record(tmp_path)["id"])
