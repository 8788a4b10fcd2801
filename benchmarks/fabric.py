"""How fast hosts are wired and unwired, what an idle one costs, and how exact a limited rate is.

Peers in the same run: the same star built with ``ip -batch`` (iproute2) and with Mininet, where they are installed;
for the rate, the share of it that is left for TCP's payload by the headers. Run as root: ``python benchmarks/fabric.py``.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from estran.platforms.emulated.links.traffic import limited
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import Fabric
from estran.spec.model import LinkSpec

PAYLOAD_SHARE = 1448 / 1538
MININET_PYTHON = "/usr/bin/python3"  # where a distribution's package puts it

MININET = """
import sys, time
from mininet.net import Mininet
from mininet.node import Node
count = int(sys.argv[1])
began = time.perf_counter()
net = Mininet(controller=None, autoSetMacs=True, autoStaticArp=False)
router = net.addHost("r", ip=None)
for i in range(count):
    host = net.addHost(f"n{i}", ip=f"10.0.{i // 254}.{i % 254 + 1}/32")
    net.addLink(host, router)
net.build()
for i in range(count):
    net.get(f"n{i}").cmd(f"ip route add default dev n{i}-eth0")
up = time.perf_counter()
net.stop()
print(up - began, time.perf_counter() - up)
"""


def estran(count: int) -> tuple[float, float]:
    fabric = Fabric([f"n{i}" for i in range(count)], {})
    began = time.perf_counter()
    fabric.up()
    up = time.perf_counter()
    fabric.down()
    return up - began, time.perf_counter() - up


def reclaimed(count: int) -> float:
    """Seconds after `Fabric.down` until the kernel has dismantled the last namespace, by its own count."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        namespace.enter_user_namespace()
        Path("/proc/sys/user/max_net_namespaces").write_text(str(count + 2))
        fabric = Fabric([f"n{i}" for i in range(count)], {})
        fabric.up()
        began = time.perf_counter()
        fabric.down()
        while not _room(count + 1):
            time.sleep(0.01)
        os.write(writing, str(time.perf_counter() - began).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        seconds = float(answer.read())
    os.waitpid(child, 0)
    return seconds


def _room(count: int) -> bool:
    made = []
    try:
        with namespace.returning():
            for _ in range(count):
                made.append(namespace.create())
    except namespace.PlatformError:
        return False
    finally:
        for descriptor in made:
            os.close(descriptor)
    return True


def iproute(count: int) -> tuple[float, float]:
    """The same star with ip -batch, inside a mount and network namespace that vanish with it."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
        script.write("mount -t tmpfs tmpfs /run; mkdir /run/netns; sysctl -qw net.ipv4.ip_forward=1; date +%s.%N\n")
        script.write("ip -batch - <<END\n" + "\n".join(f"netns add n{i}" for i in range(count)) + "\nEND\n")
        script.write("ip -batch - <<END\n" + "\n".join(_outside(i) for i in range(count)) + "\nEND\n")
        script.writelines(f"ip -n n{i} -batch - <<END\n{_inside(i)}\nEND\n" for i in range(count))
        script.write(
            "date +%s.%N\nip -batch - <<END\n" + "\n".join(f"netns del n{i}" for i in range(count)) + "\nEND\ndate +%s.%N\n"
        )
        script.flush()
        done = subprocess.run(["unshare", "-mn", "sh", script.name], capture_output=True, text=True, check=True)
    began, up, down = map(float, done.stdout.split())
    return up - began, down - up


def _address(i: int) -> str:
    return f"10.0.{i // 254}.{i % 254 + 1}"


def _outside(i: int) -> str:
    lines = [
        f"link add h{i} address 02:00:5e:00:00:01 mtu 1500 numtxqueues 1 numrxqueues 1 type veth peer name eth0 netns n{i}"
        f" address 02:01:00:00:{i // 256:02x}:{i % 256:02x} mtu 1500 numtxqueues 1 numrxqueues 1",
        f"link set h{i} up",
        f"route add {_address(i)}/32 dev h{i}",
        f"neigh add {_address(i)} lladdr 02:01:00:00:{i // 256:02x}:{i % 256:02x} dev h{i} nud permanent",
    ]
    return "\n".join(lines)


def _inside(i: int) -> str:
    lines = [
        "link set lo up",
        "link set eth0 up",
        f"addr add {_address(i)}/32 dev eth0",
        "neigh add 169.254.1.1 lladdr 02:00:5e:00:00:01 dev eth0 nud permanent",
        "route add default via 169.254.1.1 dev eth0 onlink",
    ]
    return "\n".join(lines)


def mininet(count: int) -> tuple[float, float]:
    done = subprocess.run(
        ["unshare", "-mn", MININET_PYTHON, "-c", MININET, str(count)], capture_output=True, text=True, check=True, timeout=50
    )
    up, down = map(float, done.stdout.split()[-2:])
    return up, down


def memory_per_host(count: int, repeats: int) -> float:
    """Bytes that an idle host costs: what the kernel allocates, and what this process does.

    The first fabric only uses up what the kernel's allocator still holds from earlier ones.
    """
    taken = []
    with ExitStack() as fabrics:
        for _ in range(repeats + 1):
            before = _kernel_memory() + _own_memory()
            fabrics.enter_context(Fabric([f"n{i}" for i in range(count)], {}))
            taken.append((_kernel_memory() + _own_memory() - before) / count)
    return statistics.median(taken[1:])


def _kernel_memory() -> int:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(fields[name].split()[0]) * 1024 for name in ("Slab", "Percpu"))


def _own_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def goodput(rate: float, seconds: float) -> float:
    """Payload bits per second that a TCP receiver sees over a link of a rate, once it runs evenly."""
    with Fabric(["a", "b"], {("a", "b"): LinkSpec(rate=rate)}) as fabric, limited(fabric):
        with namespace.entered(fabric.hosts["b"].namespace_fd):
            server = socket.create_server((fabric.address("a", "b"), 0))
        sender = os.fork()
        if sender == 0:
            namespace.enter(fabric.hosts["a"].namespace_fd)
            _send_until_closed(server.getsockname())
        with server:
            connection, _ = server.accept()
        with connection:
            measured = _receive(connection, seconds)
        os.waitpid(sender, 0)
    return measured


def _send_until_closed(address: tuple[str, int]) -> None:
    try:
        with socket.create_connection(address) as connection:
            while True:
                connection.send(bytes(65536))
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _receive(connection: socket.socket, seconds: float) -> float:
    settled = time.monotonic() + seconds / 4
    while time.monotonic() < settled:
        connection.recv(1 << 20)
    began, received = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        received += len(connection.recv(1 << 20))
    return received * 8 / (now - began)


def median(measure: Callable[[int], tuple[float, float]], count: int, repeats: int) -> tuple[float, float]:
    runs = []
    for _ in range(repeats):
        runs.append(measure(count))
        time.sleep(0.4)  # namespaces are dismantled in the background: the next run must not pay for the last
    return statistics.median(up for up, _ in runs), statistics.median(down for _, down in runs)


def build_table() -> None:
    print(f"{'hosts wired as a routed star':42}{'up s':>9}{'down s':>9}{'up, Estran = 1':>17}")
    own = median(estran, 100, 5)
    rows = [("Estran, 100 hosts", own, own), ("ip -batch, 100 hosts", median(iproute, 100, 2), own)]
    if Path(MININET_PYTHON).exists() and shutil.which("mnexec"):
        rows.append(("Mininet, 100 hosts", mininet(100), own))
    else:
        print("(Mininet is not installed: apt-get install mininet)", file=sys.stderr)
    thousand = median(estran, 1000, 2)
    rows.append(("Estran, 1000 hosts", thousand, thousand))
    for name, (up, down), unit in rows:
        print(f"{name:42}{up:9.3f}{down:9.4f}{up / unit[0]:17.1f}")
    print(f"Estran, 100 hosts: dismantled by the kernel {reclaimed(100):.2f} s after down")


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("run it as root: it compares with ip netns and Mininet, which need that")
    idle = memory_per_host(200, 3)
    build_table()
    print(f"\nmemory of an idle host: {idle / 1000:.0f} kB (goal: at most 400)\n")
    print(f"{'rate Mbit/s':>12}{'goodput':>10}{'theory':>10}{'ratio':>9}")
    for rate in (1e6, 1e7, 5e7, 1e8):
        measured, theory = goodput(rate, 2.0) / 1e6, rate * PAYLOAD_SHARE / 1e6
        print(f"{rate / 1e6:12g}{measured:10.3f}{theory:10.3f}{measured / theory:9.4f}")


if __name__ == "__main__":
    main()
