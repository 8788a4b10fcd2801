"""TCP connections that outlive their processes: the kernel goes on sending for them, and keeps their ports for a minute.

Layouts: linux/inet_diag.h, linux/sock_diag.h.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final

from estran.errors import PlatformError
from estran.platforms.emulated.network.netlink import NETLINK_SOCK_DIAG, NLM_F_DUMP, Netlink, Request

_BY_FAMILY, _DESTROY = 20, 21
_REQUEST: Final = struct.Struct("=BBBxI48s")  # struct inet_diag_req_v2
_ALL_STATES: Final = 0xFFFFFFFF
_IDENTITY: Final = slice(4, 52)  # of struct inet_diag_msg: ports, addresses, interface and cookie


def end_connections() -> int:
    """End every TCP connection of the present network namespace, those that only wait included; return how many are left.

    Some are left where the kernel was built without ``INET_DIAG_DESTROY``, or is too old to end those that only wait.

    Raises
    ------
    PlatformError
        If the kernel does not tell what connections there are.
    """
    with Netlink(NETLINK_SOCK_DIAG) as kernel:
        for family, connection in _connections(kernel):
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES, connection)
            with suppress(PlatformError):  # ended with its other end, or cannot be: it is looked at again
                kernel.send([Request(_DESTROY, 0, body, "end a connection")])
        return len(_connections(kernel))


def _connections(kernel: Netlink) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES, b"")
        answers = kernel.dump(Request(_BY_FAMILY, NLM_F_DUMP, body, "list the connections"))
        found += [(family, answer[_IDENTITY]) for answer in answers]
    return found
