from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import EstranError
from estran.observe.counters import CgroupCounters, NetworkCounters, ProcessCounters, descendants
from estran.observe.energy import ModelMeter, PowerModel, RaplMeter, rapl_zones
from estran.observe.sampler import SamplerSettings, Trace, sample

PI = PowerModel("raspberry-pi-4", 2.6, 6.4, capacity=2.0)


class StepClock:
    """A clock that jumps: every sleep takes what was asked, plus what the test adds."""

    def __init__(self, stop_after: int, late: float = 0.0) -> None:
        self.time, self.left, self.late, self.wakes = 0.0, stop_after, late, []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise asyncio.CancelledError
        self.time += max(seconds, 0.0)
        self.wakes.append(self.time)
        self.time += self.late


class Kept:
    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[Any, ...]]] = {"metrics": [], "events": []}

    def __call__(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self.rows[table] += rows

    def series(self, metric: str) -> list[tuple[float, float]]:
        return [(row[0], row[4]) for row in self.rows["metrics"] if row[3] == metric]


def group_v2(folder: Path) -> Path:
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (folder / "memory.current").write_text("4096\n")
    (folder / "memory.peak").write_text("8192\n")
    (folder / "io.stat").write_text("8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n")
    return folder


def test_reads_cgroup_v2(tmp_path: Path) -> None:
    source = CgroupCounters([str(group_v2(tmp_path))])
    expected = {"cpu_seconds": 1.5, "memory": 4096.0, "memory_peak": 8192.0, "read_bytes": 11.0, "write_bytes": 22.0}
    assert dict(source.read()) == expected
    (tmp_path / "memory.current").write_text("5000\n")
    assert dict(source.read())["memory"] == 5000.0
    source.close()


def test_reads_cgroup_v1_from_its_separate_folders(tmp_path: Path) -> None:
    cpu, memory, io = (tmp_path / name for name in ("cpuacct", "memory", "blkio"))
    for folder in (cpu, memory, io):
        folder.mkdir()
    (cpu / "cpuacct.usage").write_text("2500000000\n")
    (cpu / "cpu.stat").write_text("nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")
    (memory / "memory.usage_in_bytes").write_text("100\n")
    (memory / "memory.max_usage_in_bytes").write_text("300\n")
    (io / "blkio.throttle.io_service_bytes_recursive").write_text("8:0 Read 5\n8:0 Write 7\n8:0 Total 12\nTotal 12\n")
    source = CgroupCounters([str(cpu), str(memory), str(io)])
    expected = {"cpu_seconds": 2.5, "memory": 100.0, "memory_peak": 300.0, "read_bytes": 5.0, "write_bytes": 7.0}
    assert dict(source.read()) == expected
    source.close()


def test_groups_without_processor_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EstranError, match="no processor time"):
        CgroupCounters([str(tmp_path)])


ROOTS = [path for path in ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup") if Path(path).exists()]


@pytest.mark.skipif(
    not any((Path(root) / name).exists() for root in ROOTS for name in ("cpuacct.usage", "cpu.stat")), reason="no cgroups"
)
def test_reads_the_real_groups_of_this_machine() -> None:
    source = CgroupCounters(ROOTS)
    before = dict(source.read())["cpu_seconds"]
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    assert dict(source.read())["cpu_seconds"] >= before + 0.04
    source.close()


_BURN = """
import time
while time.process_time() < 0.3: pass
print("burnt", flush=True)
x = bytearray(30_000_000)
print("grown", flush=True)
input()
"""


def test_sums_processes_and_keeps_what_ended_ones_used() -> None:
    source = ProcessCounters()
    with subprocess.Popen([sys.executable, "-c", _BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.pid in descendants(os.getpid())
        child.stdout.readline()
        child.stdout.readline()
        alive = dict(source.read())
        assert alive["cpu_seconds"] >= 0.25
        assert alive["memory"] >= 30_000_000
        child.stdin.write("\n")
    ended = dict(source.read())
    assert ended["cpu_seconds"] >= alive["cpu_seconds"]
    assert ended["memory"] < alive["memory"]
    assert ended["memory_peak"] == alive["memory"]
    assert child.pid not in source._open
    source.close()


def test_counts_the_namespaces_bytes_without_loopback() -> None:
    def received() -> int:
        words = [line.replace(":", " ").split() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
        return sum(int(word[1]) for word in words if word[0] != "lo")

    earliest = received()
    source = NetworkCounters()
    counted = dict(source.read())
    assert set(counted) == {"rx_bytes", "tx_bytes"}
    assert received() - earliest >= counted["rx_bytes"] >= 0  # since it was made, not since the interfaces came up
    source.close()


def test_model_energy_is_idle_plus_utilisation() -> None:
    meter = ModelMeter(PI)
    assert meter.read(10.0, 5.0) == (2.6, 0.0)
    watts, joules = meter.read(12.0, 7.0)  # half of two cores
    assert watts == pytest.approx(4.5)
    assert joules == pytest.approx(9.0)
    assert meter.read(13.0, 100.0)[0] == 6.4
    assert "raspberry-pi-4" in meter.label


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 20)), min_size=1, max_size=20))
def test_model_energy_lies_between_idle_and_busy(steps: list[tuple[float, float]]) -> None:
    meter, time_, cpu, joules = ModelMeter(PI), 0.0, 0.0, 0.0
    meter.read(0.0, 0.0)
    for elapsed, used in steps:
        time_, cpu = time_ + elapsed, cpu + used
        _, joules = meter.read(time_, cpu)
    assert 2.6 * time_ * (1 - 1e-9) <= joules <= 6.4 * time_ * (1 + 1e-9)


def test_rapl_sums_packages_and_survives_their_wrap(tmp_path: Path) -> None:
    for index, zone in enumerate(("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(f"{900_000 + index}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text("999999\n")
    zones = rapl_zones(tmp_path)
    assert [zone.name for zone in zones] == ["intel-rapl:0", "intel-rapl:1"]
    with RaplMeter(zones) as meter:
        meter.read(0.0, 0.0)
        (zones[0] / "energy_uj").write_text("100000\n")  # wrapped: 200000 further
        (zones[1] / "energy_uj").write_text("950001\n")
        watts, joules = meter.read(0.5, 0.0)
    assert joules == pytest.approx(0.25)
    assert watts == pytest.approx(0.5)
    assert "whole machine" in meter.label
    assert rapl_zones(tmp_path / "absent") == []


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_trace_loses_nothing(values: list[int]) -> None:
    import numpy as np

    trace = Trace("edge-0")
    rows = [row for time_, value in enumerate(values) for row in trace.rows(float(time_), [("m", float(value))])] + trace.last()
    times, kept = [row.time for row in rows], [row.value for row in rows]
    assert times == sorted(set(times))
    assert np.interp(range(len(values)), times, kept).tolist() == values


async def test_samples_on_an_absolute_schedule_and_says_where_energy_comes_from(tmp_path: Path) -> None:
    kept, clock = Kept(), StepClock(stop_after=12, late=0.03)
    settings = SamplerSettings("edge-0", cgroups=(str(group_v2(tmp_path)),), power=PI)
    with pytest.raises(asyncio.CancelledError):
        await sample(kept, clock, settings)
    assert clock.wakes == pytest.approx([0.1 * (i + 1) for i in range(11)])
    assert kept.rows["events"][0][3:] == ("energy-source", PI.label)
    energy = kept.series("energy")
    assert energy[-1][1] == pytest.approx(2.6 * (energy[-1][0] - energy[0][0]))
    assert len(kept.series("memory")) == 2  # it never changed: first and last
    assert kept.series("memory")[-1][0] == pytest.approx(1.13, abs=0.02)


async def test_missed_instants_are_skipped(tmp_path: Path) -> None:
    kept, clock = Kept(), StepClock(stop_after=5, late=0.25)
    with pytest.raises(asyncio.CancelledError):
        await sample(kept, clock, SamplerSettings("edge-0", cgroups=(str(group_v2(tmp_path)),)))
    assert clock.wakes == pytest.approx([0.1, 0.4, 0.7, 1.0])


async def test_vanished_group_is_an_error_that_names_the_host(tmp_path: Path) -> None:
    with pytest.raises(EstranError, match="no processor time"):
        await sample(Kept(), StepClock(3), SamplerSettings("edge-0", cgroups=(str(tmp_path / "gone"),)))


def test_settings_travel_as_plain_data() -> None:
    settings = SamplerSettings("edge-0", cgroups=("/a", "/b"), power=PI)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(settings), type=SamplerSettings) == settings
