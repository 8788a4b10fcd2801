"""The relays on real packets between real namespaces: delay, rate, loss, order, change, death and what they leave behind."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.links import queue_rule
from estran.platforms.emulated.links.relay_nfqueue import NfqueueEngine
from estran.platforms.emulated.links.relay_process import RelayProcess
from estran.platforms.emulated.links.relay_tun import TunEngine
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import Fabric
from estran.spec.model import LinkSpec
from tests.processes import children

SOURCE = Path(__file__).parents[4] / "src"
PORT = 5000

Engine = NfqueueEngine | TunEngine


@pytest.fixture(params=[NfqueueEngine, TunEngine], ids=["nfqueue", "tun"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    engine: Engine = request.param(seed=11)
    trial = engine.trial()
    if not trial.works:
        pytest.skip(f"{engine.name} does not work here: {trial.why}")
    return engine


@contextlib.contextmanager
def running(engine: Engine, forth: LinkSpec, back: LinkSpec | None = None) -> Iterator[tuple[Fabric, RelayProcess]]:
    links = {("a", "b"): forth, ("b", "a"): back if back is not None else forth}
    with Fabric(["a", "b", "c"], links) as fabric, engine.start(fabric) as process:
        yield fabric, process


def open_socket(fabric: Fabric, host: str, kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
    with namespace.entered(fabric.hosts[host].namespace_fd):
        opened = socket.socket(socket.AF_INET, kind)
    opened.settimeout(2.0)
    return opened


@contextlib.contextmanager
def datagrams(fabric: Fabric, source: str = "a", target: str = "b") -> Iterator[tuple[socket.socket, socket.socket]]:
    with open_socket(fabric, source) as sender, open_socket(fabric, target) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        receiver.bind((fabric.address(source, target), 0))
        sender.connect(receiver.getsockname())
        yield sender, receiver


def delays(sender: socket.socket, receiver: socket.socket, count: int, apart: float = 0.0) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.monotonic()
        sender.send(b"?" * 20)
        receiver.recv(64)
        taken.append(time.monotonic() - began)
        time.sleep(apart)
    return taken


def test_each_direction_has_its_own_delay(engine: Engine) -> None:
    with running(engine, LinkSpec(0.010), LinkSpec(0.030)) as (fabric, process):
        with datagrams(fabric) as ends:
            there = statistics.median(delays(*ends, 20))
        with datagrams(fabric, "b", "a") as ends:
            back = statistics.median(delays(*ends, 20))
        with datagrams(fabric, "a", "c") as ends:
            undeclared = statistics.median(delays(*ends, 20))
        assert 0.010 <= there < 0.013
        assert 0.030 <= back < 0.033
        assert undeclared < 0.003
        facts = process.facts()
        assert facts["pairs"]["a>b"]["packets"] == 20
        assert facts["undeclared"] >= 20


def test_losses_and_order_of_many_packets(engine: Engine) -> None:
    count, loss = 4000, 0.05
    with running(engine, LinkSpec(0.02, 0.005, None, loss)) as (fabric, process), datagrams(fabric) as (sender, receiver):
        for number in range(count):
            sender.send(struct.pack("I", number))
            if number % 50 == 0:
                time.sleep(0.001)
        receiver.settimeout(0.3)
        came = []
        with contextlib.suppress(TimeoutError):
            while True:
                came.append(struct.unpack("I", receiver.recv(64))[0])
        facts = process.facts()
    assert came == sorted(came)
    assert facts["packets"] == count
    assert count - len(came) == facts["lost"]
    assert abs(facts["lost"] - count * loss) <= 4 * math.sqrt(count * loss * (1 - loss))


def test_the_same_seed_loses_the_same_packets(engine: Engine) -> None:
    def survivors() -> list[int]:
        with running(engine, LinkSpec(0.001, loss=0.3)) as (fabric, _), datagrams(fabric) as (sender, receiver):
            for number in range(100):
                sender.send(struct.pack("I", number))
            receiver.settimeout(0.2)
            came = []
            with contextlib.suppress(TimeoutError):
                while True:
                    came.append(struct.unpack("I", receiver.recv(64))[0])
            return came

    first = survivors()
    assert 40 < len(first) < 95
    assert survivors() == first


@pytest.mark.parametrize("rate", [2e6, 100e6])
def test_tcp_gets_the_goodput_that_theory_gives(engine: Engine, rate: float) -> None:
    volume = int(rate / 8 * 0.8)
    least = volume / 1448 * 1538 * 8 / rate
    with (
        running(engine, LinkSpec(0.002, 0, rate)) as (fabric, _),
        open_socket(fabric, "b", socket.SOCK_STREAM) as listener,
        open_socket(fabric, "a", socket.SOCK_STREAM) as client,
    ):
        listener.bind((fabric.address("a", "b"), PORT))
        listener.listen()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            began = time.monotonic()
            sending = threading.Thread(target=lambda: (client.sendall(b"x" * volume), client.shutdown(socket.SHUT_WR)))
            sending.start()
            total = 0
            while part := server.recv(1 << 18):
                total += len(part)
            took = time.monotonic() - began
            sending.join()
    assert total == volume
    # Headers and Ethernet are charged: it takes no less than theory says; how little more is the benchmark's question.
    assert 0.98 * least <= took < 1.5 * least


def test_links_change_while_packets_flow(engine: Engine) -> None:
    with running(engine, LinkSpec(0.005)) as (fabric, process), datagrams(fabric) as (sender, receiver):
        assert statistics.median(delays(sender, receiver, 10)) < 0.008
        process.update({("a", "b"): LinkSpec(0.050)})
        assert 0.050 <= statistics.median(delays(sender, receiver, 5)) < 0.055
        process.update({("a", "b"): LinkSpec(loss=1.0)})
        sender.send(b"lost")
        receiver.settimeout(0.1)
        with pytest.raises(TimeoutError):
            receiver.recv(64)
        with pytest.raises(PlatformError, match="no link from 'a' to 'c'"):
            process.update({("a", "c"): LinkSpec()})


def test_a_dead_relay_is_noticed_and_lets_nothing_pass(engine: Engine) -> None:
    with running(engine, LinkSpec(0.001)) as (fabric, process), datagrams(fabric) as (sender, receiver):
        delays(sender, receiver, 3)
        assert process.alive()
        assert process.facts()["packets"] == 3
        os.kill(process.pid, signal.SIGKILL)
        while process.alive():
            time.sleep(0.001)
        sender.send(b"unshaped")
        receiver.settimeout(0.1)
        with pytest.raises(TimeoutError):
            receiver.recv(64)
        assert process.facts()["packets"] == 3  # the last that was known
        assert process.facts()["alive"] is False
        with pytest.raises(PlatformError, match="does not answer"):
            process.update({("a", "b"): LinkSpec()})
    assert not Path(f"/proc/{process.pid}").exists()


def test_when_the_engine_ends_packets_pass_at_full_speed_again(engine: Engine) -> None:
    with Fabric(["a", "b"], {("a", "b"): LinkSpec(0.02, loss=0.1)}) as fabric:
        with engine.start(fabric) as process:
            pass
        assert not Path(f"/proc/{process.pid}").exists()
        with datagrams(fabric) as ends:
            assert max(delays(*ends, 20)) < 0.02
        with engine.start(fabric), datagrams(fabric) as (sender, receiver):
            sender.send(b"again")
            assert receiver.recv(64) == b"again"


def test_trials_leave_nothing_behind(engine: Engine) -> None:
    before = set(Path("/proc/self/fd").iterdir()), Path("/proc/self/ns/net").stat().st_ino, children()
    assert engine.trial().works
    assert (set(Path("/proc/self/fd").iterdir()), Path("/proc/self/ns/net").stat().st_ino, children()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
def test_the_relay_dies_with_its_parent() -> None:
    script = """
        import os, time
        from estran.platforms.emulated.network.fabric import Fabric
        from estran.platforms.emulated.links.relay_tun import TunEngine
        from estran.spec.model import LinkSpec
        with Fabric(["a", "b"], {("a", "b"): LinkSpec(0.01)}) as fabric, TunEngine().start(fabric) as process:
            print(process.pid, flush=True)
            time.sleep(30)
    """
    argv, environment = [sys.executable, "-c", textwrap.dedent(script)], {**os.environ, "PYTHONPATH": str(SOURCE)}
    owner = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    relay = Path(f"/proc/{int(owner.stdout.readline())}")
    owner.kill()
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 2
    while relay.exists() and "Z" not in relay.joinpath("stat").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not relay.exists() or "Z" in relay.joinpath("stat").read_text()


def test_it_works_rootless(engine: Engine) -> None:
    script = f"""
        import socket, time
        from estran.errors import PlatformError
        from estran.platforms.emulated.network import namespace
        from estran.platforms.emulated.network.fabric import Fabric
        from estran.platforms.emulated.links.relay_{engine.name} import {type(engine).__name__} as Engine
        from estran.spec.model import LinkSpec
        try:
            namespace.enter_user_namespace()
        except PlatformError as error:
            print("refused", error)
            raise SystemExit(0)
        with Fabric(["a", "b"], {{("a", "b"): LinkSpec(0.02)}}) as fabric, Engine().start(fabric) as process:
            with namespace.entered(fabric.hosts["a"].namespace_fd):
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with namespace.entered(fabric.hosts["b"].namespace_fd):
                receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.bind((fabric.address("a", "b"), 0))
            receiver.settimeout(2)
            began = time.monotonic()
            sender.sendto(b"?", receiver.getsockname())
            receiver.recv(16)
            print(time.monotonic() - began)
    """
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OPENBLAS_NUM_THREADS": "1"}  # only one thread may make it
    argv = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("refused"):
        pytest.skip(done.stdout)
    assert 0.02 <= float(done.stdout) < 0.06


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
def test_a_kernel_without_any_rule_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(expression: bytes, hook: str) -> None:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(queue_rule, "_add_raw", refuse)
    monkeypatch.setattr(queue_rule.shutil, "which", lambda *_, **__: None)
    trial = NfqueueEngine().trial()
    assert not trial.works
    assert "iptables: the iptables program is not installed" in trial.why
    assert "apt-get install iptables" in trial.why


def test_the_iptables_program_is_a_way_too(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine.name != "nfqueue":
        pytest.skip("only nfqueue has a rule")
    if queue_rule.shutil.which("iptables") is None:
        pytest.skip("the iptables program is not installed (apt-get install iptables)")

    def refuse(expression: bytes, hook: str) -> None:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(queue_rule, "_add_raw", refuse)
    with running(engine, LinkSpec(0.01)) as (fabric, process), datagrams(fabric) as ends:
        assert statistics.median(delays(*ends, 5)) >= 0.01
        assert process.facts()["rule"] == "iptables"


def heard(sender: socket.socket, receiver: socket.socket, count: int) -> int:
    """How many of so many datagrams come through."""
    for number in range(count):
        sender.send(number.to_bytes(4, "big"))
    receiver.settimeout(0.3)
    came = 0
    with contextlib.suppress(TimeoutError):
        while True:
            receiver.recv(64)
            came += 1
    return came


def test_a_cut_lets_nothing_pass_until_it_is_mended(engine: Engine) -> None:
    link = LinkSpec(0.005)
    with running(engine, link) as (fabric, process), datagrams(fabric) as forth, datagrams(fabric, "a", "c") as unlinked:
        for ends, pair in ((forth, ("a", "b")), (unlinked, ("a", "c"))):
            before = statistics.median(delays(*ends, 9, 0.002))
            process.cut([pair])
            assert heard(*ends, 20) == 0
            process.mend([pair])
            ends[1].settimeout(2.0)
            assert heard(*ends, 20) == 20
            ends[1].settimeout(2.0)
            assert statistics.median(delays(*ends, 9, 0.002)) == pytest.approx(before, abs=0.004)
        facts = process.facts()
    assert facts["severed"] == 40
    assert facts["lost"] == 0


def test_the_other_direction_of_a_cut_stays_and_so_does_a_connection(engine: Engine) -> None:
    link = LinkSpec(0.002)
    with running(engine, link) as (fabric, process), open_socket(fabric, "b", socket.SOCK_STREAM) as listener:
        listener.bind((fabric.address("a", "b"), PORT))
        listener.listen()
        with open_socket(fabric, "a", socket.SOCK_STREAM) as client:
            client.connect((fabric.address("a", "b"), PORT))
            server, _ = listener.accept()
            with server:
                process.cut([("a", "b"), ("b", "a")])
                client.sendall(b"waits")
                server.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    server.recv(9)
                process.mend([("a", "b"), ("b", "a")])
                server.settimeout(5.0)
                assert server.recv(9) == b"waits"
        with datagrams(fabric, "b", "a") as back:
            process.cut([("a", "b")])
            assert heard(*back, 10) == 10
