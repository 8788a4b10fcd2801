"""What an envoy finds and changes of its host's queueing disciplines, over netlink; needs no program but Python.

Loaded into the envoy it looks; as a program run as root, ``python3 envoy_queues.py send INDEX | try | remove INDEX``, it changes.
Layouts are those of the kernel's ``include/uapi/linux/{netlink,rtnetlink,pkt_sched}.h``.
"""

# Runs where neither Estran nor a new Python is, see `estran.platforms.remote.envoy`.
from __future__ import annotations

import base64
import ctypes
import errno
import json
import os
import socket
import struct
import sys
from typing import Any

HEADER = struct.Struct("=IHHII")
REQUEST, ACK, DUMP, TLVS = 1, 4, 0x300, 0x200
ERROR, DONE, NEWROUTE, GETROUTE, NEWQDISC, DELQDISC, GETQDISC, NEWTCLASS, GETTCLASS = 2, 3, 24, 26, 36, 37, 38, 40, 42
ROOT, OURS = 0xFFFFFFFF, 0x10000  # where a host's own discipline sits; handle 1: is what `queueing.sort_by` makes
SIGNED = OURS | 0xE57A  # the class by which our rules are known; its rates are the envoy's pid and where that is one
LOCAL = 2  # a route to this host itself
NEW_NETWORK = 0x40000000


def opened() -> socket.socket:
    """A connection to the kernel's router."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.settimeout(5.0)
    netlink.setsockopt(270, 11, 1)  # the kernel's own words with errors
    netlink.bind((0, 0))
    return netlink


def exchange(netlink: socket.socket, kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
    """Send one request; all messages that answer it."""
    netlink.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body)
    found: list[tuple[int, bytes]] = []
    while True:
        data = netlink.recv(1 << 20)
        at = 0
        while at < len(data):
            length, answer, answer_flags, _, _ = HEADER.unpack_from(data, at)
            payload = data[at + HEADER.size : at + length]
            at += length + 3 & ~3
            if answer == ERROR:
                refused(payload, answer_flags)
                return found
            if answer == DONE:
                return found
            found.append((answer, payload))
        if not flags & DUMP and not flags & ACK:
            return found


def refused(payload: bytes, flags: int) -> None:
    """Raise the error that the kernel tells, if it is one."""
    code = -struct.unpack_from("=i", payload)[0]
    if code:
        own = 4 + (HEADER.size if flags & 0x100 else struct.unpack_from("=I", payload, 4)[0])
        said = attributes(payload[own + 3 & ~3 :]) if flags & TLVS else {}
        raise OSError(code, said.get(1, b"").rstrip(b"\0").decode(errors="replace") or os.strerror(code))


def attributes(data: bytes) -> dict[int, bytes]:
    """Netlink attributes by type."""
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def route(netlink: socket.socket, address: str) -> tuple[int, bool]:
    """The interface by which packets leave for an address, and whether that is this host's own."""
    packed = socket.inet_aton(address)
    body = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0) + struct.pack("=HH", 8, 1) + packed
    for kind, payload in exchange(netlink, GETROUTE, 0, body):
        if kind == NEWROUTE:
            return struct.unpack("=I", attributes(payload[12:])[4])[0], payload[7] == LOCAL
    raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH), address)


def roots(netlink: socket.socket) -> dict[int, tuple[str, int]]:
    """Each interface's root discipline: kind and handle, which is 0 for what the kernel put there by itself."""
    found = {}
    for kind, payload in exchange(netlink, GETQDISC, DUMP, struct.pack("=BxxxiIII", 0, 0, 0, 0, 0)):
        if kind == NEWQDISC:
            _, interface, handle, parent, _ = struct.unpack_from("=BxxxiIII", payload)
            if parent == ROOT:
                found[interface] = (attributes(payload[20:])[1].rstrip(b"\0").decode(), handle)
    return found


def signature() -> list[int]:
    """The pid of this process, and the namespace in which it has that."""
    return [os.getpid(), os.stat("/proc/self/ns/pid").st_ino & 0xFFFFFFFF]


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only its end, which nobody has asked for yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def forsaken(netlink: socket.socket, index: int) -> bool:
    """Whether an interface has rules of an envoy that was killed before it could remove them."""
    for kind, payload in exchange(netlink, GETTCLASS, DUMP, struct.pack("=BxxxiIII", 0, index, 0, 0, 0)):
        if kind == NEWTCLASS and struct.unpack_from("=I", payload, 8)[0] == SIGNED:
            parameters = attributes(attributes(payload[20:])[2])[1]
            pid, namespace = (struct.unpack_from("=I", parameters, at)[0] for at in (8, 20))
            return bool(namespace == signature()[1] and not alive(pid))
    return False


def look(envoy: Any, data: bytes, targets: dict[str, str]) -> dict[str, Any]:
    """For each target: by which interface packets leave for it, and what that has for a root discipline."""
    found: dict[str, Any] = {}
    with opened() as netlink:
        known = roots(netlink)
        for name, address in targets.items():
            try:
                index, local = route(netlink, address)
            except OSError as error:
                found[name] = {"error": error.strerror}
                continue
            kind, handle = known.get(index, ("noqueue", 0))
            found[name] = {
                "index": index,
                "interface": socket.if_indextoname(index),
                "local": local,
                "kind": kind,
                "handle": 0 if (kind, handle) == ("htb", OURS) and forsaken(netlink, index) else handle,
                "signature": signature(),
            }
    return found


def send(requests: list[list[Any]]) -> dict[str, Any]:
    """Send requests one by one; what was refused, and why."""
    with opened() as netlink:
        for kind, flags, body, purpose in requests:
            try:
                exchange(netlink, kind, flags | ACK, base64.b64decode(body))
            except OSError as error:
                return {"error": error.strerror, "errno": error.errno, "purpose": purpose}
    return {}


def attempt(requests: list[list[Any]]) -> dict[str, Any]:
    """`send` in a network of its own, which ends with this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK):
        code = ctypes.get_errno()
        return {"error": os.strerror(code), "errno": code, "purpose": "make a network to try in"}
    return send(requests)


def replace(requests: list[list[Any]], index: int) -> dict[str, Any]:
    """`send`, when what a killed envoy left on an interface has been removed."""
    with opened() as netlink:
        if roots(netlink).get(index) == ("htb", OURS) and forsaken(netlink, index):
            exchange(netlink, DELQDISC, ACK, struct.pack("=BxxxiIII", 0, index, 0, ROOT, 0))
    return send(requests)


def remove(index: int) -> dict[str, Any]:
    """Remove what Estran put on an interface; anything else stays."""
    with opened() as netlink:
        if roots(netlink).get(index) == ("htb", OURS):
            exchange(netlink, DELQDISC, ACK, struct.pack("=BxxxiIII", 0, index, 0, ROOT, 0))
    return {}


def main() -> None:
    """Do what the arguments and standard input say, and print what came of it."""
    verb = sys.argv[1]
    if verb == "remove":
        print(json.dumps(remove(int(sys.argv[2]))))
    elif verb == "send":
        print(json.dumps(replace(json.load(sys.stdin), int(sys.argv[2]))))
    else:
        print(json.dumps(attempt(json.load(sys.stdin))))


if __name__ == "__main__":
    main()
