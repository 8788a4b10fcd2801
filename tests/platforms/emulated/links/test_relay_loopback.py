"""The loopback rung: TCP between 127.x addresses, without root and without namespaces."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.links.relay_loopback import LoopbackEngine
from estran.platforms.emulated.links.relay_process import RelayProcess
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.loopback_fabric import PROBE_PORT, LoopbackFabric
from estran.spec.model import LinkSpec

PORT = 5003
PORTS = {host: [PORT] for host in "abc"}


@contextlib.contextmanager
def running(forth: LinkSpec, back: LinkSpec | None = None) -> Iterator[tuple[LoopbackFabric, RelayProcess]]:
    links = {("a", "b"): forth, ("b", "a"): back or forth}
    with LoopbackFabric(["a", "b", "c"], links, PORTS) as fabric, LoopbackEngine(5).start(fabric) as process:
        yield fabric, process


@contextlib.contextmanager
def connection(fabric: LoopbackFabric) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's and the server's end of a connection from a to b."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((fabric.address("b", "b"), PORT))
        listener.listen()
        listener.settimeout(2)
        with socket.create_connection((fabric.address("a", "b"), PORT), 2) as client:
            server, (peer, _) = listener.accept()
            with server:
                server.settimeout(2)
                assert peer == fabric.address("a", "a")
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield client, server


def take(end: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size and (part := end.recv(size - len(taken))):
        taken += part
    return taken


def test_addresses_tell_pairs_apart() -> None:
    with LoopbackFabric(["a", "b"], {("a", "b"): LinkSpec()}, PORTS) as one, LoopbackFabric(["a", "b"], {}) as other:
        addresses = {one.address(s, t) for s in "ab" for t in "ab"}
        assert len(addresses) == 4
        assert all(address.startswith("127.") for address in addresses)
        assert one.hosts["a"].address == one.address("a", "a")
        assert addresses.isdisjoint(other.address(s, t) for s in "ab" for t in "ab")
        assert one.core_fd is None
        assert one.hosts["a"].namespace_fd is None
        assert one.ports("b") == (PORT, PROBE_PORT)
        with pytest.raises(PlatformError, match="no host 'z'"):
            one.address("a", "z")
    with pytest.raises(PlatformError, match="not up"):
        one.address("a", "b")


def test_bad_fabrics_are_refused() -> None:
    with pytest.raises(PlatformError, match="at most 254"):
        LoopbackFabric([f"h{i}" for i in range(255)], {})
    with pytest.raises(PlatformError, match="a → x"):
        LoopbackFabric(["a"], {("a", "x"): LinkSpec()})


def test_each_direction_has_its_own_delay() -> None:
    there, back = [], []
    with running(LinkSpec(0.010), LinkSpec(0.030)) as (fabric, process), connection(fabric) as (client, server):
        for _ in range(10):
            began = time.monotonic()
            client.sendall(b"ping")
            assert take(server, 4) == b"ping"
            there.append(time.monotonic() - began)
            began = time.monotonic()
            server.sendall(b"pong")
            assert take(client, 4) == b"pong"
            back.append(time.monotonic() - began)
        facts = process.facts()
    assert 0.010 <= statistics.median(there) < 0.014
    assert 0.030 <= statistics.median(back) < 0.034
    assert facts["connections"] == 1
    assert "cannot be emulated" in facts["limits"]["loss"]


@pytest.mark.parametrize("rate", [2e6, 50e6, None])
def test_streams_arrive_whole_in_order_and_no_faster_than_the_line(rate: float | None) -> None:
    volume = int((rate or 400e6) / 8 * 0.4)
    content = (b"0123456789abcdef" * (volume // 16 + 1))[:volume]
    with running(LinkSpec(0.005, 0.002, rate)) as (fabric, _), connection(fabric) as (client, server):
        began = time.monotonic()
        sending = threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)))
        sending.start()
        came = bytearray()
        while part := server.recv(1 << 18):
            came += part
        took = time.monotonic() - began
        sending.join()
        server.sendall(b"thanks")  # the other direction is still open
        assert take(client, 6) == b"thanks"
    assert came == content
    if rate:
        least = volume * 8 / rate * 1538 / 1448
        assert 0.98 * least <= took < 1.5 * least + 0.1


def test_ends_and_resets_pass_through() -> None:
    with running(LinkSpec(0.005)) as (fabric, process):
        with connection(fabric) as (client, server):
            server.close()
            assert client.recv(10) == b""
        with socket.create_connection((fabric.address("a", "b"), PORT), 2) as lonely, pytest.raises(ConnectionResetError):
            lonely.recv(10)
        with connection(fabric) as (client, server):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            with pytest.raises(ConnectionResetError):
                server.recv(10)
        assert process.alive()
        assert process.facts()["connections"] == 3


def test_loss_is_refused() -> None:
    with (
        LoopbackFabric(["a", "b"], {("a", "b"): LinkSpec(loss=0.1)}) as fabric,
        pytest.raises(PlatformError, match="a → b cannot be emulated on TCP"),
        LoopbackEngine().start(fabric),
    ):
        pass
    with running(LinkSpec()) as (fabric, process):
        with pytest.raises(PlatformError, match="cannot be emulated on TCP"):
            process.update({("a", "b"): LinkSpec(loss=0.5)})
        process.update({("a", "b"): LinkSpec(0.03)})
        with connection(fabric) as (client, server):
            began = time.monotonic()
            client.sendall(b"?")
            assert take(server, 1) == b"?"
            assert time.monotonic() - began >= 0.03


def test_a_fabric_of_namespaces_is_refused() -> None:
    with pytest.raises(PlatformError, match="needs a loopback fabric"), LoopbackEngine().start(Fabric(["a"], {})):
        pass


def test_a_taken_port_is_told() -> None:
    with LoopbackFabric(["a", "b"], {("a", "b"): LinkSpec()}, PORTS) as fabric, socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # streams of the tests before may still be closing
        squatter.bind((fabric.address("a", "b"), PORT))
        squatter.listen()
        with pytest.raises(PlatformError, match=f"cannot listen for a → b:{PORT}"), LoopbackEngine().start(fabric):
            pass


def test_a_dead_relay_is_noticed() -> None:
    with running(LinkSpec(0.001)) as (fabric, process), connection(fabric) as (client, server):
        os.kill(process.pid, signal.SIGKILL)
        while process.alive():
            time.sleep(0.001)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        with contextlib.suppress(ConnectionResetError):
            assert server.recv(1) == b""
    assert not Path(f"/proc/{process.pid}").exists()


def test_it_needs_no_privilege() -> None:
    if os.geteuid() != 0:
        pytest.skip("the other tests have shown it: they ran without root")
    script = """
        import ctypes, os
        libc = ctypes.CDLL(None)
        os.setgid(65534), os.setuid(65534)
        libc.prctl(38, 1, 0, 0, 0)  # no new privileges
        from estran.platforms.emulated.network.loopback_fabric import LoopbackFabric
        from estran.platforms.emulated.links.relay_loopback import LoopbackEngine
        from estran.platforms.emulated.probes.probe import probe
        from estran.spec.model import LinkSpec
        links = {("a", "b"): LinkSpec(0.02), ("b", "a"): LinkSpec(0.01, 0, 20e6)}
        assert LoopbackEngine().trial().works
        with LoopbackFabric(["a", "b"], links) as fabric, LoopbackEngine().start(fabric):
            print([(m.ok, m.complaint) for m in probe(fabric, links, budget_s=0.5)])
    """
    # Imported before privileges are dropped: the interpreter's files may be closed to others.
    preload = "import estran.platforms.emulated.probes.probe, estran.platforms.emulated.links.relay_loopback\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4] / "src")}
    argv = [sys.executable, "-c", preload + textwrap.dedent(script)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(True, None), (True, None)]"


def test_what_is_said_into_a_cut_arrives_whole_when_it_is_mended() -> None:
    with running(LinkSpec(0.002)) as (fabric, process), connection(fabric) as (client, server):
        process.cut([("a", "b")])
        client.sendall(b"first")
        server.settimeout(0.3)
        with pytest.raises(TimeoutError):
            server.recv(5)
        server.sendall(b"other")
        assert take(client, 5) == b"other"
        client.sendall(b"second")
        process.mend([("a", "b")])
        server.settimeout(2)
        assert take(server, 11) == b"firstsecond"
        assert process.facts()["severed"] == 0
