"""Rates in the kernel: bytes counted as on the wire, classes by host, changes while running; netem where there is one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import PlatformError
from estran.platforms.emulated.links import queueing, traffic
from estran.platforms.emulated.links.traffic import NetemEngine, limited
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import Fabric
from estran.spec.model import LinkSpec

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")

FRAME, PAYLOAD = 1538, 1448


@given(st.integers(1, 44), st.integers(0, PAYLOAD - 1))
def test_a_bundle_weighs_what_its_segments_weigh(full: int, rest: int) -> None:
    headers = 66
    apart = full * queueing.wire_size(headers + PAYLOAD) + (queueing.wire_size(headers + rest) if rest else 0)
    together = queueing.wire_size(headers + full * PAYLOAD + rest)
    assert 0 <= apart - together <= 84  # only a last segment below the smallest frame is not padded


def test_frames_on_the_wire() -> None:
    assert queueing.wire_size(1514) == FRAME
    assert queueing.wire_size(42) == queueing.wire_size(60) == 84


def sent_bytes(fabric: Fabric, host: str) -> dict[str, int]:
    """Bytes by class that left a host, as its queues counted them."""
    with namespace.entered(fabric.hosts[host].namespace_fd):
        shown = subprocess.run(["tc", "-s", "-j", "qdisc", "show", "dev", "eth0"], capture_output=True, text=True, check=True)
    return {queue.get("parent", "root"): queue["bytes"] for queue in json.loads(shown.stdout)}


@contextmanager
def tcp(fabric: Fabric, source: str, target: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    with namespace.entered(fabric.hosts[target].namespace_fd):
        server = socket.create_server((fabric.address(source, target), 0))
    with namespace.entered(fabric.hosts[source].namespace_fd):
        sender = socket.create_connection(server.getsockname())
    receiver, _ = server.accept()
    with server, sender, receiver:
        yield sender, receiver


@root
@pytest.mark.parametrize("size", [1, 18, 19, 100, 555, 1000, 1472])
def test_the_kernel_counts_datagrams_as_the_wire_does(size: int) -> None:
    with Fabric(["a", "b"], {("a", "b"): LinkSpec(rate=1e9)}) as fabric, limited(fabric):
        with namespace.entered(fabric.hosts["a"].namespace_fd), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(10):
                sender.sendto(bytes(size), (fabric.address("a", "b"), 9))
        counted = sent_bytes(fabric, "a")["1:1"]
    assert abs(counted - 10 * queueing.wire_size(14 + 28 + size)) <= 10 * 4  # in cells of four bytes


@root
@pytest.mark.parametrize("rate", [4e7, 1e9])
def test_the_kernel_counts_a_stream_as_the_wire_does_bundled_or_not(rate: float) -> None:
    total = 1000 * PAYLOAD
    with (
        Fabric(["a", "b"], {("a", "b"): LinkSpec(rate=rate)}) as fabric,
        limited(fabric),
        tcp(fabric, "a", "b") as (sender, receiver),
    ):
        before = sent_bytes(fabric, "a")["1:1"]
        sender.setblocking(False)
        left, read = memoryview(bytes(total)), 0
        while read < total:
            if left:
                with suppress(BlockingIOError):
                    left = left[sender.send(left) :]
            read += len(receiver.recv(1 << 20))
        counted = sent_bytes(fabric, "a")["1:1"] - before
    # A few segments more than the least: a stream is cut where the sender's calls end.
    assert 1000 * FRAME <= counted <= 1.02 * 1000 * FRAME


@root
def test_a_rate_holds_for_its_own_pair_and_direction_only() -> None:
    links = {("a", "b"): LinkSpec(rate=8e6), ("a", "c"): LinkSpec(rate=80e6)}
    with Fabric(["a", "b", "c"], links) as fabric, limited(fabric):
        slow = 500_000 / PAYLOAD * FRAME * 8 / 8e6
        assert 0.95 * slow < seconds(fabric, "a", "b", 500_000) < 1.5 * slow
        assert seconds(fabric, "b", "a", 500_000) < 0.8 * slow
        assert slow / 11 < seconds(fabric, "a", "c", 500_000) < 0.8 * slow


@root
def test_a_rate_changes_while_it_is_in_force_and_ends_with_its_context() -> None:
    pair, slow, fast = ("a", "b"), LinkSpec(rate=8e6), LinkSpec(rate=80e6)
    with Fabric(["a", "b"], {pair: LinkSpec()}) as fabric:
        with limited(fabric) as limits:
            assert seconds(fabric, *pair, 500_000) < 0.4
            for link, least, most in ((slow, 0.48, 1), (fast, 0.048, 0.4), (LinkSpec(), 0, 0.4)):
                fabric.change({pair: link})
                limits.apply({pair: link})
                assert least <= seconds(fabric, *pair, 500_000) <= most
            limits.apply({pair: slow})
        assert seconds(fabric, *pair, 500_000) < 0.4
        with limited(fabric):
            pass


@root
def test_the_queue_is_bounded() -> None:
    rate = 8e6
    with Fabric(["a", "b"], {("a", "b"): LinkSpec(rate=rate)}) as fabric, limited(fabric):
        with namespace.entered(fabric.hosts["b"].namespace_fd):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with namespace.entered(fabric.hosts["a"].namespace_fd):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender, receiver:
            receiver.bind((fabric.address("a", "b"), 0))
            receiver.settimeout(0.3)
            sender.setsockopt(socket.SOL_SOCKET, 32, 4 << 20)  # SO_SNDBUFFORCE: the queue must end before the buffer
            arrived = send_and_count(sender, receiver, 400)
    # 100 ms at 8 Mbit/s are 100 kB; besides, what may leave at once.
    assert traffic.queue_size(rate) == 100_000
    assert 60 <= arrived <= 100


def send_and_count(sender: socket.socket, receiver: socket.socket, count: int) -> int:
    for _ in range(count):
        sender.sendto(bytes(1472), receiver.getsockname())
    arrived = 0
    try:
        while receiver.recv(2000):
            arrived += 1
    except TimeoutError:
        return arrived
    raise AssertionError("an empty datagram came")


@root
def test_more_destinations_than_buckets_each_have_their_own_class() -> None:
    names = ["hub", *(f"n{i}" for i in range(300))]
    links = {("hub", name): LinkSpec(rate=1e6) for name in names[1:]}
    with Fabric(names, links) as fabric, limited(fabric):
        with namespace.entered(fabric.hosts["hub"].namespace_fd), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for name in names[1::7]:
                sender.sendto(b"x", (fabric.address("hub", name), 9))
        counted = sent_bytes(fabric, "hub")
    used = {f"1:{names.index(name):x}" for name in names[1::7]}
    assert {parent for parent, size in counted.items() if size and parent != "root"} == used
    assert len(counted) == 301


def seconds(fabric: Fabric, source: str, target: str, size: int) -> float:
    """Seconds from the first byte sent to the last received."""
    with tcp(fabric, source, target) as (sender, receiver):
        sender.setblocking(False)
        left, read, began = memoryview(bytes(size)), 0, time.monotonic()
        while read < size:
            if left:
                with suppress(BlockingIOError):
                    left = left[sender.send(left) :]
            read += len(receiver.recv(1 << 20))
        return time.monotonic() - began


def test_packets_under_way_hold_the_smallest_frames() -> None:
    assert traffic.packets_under_way(LinkSpec(delay=0.1, rate=8e6)) >= 0.1 * 8e6 / 8 / 84
    assert traffic.packets_under_way(LinkSpec(delay=10)) == 1_000_000


def test_netem_draws_from_the_normal_distribution() -> None:
    table = memoryview(queueing._normal()).cast("h").tolist()
    mean = sum(table) / len(table)
    deviation = (sum(value * value for value in table) / len(table)) ** 0.5
    assert abs(mean) < 1
    assert deviation == pytest.approx(8192, rel=1e-3)
    assert sum(abs(value) < 8192 for value in table) / len(table) == pytest.approx(0.6827, abs=0.002)


@root
def test_netem_works_or_says_in_the_kernels_words_why_not() -> None:
    trial = NetemEngine().trial()
    with Fabric(["a", "b"], {("a", "b"): LinkSpec(delay=0.3, loss=0.01)}) as fabric:
        if trial.works:
            with NetemEngine().start(fabric) as running:
                assert running.alive()
                assert seconds(fabric, "a", "b", 1) >= 0.3
            assert seconds(fabric, "a", "b", 1) < 0.3
        else:
            assert "kernel refused" in trial.why
            with pytest.raises(PlatformError, match=r"kernel refused .*\(.+\)") as caught, NetemEngine().start(fabric):
                pass
            assert isinstance(caught.value.__cause__, OSError)
            assert seconds(fabric, "a", "b", 1) < 0.3  # what was half made is gone
