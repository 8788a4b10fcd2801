"""Replicas behind a real NAT exchange streams with others and with each other, through a router and over a cut."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from estran.checks import transports
from estran.platforms.remote.certificates import Authority
from estran.run.wiring import Access, router_task, wire
from estran.runtime.clock import RealClock
from estran.runtime.launch import Launch, Security
from estran.runtime.router import route
from estran.runtime.transport import Transport
from estran.runtime.zenoh_transport import ZenohTransport
from estran.spec import load_text
from estran.spec.plan import Plan
from estran.spec.resolve import plan as make_plan

needs_nat = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("iptables") is None, reason="needs root and iptables to make a NAT"
)

TEXT = """
experiment: behind
layers: {edge: {hosts: 2, device: raspberry-pi-4}, fog: {hosts: 1, device: cloud-vm-2}}
services:
  camera: {on: edge, component: source}
  detector: {on: edge, component: predictor}
  trainer: {on: fog, component: trainer}
streams:
  - {from: camera.samples, to: [detector.samples, trainer.samples], routing: all}
  - {from: trainer.models, to: detector.models, routing: all, delivery: acknowledged}
"""

REPLICA = """
import asyncio, json, sys, time
from estran.runtime.clock import RealClock
from estran.runtime.launch import Launch
from estran.runtime.zenoh_transport import ZenohTransport

FRAMES, APART = 400, 0.02

async def produce(sender):
    for number in range(FRAMES):
        await sender.send([number.to_bytes(4, "little"), bytes(500)])
        await asyncio.sleep(APART)
    await sender.drain()

async def consume(receiver):
    numbers = []
    while len(numbers) < FRAMES:
        got = await receiver.receive()
        numbers.append(int.from_bytes(got.data[:4], "little"))
        receiver.done(got.seq)
    return numbers == list(range(FRAMES))

async def main():
    launch = Launch.read(json.loads(sys.argv[1]))
    routed = [end.key for end in (*launch.inputs, *launch.outputs) if end.routed]
    transport = ZenohTransport(
        launch.listen, launch.connect, RealClock(time.monotonic_ns()), security=launch.security, router=launch.router, routed=routed
    )
    async with transport, asyncio.timeout(45):
        receivers = {end.peer: await transport.receiver(end.spec) for end in launch.inputs}
        senders = [await transport.sender(end.spec) for end in launch.outputs]
        await transport.connected()
        print("ready", flush=True)
        got = await asyncio.gather(*map(consume, receivers.values()), *map(produce, senders))
        await asyncio.sleep(2.0)  # for the other ends' last confirmations
    print(json.dumps(dict(zip(receivers, got))), flush=True)

asyncio.run(main())
"""

SERVE = """
import asyncio, json, sys
from estran.runtime.clock import RealClock
from estran.runtime.router import route
asyncio.run(route(lambda table, rows: None, RealClock(0), json.loads(sys.argv[1])))
"""


ROUTED = (
    transports.order_without_loss,
    transports.receiver_after_sender,
    transports.large_frames,
    transports.latest_ends_with_the_newest,
    transports.closing_ends_waiting,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Site:
    """Two edges behind one NAT, and a host outside that has no way to them, and a public address that is not its own."""

    PUBLIC = "198.51.100.7"
    ADDRESSES: Mapping[str, str] = {"edge-0": "192.168.77.10", "edge-1": "192.168.77.11", "fog-0": "203.0.113.5"}

    def __init__(self) -> None:
        self.names = {host: f"estran-{os.getpid()}-{host}" for host in (*self.ADDRESSES, "nat")}

    def ip(self, *argv: str) -> None:
        subprocess.run(["ip", *argv], check=True, capture_output=True)

    def inside(self, host: str, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.names[host], *argv]

    def build(self) -> None:
        for name in self.names.values():
            self.ip("netns", "add", name)
            self.ip("-n", name, "link", "set", "lo", "up")
        for index, (host, address) in enumerate(self.ADDRESSES.items()):
            ours, theirs = self.names[host], self.names["nat"]
            self.ip("link", "add", "eth0", "netns", ours, "type", "veth", "peer", "name", f"to{index}", "netns", theirs)
            self.ip("-n", ours, "addr", "add", f"{address}/24", "dev", "eth0")
            self.ip("-n", ours, "link", "set", "eth0", "up")
            self.ip("-n", theirs, "link", "set", f"to{index}", "up")
        nat = self.names["nat"]
        self.ip("-n", nat, "link", "add", "inner", "type", "bridge")
        for index in (0, 1):
            self.ip("-n", nat, "link", "set", f"to{index}", "master", "inner")
        self.ip("-n", nat, "link", "set", "inner", "up")
        self.ip("-n", nat, "addr", "add", "192.168.77.1/24", "dev", "inner")
        self.ip("-n", nat, "addr", "add", "203.0.113.1/24", "dev", "to2")
        for host in ("edge-0", "edge-1"):
            self.ip("-n", self.names[host], "route", "add", "default", "via", "192.168.77.1")
        for argv in (
            ["sysctl", "-qw", "net.ipv4.ip_forward=1"],
            ["iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "to2", "-j", "MASQUERADE"],
            ["iptables", "-t", "nat", "-A", "PREROUTING", "-d", self.PUBLIC, "-j", "DNAT", "--to", self.ADDRESSES["fog-0"]],
        ):
            subprocess.run(self.inside("nat", *argv), check=True, capture_output=True)

    def cut(self, state: str) -> None:
        self.ip("-n", self.names["nat"], "link", "set", "to2", state)

    def remove(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def dialled(host: str) -> str:
    return Site.PUBLIC if host == "fog-0" else Site.ADDRESSES[host]


def certified(plan: Plan, folder: Path) -> dict[str, Security]:
    authority, found = Authority("router-test", 60), {}
    for host in plan.hosts:
        home = folder / host
        home.mkdir()
        identity = authority.issue(host, [dialled(host), "127.0.0.1"])
        files = {"authority.pem": authority.certificate, "certificate.pem": identity.certificate, "key.pem": identity.key}
        for name, data in files.items():
            (home / name).write_bytes(data)
        found[host] = Security(*(str(home / name) for name in files))
    return found


@asynccontextmanager
async def started(argv: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def exchange(site: Site, launches: list[Launch], cut: float) -> dict[str, dict[str, bool]]:
    """Run all replicas, cut their network for a while, and say from whom each got everything once and in order."""
    found: dict[str, dict[str, bool]] = {}
    ready = asyncio.Barrier(len(launches) + 1)

    async def play(launch: Launch) -> None:
        told = msgspec.json.encode(launch).decode()
        async with started(site.inside(launch.host, sys.executable, "-c", REPLICA, told)) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            await ready.wait()
            found[launch.replica] = json.loads(await process.stdout.readline() or "{}")

    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        for launch in launches:
            group.create_task(play(launch))
        await ready.wait()
        await asyncio.sleep(1.5)
        site.cut("down")
        await asyncio.sleep(cut)
        site.cut("up")
    return found


@pytest.mark.root
@needs_nat
async def test_edges_behind_nat_exchange_with_the_fog_and_with_each_other(site: Site, tmp_path: Path) -> None:
    plan = make_plan(load_text(TEXT))
    reached = subprocess.run(site.inside("fog-0", "ping", "-c1", "-W1", Site.ADDRESSES["edge-0"]), check=False, capture_output=True)
    assert reached.returncode != 0, "the edges are not behind NAT"
    access = Access(["edge-0", "edge-1"], "fog-0", certified(plan, tmp_path), translated=["fog-0"])

    def address(near: str, far: str) -> str:
        return dialled(far)

    components = dict.fromkeys(("camera", "detector", "trainer"), "a:B")
    launches = wire(plan, address, components, tmp_path, "x", 0, access)
    task = router_task(plan, address, access)
    assert task is not None
    async with started(site.inside("fog-0", sys.executable, "-c", SERVE, json.dumps(task[1]))):
        found = await exchange(site, launches, cut=5.0)
    everybody = {"camera-0": True, "camera-1": True}
    assert found["trainer-0"] == everybody
    assert found["detector-0"] == found["detector-1"] == {**everybody, "trainer-0": True}


@pytest.mark.parametrize("check", ROUTED, ids=lambda check: check.__name__)
async def test_streams_keep_their_promises_through_a_router(check: transports.Check) -> None:
    endpoint = f"tcp/127.0.0.1:{free_port()}"
    clock = RealClock(time.monotonic_ns())
    keys = ("check/acknowledged", "check/early", "check/latest")

    @asynccontextmanager
    async def pair() -> AsyncIterator[tuple[Transport, Transport]]:
        async with (
            ZenohTransport([], [], clock, router=endpoint, routed=keys) as producer,
            ZenohTransport([], [], clock, router=endpoint, routed=keys) as consumer,
        ):
            yield producer, consumer

    running = asyncio.create_task(route(lambda table, rows: None, clock, {"listen": [endpoint], "security": None}))
    await check(pair)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_router_ends_when_its_task_is_cancelled_and_says_what_ended_it() -> None:
    port = free_port()
    settings = {"listen": [f"tcp/127.0.0.1:{port}"], "security": None}
    clock = RealClock(time.monotonic_ns())
    running = asyncio.create_task(route(lambda table, rows: None, clock, settings))
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.1)
            with socket.socket() as dialling:
                if dialling.connect_ex(("127.0.0.1", port)) == 0:
                    break
    with pytest.raises(Exception, match=r"the router of streams has ended: .*no zenoh session"):
        await route(lambda table, rows: None, clock, settings)  # the port is taken
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with socket.socket() as dialling:
        assert dialling.connect_ex(("127.0.0.1", port)) != 0
