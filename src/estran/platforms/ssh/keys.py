"""Whether a host is the one that it was: its key against those that are known."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from estran.errors import PlatformError
from estran.platforms.ssh.complaints import complaint
from estran.platforms.ssh.target import Target

USER_FILE = Path("~/.ssh/known_hosts")
ACCEPT_NEW = "accept-new"
SSH_PORT = 22


class Verifier(asyncssh.SSHClient):
    """Takes a key that is known, and, where the platform file says so, notes that of a host that has none yet.

    Attributes
    ----------
    known_hosts
        What asyncssh is to look keys up in.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        own = target.known_hosts if target.known_hosts != ACCEPT_NEW else None
        self._file = Path(target.note or own or USER_FILE).expanduser()
        self._changed = False
        self.known_hosts = str(self._file) if self._file.exists() else b""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked where no known key fits."""
        known = asyncssh.read_known_hosts(str(self._file)).match(host, addr, port)[0] if self._file.exists() else ()
        self._changed = bool(known)
        if self._changed or not (self._target.note or self._target.known_hosts == ACCEPT_NEW):
            return False
        name = host if port == SSH_PORT else f"[{host}]:{port}"
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{name} {key.export_public_key().decode().strip()}\n")
        return True

    def complaint(self) -> PlatformError:
        """Why the key was not taken."""
        return complaint(
            self._target, "host key has changed: host key x has changed" if self._changed else "Host key verification failed"
        )
