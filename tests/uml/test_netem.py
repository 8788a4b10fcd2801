"""The netem engine for real, in a kernel that has it: delay, jitter, loss and rate between emulated hosts."""

from __future__ import annotations

import json
import math

import pytest

from tests.uml.harness import requires_uml, run_in_uml

pytestmark = [pytest.mark.uml, requires_uml]

MODULES = ("veth", "sch_netem", "sch_htb", "cls_u32")

SCRIPT = """
import json, select, socket, statistics, time
from contextlib import ExitStack
from estran.platforms.emulated.network import namespace
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.links.traffic import NetemEngine
from estran.spec.model import LinkSpec

def open_in(fabric, name, kind=socket.SOCK_DGRAM):
    with namespace.entered(fabric.hosts[name].namespace_fd):
        return socket.socket(socket.AF_INET, kind)

def pair(stack, fabric, source, target):
    a, b = (stack.enter_context(open_in(fabric, name)) for name in (source, target))
    a.bind((fabric.address(target, source), 0))
    b.bind((fabric.address(source, target), 0))
    a.connect(b.getsockname())
    b.connect(a.getsockname())
    a.settimeout(2)
    b.settimeout(2)
    return a, b

def round_trips(fabric, source, target, count):
    with ExitStack() as stack:
        a, b = pair(stack, fabric, source, target)
        times = []
        for _ in range(count):
            start = time.monotonic()
            a.send(b"x" * 64)
            b.send(b.recv(100))
            a.recv(100)
            times.append(time.monotonic() - start)
        return times

def arrived(fabric, source, target, count):
    with ExitStack() as stack:
        a, b = pair(stack, fabric, source, target)
        got = []
        for start in range(0, count, 100):
            for number in range(start, start + 100):
                a.send(number.to_bytes(4, "big"))
            while select.select([b], [], [], 0.1)[0]:
                got.append(int.from_bytes(b.recv(10), "big"))
        return len(got), got == sorted(got)

def goodput(fabric, source, target, size):
    with ExitStack() as stack:
        listener = stack.enter_context(open_in(fabric, target, socket.SOCK_STREAM))
        listener.bind((fabric.address(source, target), 0))
        listener.listen()
        sender = stack.enter_context(open_in(fabric, source, socket.SOCK_STREAM))
        sender.connect(listener.getsockname())
        receiver, _ = listener.accept()
        stack.enter_context(receiver)
        sender.setblocking(False)
        left, marks, got = size, [], 0
        while got < size:
            readable, writable, _ = select.select([receiver], [sender] if left else [], [], 5)
            if writable:
                left -= sender.send(bytes(min(left, 65536)))
            if readable:
                got += len(receiver.recv(65536))
                marks.append((time.monotonic(), got))
        (t0, g0), (t1, g1) = marks[len(marks) // 5], marks[-1]
        return (g1 - g0) * 8 / (t1 - t0)

trial = NetemEngine().trial()
links = {
    ("edge", "cloud"): LinkSpec(delay=0.02),
    ("cloud", "edge"): LinkSpec(delay=0.03),
    ("edge", "fog"): LinkSpec(delay=0.005, loss=0.1),
    ("fog", "edge"): LinkSpec(),
    ("fog", "cloud"): LinkSpec(rate=2e6),
    ("cloud", "fog"): LinkSpec(),
}
result = {"works": trial.works, "why": trial.why}
with Fabric(["edge", "fog", "cloud"], links) as fabric, NetemEngine().start(fabric) as running:
    round_trips(fabric, "edge", "cloud", 3)
    result["asymmetric"] = statistics.median(round_trips(fabric, "edge", "cloud", 9))
    result["back"] = statistics.median(round_trips(fabric, "cloud", "edge", 9))
    result["arrived"], result["in order"] = arrived(fabric, "edge", "fog", 1500)
    result["unshaped"], _ = arrived(fabric, "fog", "edge", 200)
    result["goodput"] = goodput(fabric, "fog", "cloud", 400_000)
    running.update({("edge", "cloud"): LinkSpec(delay=0.08, jitter=0.01)})
    jittered = sorted(round_trips(fabric, "edge", "cloud", 41))
    # Half of a normal distribution lies within 0.674 standard deviations; outliers of a loaded machine do not count so.
    result["changed"], result["spread"] = jittered[20], (jittered[30] - jittered[10]) / 1.349
    both = [("edge", "cloud"), ("fog", "edge")]  # one that is shaped, and one of which nothing is asked
    running.cut(both)
    running.update({("edge", "cloud"): LinkSpec(delay=0.02)})
    result["cut"] = [arrived(fabric, *one, 100)[0] for one in both]
    running.mend(both)
    result["mended"] = [arrived(fabric, *one, 100)[0] for one in both]
    result["as before"] = statistics.median(round_trips(fabric, "edge", "cloud", 9))
    result["facts"] = dict(running.facts())
print(json.dumps(result))
"""


def test_netem_shapes_a_fabric_as_asked() -> None:
    result = json.loads(run_in_uml(SCRIPT, modules=MODULES, cgroup2=False, timeout=90).splitlines()[-1])
    assert result["works"], result["why"]
    # The guest shares a loaded machine: never early, and not late by much.
    assert 0.050 <= result["asymmetric"] < 0.08
    assert 0.050 <= result["back"] < 0.08
    sigma = math.sqrt(1500 * 0.1 * 0.9)
    assert abs(result["arrived"] - 1350) < 4 * sigma
    assert result["in order"]
    assert result["unshaped"] == 200
    assert 0.7 < result["goodput"] / (2e6 * 1448 / 1538) < 1.03
    assert 0.1 <= result["changed"] < 0.135
    assert 0.005 < result["spread"] < 0.02
    assert result["cut"] == [0, 0]
    assert result["mended"] == [100, 100]
    assert 0.050 <= result["as before"] < 0.08
    assert result["facts"]["engine"] == "netem"
