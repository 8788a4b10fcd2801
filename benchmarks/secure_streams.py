"""What mutual TLS costs acknowledged streams: rates and round trips over ``tls/…`` beside ``tcp/…``, in the same run.

Two processes over loopback, the two protocols in turn, medians. Connecting includes, with TLS, the handshake in which both examine
certificates; making them is timed too.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from estran.platforms.remote.certificates import Authority
from estran.runtime.clock import RealClock
from estran.runtime.launch import Security
from estran.runtime.transport import ChannelSpec
from estran.runtime.zenoh_transport import ZenohTransport

SIZES = {64: 20_000, 65_536: 1_500, 4 << 20: 40}
ROUND_TRIPS = 800
REPEATS = 3


def channel(name: str) -> ChannelSpec:
    return ChannelSpec(f"bench/{name}", "acknowledged")


async def consume(endpoint: str, security: Security | None) -> None:
    async with ZenohTransport([endpoint], [], RealClock(0), security=security) as transport:
        data, ping = await transport.receiver(channel("data")), await transport.receiver(channel("ping"))
        pong = await transport.sender(channel("pong"))

        async def take() -> None:
            while True:
                data.done((await data.receive()).seq)

        async def echo() -> None:
            while True:
                frame = await ping.receive()
                await pong.send([frame.data])
                ping.done(frame.seq)

        await asyncio.gather(take(), echo())


async def produce(endpoint: str, security: Security | None) -> dict[str, float]:
    begun = time.perf_counter()
    async with ZenohTransport([], [endpoint], RealClock(0), security=security) as transport:
        data, ping = await transport.sender(channel("data")), await transport.sender(channel("ping"))
        pong = await transport.receiver(channel("pong"))
        await data.ready()
        await ping.ready()
        found = {"connect ms": 1e3 * (time.perf_counter() - begun)}
        for size, number in SIZES.items():
            payload = bytes(size)
            begun = time.perf_counter()
            for _ in range(number):
                await data.send([payload])
            await data.drain()
            found[f"{size} B, frames/s"] = number / (time.perf_counter() - begun)
        times = []
        for _ in range(ROUND_TRIPS):
            begun = time.perf_counter()
            await ping.send([bytes(64)])
            pong.done((await pong.receive()).seq)
            times.append(time.perf_counter() - begun)
        return {**found, "round trip us": 1e6 * statistics.median(times)}


def measure(security: Security | None) -> dict[str, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"{'tcp' if security is None else 'tls'}/127.0.0.1:{probe.getsockname()[1]}"
    told = json.dumps([endpoint, None if security is None else asdict(security)])
    consumer = subprocess.Popen([sys.executable, __file__, told])
    try:
        time.sleep(1.5)
        return asyncio.run(produce(endpoint, security))
    finally:
        consumer.kill()
        consumer.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority("benchmark", 600)
        begun = time.perf_counter()
        made = [authority.issue(f"edge-{number}", ["127.0.0.1"]) for number in range(100)]
        print(f"certificates for 100 hosts: {1e3 * (time.perf_counter() - begun):.0f} ms")
        paths = [str(folder / name) for name in ("authority.pem", "certificate.pem", "key.pem")]
        for path, content in zip(paths, (authority.certificate, made[0].certificate, made[0].key), strict=True):
            Path(path).write_bytes(content)
        runs = [(measure(None), measure(Security(*paths))) for _ in range(REPEATS)]
    print(f"{'':18}{'tcp':>12}{'tls':>12}{'tls/tcp':>9}")
    for figure in runs[0][0]:
        plain, secure = (statistics.median(run[side][figure] for run in runs) for side in (0, 1))
        print(f"{figure:18}{plain:12.1f}{secure:12.1f}{secure / plain:9.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        where, how = json.loads(sys.argv[1])
        asyncio.run(consume(where, None if how is None else Security(**how)))
    else:
        main()
