"""The fabric: who reaches whom, what it refuses, and that nothing is left of it."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.errors import PlatformError
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import MTU, Fabric, segments
from estran.spec.model import LinkSpec

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")

NAMES = ["edge-0", "edge-1", "cloud-0"]


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    with Fabric(NAMES, {("edge-0", "cloud-0"): LinkSpec(rate=1e6), ("cloud-0", "edge-0"): LinkSpec()}) as fabric:
        yield fabric


@contextmanager
def datagrams(fabric: Fabric, source: str, target: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender on one host, connected to a receiver on another."""
    with namespace.entered(fabric.hosts[source].namespace_fd):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with namespace.entered(fabric.hosts[target].namespace_fd):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.bind((fabric.address(source, target), 0))
        receiver.settimeout(2)
        sender.connect(receiver.getsockname())
        yield sender, receiver


@root
def test_every_host_reaches_every_other_at_once_by_its_address(fabric: Fabric) -> None:
    for source in NAMES:
        for target in NAMES:
            with datagrams(fabric, source, target) as (sender, receiver):
                sender.send(b"hello")
                data, (address, _) = receiver.recvfrom(16)
                assert data == b"hello"
                assert address == fabric.hosts[source].address


@root
def test_hosts_reach_nothing_but_each_other(fabric: Fabric) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server, namespace.entered(fabric.hosts["edge-0"].namespace_fd):
        port = server.getsockname()[1]
        for address in (fabric.hosts["cloud-0"].address, "127.0.0.1"):  # a host answers that nobody listens there
            assert connecting(address, port) == errno.ECONNREFUSED
        assert connecting("198.51.100.1", port) in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def connecting(address: str, port: int) -> int:
    with socket.socket() as one:
        one.settimeout(2)
        return one.connect_ex((address, port))


@root
def test_no_packet_is_lost_after_up_on_a_busy_machine() -> None:
    """Links come up in the background; up() must wait for that, however late a busy kernel gets to it."""
    hogs = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(len(os.sched_getaffinity(0)))]
    try:
        for _ in range(20):
            with Fabric(["a", "b"], {}) as fabric, datagrams(fabric, "a", "b") as (sender, receiver):
                sender.send(b"first")
                assert receiver.recv(16) == b"first"
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@root
def test_each_host_has_one_interface_of_1500_bytes_and_no_ipv6(fabric: Fabric) -> None:
    for host in fabric.hosts.values():
        with namespace.entered(host.namespace_fd):
            assert socket.if_nameindex() == [(1, "lo"), (host.interface_index, host.interface)]
            assert not Path("/proc/self/net/if_inet6").exists() or not Path("/proc/self/net/if_inet6").read_text()
        with namespace.entered(fabric.core_fd):
            assert socket.if_nametoindex(host.core_interface) == host.core_index
    with datagrams(fabric, "edge-0", "cloud-0") as (sender, receiver):
        sender.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER = IP_PMTUDISC_DO
        sender.send(bytes(MTU - 28))
        assert len(receiver.recv(2000)) == MTU - 28
        with pytest.raises(OSError, match="too long"):
            sender.send(bytes(MTU - 27))


@root
def test_congestion_control_is_pinned_and_recorded(fabric: Fabric) -> None:
    chosen = fabric.facts()["tcp_congestion_control"]
    assert chosen in ("cubic", "reno")
    for host in fabric.hosts.values():
        with namespace.entered(host.namespace_fd), socket.socket() as tcp:
            assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode() == chosen


@root
def test_an_unknown_congestion_control_is_an_error_and_leaves_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(PlatformError, match="tcp_congestion_control to warp"):
        Fabric(NAMES, {}, congestion="warp").up()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@root
def test_packets_are_no_coarser_than_slow_and_lossy_links_bear(fabric: Fabric) -> None:
    def most(host: str) -> str:
        with namespace.entered(fabric.hosts[host].namespace_fd):
            shown = subprocess.run(["ip", "-d", "link", "show", "eth0"], capture_output=True, text=True, check=True).stdout
        return shown.partition("gso_max_segs ")[2].split()[0]

    assert [most(name) for name in NAMES] == ["1", "65535", "65535"]
    fabric.change({("edge-0", "cloud-0"): LinkSpec(rate=1e9), ("cloud-0", "edge-0"): LinkSpec(loss=0.1)})
    assert [most(name) for name in NAMES] == ["81", "65535", "1"]
    assert fabric.links["cloud-0", "edge-0"].loss == 0.1
    with pytest.raises(PlatformError, match="no link from 'edge-1'"):
        fabric.change({("edge-1", "cloud-0"): LinkSpec()})


def test_the_most_delicate_link_bounds_a_hosts_packets() -> None:
    assert segments([]) == segments([LinkSpec(), LinkSpec(delay=1)]) == 65535
    assert segments([LinkSpec(rate=1e9), LinkSpec(rate=1e8)]) == 8
    assert segments([LinkSpec(), LinkSpec(loss=1e-6)]) == segments([LinkSpec(rate=1e7)]) == 1


@pytest.mark.parametrize(
    ("hosts", "links", "subnet", "words"),
    [
        (["a", "a"], {}, "10.0.0.0/8", "names repeat: a"),
        (["a"], {("a", "b"): LinkSpec()}, "10.0.0.0/8", "from 'a' to 'b'"),
        (["a"], {("a", "a"): LinkSpec()}, "10.0.0.0/8", "from 'a' to 'a'"),
        ([str(i) for i in range(255)], {}, "10.0.0.0/24", "255 hosts do not fit"),
        ([str(i) for i in range(65_001)], {}, "10.0.0.0/8", "at most 65000"),
    ],
)
def test_what_cannot_be_built_is_refused(hosts: list[str], links: dict[tuple[str, str], LinkSpec], subnet: str, words: str) -> None:
    with pytest.raises(PlatformError) as caught:
        Fabric(hosts, links, subnet)
    assert words in str(caught.value)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 65_000))
def test_addresses_are_distinct_and_end_neither_in_0_nor_255(count: int) -> None:
    names = [str(i) for i in range(count)]
    fabric = Fabric(names, {})
    last = [fabric.address("0", name) for name in names[-300:]]
    assert len(set(last)) == len(last)
    assert all(1 <= int(address.rpartition(".")[2]) <= 254 for address in last)


def test_use_before_up_and_unknown_hosts_are_errors() -> None:
    fabric = Fabric(NAMES, {})
    with pytest.raises(PlatformError, match="not up"):
        _ = fabric.core_fd
    with pytest.raises(PlatformError, match="no host 'moon'"):
        fabric.address("edge-0", "moon")


@root
def test_up_twice_is_an_error_and_down_twice_is_not(fabric: Fabric) -> None:
    with pytest.raises(PlatformError, match="up already"):
        fabric.up()
    fabric.down()
    fabric.down()
    assert not fabric.hosts
    fabric.up()
    assert list(fabric.hosts) == NAMES


@root
def test_a_limit_of_open_files_is_named() -> None:
    build = "from estran.platforms.emulated.network.fabric import Fabric; Fabric([str(i) for i in range(300)], {}).up()"
    done = subprocess.run(
        [sys.executable, "-c", build],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)),
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "open files are needed, 200 are allowed" in done.stderr
    assert "ulimit -Hn" in done.stderr


LEAVINGS = """
import os, signal, socket, time
from pathlib import Path
from estran.errors import PlatformError
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.links.traffic import limited
from estran.spec.model import LinkSpec

HOSTS = 20
namespace.enter_user_namespace()
Path("/proc/sys/user/max_net_namespaces").write_text(str(HOSTS + 2))  # the hosts, the core, and the one we are in

def fabric():
    links = {(str(i), str(i + 1)): LinkSpec(rate=1e6) for i in range(HOSTS - 1)}
    return Fabric([str(i) for i in range(HOSTS)], links)

def up_again():
    deadline = time.monotonic() + 20
    while True:  # the kernel takes its time to dismantle namespaces
        try:
            built = fabric()
            built.up()
            return built
        except PlatformError as error:
            assert isinstance(error.__cause__, OSError) and "No space left" in error.what, error
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)

interfaces, descriptors = socket.if_nameindex(), os.listdir("/proc/self/fd")
first = up_again()
with limited(first):
    try:
        fabric().up()
    except PlatformError as error:
        print("full:", error.remedy)
first.down()
up_again().down()
print("closed")

child = os.fork()
if child == 0:
    with limited(up_again()):
        time.sleep(60)
    os._exit(1)
time.sleep(0.5)
os.kill(child, signal.SIGKILL)
print("killed by", os.waitpid(child, 0)[1])
up_again().down()
print("gone")
assert socket.if_nameindex() == interfaces and os.listdir("/proc/self/fd") == descriptors
"""


def test_nothing_is_left_of_a_fabric_closed_half_built_or_killed() -> None:
    """The kernel itself counts: a user namespace may hold no more network namespaces than one fabric needs."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LEAVINGS)], capture_output=True, text=True, timeout=60, check=False
    )
    if "cannot make a user namespace" in done.stderr:
        pytest.skip(f"user namespaces are forbidden here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    full, closed, killed, gone = done.stdout.splitlines()
    assert "max_net_namespaces" in full
    assert (closed, killed, gone) == ("closed", "killed by 9", "gone")
