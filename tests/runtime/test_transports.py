"""Our transports pass the conformance suite, the one in memory also when its network misbehaves."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from estran.checks.transports import CHECKS, Check
from estran.errors import TransportError
from estran.runtime.clock import RealClock
from estran.runtime.memory_transport import MemoryNetwork
from estran.runtime.transport import ChannelSpec, Transport
from estran.runtime.zenoh_transport import ZenohTransport
from tests.runtime import virtual_time

CLOCK = RealClock(time.monotonic_ns())
NETWORKS = {
    "perfect": {},
    "slow": {"delay": 0.05, "rate": 2e6},
    "awful": {"delay": 0.01, "jitter": 0.03, "loss": 0.2, "duplication": 0.1},
}


def check_name(check: Check) -> str:
    return check.__name__


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_memory(check: Check, network: str) -> None:
    @asynccontextmanager
    async def pair() -> AsyncIterator[tuple[Transport, Transport]]:
        clock = virtual_time.VirtualClock()
        net = MemoryNetwork(np.random.default_rng(7), **NETWORKS[network])
        async with net.transport(clock) as producer, net.transport(clock) as consumer:
            yield producer, consumer

    virtual_time.run(check(pair))


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
async def test_zenoh(check: Check) -> None:
    @asynccontextmanager
    async def pair() -> AsyncIterator[tuple[Transport, Transport]]:
        endpoint = free_endpoint()
        async with ZenohTransport([], [endpoint], CLOCK) as producer, ZenohTransport([endpoint], [], CLOCK) as consumer:
            yield producer, consumer

    await check(pair)


async def test_an_address_that_is_taken_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp/127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TransportError, match="no zenoh session"):
            async with ZenohTransport([endpoint], [], CLOCK):
                pass


async def test_a_key_that_zenoh_refuses_is_a_clear_error() -> None:
    async with ZenohTransport([free_endpoint()], [], CLOCK) as transport:
        with pytest.raises(TransportError, match="refuses"):
            await transport.sender(ChannelSpec("a//b", "latest"))


async def test_an_end_opens_once() -> None:
    net = MemoryNetwork()
    async with net.transport(CLOCK) as transport:
        await transport.sender(ChannelSpec("twice", "latest"))
        with pytest.raises(TransportError, match="open already"):
            await transport.sender(ChannelSpec("twice", "latest"))


async def test_a_transport_that_is_not_open_says_so() -> None:
    with pytest.raises(TransportError, match="async with"):
        await ZenohTransport([], [], CLOCK).sender(ChannelSpec("closed", "latest"))
