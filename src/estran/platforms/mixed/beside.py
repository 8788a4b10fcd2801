"""Emulated hosts beside real ones: their network, a host in it that stands for the gateway, and the way out of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from estran.errors import PlatformError
from estran.platforms.base import Host
from estran.platforms.emulated.platform import EmulatedPlatform, EmulatedProvision
from estran.platforms.mixed.parts import STAND_IN, with_stand_in
from estran.platforms.mixed.relay import dialling
from estran.platforms.mixed.scratch import scratch_folder
from estran.platforms.remote.certificates import Authority, keep
from estran.platforms.remote.source import Found
from estran.runtime.launch import Launch, Readiness, Security
from estran.spec.plan import Plan, router_port

NETWORK: Final = "emulated"
PATIENCE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Beside:
    """The emulated part of a run.

    Attributes
    ----------
    gateway
        The real host that passes streams on.
    inner_address
        By which emulated hosts dial it.
    security
        Certificates of emulated hosts.
    """

    provision: EmulatedProvision
    hosts: Mapping[str, Host]
    gateway: str
    inner_address: str
    security: Mapping[str, Security]


@asynccontextmanager
async def beside(
    plan: Plan, emulated: Sequence[str], gateway: str, found: Found, folder: Path, run_id: str, authority: Authority | None
) -> AsyncIterator[Beside]:
    """Emulate some hosts of a plan, whose streams to the others leave by the gateway, for as long as the context lasts."""
    own, replica = with_stand_in(plan, emulated, gateway)
    port = router_port(plan)
    with scratch_folder(run_id) as scratch:
        socket = Path(scratch, "way")
        async with (
            EmulatedPlatform(stand_ins=[gateway]).provide(own, folder, run_id) as provision,
            dialling(socket, found.places[gateway].address, port),
            _standing_in(provision.hosts[gateway], replica, provision.address(gateway, gateway), port, socket),
        ):
            hosts = {name: host for name, host in provision.hosts.items() if name != gateway}
            security: dict[str, Security] = {}
            if authority is not None:
                security = {
                    name: keep(name, [provision.address(name, name)], authority, Path(scratch, "tls", name)) for name in hosts
                }
            yield Beside(provision, hosts, gateway, provision.address(gateway, gateway), security)


@asynccontextmanager
async def _standing_in(host: Host, replica: str, address: str, port: int, socket: Path) -> AsyncIterator[None]:
    """The relay within the emulated network."""
    serving = asyncio.create_task(host.serve())
    listening = asyncio.Event()
    hearing = asyncio.create_task(_hear(host, listening))
    command = (sys.executable, "-m", "estran.platforms.mixed.relay", address, str(port), str(socket))
    work = str(socket.with_name("work"))
    ready = Readiness(output="listening")
    try:
        await host.start(Launch(replica, STAND_IN, 0, 1, host.name, 0, 0, command=command, folder=work, ready=ready).plain())
        try:
            async with asyncio.timeout(PATIENCE):
                await listening.wait()
        except TimeoutError:
            raise PlatformError("the way out of the emulated network was not there in time", where=host.name) from None
        yield
    finally:
        hearing.cancel()
        await host.close()
        await asyncio.wait({serving}, timeout=5.0)


async def _hear(host: Host, listening: asyncio.Event) -> None:
    async for frame in host.events():
        if frame["say"] == "ready":
            listening.set()
