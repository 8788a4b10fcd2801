"""Acknowledged streams against bare zenoh (congestion control BLOCK): rate, round trip, and what a cut or a killed receiver costs.

    python benchmarks/streams.py           wire, rates and round trips, about 25 s
    python benchmarks/streams.py --cuts    link cuts of 5 s and 20 s, and kill -9 of the receiver, about 50 s

Two processes, in two network namespaces joined by a veth pair where that is allowed (root), else over loopback. The bare
side is zenoh at its best here: a callback on zenoh's own thread and a put from the main thread, no event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

SIZES = {64: 60_000, 1024: 60_000, 65_536: 3_000, 4 << 20: 80}
ROUND_TRIPS = 1500
REPEATS = 3
PORT = 7447


# -- the stage: two hosts --------------------------------------------------------------------------------------------------------


class Stage:
    """Where the two processes run: a namespace descriptor (None: here) and the consumer's address."""

    def __init__(self, producer: int | None, consumer: int | None, address: str) -> None:
        self.producer, self.consumer, self.address = producer, consumer, address

    def cut(self, cut: bool) -> None:
        """Drop everything both ways, silently: each end is told a hardware address that nobody has."""
        for fd, peer, mac in ((self.producer, "10.99.0.2", "02:00:00:00:99:02"), (self.consumer, "10.99.0.1", "02:00:00:00:99:01")):
            ip(fd, "neigh", "replace", peer, "lladdr", "02:00:00:00:99:99" if cut else mac, "nud", "permanent", "dev", "bench0")


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    try:
        first, second = namespace(), namespace()
    except OSError as error:
        print(f"no namespaces here ({error}): over loopback", file=sys.stderr)
        yield Stage(None, None, "127.0.0.1")
        return
    anchor = start(second, ["sleep", "1000"])
    try:
        peer = ("peer", "name", "bench0", "address", "02:00:00:00:99:02", "netns", str(anchor.pid))
        ip(first, "link", "add", "bench0", "address", "02:00:00:00:99:01", "type", "veth", *peer)
        for fd, address in ((first, "10.99.0.1/24"), (second, "10.99.0.2/24")):
            ip(fd, "addr", "add", address, "dev", "bench0")
            ip(fd, "link", "set", "lo", "up")
            ip(fd, "link", "set", "bench0", "up")
        yield Stage(first, second, "10.99.0.2")
    finally:
        anchor.kill()
        anchor.wait()
        os.close(first)
        os.close(second)


def namespace() -> int:
    """A new network namespace, made by a thread that goes in and leaves its descriptor behind."""
    found: list[int | OSError] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x40000000):
            found.append(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
        else:
            found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def start(fd: int | None, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    def enter() -> None:
        if fd is not None and ctypes.CDLL(None, use_errno=True).setns(fd, 0):
            os._exit(97)

    return subprocess.Popen(arguments, preexec_fn=enter, pass_fds=() if fd is None else (fd,), **options)


def ip(fd: int | None, *arguments: str) -> None:
    if start(fd, ["ip", *arguments]).wait():
        raise OSError(f"ip {' '.join(arguments)} failed")


def role(fd: int | None, name: str, address: str, *rest: str) -> subprocess.Popen[bytes]:
    return start(fd, [sys.executable, __file__, "--role", name, address, *rest], stdout=subprocess.PIPE)


# -- bare zenoh ----------------------------------------------------------------------------------------------------------------


def session(listen: list[str], connect: list[str], **changes: object) -> Any:
    import zenoh

    from estran.runtime.zenoh_session import configuration

    config = zenoh.Config()
    for name, value in {**configuration(listen, connect), **changes}.items():
        config.insert_json5(name, json.dumps(value))
    return zenoh.open(config)


def publisher(here: Any, key: str) -> Any:
    import zenoh

    return here.declare_publisher(key, congestion_control=zenoh.CongestionControl.BLOCK)


def bare_consumer(address: str) -> None:
    here = session([f"tcp/{address}:{PORT}"], [])
    back = publisher(here, "bench/back")
    seen = 0

    def count(sample: Any) -> None:
        nonlocal seen
        data = sample.payload.to_bytes()
        seen += 1
        if data[:1] == b"e":
            back.put(struct.pack("<Q", seen))
            seen = 0

    echo = publisher(here, "bench/pong")
    here.declare_subscriber("bench/data", count)
    here.declare_subscriber("bench/ping", lambda sample: echo.put(sample.payload.to_bytes()))
    time.sleep(1000)


def default_producer(address: str) -> None:
    """As the bare producer, but with zenoh's own size of queue (2 batches of 64 KB instead of our 16)."""
    bare_producer(address, **{"transport/link/tx/queue/size/data": 2})


def bare_producer(address: str, **changes: object) -> None:
    here = session([], [f"tcp/{address}:{PORT}"], **changes)
    data, ping = publisher(here, "bench/data"), publisher(here, "bench/ping")
    back = threading.Semaphore(0)
    here.declare_subscriber("bench/back", lambda sample: back.release())
    here.declare_subscriber("bench/pong", lambda sample: (sample.payload.to_bytes(), back.release()))
    wait_for(lambda: data.matching_status.matching and ping.matching_status.matching)
    rates = {}
    for size, number in SIZES.items():
        payload = bytes(size)
        begun = time.perf_counter()
        for _ in range(number):
            data.put(payload)
        data.put(b"e")
        back.acquire()
        rates[size] = number / (time.perf_counter() - begun)
    times = []
    for _ in range(ROUND_TRIPS):
        begun = time.perf_counter()
        ping.put(bytes(64))
        back.acquire()
        times.append(time.perf_counter() - begun)
    print(json.dumps({"rates": rates, "round_trip": statistics.median(times)}), flush=True)
    here.close()


default_consumer = bare_consumer


def bare_loop_consumer(address: str) -> None:
    """As the bare consumer, but the echo is made on an event loop, as any asyncio program has to."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        here = session([f"tcp/{address}:{PORT}"], [])
        echo = publisher(here, "bench/pong")
        here.declare_subscriber("bench/ping", lambda sample: loop.call_soon_threadsafe(echo.put, sample.payload.to_bytes()))
        await asyncio.sleep(1000)

    asyncio.run(main())


def bare_loop_producer(address: str) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        here = session([], [f"tcp/{address}:{PORT}"])
        ping = publisher(here, "bench/ping")
        waiting: list[asyncio.Future[bytes]] = []
        answered = lambda data: waiting.pop().set_result(data)  # noqa: E731
        here.declare_subscriber("bench/pong", lambda sample: loop.call_soon_threadsafe(answered, sample.payload.to_bytes()))
        while not ping.matching_status.matching:
            await asyncio.sleep(0.01)
        times = []
        for _ in range(ROUND_TRIPS):
            begun = time.perf_counter()
            waiting.append(loop.create_future())
            ping.put(bytes(64))
            await waiting[0]
            times.append(time.perf_counter() - begun)
        here.close()
        return statistics.median(times)

    print(json.dumps({"rates": {}, "round_trip": asyncio.run(main())}), flush=True)


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


# -- acknowledged ----------------------------------------------------------------------------------------------------------------


def transport(listen: list[str], connect: list[str]) -> Any:
    from estran.runtime.clock import RealClock
    from estran.runtime.zenoh_transport import ZenohTransport

    return ZenohTransport(listen, connect, RealClock(0))


def channel(name: str) -> Any:
    from estran.runtime.transport import ChannelSpec

    return ChannelSpec(f"bench/{name}", "acknowledged")


async def our_consumer(address: str) -> None:
    async with transport([f"tcp/{address}:{PORT}"], []) as ours:
        data, ping, pong = (
            await ours.receiver(channel("data")),
            await ours.receiver(channel("ping")),
            await ours.sender(channel("pong")),
        )

        async def consume() -> None:
            while True:
                frame = await data.receive()
                data.done(frame.seq)

        async def echo() -> None:
            while True:
                frame = await ping.receive()
                await pong.send([frame.data])
                ping.done(frame.seq)

        await asyncio.gather(consume(), echo())


async def our_producer(address: str) -> None:
    async with transport([], [f"tcp/{address}:{PORT}"]) as ours:
        data, ping, pong = (
            await ours.sender(channel("data")),
            await ours.sender(channel("ping")),
            await ours.receiver(channel("pong")),
        )
        await data.ready()
        await ping.ready()
        rates = {}
        for size, number in SIZES.items():
            payload = bytes(size)
            begun = time.perf_counter()
            for _ in range(number):
                await data.send([payload])
            await data.drain()
            rates[size] = number / (time.perf_counter() - begun)
        times = []
        for _ in range(ROUND_TRIPS):
            begun = time.perf_counter()
            await ping.send([bytes(64)])
            frame = await pong.receive()
            times.append(time.perf_counter() - begun)
            pong.done(frame.seq)
        print(json.dumps({"rates": rates, "round_trip": statistics.median(times)}), flush=True)


async def steady_producer(address: str, seconds: str) -> None:
    """A hundred frames a second, then wait until all are processed."""
    async with transport([], [f"tcp/{address}:{PORT}"]) as ours:
        data = await ours.sender(channel("data"))
        until, number = time.monotonic() + float(seconds), 0
        while time.monotonic() < until:
            number = await data.send([struct.pack("<Q", time.monotonic_ns()), bytes(1000)]) + 1
            await asyncio.sleep(0.01)
        await data.drain()
        print(json.dumps({"sent": number, "stats": dict(ours.stats()[channel("data").key])}), flush=True)


async def noting_consumer(address: str, file: str) -> None:
    """Write down every frame's number and the time of its processing, in the order they come."""
    async with transport([f"tcp/{address}:{PORT}"], []) as ours:
        data = await ours.receiver(channel("data"))
        with Path(file).open("ab", buffering=0) as notes:
            while True:
                frame = await data.receive()
                notes.write(struct.pack("<QQ", frame.seq, time.monotonic_ns()))
                data.done(frame.seq)


# -- the figures -----------------------------------------------------------------------------------------------------------------


def pair(place: Stage, kind: str) -> dict[str, Any]:
    consumer = role(place.consumer, f"{kind}_consumer", place.address)
    producer = role(place.producer, f"{kind}_producer", place.address)
    try:
        out, _ = producer.communicate(timeout=120)
        return dict(json.loads(out))
    finally:
        for process in (producer, consumer):
            process.kill()
            process.communicate()


def rates() -> None:
    with stage() as place:
        runs: dict[str, list[dict[str, Any]]] = {"bare": [], "default": [], "bare_loop": [], "our": []}
        for _ in range(REPEATS):
            for kind, results in runs.items():
                results.append(pair(place, kind))
    print(f"{'':>10} {'zenoh BLOCK':>14} {'default queue':>14} {'acknowledged':>14} {'ratios':>12}")
    for size in SIZES:
        bare, default, ours = (
            statistics.median(run["rates"][str(size)] for run in runs[kind]) for kind in ("bare", "default", "our")
        )
        ratios = f"{ours / bare:>6.2f} {ours / default:>5.2f}"
        print(f"{size:>8} B {bare:>12.0f} /s {default:>11.0f} /s {ours:>11.0f} /s {ratios}   {ours * size / 1e6:.0f} MB/s")
    times = {kind: statistics.median(run["round_trip"] for run in results) * 1e6 for kind, results in runs.items()}
    bare, loop, ours = times["bare"], times["bare_loop"], times["our"]
    print(f"round trip p50: bare {bare:.0f} us, bare through an event loop {loop:.0f} us, acknowledged {ours:.0f} us")
    print(f"  ratio {ours / bare:.2f} to bare, {ours / loop:.2f} to bare through an event loop")


@dataclass(frozen=True)
class Arrays:
    """A payload of named arrays, as a model's state."""

    arrays: dict[str, Any]


def wire() -> None:
    """Encoding and decoding, beside one copy of the same bytes (the physical limit of any format that copies)."""
    import numpy as np

    from estran.runtime.message import Story
    from estran.runtime.wire import decode, encode

    for name, count, length in (("50 floats", 1, 50), ("4.2 MB in 5 arrays", 5, 105_000)):
        payload = Arrays({f"layer-{index}": np.zeros(length) for index in range(count)})
        data = memoryview(b"".join(encode(payload, Story("a:0", 0.0, "a.b", "a", 0))))
        tasks: list[Callable[[], object]] = [partial(encode, payload, Story()), partial(decode, data, Arrays), partial(bytes, data)]
        encoding, decoding, copying = (min(timeit.repeat(task, number=500, repeat=5)) / 500 * 1e6 for task in tasks)
        print(f"wire, {name:>18}: encode {encoding:.1f} us, decode {decoding:.1f} us, one copy {copying:.1f} us")


def disturbed(place: Stage, seconds: float, disturb: Callable[[Callable[[], subprocess.Popen[bytes]]], float]) -> str:
    """Run a steady stream, disturb it, and tell what became of the frames."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "notes"
        running: list[subprocess.Popen[bytes]] = []

        def consume() -> subprocess.Popen[bytes]:
            if running:
                running[-1].send_signal(signal.SIGKILL)
                running[-1].communicate()
            running.append(role(place.consumer, "noting_consumer", place.address, str(file)))
            return running[-1]

        consume()
        producer = role(place.producer, "steady_producer", place.address, str(seconds))
        try:
            restored = disturb(consume)
            out, _ = producer.communicate(timeout=seconds + 60)
        finally:
            for process in (producer, running[-1]):
                process.kill()
                process.wait()
        notes = list(struct.iter_unpack("<QQ", file.read_bytes()))
    sent = json.loads(out)["sent"]
    numbers = [number for number, _ in notes]
    once = list(dict.fromkeys(numbers))
    first = min(when for _, when in notes if when > restored * 1e9) * 1e-9 - restored
    reordered = sum(a > b for a, b in itertools.pairwise(once))
    return (
        f"sent {sent}, lost {len(set(range(sent)) - set(numbers))}, reordered {reordered}, "
        f"duplicates {len(numbers) - len(once)}, first message {first:.2f} s after"
    )


def cuts() -> None:
    with stage() as place:
        if place.producer is None:
            sys.exit("link cuts need namespaces (root)")
        place.cut(False)
        for length in (5.0, 20.0):

            def disturb(_: object, length: float = length) -> float:
                time.sleep(2)
                place.cut(True)
                time.sleep(length)
                place.cut(False)
                return time.monotonic()

            print(f"cut {length:.0f} s: {disturbed(place, length + 4, disturb)}", flush=True)

        def kill(consume: Callable[[], object]) -> float:
            time.sleep(2)
            consume()
            return time.monotonic()

        print(f"receiver killed and restarted: {disturbed(place, 5, kill)} the new process was started")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", action="store_true")
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        name, *rest = options.role
        outcome = globals()[name](*rest)
        if outcome is not None:
            asyncio.run(outcome)
        return
    if options.cuts:
        cuts()
    else:
        wire()
        rates()


if __name__ == "__main__":
    main()
