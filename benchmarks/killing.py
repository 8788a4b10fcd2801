"""Kill conductors -9 at random moments, clean up, and look for anything that is left of them.

    python benchmarks/killing.py [--kills 50] [--seed 1] [--on emulate] [--shared] [--folder FOLDER]

Each attempt runs a small experiment, kills the conductor at a random moment (of the whole life of the process, the same for every
fraction of it), has `estran clean` clean up, and compares this machine with what it was before: processes of the run, network
namespaces, interfaces, rules of iptables, mounts, control groups, files in /run, /tmp, /dev/shm and the run's folder, journals.
Prints a line for each kill, and how many things were left in all, which should be zero; then exits with status 0. Nothing else
that starts hosts should run on the machine meanwhile, for its traces would be taken for ours; else use --shared, which looks only
for what carries the mark of the killed run.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.run.experiments import TINY, environment, estran, record, write
from tests.run.killed import left

EXPERIMENT = TINY.replace("warmup: 0.3s, duration: 1.5s", "warmup: 0.3s, duration: 0.7s")
PATIENCE = 5.0


def said(*argv: str) -> list[str]:
    """Lines of a program's output; none where it is not there."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:
        return []


def traces() -> set[str]:
    """What a run might leave outside of its own folder."""
    found = {f"interface {line.split(': ')[1].partition('@')[0]}" for line in said("ip", "-o", "link")}
    found |= {f"namespace {line}" for line in said("ip", "netns", "list")}
    found |= {f"rule {line}" for table in ("filter", "nat", "mangle") for line in said("iptables", "-t", table, "-S")}
    found |= {f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines()}
    found |= {f"control group {place}" for place, _, _ in os.walk("/sys/fs/cgroup") if "/estran" in place}
    return found | {f"file {path}" for place in ("/run", "/tmp", "/dev/shm") for path in Path(place).glob("*")}


def attempt(cwd: Path, on: str, seconds: float, shared: bool) -> tuple[str, list[str]]:
    """Kill one conductor; return in which phase it died, and what is left."""
    write(cwd, EXPERIMENT)
    (cwd / "tmp").mkdir()
    before = None if shared else traces()
    argv = [sys.executable, "-m", "estran.cli.main", "run", "experiment.yaml", "--on", on]
    process = subprocess.Popen(
        argv, cwd=cwd, env=environment(cwd, {"TMPDIR": str(cwd / "tmp")}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(seconds)
        phase = "ended before"
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        made = list(cwd.glob("runs/*/*/run.json"))
        phases = record(cwd)["phases"] if made else []
        phase = phases[-1]["name"] if phases else "before the first phase"
    cleaned = estran("clean", cwd=cwd, env={"TMPDIR": str(cwd / "tmp")})
    deadline = time.monotonic() + PATIENCE
    while found := remains(cwd, before, cleaned.returncode):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return phase, found


def remains(cwd: Path, before: set[str] | None, status: int) -> list[str]:
    """All that is left."""
    runs = list(cwd.glob("runs/*/*/run.json"))
    found = left(cwd, record(cwd)["id"] if runs else "none") + ([] if before is None else sorted(traces() - before))
    found += [f"run.json says {record(cwd)['status']}"] if runs and record(cwd)["status"] == "running" else []
    return found + ([f"estran clean ended with status {status}"] if status else [])


def measured_life(cwd: Path, on: str) -> float:
    """Seconds that a whole run takes, from the start of the process to its end."""
    write(cwd, EXPERIMENT)
    begun = time.monotonic()
    done = estran("run", "experiment.yaml", "--on", on, cwd=cwd, timeout=300)
    if done.returncode:
        sys.exit(f"the run that nobody kills failed: {done.stdout}{done.stderr}")
    return time.monotonic() - begun


def kills(folder: Path, on: str, count: int, chance: random.Random, shared: bool) -> list[str]:
    """Kill so often; return all that was left."""
    life = measured_life(_new(folder / "whole"), on)
    phases, everything = Counter[str](), list[str]()
    for number in range(count):
        phase, found = attempt(_new(folder / str(number)), on, chance.random() * life, shared)
        phases[phase] += 1
        everything += found
        print(f"{number + 1:4}  {phase:24}  {len(found)} left {'; '.join(found[:5])}", flush=True)
    print(*(f"{phase}: {times}" for phase, times in phases.most_common()), sep=", ")
    return everything


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--on", default="emulate", help="emulate, emulate:tun, …, or a platform file (whole path)")
    parser.add_argument("--shared", action="store_true", help="others start hosts on this machine, too")
    parser.add_argument("--folder", type=Path, help="for the runs; a temporary one if not given")
    asked = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="estran-killing-") as temporary:
        found = kills((asked.folder or Path(temporary)).resolve(), asked.on, asked.kills, random.Random(asked.seed), asked.shared)
    print(f"{asked.kills} kills, {len(found)} things left")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
