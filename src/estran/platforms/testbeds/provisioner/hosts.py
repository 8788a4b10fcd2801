"""EnOSlib's hosts as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def plain_hosts(roles: Mapping[str, Iterable[Any]], layers: Iterable[str]) -> list[dict[str, Any]]:
    """Name, layer, address, user, port, key and jumps (``user@host``, nearest first) of each host; a layer is a role."""
    return [
        {
            "name": str(host.alias),
            "layer": layer,
            "address": str(host.address),
            "user": host.user,
            "port": int(host.port or 22),
            "key": str(host.keyfile) if host.keyfile else None,
            "jump": _jumps(host.extra),
        }
        for layer in layers
        for host in sorted(roles.get(layer, []), key=_numbered)
    ]


def _numbered(host: Any) -> list[tuple[int, str]]:
    """By name, and by number where it has some; EnOSlib keeps no order."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", str(host.alias))]


def _jumps(extra: Mapping[str, Any]) -> list[str]:
    jumps = []
    for gate in ("gateway", "internal_gateway"):
        if extra.get(gate):
            user = extra.get(f"{gate}_user")
            jumps.append(f"{user}@{extra[gate]}" if user else str(extra[gate]))
    return jumps


def clock_text(seconds: float, *, with_seconds: bool = True) -> str:
    """A duration as testbeds write it: HH:MM:SS, or HH:MM rounded up."""
    whole = int(seconds) if with_seconds else -int(-seconds // 60) * 60
    text = f"{whole // 3600:02d}:{whole % 3600 // 60:02d}"
    return f"{text}:{whole % 60:02d}" if with_seconds else text
