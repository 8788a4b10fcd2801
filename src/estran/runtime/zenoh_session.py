"""Sessions of eclipse-zenoh with our settings: endpoints are told, nothing is found by scouting, TLS if there are certificates."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from estran.errors import TransportError
from estran.runtime.launch import Security

if TYPE_CHECKING:
    import zenoh

_BATCHES = 16
_MAX_DATAGRAM = 64 << 20
"""Several times what a lane is ever given at once: so much is put together of pieces that come in."""
_DROP_AFTER_US, _DROP_PIECES_AFTER_US = 1000, 20_000
"""What a put on the event loop may wait at most: in all, and for a datagram of many batches."""

ENGINE = "ZENOH_RUNTIME"
"""The environment variable that zenoh reads, once in a process's life."""

_PEER_ENGINE = "(rx:(handover:app),tx:(handover:app),acc:(handover:app),net:(handover:app),app:(worker_threads:12))"
"""zenoh's own threads, shared by all its tasks because each may be stuck for a while: closing a connection over a dead link
lingers, by zenoh's socket option, for up to 10 s. Once as many peers are cut off at a time as there are threads, none is left to
take the next connection until the kernel gets through to one of them, up to 2 s after a cut of 5 s."""

ROUND_TRIP = 0.1
_ROUTING_ENGINE = "(rx:(worker_threads:12),tx:(handover:app),acc:(handover:app),net:(handover:app),app:(worker_threads:12))"
"""What receives in a router waits for what sends, and would wait for ever for what is next in line on its own thread: so they share
none. As many threads, since each may wait for a slow link."""

LEASE_MS = 1500
"""Silence after which a connection is given up. When a cut ends about here the kernel would repeat itself only a second and more
later, so a new connection is quicker; one that is given up in error, on a starved host, costs half a second and no frame."""
WAIT_BEFORE_CLOSE_US = 500_000
_HANDSHAKE_MS = 400
"""More patience to connect where both ends examine certificates, on slow processors."""

Mode = Literal["peer", "client", "router"]


def configuration(
    listen: Sequence[str],
    connect: Sequence[str],
    round_trip: float = ROUND_TRIP,
    security: Security | None = None,
    mode: Mode = "peer",
) -> Mapping[str, object]:
    """The settings, by zenoh's own names, that differ from its defaults."""
    # An attempt to connect that was begun while the link was down must end soon, for the kernel repeats its own only every second.
    open_timeout_ms = max(600, int(round_trip * 5000))
    if security is not None:
        open_timeout_ms += _HANDSHAKE_MS + int(round_trip * 2000)
    retry = {"period_init_ms": 200, "period_max_ms": 200, "period_increase_factor": 1}
    tx = "transport/link/tx"
    return {
        "mode": mode,
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "listen/endpoints": list(listen),
        "listen/exit_on_failure": True,
        "connect/endpoints": list(connect),
        "connect/timeout_ms": -1,
        "connect/exit_on_failure": False,
        "connect/retry": retry,
        "open/return_conditions": {"connect_scouted": False, "declares": False},
        # Shared memory would bypass emulated links.
        "transport/shared_memory/enabled": False,
        "transport/unicast/open_timeout": open_timeout_ms,
        "transport/unicast/accept_timeout": 2000,
        "transport/link/rx/max_message_size": _MAX_DATAGRAM,
        f"{tx}/lease": LEASE_MS,
        f"{tx}/keep_alive": 4,
        f"{tx}/queue/size/data": _BATCHES,
        # A router must not give up a link that is only slow; one that is dead is given up when its lease is over.
        f"{tx}/queue/congestion_control/block/wait_before_close": LEASE_MS * 1000 if mode == "router" else WAIT_BEFORE_CLOSE_US,
        f"{tx}/queue/congestion_control/drop/wait_before_drop": _DROP_AFTER_US,
        f"{tx}/queue/congestion_control/drop/max_wait_before_drop_fragments": _DROP_PIECES_AFTER_US,
        **({} if security is None else _secured(security)),
    }


def _secured(security: Security) -> Mapping[str, object]:
    """Both ends show a certificate of the run's authority, and the one that is dialled must be the host that was meant."""
    tls = "transport/link/tls"
    return {
        f"{tls}/root_ca_certificate": security.authority,
        f"{tls}/enable_mtls": True,
        f"{tls}/listen_certificate": security.certificate,
        f"{tls}/listen_private_key": security.key,
        f"{tls}/connect_certificate": security.certificate,
        f"{tls}/connect_private_key": security.key,
        f"{tls}/verify_name_on_connect": True,
    }


async def open_session(
    listen: Sequence[str],
    connect: Sequence[str],
    round_trip: float = ROUND_TRIP,
    security: Security | None = None,
    mode: Mode = "peer",
) -> zenoh.Session:
    """Open a session with our settings; a client's opens when its router has answered.

    Raises
    ------
    TransportError
        If zenoh refuses, such as an address that is taken or a certificate that cannot be read.
    """
    import zenoh

    os.environ.setdefault(ENGINE, _ROUTING_ENGINE if mode == "router" else _PEER_ENGINE)
    config = zenoh.Config()
    for name, value in configuration(listen, connect, round_trip, security, mode).items():
        config.insert_json5(name, json.dumps(value))
    try:
        return await asyncio.to_thread(zenoh.open, config)
    except zenoh.ZError as error:
        where = ", ".join((*listen, *connect)) or None
        remedy = "check that nothing else listens there and that the address belongs to this host"
        if security is not None:
            remedy += f", and that {security.certificate} and its key are there"
        raise TransportError(f"no zenoh session: {error}", where=where, remedy=remedy) from error


def close_session(session: Any) -> None:
    """Close a session, whose own method has no types."""
    session.close()
