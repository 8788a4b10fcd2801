"""How true emulated links are: delay, jitter, loss and goodput of every engine that works here, beside what was asked.

Delays are taken from datagrams whose arrival the kernel stamps (streams on the loopback rung), idle and with two busy
processes per core at nice +10, as services run. Goodput is that of one TCP stream; theory is 1448/1538 of the rate on the
wire. The first row is the same fabric with no engine: what this machine does by itself.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from estran.platforms.emulated.links.ladder import RUNGS, make_engine
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.loopback_fabric import LoopbackFabric
from estran.platforms.emulated.probes.channel import Channel, DatagramChannel, StreamChannel
from estran.platforms.emulated.probes.plan import SMALL, Shot
from estran.spec.model import LinkSpec

PORT = 5201
SECONDS = 2.2
THEORY = 1448 / 1538
LOSS = 0.02
JITTER = 0.002
RATES = (1e6, 10e6, 100e6)

Pair = tuple[str, str]


def links(lossy: bool) -> dict[Pair, LinkSpec]:
    """Each figure has hosts of its own, so that none disturbs another."""
    asked = {("d5", "e5"): LinkSpec(0.005), ("d20", "e20"): LinkSpec(0.020), ("f", "g"): LinkSpec(0.001)}
    asked |= {(f"j{i}", f"k{i}"): LinkSpec(0.020, JITTER) for i in range(10)}
    asked |= {(f"r{rate:g}", f"s{rate:g}"): LinkSpec(0.002, 0, rate) for rate in RATES}
    if lossy:
        asked["l", "m"] = LinkSpec(0.005, loss=LOSS)
    return asked | {(b, a): LinkSpec(link.delay) for (a, b), link in asked.items()}


def listen(fabric: Fabric, pairs: Sequence[Pair], apart: dict[str, float]) -> dict[Pair, Channel]:
    """Send small packets for a while over many pairs at once and collect what comes."""
    with contextlib.ExitStack() as resources, contextlib.closing(select.epoll()) as arrivals:
        channels: dict[Pair, Channel] = {}
        for pair in pairs:
            opened = StreamChannel(fabric, *pair) if fabric.core_fd is None else DatagramChannel(fabric, *pair, 1)
            channels[pair] = resources.enter_context(contextlib.closing(opened))
        by_number = {channel.fileno(): channel for channel in channels.values()}
        for number in by_number:
            arrivals.register(number, select.EPOLLIN)
        start = time.monotonic()
        due = dict.fromkeys(pairs, start)
        while (now := time.monotonic()) < start + SECONDS + 0.1:
            for pair, channel in channels.items():
                if due[pair] <= now < start + SECONDS:
                    channel.send([Shot(0.0, "delay", SMALL)])
                    due[pair] += apart[pair[0][0]]
            for number, _ in arrivals.poll(0.0005):
                by_number[number].receive()
        return channels


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Two processes per core that do nothing but compute, at nice +10."""
    pids = []
    for _ in range(2 * (os.cpu_count() or 1)):
        pid = os.fork()
        if pid == 0:
            os.nice(10)
            while True:
                sum(range(10_000))
        pids.append(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def child(fabric: Fabric, host: str, work: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.nice(10)
        descriptor = fabric.hosts[host].namespace_fd
        if descriptor is not None:
            namespace.enter(descriptor)
        work()  # type: ignore[operator]
    finally:
        os._exit(0)


def goodput(fabric: Fabric, pairs: Sequence[Pair], seconds: float) -> list[float]:
    """Bits per second of one TCP stream over each pair, side by side, over the last half."""
    pipes, pids = [], []
    for source, target in pairs:
        reading, writing = os.pipe()

        def serve(source: str = source, target: str = target, writing: int = writing) -> None:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((fabric.address(target, target), PORT))
                listener.listen()
                connection, _ = listener.accept()
                os.write(writing, b"%f\n" % measure(connection, seconds))

        def send(source: str = source, target: str = target) -> None:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                deadline = time.monotonic() + 2
                while client.connect_ex((fabric.address(source, target), PORT)) and time.monotonic() < deadline:
                    time.sleep(0.01)
                block = b"x" * (1 << 18)
                with contextlib.suppress(OSError):
                    while True:
                        client.send(block)

        pids.append(child(fabric, target, serve))
        os.close(writing)
        time.sleep(0.1)
        pids.append(child(fabric, source, send))
        pipes.append(reading)
    results = [float(os.read(pipe, 64) or b"nan") for pipe in pipes]
    for pipe in pipes:
        os.close(pipe)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return results


def measure(connection: socket.socket, seconds: float) -> float:
    buffer, total, arrivals = bytearray(1 << 18), 0, []
    start = time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        total += connection.recv_into(buffer)
        arrivals.append((now, total))
    steady = np.array([(when, size) for when, size in arrivals if when > start + seconds / 2])
    return float(np.polyfit(steady[:, 0] - steady[0, 0], steady[:, 1], 1)[0] * 8)


def errors(channels: dict[Pair, Channel], pairs: Sequence[Pair], asked: dict[Pair, LinkSpec]) -> str:
    """Median and 99th percentile of how much later packets came than asked."""
    shown = []
    for pair in pairs:
        late = np.array(channels[pair].samples.delays) - asked[pair].delay
        shown.append(f"{1e3 * np.median(late):+.3f}/{1e3 * np.percentile(late, 99):+.3f}")
    return " ".join(shown)


def figures(fabric: Fabric, asked: dict[Pair, LinkSpec], shaped: bool) -> list[str]:
    delays, jitters = [("d5", "e5"), ("d20", "e20")], [(f"j{i}", f"k{i}") for i in range(10)]
    lossy = [("l", "m")] if ("l", "m") in asked else []
    apart = {"d": 0.004, "j": 0.010, "l": 0.0005}
    reference = asked if shaped else dict.fromkeys(asked, LinkSpec())
    idle = listen(fabric, [*delays, *lossy, *jitters], apart)
    with busy():
        loaded = listen(fabric, delays, apart)
    spreads = [np.std(idle[pair].samples.delays, ddof=1) for pair in jitters]
    spread = math.sqrt(float(np.mean(np.square(spreads))))
    rows = [errors(idle, delays, reference), errors(loaded, delays, reference)]
    rows.append(f"{100 * (spread / JITTER - 1):+.1f} %" if shaped else f"{1e3 * spread:.3f} ms")
    rows.append(losses(idle[lossy[0]]) if lossy and shaped else "–")
    if shaped:
        got = goodput(fabric, [(f"r{rate:g}", f"s{rate:g}") for rate in RATES], 6.0)
        rows.append(" ".join(f"{reached / rate / THEORY:.4f}" for reached, rate in zip(got, RATES, strict=True)))
    else:
        rows.append("–")
    rows.append(f"{goodput(fabric, [('f', 'g')], 1.0)[0] / 1e9:.2f}")
    return rows


def losses(channel: Channel) -> str:
    sent, came = channel.samples.sent["delay"], channel.samples.received["delay"]
    return f"{(sent - came - sent * LOSS) / math.sqrt(sent * LOSS * (1 - LOSS)):+.1f} σ of {sent}"


def main() -> None:
    began = time.monotonic()
    columns = ("engine", "late idle ms, 5 20", "late busy ms, 5 20", "jitter sd", "loss 2 %", "goodput/theory 1 10 100", "Gbit/s")
    widths = (9, 30, 30, 10, 16, 24, 6)
    print("late: median/p99; goal ≤ 0.3/1.0 ms busy, jitter within 5 %, loss within 3 σ, goodput within 2 % of theory")
    print("  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)), flush=True)
    for rung in [None, *(sys.argv[1:] or RUNGS)]:
        trial = make_engine(rung).trial() if rung else None
        if trial is not None and not trial.works:
            print(f"{rung:9}  not here: {trial.why}", flush=True)
            continue
        asked = links(lossy=rung != "loopback")
        hosts = list(dict.fromkeys(name for pair in asked for name in pair))
        with contextlib.ExitStack() as resources:
            ports = {host: [PORT] for host in hosts}
            fabric = resources.enter_context(LoopbackFabric(hosts, asked, ports) if rung == "loopback" else Fabric(hosts, asked))
            if rung:
                resources.enter_context(make_engine(rung, 1).start(fabric))
            rows = [rung or "none", *figures(fabric, asked, shaped=rung is not None)]
        print("  ".join(text.ljust(width) for text, width in zip(rows, widths, strict=True)), flush=True)
    print(f"{time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
