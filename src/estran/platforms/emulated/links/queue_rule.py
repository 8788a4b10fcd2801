"""The netfilter rule that hands packets to an NFQUEUE: by raw nf_tables netlink, else by the ``iptables`` program.

The raw way needs no program at all: either the kernel's own ``queue`` expression, or the old ``NFQUEUE`` target through
``nft_compat`` (what today's ``iptables`` does inside). Sources: linux/netfilter/nf_tables.h, nfnetlink.h, xt_NFQUEUE.h.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Sequence
from typing import Final, Literal

from estran.errors import PlatformError
from estran.platforms.emulated.network.netlink import attribute, nested, text

Hook = Literal["forward", "output"]

NETLINK_NETFILTER: Final = 12
_NFTABLES: Final = 10
_BATCH_BEGIN, _BATCH_END, _ERROR = 0x10, 0x11, 2
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 2, 3, 6
_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_HOOKS: Final[dict[Hook, int]] = {"forward": 2, "output": 3}
_MANGLE_PRIORITY: Final = -150
_TABLE: Final = "estran"

REMEDY: Final = (
    "install iptables (apt-get install iptables) on a kernel with CONFIG_NETFILTER_NETLINK_QUEUE and either CONFIG_NFT_QUEUE "
    "or CONFIG_NETFILTER_XT_TARGET_NFQUEUE; or use the tun engine, which needs neither"
)


def message(kind: int, flags: int, family: int, resource: int, body: bytes, sequence: int = 0) -> bytes:
    """One nfnetlink message."""
    header = struct.pack("=IHHII", 20 + len(body), kind, _REQUEST | flags, sequence, 0)
    return header + struct.pack("=BB", family, 0) + struct.pack(">H", resource) + body


def _number(kind: int, number: int) -> bytes:
    return attribute(kind, struct.pack(">i", number))


def _native(queue: int) -> bytes:
    """The ``queue`` expression."""
    return text(1, "queue") + nested(2, attribute(1, struct.pack(">H", queue)), attribute(2, struct.pack(">H", 1)))


def _compat(queue: int) -> bytes:
    """The ``NFQUEUE`` target, revision 0, whose data is the queue's number padded to eight bytes."""
    return text(1, "target") + nested(2, text(1, "NFQUEUE"), _number(2, 0), attribute(3, struct.pack("=H6x", queue)))


def _transact(steps: Sequence[tuple[int, int, bytes]]) -> None:
    """Run nf_tables steps as one transaction; raises OSError with the kernel's errno."""
    batch = [message(_BATCH_BEGIN, 0, 0, _NFTABLES, b"")]
    for number, (kind, flags, body) in enumerate(steps, 1):
        batch.append(message(_NFTABLES << 8 | kind, flags | _ACK, socket.AF_INET, 0, body, number))
    batch.append(message(_BATCH_END, 0, 0, _NFTABLES, b""))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        netlink.settimeout(2.0)
        netlink.send(b"".join(batch))
        awaited = len(steps)
        while awaited:
            for code in _acknowledgements(netlink.recv(1 << 16)):
                if code:
                    raise OSError(-code, os.strerror(-code))
                awaited -= 1


def _acknowledgements(answer: bytes) -> list[int]:
    codes, at = [], 0
    while at + 20 <= len(answer):
        length, kind = struct.unpack_from("=IH", answer, at)
        if kind == _ERROR:
            codes.append(struct.unpack_from("=i", answer, at + 16)[0])
        at += (length + 3) & ~3
    return codes


def _add_raw(expression: bytes, hook: Hook) -> None:
    place = nested(4, _number(1, _HOOKS[hook]), _number(2, _MANGLE_PRIORITY))
    chain = text(1, _TABLE) + text(3, hook) + place + text(7, "filter")
    rule = text(1, _TABLE) + text(2, hook) + nested(4, nested(1, expression))
    _transact(
        [(_NEW_TABLE, _CREATE, text(1, _TABLE)), (_NEW_CHAIN, _CREATE, chain), (_NEW_RULE, _CREATE | _APPEND, rule)],
    )


def _iptables(action: str, queue: int, hook: Hook) -> None:
    program = shutil.which("iptables", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise FileNotFoundError("the iptables program is not installed")
    argv = [program, "-t", "mangle", action, hook.upper(), "-j", "NFQUEUE", "--queue-num", str(queue)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"iptables ended with {done.returncode}")


def add_rule(queue: int, hook: Hook = "forward") -> str:
    """Hand every IPv4 packet that passes a hook of this namespace to a queue.

    Returns
    -------
    str
        The way that worked: ``nft queue``, ``nft compat`` or ``iptables``.

    Raises
    ------
    PlatformError
        If none does, with what each said.
    """
    said = []
    for way, expression in (("nft queue", _native(queue)), ("nft compat", _compat(queue))):
        try:
            _add_raw(expression, hook)
        except OSError as error:
            said.append(f"{way}: {error.strerror or error}")
        else:
            return way
    try:
        _iptables("-A", queue, hook)
    except (OSError, subprocess.TimeoutExpired) as error:
        said.append(f"iptables: {error}")
        raise PlatformError(f"no rule can hand packets to a queue ({'; '.join(said)})", where="nfqueue", remedy=REMEDY) from error
    return "iptables"


def remove_rule(way: str, queue: int, hook: Hook = "forward") -> None:
    """Undo `add_rule`, given what it returned."""
    if way == "iptables":
        _iptables("-D", queue, hook)
    else:
        _transact([(_DELETE_TABLE, 0, text(1, _TABLE))])
