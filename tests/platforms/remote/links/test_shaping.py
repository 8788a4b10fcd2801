"""Links between hosts with envoys, shaped by a real kernel; tests/uml has those that need netem."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.links.traffic import NetemEngine
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.namespace import entered
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.links.envoy_queues import alive
from estran.platforms.remote.links.shaping import problems, shaped
from estran.spec.model import LinkSpec
from tests.platforms.remote.links.hosts import envoys, place

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make hosts")]

NAMES = ("edge", "fog", "cloud")
SSH_PORT = 2222
Hosts = dict[str, RemoteHost]


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric(NAMES, {(a, b): LinkSpec() for a in NAMES for b in NAMES if a != b}) as made:
        yield made


@pytest.fixture
async def hosts(fabric: Fabric, tmp_path: Path) -> AsyncIterator[Hosts]:
    namespaces = {name: place(host.namespace_fd) for name, host in fabric.hosts.items()}
    async with envoys(namespaces, tmp_path, prefix=f"SSH_CONNECTION='10.9.9.9 40000 10.9.9.1 {SSH_PORT}'") as made:
        yield made


def queues(fabric: Fabric, name: str) -> str:
    argv = ["nsenter", f"--net={place(fabric.hosts[name].namespace_fd)}", "tc", "qdisc", "show", "dev", "eth0"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def seconds_to_send(fabric: Fabric, source: str, target: str, size: int, port: int = 0) -> float:
    """How long a TCP connection takes to carry so many bytes."""
    with entered(fabric.hosts[target].namespace_fd):
        listener = socket.create_server(("0.0.0.0", port))
    with entered(fabric.hosts[source].namespace_fd):
        sender = socket.socket()
    with listener, sender:
        begun = time.monotonic()
        sender.connect((fabric.address(source, target), listener.getsockname()[1]))
        receiver, _ = listener.accept()
        sender.setblocking(False)
        left, got = size, 0
        with receiver:
            receiver.setblocking(False)
            while got < size:
                with contextlib.suppress(BlockingIOError):
                    left -= sender.send(bytes(min(left, 65536))) if left else 0
                try:
                    got += len(receiver.recv(65536))
                except BlockingIOError:
                    time.sleep(0.0005)
        return time.monotonic() - begun


async def test_a_rate_is_kept_verified_and_given_back(fabric: Fabric, hosts: Hosts) -> None:
    links = {("edge", "fog"): LinkSpec(rate=5e6), ("fog", "edge"): LinkSpec(rate=20e6), ("edge", "cloud"): LinkSpec()}
    async with shaped(hosts, fabric.address, links) as running:
        verification = await running.verify()
        slow, ssh = (seconds_to_send(fabric, "edge", "fog", 300_000, port) for port in (0, SSH_PORT))
        other = seconds_to_send(fabric, "edge", "cloud", 300_000)
    assert [(measure.source, measure.target) for measure in verification.links] == [("edge", "fog"), ("fog", "edge")]
    assert all(measure.ok for measure in verification.links), verification.links
    assert verification.links[0].measured["rate"] == pytest.approx(5e6, rel=0.05)
    assert verification.links[0].asked == {"delay": None, "jitter": None, "rate": 5e6, "loss": None}
    assert slow > 3 * ssh, "the SSH connection is as slow as the link"
    assert slow > 3 * other, "another host's packets are as slow as the link"
    assert verification.facts["links"]["engine"].startswith("tbf")
    assert "base" in verification.facts["links"]["paths"]["edge → fog"]
    for name in NAMES:
        assert "htb" not in queues(fabric, name)


CONTROLLER = """
import asyncio, json, sys
from pathlib import Path
from estran.platforms.remote.links.envoy_queues import alive
from estran.platforms.remote.links.shaping import shaped
from estran.spec.model import LinkSpec
from tests.platforms.remote.links.hosts import envoys

async def main(namespaces, addresses, folder):
    async with envoys(namespaces, Path(folder)) as hosts:
        async with shaped(hosts, lambda near, far: addresses[far], {("edge", "fog"): LinkSpec(rate=1e6)}):
            print(*(host.facts["pid"] for host in hosts.values()), flush=True)
            await asyncio.sleep(60)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def test_a_killed_controller_leaves_no_rules(fabric: Fabric, tmp_path: Path) -> None:
    namespaces = {name: place(fabric.hosts[name].namespace_fd) for name in ("edge", "fog")}
    told = json.dumps([namespaces, {name: host.address for name, host in fabric.hosts.items()}, str(tmp_path)])
    with subprocess.Popen([sys.executable, "-c", CONTROLLER, told], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert "tbf" in queues(fabric, "edge")
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while "htb" in queues(fabric, "edge") and time.monotonic() < until:
        time.sleep(0.1)
    assert "htb" not in queues(fabric, "edge")


async def test_rules_of_a_killed_envoy_are_replaced_and_those_of_one_that_lives_are_not(
    fabric: Fabric, hosts: Hosts, tmp_path: Path
) -> None:
    namespaces = {name: place(fabric.hosts[name].namespace_fd) for name in ("edge", "fog")}
    (tmp_path / "other").mkdir()
    told = json.dumps([namespaces, {name: host.address for name, host in fabric.hosts.items()}, str(tmp_path / "other")])
    asked = {("edge", "fog"): LinkSpec(rate=5e6)}
    with subprocess.Popen([sys.executable, "-c", CONTROLLER, told], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        envoys = [int(pid) for pid in process.stdout.readline().split()]
        assert "tbf" in queues(fabric, "edge")
        with pytest.raises(PlatformError, match=r"eth0 has a queueing discipline of its own \(htb 1:\)"):
            async with shaped(hosts, fabric.address, asked):
                pass
        assert "tbf" in queues(fabric, "edge")
        for pid in envoys:
            os.kill(pid, signal.SIGKILL)
        process.kill()
    until = time.monotonic() + 20
    while any(alive(pid) for pid in envoys) and time.monotonic() < until:
        time.sleep(0.02)
    assert "tbf" in queues(fabric, "edge")
    async with shaped(hosts, fabric.address, asked) as running:
        (measure,) = (await running.verify()).links
    assert measure.measured["rate"] == pytest.approx(5e6, rel=0.05), "the rules of before are still there"
    assert "htb" not in queues(fabric, "edge")


async def test_an_interface_with_queues_of_its_own_is_left_alone(fabric: Fabric, hosts: Hosts) -> None:
    enter = ["nsenter", f"--net={place(fabric.hosts['edge'].namespace_fd)}", "tc", "qdisc"]
    subprocess.run([*enter, "add", "dev", "eth0", "root", "handle", "5:", "pfifo"], check=True)
    links = {("edge", "fog"): LinkSpec(rate=5e6)}
    try:
        found = await problems(hosts, fabric.address, links)
        with pytest.raises(PlatformError, match="eth0 has a queueing discipline of its own"):
            async with shaped(hosts, fabric.address, links):
                pass
        assert "pfifo 5:" in queues(fabric, "edge")
    finally:
        subprocess.run([*enter, "del", "dev", "eth0", "root"], check=True)
    assert [(problem.where, problem.fatal) for problem in found] == [("edge", True)]
    assert "pfifo 5:" in found[0].what
    assert "tc qdisc del dev eth0 root" in found[0].remedy


@pytest.mark.skipif(NetemEngine().trial().works if os.geteuid() == 0 else True, reason="this kernel has netem")
async def test_a_delay_is_refused_where_the_kernel_has_no_netem(fabric: Fabric, hosts: Hosts) -> None:
    found = await problems(hosts, fabric.address, {("edge", "fog"): LinkSpec(0.01), ("fog", "edge"): LinkSpec(rate=1e6)})
    assert [problem.where for problem in found] == ["edge"]
    assert "netem" in found[0].what
    assert "sch_netem" in found[0].remedy


async def test_without_root_only_nothing_can_be_asked(fabric: Fabric, tmp_path: Path) -> None:
    namespaces = {name: place(fabric.hosts[name].namespace_fd) for name in ("edge", "fog")}
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all"
    async with envoys(namespaces, tmp_path, python="/usr/bin/python3", prefix=nobody) as hosts:
        assert hosts["edge"].facts["uid"] == 65534
        found = await problems(hosts, fabric.address, {("edge", "fog"): LinkSpec(rate=1e6)})
        assert [problem.where for problem in found] == ["edge"]
        assert "needs root" in found[0].what
        assert await problems(hosts, fabric.address, {("edge", "fog"): LinkSpec()}) == []
        async with shaped(hosts, fabric.address, {("edge", "fog"): LinkSpec()}) as running:
            assert (await running.verify()).links == ()


async def test_what_cannot_be_shaped_is_named(fabric: Fabric, hosts: Hosts) -> None:
    addresses = {"edge": fabric.hosts["edge"].address, "fog": "fd00::1", "cloud": fabric.hosts["edge"].address}
    asked = LinkSpec(rate=1e6)
    links = {("edge", "fog"): asked, ("edge", "cloud"): asked, ("fog", "cloud"): asked}
    found = await problems(hosts, lambda near, far: addresses[far], links, behind=["cloud"])
    said = {problem.where: problem.what for problem in found}
    assert "IPv6" in said["link edge → fog"]
    assert "behind NAT" in said["link edge → cloud"]
    assert "behind NAT" in said["link fog → cloud"]
    (itself,) = await problems(hosts, lambda near, far: addresses[far], {("edge", "cloud"): asked})
    assert "is edge itself" in itself.what
    (unknown,) = await problems(hosts, lambda near, far: addresses[far], {("edge", "moon"): asked})
    assert unknown.where == "link edge → moon"


async def test_a_path_that_lets_no_probe_through_is_named(fabric: Fabric, hosts: Hosts) -> None:
    enter = ["nsenter", f"--net={place(fabric.hosts['fog'].namespace_fd)}", "ip", "route"]
    subprocess.run([*enter, "add", "blackhole", f"{fabric.hosts['edge'].address}/32"], check=True)
    try:
        with pytest.raises(PlatformError, match="no probe came through") as error:
            async with shaped(hosts, fabric.address, {("edge", "fog"): LinkSpec(rate=50e6)}):
                pass
        assert "fog → edge" in str(error.value)
        assert "htb" not in queues(fabric, "edge")
    finally:
        subprocess.run([*enter, "del", "blackhole", f"{fabric.hosts['edge'].address}/32"], check=True)


async def test_a_direction_is_cut_and_mended_and_changed_and_ssh_goes_on(fabric: Fabric, hosts: Hosts) -> None:
    asked = {("edge", "fog"): LinkSpec(rate=20e6)}
    pair, unasked = ("edge", "fog"), ("fog", "edge")
    async with shaped(hosts, fabric.address, asked, worst={pair: LinkSpec(rate=2e6), unasked: LinkSpec()}) as running:
        before = {name: queues(fabric, name) for name in ("edge", "fog")}
        assert [(measure.source, measure.target) for measure in (await running.verify()).links] == [pair]
        quick = seconds_to_send(fabric, *pair, 200_000)
        await running.change({pair: LinkSpec(rate=2e6)})
        assert seconds_to_send(fabric, *pair, 200_000) > 3 * quick
        await running.change({pair: None, unasked: None})
        assert not passes(fabric, *pair)
        assert not passes(fabric, *unasked)
        assert seconds_to_send(fabric, *pair, 20_000, SSH_PORT) < 5
        await running.change({pair: LinkSpec(rate=20e6), unasked: LinkSpec()})
        assert seconds_to_send(fabric, *pair, 200_000) < 2 * quick
        assert passes(fabric, *unasked)
        assert without_handles(queues(fabric, "edge")) == without_handles(before["edge"])
        with pytest.raises(PlatformError, match="link edge → cloud: is not shaped"):
            await running.change({("edge", "cloud"): None})
    for name in NAMES:
        assert "htb" not in queues(fabric, name)


def passes(fabric: Fabric, source: str, target: str) -> bool:
    """Whether a datagram comes through."""
    with entered(fabric.hosts[target].namespace_fd):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with entered(fabric.hosts[source].namespace_fd):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((fabric.address(source, target), 0))
        receiver.settimeout(0.3)
        sender.sendto(b"over", receiver.getsockname())
        try:
            return receiver.recv(9) == b"over"
        except TimeoutError:
            return False


def without_handles(rules: str) -> list[str]:
    """Rules, but for their numbers and how many packets they have seen."""
    return [" ".join(line.partition("direct_packets_stat")[0].split()[:2] + line.split()[3:5]) for line in rules.splitlines()]
