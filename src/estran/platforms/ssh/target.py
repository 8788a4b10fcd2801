"""How one host is reached over SSH: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Client = Literal["asyncssh", "openssh"]


@dataclass(frozen=True, slots=True)
class Target:
    """One host of an inventory.

    Attributes
    ----------
    name
        By which it is called in the file and in messages.
    host
        Name or address that SSH connects to, or an alias of the user's ``ssh_config``.
    address
        By which other hosts of the experiment reach it; None for the one that SSH connects to.
    port, user, keys, jump
        None or empty for what ``ssh_config`` says.
    known_hosts
        A file of known keys, or ``accept-new`` to note the key of a host that is not yet in the user's own file.
    note
        A file of this run's own in which keys are noted when they are first seen, instead of known ones: for hosts that are
        installed anew each time.
    python
        The command that starts Python there.
    layers
        Layers whose hosts it may be.
    where
        Place in the file.
    """

    name: str
    host: str
    address: str | None = None
    port: int | None = None
    user: str | None = None
    keys: tuple[str, ...] = ()
    jump: str | None = None
    known_hosts: str | None = None
    python: str = "python3"
    client: Client = "asyncssh"
    layers: tuple[str, ...] = ()
    timeout: float = 15.0
    where: str | None = None
    note: str | None = None
