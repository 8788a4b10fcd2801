"""What observing commands costs: processor time of the observer against that of the traffic itself, and against naive capture.

A server and a client exchange over loopback, in a network namespace of their own, at a fixed pace and as fast as they can. Beside
them runs the observer, or a loop that receives packet by packet from a packet socket and looks at headers, as sniffers do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

from estran.observe.command_observer import ObserverSettings, observe
from estran.observe.exchanges import Reassembler
from estran.observe.packets import ACK, SYN, Packet
from estran.platforms.emulated.network import namespace, netlink
from estran.runtime.clock import RealClock

SECONDS = 4.0


def show(what: str, figure: str, against: str = "") -> None:
    print(f"{what:<58} {figure:>16}  {against}", flush=True)


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        work()
        os._exit(0)
    return pid


def spent(pid: int, *, end: bool) -> float:
    """Processor seconds of a child, once it has ended."""
    if end:
        os.kill(pid, signal.SIGTERM)
    used = os.wait4(pid, 0)[2]
    return used.ru_utime + used.ru_stime


def serve(listener: socket.socket, size: int) -> None:
    end, _ = listener.accept()
    answer = bytes(size)
    while end.recv(1 << 20):
        end.sendall(answer)


def ask(port: int, size: int, pause: float, report: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        done, until = 0, time.monotonic() + SECONDS
        while time.monotonic() < until:
            end.sendall(b"x" * 200)
            left = size
            while left:
                left -= len(end.recv(min(left, 1 << 20)))
            done += 1
            if pause:
                time.sleep(pause)
    os.write(report, struct.pack("q", done))


def observer() -> None:
    """The observer, as an agent runs it; it reports nowhere."""
    settings = ObserverSettings("host", {"client-0": ()}, {"10.0.0.1": "host"})

    async def main() -> None:
        await observe(lambda _table, _rows: None, RealClock(time.monotonic_ns()), settings)

    asyncio.run(main())


def naive() -> None:
    """One system call and one look per packet, without reassembly."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sniffer:
        while True:
            data, (_, _, kind, _, _) = sniffer.recvfrom(65535)
            if kind == 4 or data[9] != 6:
                continue
            head = 4 * (data[0] & 15)
            struct.unpack_from("!HHIIBB", data, head)


def traffic(size: int, pause: float, beside: Callable[[], None] | None) -> tuple[int, float, float]:
    """Exchanges, processor seconds of client and server, processor seconds of what runs beside."""
    watcher = child(beside) if beside else None
    time.sleep(0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    read, write = os.pipe()
    server = child(lambda: serve(listener, size))
    client = child(lambda: ask(listener.getsockname()[1], size, pause, write))
    used = spent(client, end=False) + spent(server, end=False)
    listener.close()
    (done,) = struct.unpack("q", os.read(read, 8))
    os.close(read)
    os.close(write)
    time.sleep(0.1)
    return done, used, spent(watcher, end=True) if watcher else 0.0


def start_up(beside: Callable[[], None]) -> float:
    """Processor seconds of a watcher that sees nothing."""
    pid = child(beside)
    time.sleep(0.3 + SECONDS + 0.1)
    return spent(pid, end=True)


def reassembler() -> None:
    client, server = (1, 40000), (2, 80)
    packets = [Packet(0.0, *client, *server, 0, 0, SYN, 0), Packet(0.0, *server, *client, 0, 1, SYN | ACK, 0)]
    asked = answered = 1
    for index in range(100_000):
        packets.append(Packet(index * 1e-3, *client, *server, asked, answered, ACK, 200))
        asked += 200
        packets.append(Packet(index * 1e-3, *server, *client, answered, asked, ACK, 1000))
        answered = (answered + 1000) & 0xFFFFFFFF
    begun = time.process_time()
    ended, _ = Reassembler(lambda _: False).take(packets)
    each = (time.process_time() - begun) / len(packets)
    show("reassembly alone, per packet", f"{each * 1e6:.2f} µs", f"{len(ended):,} exchanges")


def main() -> None:
    reassembler()
    namespace.acquire_privilege()
    namespace.create()
    with netlink.Netlink() as own:
        own.send([netlink.link_up(1)])
    show(f"observer, nothing to see, {SECONDS:g} s", f"{start_up(observer) / SECONDS:.2%} of a core")
    for name, size, pause in (
        ("1 kB answers, 500 a second at most", 1000, 0.002),
        ("1 kB answers", 1000, 0.0),
        ("1 MB answers", 1 << 20, 0.0),
    ):
        alone, plain, _ = traffic(size, pause, None)
        done, used, watching = traffic(size, pause, observer)
        other, _, sniffing = traffic(size, pause, naive)
        show(
            f"{name}: exchanges a second, unobserved",
            f"{alone / SECONDS:,.0f}",
            f"observed {done / SECONDS:,.0f}, sniffed {other / SECONDS:,.0f}",
        )
        show("  processor time of an exchange itself", f"{plain / alone * 1e6:.1f} µs", f"observed {used / done * 1e6:.1f} µs")
        show("  observer per exchange", f"{watching / done * 1e6:.1f} µs", f"{watching / used:.2f} of the traffic's own cost")
        show(
            "  packet by packet, per exchange",
            f"{sniffing / other * 1e6:.1f} µs",
            f"{sniffing / other / (watching / done):.1f}x the observer's",
        )


if __name__ == "__main__":
    sys.exit(main())
