"""Why a host could not be reached, in one line of cause and one of remedy."""

from __future__ import annotations

import re
from typing import Final

from estran.errors import PlatformError
from estran.platforms.remote.bootstrap import OLDEST
from estran.platforms.ssh.target import Target

NOT_FOUND: Final = 127
"""Exit status of a shell that does not find a command."""

REACH: Final = "see whether it runs, and whether `ssh {host}` works from here"

_SAID: Final = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed", "its host key has changed since it was noted", "changed"),
    (r"Host key verification failed", "its host key is not in known_hosts", "unknown"),
    (r"Permission denied|Too many authentication failures", "it refuses every key that was offered", "key"),
    (r"Could not resolve hostname|Name or service not known|nodename nor servname", "there is no host of that name", "name"),
    (r"Connection refused", "nothing listens on its SSH port", "reach"),
    (r"timed out|No route to host|Network is unreachable", "it cannot be reached", "reach"),
    (r"No space left on device", "its disk is full", "disk"),
    (r"Read-only file system", "its disk is read-only", "disk"),
    (r"estran: Python (\S+) is too old", "its Python {0} is too old", "python"),
    (r"[Nn]o such file or directory|not found", "there is no {python} on it", "python"),
)
"""What ssh, a shell or Python say, what that means, and which remedy it has."""


def complaint(target: Target, said: str, status: int | None = None) -> PlatformError:
    """From what was said on standard error, and the exit status of ssh or of the remote shell."""
    for pattern, what, kind in _SAID:
        found = re.search(pattern, said)
        if found is not None and (kind != "python" or "estran" in found[0] or status in (NOT_FOUND, 126)):
            return PlatformError(
                what.format(*found.groups(), python=target.python), where=place(target), remedy=remedy(target, kind)
            )
    if status == NOT_FOUND:
        return PlatformError(f"there is no {target.python} on it", where=place(target), remedy=remedy(target, "python"))
    last = said.strip().splitlines()[-1:] or [f"the connection ended (status {status})"]
    return PlatformError(f"its envoy did not start: {last[0]}", where=place(target), remedy=remedy(target, "reach"))


def remedy(target: Target, kind: str) -> str:
    """What the user can do."""
    at = target.host if target.port is None else f"-p {target.port} {target.host}"
    listed = target.host if target.port in (None, 22) else f"[{target.host}]:{target.port}"
    return {
        "changed": f"if it was reinstalled, `ssh-keygen -R '{listed}'` and connect by hand once; else somebody else answers for it",
        "unknown": f"connect by hand once (`ssh {at}`), or write `known_hosts: accept-new`",
        "key": "give `key:` (and `user:`), or add the key to your agent; see whether it is in the host's authorized_keys",
        "name": "correct `host:` in the platform file, or your ssh_config",
        "reach": REACH.format(host=at),
        "disk": "free some space on it",
        "python": f"install Python ≥ {'.'.join(map(str, OLDEST))} there, or say where it is with `python:`",
    }[kind]


def place(target: Target) -> str:
    """A host and where it is in the file."""
    return target.name if target.where is None else f"{target.where}: {target.name}"
