"""An SSH server on this machine, to submit jobs through."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")


@contextmanager
def login_node(folder: Path, configuration: Path) -> Iterator[str]:
    """Start one where ``SLURM_CONF`` is set; how it is reached, as a value of ``login:``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for key in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/key.pub\nPidFile none\nUsePAM no\n"
        f"StrictModes no\nPermitRootLogin yes\nSetEnv SLURM_CONF={configuration}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([str(SSHD), "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")])
    try:
        _until_it_listens(port, folder / "log")
        yield f"{{host: 127.0.0.1, port: {port}, user: root, key: {folder}/key, known_hosts: {folder}/known_hosts}}"
    finally:
        server.terminate()
        server.wait()


def _until_it_listens(port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(log.read_text())
