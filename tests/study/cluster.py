"""A real Slurm of one's own: munged, slurmctld and some slurmd on this machine, on free ports, in a folder of their own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CONFIGURATION = """
ClusterName=estran
SlurmctldHost={host}({controller})
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
KillWait=5
MaxArraySize=6
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 State=UP
"""
NODE = "NodeName=n{number} NodeHostname={host} NodeAddr={address} Port={port} CPUs=2 State=UNKNOWN\n"


@dataclass(frozen=True)
class Spot:
    """Where a node is: the address by which others reach it, and the network namespace that has this address."""

    address: str = "127.0.0.1"
    namespace: str | None = None

    def within(self, argv: list[str]) -> list[str]:
        """The command that runs another there; `ip netns exec` would hide control groups from slurmd."""
        return argv if self.namespace is None else ["nsenter", f"--net=/run/netns/{self.namespace}", *argv]


def lacking() -> str | None:
    """Why there can be no Slurm here, or None."""
    absent = [program for program in NEEDED if shutil.which(program) is None]
    if absent:
        return f"{absent[0]} is not installed: apt-get install --no-install-recommends slurm-wlm munge"
    return None if os.geteuid() == 0 else "a Slurm of one's own needs root"


@contextmanager
def cluster(folder: Path, nodes: int | Sequence[Spot] = 2, controller: str = "127.0.0.1") -> Iterator[Path]:
    """Start one with nodes n1, n2, … in partition debug, where jobs give way to those of partition urgent.

    Its configuration is the file that ``SLURM_CONF`` must name.

    Parameters
    ----------
    nodes
        How many, or where each is.
    controller
        Address of this machine by which all nodes reach slurmctld.
    """
    spots = [Spot()] * nodes if isinstance(nodes, int) else list(nodes)
    host = socket.gethostname().partition(".")[0]
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    configuration = folder / "slurm.conf"
    ports = _free_ports(1 + len(spots))
    described = [
        NODE.format(number=number, host=host, port=port, address=spot.address)
        for number, (spot, port) in enumerate(zip(spots, ports[1:], strict=True), 1)
    ]
    text = CONFIGURATION.format(host=host, folder=folder, ports=ports, controller=controller)
    configuration.write_text(text + "".join(described))
    munged = [
        "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket", "--num-threads=2",
        f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
    ]  # fmt: skip
    with ExitStack() as stack:
        slurmds = [spot.within(["slurmd", "-D", "-N", f"n{number}"]) for number, spot in enumerate(spots, 1)]
        for argv in (munged, ["slurmctld", "-D"], *slurmds):
            stack.enter_context(_program(argv, configuration))
            if argv is munged:
                _until(lambda: (folder / "munge.socket").exists())
        _until(lambda: slurm(configuration, "sinfo", "--noheader", "--format=%t %D").split()[:2] == ["idle", str(len(spots))])
        yield configuration


def slurm(configuration: Path, *argv: str) -> str:
    """What a command of this Slurm prints."""
    done = subprocess.run(argv, env={**os.environ, "SLURM_CONF": str(configuration)}, capture_output=True, text=True, timeout=30)
    return done.stdout


@contextmanager
def _program(argv: list[str], configuration: Path) -> Iterator[None]:
    with (configuration.parent / f"{argv[0]}-{argv[-1]}.out".replace("/", "_")[-60:]).open("wb") as out:
        environment = {**os.environ, "SLURM_CONF": str(configuration)}
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives to whoever connects, which may take one before Slurm does."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(17000, 32000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _until(holds: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "Slurm did not start"
        time.sleep(0.05)
