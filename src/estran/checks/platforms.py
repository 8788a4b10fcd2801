"""What every `Platform` must do. Plain async functions that raise AssertionError; `CHECKS` lists them all.

Each check takes the platform and an empty folder, provides a small plan (two layers, one link of 10 ms) and gives it back.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from estran.errors import PlatformError
from estran.platforms.base import Platform, Provision
from estran.run.journal import processes_of
from estran.spec import load_text
from estran.spec.plan import Plan
from estran.spec.resolve import plan as make_plan

Check = Callable[[Platform, Path], Awaitable[None]]

DELAY: Final = 0.010
PORT: Final = 18_099
PATIENCE: Final = 20.0

_DESCRIPTION: Final = f"""
experiment: platform-check
layers: {{edge: {{hosts: 2, device: cloud-vm-2}}, cloud: {{hosts: 1, device: cloud-vm-2}}}}
network: [{{between: [edge, cloud], delay: {DELAY * 1000:g}ms}}]
services:
  near: {{on: edge, command: [sleep, "60"]}}
  far: {{on: cloud, command: [sleep, "60"], ports: [{PORT}]}}
"""

_ANSWER: Final = (
    "import socket,sys; s=socket.create_server((sys.argv[1],int(sys.argv[2]))); c,_=s.accept(); c.sendall(c.recv(9)); s.close()"
)
_ASK: Final = (
    "import socket,sys,time; c=socket.create_connection((sys.argv[1],int(sys.argv[2])),5); c.setsockopt(6,1,1); "
    "t=time.monotonic(); c.sendall(b'estran'); assert c.recv(9)==b'estran'; print(time.monotonic()-t)"
)


async def provides_what_was_planned(platform: Platform, folder: Path) -> None:
    """Every host with services is there under its name and answers."""
    plan = _plan()
    async with _provided(platform, plan, folder, _run_id("planned")) as provision:
        assert set(provision.hosts) == set(plan.hosts), f"planned {set(plan.hosts)}, got {set(provision.hosts)}"
        for name, host in provision.hosts.items():
            assert host.name == name, f"{name} calls itself {host.name}"
            assert (await host.run(["true"])).returncode == 0, f"{name} cannot run true"


async def connects_hosts_over_delayed_links(platform: Platform, folder: Path) -> None:
    """A host reaches another at the address given, and a round trip takes at least twice the delay asked."""
    async with _provided(platform, _plan(), folder, _run_id("connects")) as provision:
        near, far = provision.hosts["edge-1"], provision.hosts["cloud-0"]
        answering = asyncio.create_task(
            far.run(["python3", "-c", _ANSWER, provision.address("cloud-0", "cloud-0"), str(PORT)], timeout=PATIENCE)
        )
        ask = ["python3", "-c", _ASK, provision.address("edge-1", "cloud-0"), str(PORT)]
        deadline = time.monotonic() + PATIENCE
        while (asked := await near.run(ask, timeout=PATIENCE)).returncode != 0:
            assert time.monotonic() < deadline, f"cloud-0 was never reached: {asked.stderr.decode(errors='replace')}"
            await asyncio.sleep(0.1)
        await answering
        took = float(asked.stdout)
        assert took >= 2 * DELAY * 0.99, f"a round trip over two times {DELAY} s took {took} s"


async def verifies_by_measuring(platform: Platform, folder: Path) -> None:
    """The link is probed in both directions and found as it was asked; what is known only at the end replaces facts of that."""
    async with _provided(platform, _plan(), folder, _run_id("verifies")) as provision:
        found = await provision.verify()
        assert {(link.source.split("-")[0], link.target.split("-")[0]) for link in found.links} == {
            ("edge", "cloud"),
            ("cloud", "edge"),
        }
        for link in found.links:
            assert link.measured.get("delay") is not None, f"{link.source} → {link.target} was not measured"
        unknown = set(await provision.conclude()) - set(found.facts)
        assert not unknown, f"facts {sorted(unknown)} are new at the end"


async def gives_everything_back(platform: Platform, folder: Path) -> None:
    """No process of the run outlives it, also when it ends by an error."""
    run_id = _run_id("gives-back")
    try:
        async with _provided(platform, _plan(), folder, run_id):
            raise PlatformError("on purpose")
    except PlatformError as error:
        assert error.what == "on purpose", f"another error took its place: {error}"
    deadline = time.monotonic() + PATIENCE
    while left := processes_of(run_id):
        assert time.monotonic() < deadline, f"processes {left} were left"
        await asyncio.sleep(0.05)


def _plan() -> Plan:
    return make_plan(load_text(_DESCRIPTION))


def _run_id(check: str) -> str:
    """One of its own: somebody else on this machine may check a platform at the same time."""
    return f"check-{check}-{secrets.token_hex(4)}"


@asynccontextmanager
async def _provided(platform: Platform, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[Provision]:
    async with platform.provide(plan, folder, run_id) as provision:
        serving = [asyncio.create_task(host.serve()) for host in provision.hosts.values()]
        try:
            yield provision
        finally:
            for host in provision.hosts.values():
                await host.close()
            await asyncio.wait(serving)


CHECKS: Final[tuple[Check, ...]] = (
    provides_what_was_planned,
    connects_hosts_over_delayed_links,
    verifies_by_measuring,
    gives_everything_back,
)
