"""Nodes of a testbed: addresses in a network namespace on which a real sshd listens, and the names by which EnOSlib knows them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
NEEDS = None if os.geteuid() == 0 and SSHD and shutil.which("ip") else "needs root, sshd and iproute2"
NET = f"10.77.{os.getpid() % 250}"
GATE = f"{NET}.254"
SETUP = (
    "mount --bind {folder}/ssh /root/.ssh && mount --bind {folder}/hosts /etc/hosts && "
    'if [ -e /root/.bashrc ]; then mount --bind /dev/null /root/.bashrc; fi && exec "$@"'
)
"""Nodes have keys, names and habits of their own; nothing of it is written to this machine's."""


@dataclass(frozen=True)
class Nodes:
    """Where they are: ``within`` begins a command that is to see them."""

    namespace: str
    folder: Path
    within: str

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        words = ["ip", "netns", "exec", self.namespace, "sh", "-c", SETUP.format(folder=self.folder), "sh", *argv]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def cut(self) -> None:
        """End all SSH sessions, as if the nodes' power went."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True).stdout
        for pid in listed.split():
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_text().startswith("sshd: root"):
                    os.kill(int(pid), signal.SIGKILL)


@contextmanager
def nodes(folder: Path, names: list[str]) -> Iterator[Nodes]:
    """Let nodes of these names be reached from a namespace, in which the host's side of a cable is `GATE`."""
    name = f"tb-{os.getpid()}"  # not "estran": what killed runs may leave is looked for by that name
    folder.mkdir(parents=True)
    _keys(folder)
    hosts = "".join(f"{NET}.{index} {node}\n" for index, node in enumerate(names, 1))
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    Path("/root/.ssh").mkdir(exist_ok=True, mode=0o700)
    script = folder / "within"
    script.write_text(f"#!/bin/sh\nexec ip netns exec {name} sh -c '{SETUP.format(folder=folder)}' sh \"$@\"\n")
    script.chmod(0o755)
    _ip(f"netns add {name}")
    try:
        _ip(f"link add {name[-9:]}h type veth peer name tb0 netns {name}")
        _ip(f"addr add {GATE}/24 dev {name[-9:]}h")
        _ip(f"link set {name[-9:]}h up")
        for command in ("link set lo up", "link set tb0 up", *(f"addr add {NET}.{n}/24 dev tb0" for n in range(1, len(names) + 1))):
            _ip(f"-n {name} {command}")
        Path("/run/sshd").mkdir(exist_ok=True)
        server = subprocess.Popen(
            [str(script), str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=(folder / "log").open("w")
        )
        try:
            yield Nodes(name, folder, str(script))
        finally:
            server.terminate()
            server.wait()
    finally:
        _end(name)


def _end(name: str) -> None:
    """Remove it; connections that Ansible keeps for later would keep it, too."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout.split()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "link", "del", f"{name[-9:]}h"], check=False, capture_output=True)
    _ip(f"netns del {name}")


def _keys(folder: Path) -> None:
    ssh, tools = folder / "ssh", folder / "tools"
    for made in (ssh, tools):
        made.mkdir(mode=0o700)
    for key in (ssh / "id_rsa", folder / "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (ssh / "config").write_text("Host *\n  StrictHostKeyChecking no\n")
    shutil.copy(ssh / "id_rsa.pub", ssh / "authorized_keys")
    sudo = tools / "sudo-g5k"
    sudo.write_text(f"#!/bin/sh\ncat > {folder}/granted\n")
    sudo.chmod(0o755)
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile /root/.ssh/authorized_keys\nPermitRootLogin yes\nStrictModes no\n"
        f"PasswordAuthentication no\nPidFile none\nSetEnv PATH={tools}:/usr/local/bin:/usr/bin:/bin\n"
        "MaxSessions 100\nMaxStartups 100\n"
        f"Subsystem sftp internal-sftp\nUsePAM no\n"
    )


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)
