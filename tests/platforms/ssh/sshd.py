"""Hosts for tests: network namespaces on one bridge, each with a real sshd."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from estran.platforms.ssh.target import Target

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
usable = pytest.mark.skipif(
    os.geteuid() != 0 or SSHD is None or shutil.which("ip") is None, reason="needs root, ip and sshd (apt install openssh-server)"
)
NETWORKS = 251
_numbers = itertools.count(os.getpid())


@dataclass
class Machine:
    """One host: its namespace, its sshd, and how to reach it."""

    namespace: str
    target: Target
    folder: Path
    pid: int = 0

    def start(self) -> None:
        """Start sshd, and wait until it listens. Its logins do not pay for what this machine's own user starts in a shell."""
        quiet = 'for each in ~/.bashrc ~/.profile; do [ ! -e $each ] || mount --bind /dev/null $each; done; exec "$@"'
        serve = [str(SSHD), "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "log")]
        command = ["ip", "netns", "exec", self.namespace, "sh", "-c", quiet, "sh", *serve]
        self.pid = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True).pid
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((self.target.host, 22), timeout=1):
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        """As if the power went: sshd, its sessions and all that they started."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        for pid in listed.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def ip(self, *words: str) -> None:
        """Run ``ip`` in its namespace."""
        subprocess.run(["ip", "-n", self.namespace, *words], check=True)

    def queues(self) -> str:
        """The queueing rules of its interface."""
        words = ["ip", "netns", "exec", self.namespace, "tc", "qdisc", "show", "dev", "eth0"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def processes(self) -> list[str]:
        """Command lines of what runs there."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True).stdout.split()
        found = []
        for pid in listed:
            with suppress(OSError):
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        return found


@contextmanager
def machines(count: int, folder: Path) -> Iterator[Mapping[str, Machine]]:
    """That many hosts ``h0``, ``h1``, …, with the key to all of them and their own keys known."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    known = folder / "known_hosts"
    with ExitStack() as stack:
        bridge, network = _bridge()
        stack.callback(subprocess.run, ["ip", "link", "del", bridge], check=False)
        subprocess.run(["ip", "addr", "add", f"{network}.254/24", "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        found = {}
        for number in range(count):
            machine = _machine(number, folder, (bridge, network), key, known)
            stack.callback(subprocess.run, ["ip", "netns", "del", machine.namespace], check=False)
            stack.callback(machine.kill)
            found[machine.target.name] = machine
        for machine in found.values():
            machine.start()
        yield found


def _bridge() -> tuple[str, str]:
    """A new bridge and the beginning of its addresses: nobody else's, who may test on this machine at the same time."""
    for _ in range(NETWORKS):
        name = f"est{next(_numbers) % NETWORKS}"  # none twice soon: the kernel takes its time to remove wires
        done = subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=False, capture_output=True)
        if done.returncode == 0:
            return name, f"10.213.{name.removeprefix('est')}"
    raise AssertionError(done.stderr.decode())


def _machine(number: int, folder: Path, wired: tuple[str, str], key: Path, known: Path) -> Machine:
    bridge, network = wired
    name, address, own = f"h{number}", f"{network}.{number + 1}", folder / f"h{number}"
    namespace, wire = f"{bridge}-{number}", f"{bridge}.{number}"
    (own / "tmp").mkdir(parents=True)
    host_key = own / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
    with known.open("a") as file:
        file.write(f"{address} {' '.join(host_key.with_suffix('.pub').read_text().split()[:2])}\n")
    (own / "sshd_config").write_text(
        f"ListenAddress {address}\nHostKey {host_key}\nAuthorizedKeysFile {key}.pub\nPidFile none\nUsePAM no\nStrictModes no\n"
        "PasswordAuthentication no\nPermitRootLogin yes\nUseDNS no\nMaxStartups 100\nMaxSessions 100\nLogLevel VERBOSE\n"
        f"SetEnv TMPDIR={own}/tmp\n"  # what a host whose power goes leaves behind goes with the test
    )
    for words in (
        ["netns", "add", namespace],
        ["link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", namespace],
        ["link", "set", wire, "master", bridge, "up"],
        ["-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0"],
        ["-n", namespace, "link", "set", "eth0", "up"],
        ["-n", namespace, "link", "set", "lo", "up"],
        ["-n", namespace, "route", "add", "default", "via", f"{network}.254"],
    ):
        subprocess.run(["ip", *words], check=True)
    target = Target(name, address, user="root", keys=(str(key),), known_hosts=str(known))
    return Machine(namespace, target, own)


def with_changes(machine: Machine, **changes: object) -> Target:
    """Another way to the same host."""
    return replace(machine.target, **changes)  # type: ignore[arg-type]
