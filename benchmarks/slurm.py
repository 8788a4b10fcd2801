"""How long after sbatch the first command runs on an allocated node.

    python benchmarks/slurm.py

Needs root, slurm-wlm and munge: it starts a Slurm of its own. In turn, five times each: a no-op by sbatch, until it runs on its
node (what the queue takes); sbatch, a wait for the job, and srun of a command; and a host of Estran's, until a command on it has
answered. What Estran takes beside the queue is the difference from the first.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from estran.platforms.slurm.file import read_request
from estran.platforms.slurm.login import login_host
from estran.platforms.slurm.pilot import allocated
from estran.spec.document import read_text
from tests.study.cluster import cluster, lacking

ROUNDS = 5
HOSTS = [f"hpc-{index}" for index in range(4)]
FILE = "platform: slurm\ntime: 5min\n"


def submit(script: str) -> str:
    argv = ["sbatch", "--parsable", "--output=/dev/null", f"--nodes={len(HOSTS)}", "--exclusive", f"--wrap={script}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def state(job: str) -> str:
    argv = ["squeue", f"--jobs={job}", "--states=all", "--noheader", "--format=%T"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def no_op(folder: Path) -> float:
    mark = folder / "ran"
    mark.unlink(missing_ok=True)
    begun = time.perf_counter()
    submit(f"touch {mark}")
    while not mark.exists():
        time.sleep(0.01)
    return time.perf_counter() - begun


def by_srun() -> float:
    begun = time.perf_counter()
    job = submit("sleep 60")
    while state(job) != "RUNNING":
        time.sleep(0.1)
    argv = ["srun", f"--jobid={job}", "--nodes=1", "--ntasks=1", "--overlap", "true"]
    subprocess.run(argv, check=True)
    took = time.perf_counter() - begun
    subprocess.run(["scancel", job], check=True)
    return took


async def by_estran() -> tuple[float, float]:
    """The first answer of one host, and when all have answered."""
    request = read_request(read_text(FILE, "cluster.yaml"), {"hpc": HOSTS})
    async with login_host(None, "benchmark") as login:
        begun = time.perf_counter()
        async with allocated(request, login, "benchmark", note=lambda value: None) as allocation:
            await allocation.hosts[HOSTS[0]].run(["true"])
            first = time.perf_counter() - begun
            await asyncio.gather(*(host.run(["true"]) for host in allocation.hosts.values()))
            return first, time.perf_counter() - begun


def settled() -> None:
    while subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout:
        time.sleep(0.05)
    time.sleep(1.0)


def main() -> None:
    if (why := lacking()) is not None:
        sys.exit(why)
    figures: dict[str, list[float]] = {"queue": [], "srun": [], "first": [], "all": []}
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), len(HOSTS)) as configuration:
        os.environ["SLURM_CONF"] = str(configuration)
        for _ in range(ROUNDS):
            figures["queue"].append(no_op(Path(folder)))
            settled()
            figures["srun"].append(by_srun())
            settled()
            first, whole = asyncio.run(by_estran())
            figures["first"].append(first)
            figures["all"].append(whole)
            settled()
    queue, srun, first, whole = (statistics.median(values) for values in figures.values())
    beyond = f"{first - queue:+.2f} s from the no-op (goal +2 s)"
    print(f"sbatch of a no-op, until it runs (queue)       {queue:5.2f} s")
    print(f"sbatch, wait, srun of one command              {srun:5.2f} s")
    print(f"Estran, first command on one of {len(HOSTS)} hosts        {first:5.2f} s   {first / srun:.2f} x srun; {beyond}")
    print(f"Estran, a command on each of {len(HOSTS)} hosts           {whole:5.2f} s   {whole / srun:.2f} x srun")


if __name__ == "__main__":
    main()
