"""Links between hosts with envoys, shaped by a kernel that has netem, over a path that has a delay of its own."""

from __future__ import annotations

import json

import pytest

from tests.uml.harness import requires_uml, run_in_uml

pytestmark = [pytest.mark.uml, requires_uml]

MODULES = ("veth", "sch_netem", "sch_htb", "sch_tbf", "cls_u32", "act_police")

SCRIPT = """
import asyncio, json, socket, subprocess, sys, tempfile, threading, time
from pathlib import Path
sys.path[:0] = ["src", "."]
from estran.platforms.emulated.links.traffic import NetemEngine
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.namespace import entered
from estran.platforms.remote.links.shaping import problems, shaped
from estran.spec.model import LinkSpec
from tests.platforms.remote.links.hosts import envoys, place

NAMES = ("edge", "fog", "cloud")
BASE = {("edge", "fog"): 0.012, ("fog", "edge"): 0.012, ("fog", "cloud"): 0.020, ("cloud", "fog"): 0.020}
LINKS = {
    ("edge", "fog"): LinkSpec(delay=0.040),
    ("fog", "edge"): LinkSpec(delay=0.060, jitter=0.004, loss=0.1),
    ("edge", "cloud"): LinkSpec(delay=0.030, rate=2e6),
    ("fog", "cloud"): LinkSpec(delay=0.005),
}

def connecting(fabric, source, target, port):
    with entered(fabric.hosts[target].namespace_fd):
        listener = socket.create_server(("0.0.0.0", port))
    with entered(fabric.hosts[source].namespace_fd):
        sender = socket.socket()
    with listener, sender:
        begun = time.monotonic()
        sender.settimeout(3)
        sender.connect((fabric.address(source, target), listener.getsockname()[1]))
        return time.monotonic() - begun

def flooded(fabric, source, target, size):
    # Send over TCP as fast as it goes: goodput, and how long a connection takes meanwhile.
    with entered(fabric.hosts[target].namespace_fd):
        listener = socket.create_server(("0.0.0.0", 0))
    with entered(fabric.hosts[source].namespace_fd):
        sender = socket.socket()
    with listener, sender:
        sender.connect((fabric.address(source, target), listener.getsockname()[1]))
        receiver, _ = listener.accept()
        flood = threading.Thread(target=sender.sendall, args=(bytes(size),))
        marks, got = [], 0

        def take():
            nonlocal got
            while got < size:
                got += len(receiver.recv(65536))
                marks.append((time.monotonic(), got))

        taking = threading.Thread(target=take)
        flood.start()
        taking.start()
        while got < size / 2:
            time.sleep(0.01)
        during = connecting(fabric, source, target, 0)
        flood.join()
        taking.join()
        receiver.close()
    (t0, g0), (t1, g1) = marks[len(marks) // 3], marks[-1]
    return (g1 - g0) * 8 / (t1 - t0), during

def queues(fabric, name):
    argv = ["nsenter", "--net=" + place(fabric.hosts[name].namespace_fd), "tc", "qdisc", "show", "dev", "eth0"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

def told(rules):
    # What they do: without the numbers that the kernel gives them, and what it has counted.
    return sorted(line.partition("parent")[2] for line in rules.splitlines() if "netem" in line)

async def main(fabric, result):
    namespaces = {name: place(host.namespace_fd) for name, host in fabric.hosts.items()}
    ssh = "SSH_CONNECTION='10.9.9.9 40000 10.9.9.1 2222'"
    async with envoys(namespaces, Path(tempfile.mkdtemp()), prefix=ssh) as hosts:
        result["problems"] = [problem.what for problem in await problems(hosts, fabric.address, LINKS)]
        pair = ("edge", "cloud")
        async with shaped(hosts, fabric.address, LINKS, worst={pair: LinkSpec(0.1, 0.0, 1e6)}) as running:
            found = await running.verify()
            result["links"] = {m.source + ">" + m.target: [m.ok, m.measured, m.complaint] for m in found.links}
            result["facts"] = found.facts["links"]
            result["stream"] = connecting(fabric, "edge", "cloud", 0)
            result["ssh"] = connecting(fabric, "edge", "cloud", 2222)
            result["flooded"] = flooded(fabric, "edge", "cloud", 600_000)
            rules = queues(fabric, "edge")
            await running.change({pair: LinkSpec(0.1, 0.0, 1e6)})
            result["worse"] = connecting(fabric, "edge", "cloud", 0)
            result["flooded worse"] = flooded(fabric, "edge", "cloud", 300_000)
            await running.change({pair: None})
            try:
                connecting(fabric, "edge", "cloud", 0)
                result["cut"] = False
            except TimeoutError:
                result["cut"] = True
            result["ssh in a cut"] = connecting(fabric, "edge", "cloud", 2222)
            await running.change({pair: LINKS[pair]})
            result["as before"] = connecting(fabric, "edge", "cloud", 0)
            result["rules"] = [told(rules), told(queues(fabric, "edge"))]
        result["left"] = [name for name in NAMES if "htb" in queues(fabric, name)]

base = {(a, b): LinkSpec(BASE.get((a, b), 0.0)) for a in NAMES for b in NAMES if a != b}
result = {}
with Fabric(NAMES, base) as fabric, NetemEngine().start(fabric):
    asyncio.run(main(fabric, result))
print(json.dumps(result))
"""


def test_links_are_shaped_on_top_of_what_paths_do_by_themselves() -> None:
    result = json.loads(run_in_uml(SCRIPT, modules=MODULES, cgroup2=False, timeout=90).splitlines()[-1])
    assert result["problems"] == []
    paths, links = result["facts"]["paths"], result["links"]
    # The guest shares a loaded machine: its own lateness is part of the path.
    assert paths["edge → fog"]["base"]["delay"] == pytest.approx(0.012, abs=0.003)
    added = paths["edge → fog"]["added"]["delay"]
    assert added == pytest.approx(0.040 - paths["edge → fog"]["base"]["delay"])
    for pair in ("edge>fog", "fog>edge", "edge>cloud"):
        assert links[pair][0], links[pair]
    assert links["fog>edge"][1]["loss"] == pytest.approx(0.1, abs=0.06)
    assert links["edge>cloud"][1]["rate"] == pytest.approx(2e6, rel=0.05)
    # Asked for less than the path takes by itself.
    assert not links["fog>cloud"][0]
    assert "asked 5ms, but the path alone takes" in links["fog>cloud"][2]
    assert paths["fog → cloud"]["added"]["delay"] == 0
    assert result["stream"] > 0.030 > 2 * result["ssh"]
    goodput, during = result["flooded"]
    assert 0.7 < goodput / (2e6 * 1448 / 1538) < 1.03
    assert during < 1.5, "the queue is not bounded by its bytes: a second is what netem's packets would be"
    assert 0.1 <= result["worse"] < 0.2
    goodput, during = result["flooded worse"]
    assert 0.7 < goodput / (1e6 * 1448 / 1538) < 1.03
    assert during < 3
    assert result["cut"]
    assert result["ssh in a cut"] < 0.03
    assert 0.030 <= result["as before"] < 0.08
    before, after = result["rules"]
    assert before == after
    assert result["left"] == []
