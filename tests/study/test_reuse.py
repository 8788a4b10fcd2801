"""Hosts that are kept from one run to the next: the same ones, with nothing of the run before."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from estran.platforms.base import Holdable, Platform
from estran.platforms.emulated.platform import EmulatedPlatform
from estran.platforms.simulated.platform import SimulatedPlatform
from estran.run.holding import holding
from estran.run.prepare import prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from tests.run.experiments import TINY, estran, left_groups, start, write

MESSY = """
import json, os, socket, sys, time
address, eaten, kill = os.environ["ESTRAN_ADDRESS"], int(sys.argv[1]), sys.argv[2]
cookie = socket.socket().getsockopt(socket.SOL_SOCKET, 71, 8)  # SO_NETNS_COOKIE: unlike an inode, never used again
found = {"namespace": int.from_bytes(cookie, "little"), "tcp": open("/proc/net/tcp").read().splitlines()[1:]}
found["others"] = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        found["others"] += b"stray" in open(f"/proc/{pid}/cmdline", "rb").read()
    except OSError:
        pass
found["hosts"] = open("/etc/hosts").read()
with open("found", "w") as file:
    json.dump(found, file)
memory = bytearray(b"x") * (eaten << 20)
server = socket.socket()  # without SO_REUSEADDR: a connection that still waits would keep its port
server.bind((address, 7000))
server.listen()
client = socket.create_connection((address, 7000))
near, _ = server.accept()
near.close()  # the server first, so that it is the server's port that waits
client.close()
unsent = None
while unsent is None:
    try:
        unsent = socket.create_connection((os.environ["ESTRAN_ADDRESS_CLOUD_0"], 7001))
    except ConnectionRefusedError:
        time.sleep(0.05)
unsent.send(b"x" * 65536)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("python3", ["python3", "-ISc", "stray = 1; import time; time.sleep(600)"])
    os._exit(0)
if os.getuid() == 0 and kill != "never":
    open("/etc/hosts", "a").write("192.0.2.1 elsewhere")
time.sleep(0.8)
if kill == "agent":
    os.kill(os.getppid(), 9)
time.sleep(600)
"""
DEAF = """
import os, socket, time
server = socket.create_server((os.environ["ESTRAN_ADDRESS"], 7001))
time.sleep(600)
"""
DATAGRAMS = """
import os, socket, sys, time
ends = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == "send":
    time.sleep(0.5)
    for number in range(500):
        ends.sendto(b"%d" % number, (os.environ["ESTRAN_ADDRESS_BARN_0"], 7002))
        time.sleep(0.001)
    time.sleep(600)
ends.bind((os.environ["ESTRAN_ADDRESS"], 7002))
with open("came", "w", buffering=1) as file:
    while True:
        print(ends.recv(16).decode(), file=file)
"""
SHED = """
  messy: {on: shed, command: [python3, -IS, "{folder}/messy.py", "${eaten}", "${kill}"], ports: [7000]}
  deaf: {on: cloud, command: [python3, -IS, "{folder}/deaf.py"], ports: [7001], ready: {port: 7001}}
streams:"""
FACTORS = """
factors:
  place: [cloud, edge]
  rate: [40, 400]
  eaten: [1, 100]
  kill: [no, agent, never]
  delay: [10ms, 20ms]
"""
QUICK = ("measure.warmup=0.3s", "measure.duration=1s")


def experiment(folder: Path) -> Path:
    """Two layers as in TINY, and a shed where a command leaves whatever it can."""
    text = TINY.replace("rate: 40}", 'rate: "${rate}"}').replace(
        '{on: cloud, component: "parts:Total"}', '{on: "${place}", component: "parts:Total"}'
    )
    text = text.replace("network:", "  shed: {hosts: 1, device: cloud-vm-2}\nnetwork:").replace("delay: 10ms", 'delay: "${delay}"')
    text = text.replace("services:", "  - {between: [shed, cloud], delay: 1ms}\nservices:")
    text = text.replace("streams:", SHED.replace("{folder}", str(folder)).lstrip("\n"))
    (folder / "messy.py").write_text(MESSY)
    (folder / "deaf.py").write_text(DEAF)
    return write(folder, text + FACTORS)


def made(platform: Platform, file: Path, runs: Sequence[Mapping[str, Any]], *, held: bool = True, seed: int = 1) -> list[Path]:
    """The folders of runs with these levels, one after another on one platform."""
    out = file.parent / f"{'held' if held else 'apart'}-{time.monotonic_ns()}"
    folders = []
    with holding(platform, out) if held else holding(SimulatedPlatform(), out):
        for number, levels in enumerate(runs):
            prepared = prepare(str(file), overrides=QUICK, assignment=levels, seed=seed, platform=platform)
            folders.append(execute(prepared, out=out, progress=QuietProgress(), named=str(number))[0])
    return folders


def read(folder: Path, name: str = "run.json") -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / name).read_text())
    return data


def found(folder: Path) -> dict[str, Any]:
    """What the messy command met when it began."""
    data: dict[str, Any] = json.loads((folder / "work" / "messy-0" / "found").read_text())
    return data


@pytest.fixture(autouse=True)
def _own_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_runs_that_differ_above_the_hosts_share_them_and_find_them_clean(tmp_path: Path) -> None:
    file = experiment(tmp_path)
    levels = [{"eaten": 100, "rate": 400}, {}, {"place": "edge"}, {"delay": "20ms"}]
    first, second, _, fourth = folders = made(EmulatedPlatform(), file, levels)
    runs = [read(folder) for folder in folders]
    assert [run["status"] for run in runs] == ["done"] * 4, [run["failure"] for run in runs]
    assert len({found(folder)["namespace"] for folder in folders}) == 1
    assert {run["hosts_built_in"] for run in runs} == {runs[0]["id"]}
    for folder in folders:
        assert found(folder)["tcp"] == []
        assert found(folder)["others"] == 0
        assert "elsewhere" not in found(folder)["hosts"]
        assert "cloud-0" in found(folder)["hosts"]
        assert not {"hosts", "keeper.log"} & {path.name for path in folder.iterdir()}
    assert read(second, "network.json")["links"] == read(first, "network.json")["links"]
    assert read(second, "network.json")["facts"]["measured_in"] == runs[1]["measured_in"]
    assert [run["measured_in"]["links"]["run"] for run in runs] == [runs[n]["id"] for n in (0, 0, 0, 3)]
    assert max(link["measured"]["delay"] for link in read(fourth, "network.json")["links"]) == pytest.approx(0.02, abs=1e-3)
    assert overhead(runs[1]) < overhead(runs[0]) / 2
    assert list((tmp_path / "state").glob("**/*.jsonl")) == []

    (apart,) = made(EmulatedPlatform(), file, [{}], held=False)
    assert found(apart)["namespace"] != found(first)["namespace"]
    assert_alike(second, apart)
    assert value(first, "memory_peak@shed-0") > value(second, "memory_peak@shed-0") + (80 << 20)
    assert value(first, "bytes_sent@edge-0") > 3 * value(second, "bytes_sent@edge-0")


def overhead(run: Mapping[str, Any]) -> float:
    return sum(phase["seconds"] for phase in run["phases"] if phase["name"] in ("provision", "verify", "give back"))


def value(folder: Path, response: str) -> float:
    return float(read(folder, "responses.json")[response]["value"])


def assert_alike(one: Path, other: Path) -> None:
    """What is counted from the beginning of a run begins at nothing in both."""
    assert value(one, "memory_peak@shed-0") == pytest.approx(value(other, "memory_peak@shed-0"), abs=4 << 20)
    assert value(one, "bytes_sent@edge-0") == pytest.approx(value(other, "bytes_sent@edge-0"), rel=0.25)
    assert value(one, "cpu_seconds@edge-0") == pytest.approx(value(other, "cpu_seconds@edge-0"), rel=0.5, abs=0.1)
    for folder in (one, other):
        query = "SELECT metric, min(value) FROM read_parquet(?) WHERE replica = '' AND host = 'edge-0' GROUP BY metric"
        least = dict(duckdb.execute(query, [str(folder / "metrics.parquet")]).fetchall())
        assert least["tx_bytes"] < 20_000
        assert least["cpu_seconds"] < 5


def test_after_a_failure_the_next_run_has_new_hosts(tmp_path: Path) -> None:
    file = experiment(tmp_path)
    good, bad, next_one = made(EmulatedPlatform(), file, [{}, {"kill": "agent"}, {}])
    assert [read(folder)["status"] for folder in (good, bad, next_one)] == ["done", "failed", "done"]
    assert read(bad)["hosts_built_in"] == read(good)["id"]
    assert read(next_one)["hosts_built_in"] == read(next_one)["id"]
    assert read(next_one)["measured_in"]["links"]["run"] == read(next_one)["id"]
    assert found(next_one)["namespace"] != found(good)["namespace"]


def test_a_link_loses_the_same_packets_whoever_built_it(tmp_path: Path) -> None:
    (tmp_path / "datagrams.py").write_text(DATAGRAMS)
    say = f"python3, -IS, {tmp_path}/datagrams.py"
    file = write(
        tmp_path,
        "experiment: lossy\nseed: 1\nlayers: {shed: {hosts: 1, device: cloud-vm-2}, barn: {hosts: 1, device: cloud-vm-2}}\n"
        "network: [{between: [shed, barn], delay: 2ms, loss: 10%}]\n"
        f"services:\n  send: {{on: shed, command: [{say}, send]}}\n  take: {{on: barn, command: [{say}, take], ports: [7002]}}\n"
        "measure: {warmup: 0.3s, duration: 3s}\n",
    )

    def came(folder: Path) -> list[int]:
        assert read(folder)["status"] == "done", read(folder)["failure"]
        return [int(number) for number in (folder / "work" / "take-0" / "came").read_text().split()]

    first, second = (came(folder) for folder in made(EmulatedPlatform("nfqueue"), file, [{}, {}]))
    (apart,) = (came(folder) for folder in made(EmulatedPlatform("nfqueue"), file, [{}], held=False))
    (other,) = (came(folder) for folder in made(EmulatedPlatform("nfqueue"), file, [{}], seed=2))
    sent = min(numbers[-1] for numbers in (first, second, apart, other))  # by the slowest
    first, second, apart, other = ([number for number in numbers if number < sent] for numbers in (first, second, apart, other))
    assert 50 < len(first) < sent
    assert first == second == apart != other


@pytest.mark.parametrize(("engine", "limiter"), [("tun", "throttle"), ("loopback", None)])
def test_other_rungs_serve_one_run_after_another(tmp_path: Path, engine: str, limiter: str | None) -> None:
    file = write(tmp_path, TINY.replace("20mbit", "4mbit"))  # a rate that relays without priority hold when others compute
    folders = made(EmulatedPlatform(engine, limiter), file, [{}, {}])
    runs = [read(folder) for folder in folders]
    assert [run["status"] for run in runs] == ["done", "done"], [run["failure"] for run in runs]
    # Without namespaces hosts are addresses only, and each run has its own.
    assert (runs[1]["hosts_built_in"] == runs[0]["id"]) == (engine != "loopback")
    assert read(folders[1], "responses.json")["throughput"]["value"] > 0


def test_a_platform_that_cannot_hold_works_as_before(tmp_path: Path) -> None:
    assert not isinstance(SimulatedPlatform(), Holdable)
    assert isinstance(EmulatedPlatform(), Holdable)
    with holding(SimulatedPlatform(), tmp_path):
        assert list((tmp_path / "state").glob("**/*.jsonl")) == []


STUDY = ("study", "experiment.yaml", "--on", "emulate", "--replicates", "1", "--set", "measure.duration=1s", "--set", "kill=never")
FIXED = ("--set", "eaten=1", "--set", "rate=40", "--set", "delay=10ms")


@pytest.mark.parametrize("victim", ["study", "worker", "keeper", "interrupted"])
def test_nothing_of_a_killed_study_is_left(tmp_path: Path, victim: str) -> None:
    experiment(tmp_path)
    process = start(*STUDY, *FIXED, cwd=tmp_path)
    second = _wait_for(lambda: [f for f in sorted(tmp_path.glob("studies/*/*/runs/*/run.json")) if _measuring(f)][1:])
    keepers = _held(tmp_path)
    assert keepers
    if victim == "keeper":
        os.kill(min(keepers), signal.SIGKILL)
        assert process.wait(60) == 0, process.communicate()[0]
        assert len({run["hosts_built_in"] for run in map(_record, tmp_path.glob("studies/*/*/runs/*/run.json"))}) == 2
    elif victim == "interrupted":
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
        assert _record(second[0])["status"] == "interrupted"
    else:
        (worker,) = _children(process.pid)
        os.kill(process.pid if victim == "study" else worker, signal.SIGKILL)
        if victim == "worker":
            process.send_signal(signal.SIGINT)
        process.wait(60)
    _wait_for(lambda: not _held(tmp_path))
    if victim == "worker":
        assert list((tmp_path / "state").glob("**/held-*.jsonl"))
    assert estran("clean", cwd=tmp_path).returncode == 0
    assert list((tmp_path / "state").glob("**/*.jsonl")) == []
    for file in tmp_path.glob("studies/*/*/runs/*/run.json"):
        assert not left_groups(_record(file)["id"])


def _wait_for(look: Any, within: float = 40.0) -> Any:
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return seen


def _record(file: Path) -> dict[str, Any]:
    return read(file.parent)


def _measuring(file: Path) -> bool:
    return any(phase["name"] == "measure" for phase in _record(file)["phases"])


def _held(cwd: Path) -> list[int]:
    """Processes that belong to this test's held hosts: they write their journals below its folder."""
    state = f"XDG_STATE_HOME={cwd / 'state'}".encode()
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if state in environment and any(each.startswith(b"ESTRAN_RUN=held-") for each in environment):
            pids.append(int(entry.name))
    return pids


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
