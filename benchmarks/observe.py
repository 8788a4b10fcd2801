"""What observing costs: the sampler, the live store, its compaction, the responses, lists of runs and the manifest.

Each line gives a median and its ratio to a peer or limit measured in the same run.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from estran.observe.counters import CgroupCounters, NetworkCounters, ProcessCounters, Source
from estran.observe.energy import ModelMeter, PowerModel
from estran.observe.live import LiveResponses
from estran.observe.manifest import manifest
from estran.observe.queries import list_runs, open_run
from estran.observe.responses import measure
from estran.observe.rows import MessageRow, MetricRow
from estran.observe.sampler import Trace, read
from estran.observe.store import LIVE, Store

ROWS = 1_000_000
HZ = 10


def show(what: str, figure: str, against: str = "") -> None:
    print(f"{what:<52} {figure:>16}  {against}", flush=True)


def timed(action: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median seconds of one call."""
    found = []
    for _ in range(repeats):
        begun = clock()
        action()
        found.append(clock() - begun)
    return statistics.median(found)


def per_call(action: Callable[[], object], calls: int) -> float:
    """Processor seconds per call, over many calls (the processor clock is coarse)."""
    begun = time.process_time()
    for _ in range(calls):
        action()
    return (time.process_time() - begun) / calls


def sampler() -> None:
    roots = [
        path
        for path in ("/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/blkio", "/sys/fs/cgroup")
        if Path(path).exists()
    ]
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    pids = [child.pid for child in children]
    try:
        peer = _psutil(pids)
        ways: list[tuple[str, Source]] = [("3 processes", ProcessCounters(pids))]
        if any((Path(root) / name).exists() for root in roots for name in ("cpuacct.usage", "cpu.stat")):
            ways.insert(0, ("control groups", CgroupCounters(roots)))
        for name, source in ways:
            sources, trace, meter = [source, NetworkCounters()], Trace("h"), ModelMeter(PowerModel("d", 1, 2, 1))
            cost = per_call(lambda s=sources, t=trace, m=meter: t.rows(time.monotonic(), read(time.monotonic(), s, m)), 3000)
            against = f"psutil {peer / cost:.1f}x as much" if peer else "psutil is not installed"
            show(f"sampler, {name}, share of a core at {HZ} Hz", f"{cost * HZ:.3%}", against)
            for one in sources:
                one.close()
    finally:
        for child in children:
            child.kill()
            child.wait()


def _psutil(pids: list[int]) -> float | None:
    try:
        import psutil
    except ImportError:
        return None
    processes = [psutil.Process(pid) for pid in pids]

    def once() -> None:
        for process in processes:
            process.cpu_times()
            process.memory_info()
            process.io_counters()
        psutil.net_io_counters()

    return per_call(once, 2000)


def metric_rows(n: int) -> list[MetricRow]:
    return [MetricRow(i * 0.01, f"edge-{i % 20}", "", "cpu_seconds", i * 0.001) for i in range(n)]


def message_rows(n: int) -> list[MessageRow]:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(0.001, n)).tolist()
    return [
        MessageRow(
            f"camera-{i % 4}:samples:{i // 4}", "camera.samples", f"camera-{i % 4}", i // 4, "detector-0",
            t, t, t + 0.005, t + 0.006, t + 0.01, 600, 3, i % 10, i % 10,
        )
        for i, t in enumerate(times)
    ]  # fmt: skip


def store() -> None:
    rows = metric_rows(ROWS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.perf_counter()
        with sqlite3.connect(folder / "bare.sqlite") as bare:
            bare.execute("PRAGMA journal_mode=WAL")
            bare.execute("CREATE TABLE metrics (time REAL, host TEXT, replica TEXT, metric TEXT, value REAL)")
            bare.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?)", rows)
        bare.close()
        limit = time.perf_counter() - begun
        begun = time.perf_counter()
        live = Store(folder / LIVE)
        for start in range(0, ROWS, 1000):
            live.add("metrics", rows[start : start + 1000])
        live.flush()
        took = time.perf_counter() - begun
        show(
            "live store, rows/s in batches of 1000",
            f"{ROWS / took:,.0f}",
            f"one bare SQLite transaction {took / limit:.2f}x faster",
        )
        peer = _pyarrow(rows, folder / "peer.parquet")
        begun = time.perf_counter()
        live.compact(folder)
        took = time.perf_counter() - begun
        show(
            "compaction of 1 M rows to Parquet",
            f"{took:.2f} s",
            f"pyarrow from memory, no SQLite to read: {took / peer:.1f}x faster" if peer else "",
        )


def _pyarrow(rows: list[MetricRow], path: Path) -> float | None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return None
    begun = time.perf_counter()
    columns = zip(*rows, strict=True)
    pq.write_table(pa.table(dict(zip(MetricRow._fields, columns, strict=True))), path, compression="zstd")
    return time.perf_counter() - begun


_COMPACT = """
import sys, time
from pathlib import Path
begun = time.perf_counter()
from estran.observe.store import recover
recover(Path(sys.argv[1]))
print(time.perf_counter() - begun)
"""


def example() -> None:
    """A run of the example's size: 20 000 rows."""
    messages, metrics = message_rows(10_000), metric_rows(10_000)
    found = []
    with tempfile.TemporaryDirectory() as name:
        for i in range(3):
            folder = Path(name) / str(i)
            folder.mkdir()
            with Store(folder / LIVE) as live:
                live.add("messages", messages)
                live.add("metrics", metrics)
            done = subprocess.run([sys.executable, "-c", _COMPACT, str(folder)], capture_output=True, text=True, check=True)
            found.append(float(done.stdout))
        bare = timed(lambda: subprocess.run([sys.executable, "-c", "import duckdb"], check=True), 3)
        took = statistics.median(found)
        show(
            "compaction of 20 k rows, with the import of DuckDB",
            f"{took:.3f} s",
            f"a process that only imports DuckDB: {bare:.3f} s",
        )
        (folder / "run.json").write_text(json.dumps({"schema": 1, "id": "x", "experiment": "x", "status": "done", "duration": 60}))
        took = timed(lambda: measure(open_run(folder)), 5)
        with open_run(folder).database() as connection:
            scan = timed(lambda: connection.sql("FROM messages").fetchnumpy(), 5)
        show("responses of 10 k messages and 10 k samples", f"{took:.3f} s", f"{took / scan:.0f}x reading the messages alone")


def live_figures() -> None:
    rows = message_rows(100_000)
    live = LiveResponses()
    took = timed(lambda: live.update("messages", rows), 3)
    asked = timed(live.figures, 20)
    loop = timed(lambda: [row[9] - row[5] for row in rows], 3)
    show(
        "live figures, messages/s",
        f"{len(rows) / took:,.0f}",
        f"{took / loop:.0f}x a loop that only subtracts; all asked in {asked * 1e3:.2f} ms",
    )


def folders() -> None:
    record = {
        "schema": 1,
        "experiment": "x",
        "status": "done",
        "started": "2026-01-01T00:00:00Z",
        "phases": [{"name": str(i)} for i in range(10)],
    }
    with tempfile.TemporaryDirectory() as name:
        for i in range(1000):
            folder = Path(name) / "x" / f"{i:04}"
            folder.mkdir(parents=True)
            (folder / "run.json").write_text(json.dumps({**record, "id": folder.name}))
        took = timed(lambda: list_runs(Path(name)), 5)
        plain = timed(lambda: [json.loads(path.read_bytes()) for path in Path(name).glob("*/*/run.json")], 5)
        show("list of 1000 runs", f"{took * 1e3:.0f} ms", f"glob and json.loads alone: {plain * 1e3:.0f} ms")
        took = timed(lambda: manifest(Path(__file__)), 5)
        git = timed(lambda: subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=False), 5)
        show("manifest", f"{took * 1e3:.0f} ms", f"one git status: {git * 1e3:.0f} ms")


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for part in (sampler, store, example, live_figures, folders):
        part()
