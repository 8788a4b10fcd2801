from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estran.observe.rows import COLUMNS, TABLES, EventRow, LogRow, MessageRow, MetricRow, OperationRow
from estran.observe.store import LIVE, PARQUET, Store, StoreError, open_live, recover


def message(seq: int, **changes: object) -> MessageRow:
    row = MessageRow(
        f"camera-0:{seq}", "camera.samples", "camera-0", seq, "detector-0", seq, seq + 0.1, seq + 0.2, seq + 0.3, seq + 0.4, 512
    )
    return row._replace(**changes)


def fill(store: Store, n: int = 10) -> None:
    store.add("messages", [message(i, version=i if i % 2 else None, truth=1, answer=i % 3) for i in range(n)])
    store.add("metrics", [MetricRow(i * 0.1, "edge-0", "", "cpu_seconds", math.nan if i == 3 else i * 0.01) for i in range(n)])
    store.add("operations", [OperationRow(1.0, "edge-0", "camera-0", "learn", 32, 0.01, 0.009)])
    store.add("logs", [LogRow(1.0, "edge-0", "camera-0", "stdout", "hé"), LogRow(2.0, "edge-0", "", "log", "agent")])
    store.add("events", [EventRow(0.5, "cloud-0", "trainer-0", "published", '{"version": 1}')])


def count(path: Path, table: str = "messages") -> int:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_columns_follow_the_row_types() -> None:
    for table, row in TABLES.items():
        assert [column.name for column in COLUMNS[table]] == list(row._fields)  # type: ignore[attr-defined]
    assert [column.name for column in COLUMNS["messages"] if column.nullable] == ["version", "truth", "answer"]


def test_a_live_file_of_an_earlier_version_is_recovered(tmp_path: Path) -> None:
    with Store(tmp_path / LIVE) as store:
        fill(store)
    with closing(sqlite3.connect(tmp_path / LIVE)) as db:
        db.execute("DROP TABLE exchanges")
    assert recover(tmp_path)
    assert duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(tmp_path / "exchanges.parquet")]).fetchall() == [(0,)]
    assert duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(tmp_path / "messages.parquet")]).fetchall() == [(10,)]


def test_others_read_what_was_flushed_while_it_is_written(tmp_path: Path) -> None:
    with Store(tmp_path / LIVE) as store:
        store.add("messages", [message(0)])
        assert count(store.path) == 0
        store.flush()
        assert count(store.path) == 1
        store.add("messages", [message(1)])
        assert count(store.path) == 1
    assert count(tmp_path / LIVE) == 2


def test_compacts_to_parquet_and_logs_and_removes_the_live_file(tmp_path: Path) -> None:
    with Store(tmp_path / LIVE) as store:
        fill(store)
        store.compact(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{table}.parquet" for table in PARQUET] + ["logs"])
    rows = duckdb.sql(f"SELECT * FROM '{tmp_path / 'messages.parquet'}' ORDER BY seq").fetchall()
    assert rows == [tuple(message(i, version=i if i % 2 else None, truth=1, answer=i % 3)) for i in range(10)]
    metrics = duckdb.sql(f"SELECT value FROM '{tmp_path / 'metrics.parquet'}'").fetchall()
    assert len(metrics) == 10
    assert metrics[3][0] is None or math.isnan(metrics[3][0])
    assert (tmp_path / "logs" / "camera-0.log").read_text() == "     1.000 stdout hé\n"
    assert "agent" in (tmp_path / "logs" / "edge-0.log").read_text()
    meta = duckdb.sql(f"SELECT DISTINCT compression FROM parquet_metadata('{tmp_path / 'messages.parquet'}')").fetchall()
    assert meta == [("ZSTD",)]


def test_empty_run_has_empty_tables_with_the_right_types(tmp_path: Path) -> None:
    with Store(tmp_path / LIVE) as store:
        store.compact(tmp_path)
    for table in PARQUET:
        relation = duckdb.sql(f"SELECT * FROM '{tmp_path / table}.parquet'")
        assert relation.columns == [column.name for column in COLUMNS[table]]
        assert [str(kind) for kind in relation.types] == [
            {str: "VARCHAR", int: "BIGINT", float: "DOUBLE"}[c.kind] for c in COLUMNS[table]
        ]


def test_a_nullable_column_that_starts_empty_keeps_its_later_values(tmp_path: Path) -> None:
    with Store(tmp_path / LIVE) as store:
        store.add("messages", [message(i, answer=7 if i == 5000 else None) for i in range(6000)])
        store.compact(tmp_path)
    assert duckdb.sql(f"SELECT sum(answer), count(answer) FROM '{tmp_path / 'messages.parquet'}'").fetchall() == [(7, 1)]


_WRITER = """
import sys, time
from pathlib import Path
from estran.observe.store import Store
from estran.observe.rows import MetricRow
store = Store(Path(sys.argv[1]))
for i in range(100000):
    store.add("metrics", [MetricRow(float(i), "h", "", "m", 1.0)] * 100)
    store.flush()
    print(i, flush=True)
"""


def test_killed_process_loses_nothing_that_was_flushed_and_recovers(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path / LIVE)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        flushed = [int(writer.stdout.readline()) for _ in range(50)][-1]
        writer.send_signal(signal.SIGKILL)
    kept = count(tmp_path / LIVE, "metrics")
    assert kept >= (flushed + 1) * 100
    assert recover(tmp_path)
    assert not list(tmp_path.glob("live.sqlite*"))
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path / 'metrics.parquet'}'").fetchall() == [(kept,)]
    assert not recover(tmp_path)


_MORTAL = """
import os, random, signal, sys, threading
from pathlib import Path
from estran.observe.rows import EventRow, MessageRow, MetricRow
from estran.observe.store import LIVE, Store
folder, seed, most, delay = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
chance = random.Random(seed)
store, seq = Store(folder / LIVE), 0
threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
for step in range(chance.randrange(1, 40)):
    rows = chance.randrange(1, most)
    store.add("messages", [MessageRow(f"a:{i}", "a.b", "a", i, "b", i, i, i, i, i, 9) for i in range(seq, seq + rows)])
    store.add("metrics", [MetricRow(float(step), "h", "", "rows", float(seq + rows))])
    store.add("events", [EventRow(float(step), "h", "a", "step", str(step))])
    seq += rows
    store.flush()
    os.write(1, f"{step} {seq}\\n".encode())
store.compact(folder)
os.write(1, b"compacted\\n")
signal.pause()
"""


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.sampled_from([3, 300, 9000]), st.floats(0.0, 0.5))
def test_whenever_a_writer_is_killed_all_that_was_acknowledged_is_there_and_no_half_flush(
    tmp_path_factory: pytest.TempPathFactory, seed: int, most: int, delay: float
) -> None:
    """In the midst of a flush, between two, while it compacts, or after: readers see whole flushes, before and after recovery."""
    folder = tmp_path_factory.mktemp("killed")
    argv = [sys.executable, "-c", _MORTAL, str(folder), str(seed), str(most), str(delay)]
    killed = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    *acknowledged, last = ["-1 0", *killed.stdout.splitlines()]
    step, seq = map(int, (acknowledged[-1] if last == "compacted" else last).split())
    if (folder / LIVE).exists():
        assert last != "compacted"
        with closing(open_live(folder / LIVE)) as reader:
            _assert_whole_flushes(lambda table: reader.execute(f"SELECT * FROM {table}").fetchall(), step, seq)
        assert recover(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"{table}.parquet" for table in PARQUET] + ["logs"])
    _assert_whole_flushes(lambda table: duckdb.sql(f"SELECT * FROM '{folder / table}.parquet'").fetchall(), step, seq)


def _assert_whole_flushes(read: Callable[[str], list[tuple[Any, ...]]], step: int, seq: int) -> None:
    steps, metrics = [int(row[-1]) for row in read("events")], read("metrics")
    assert steps == list(range(len(steps)))
    assert len(steps) > step
    assert [int(row[0]) for row in metrics] == steps
    kept = [row[3] for row in read("messages")]
    assert kept == list(range(int(metrics[-1][-1]) if metrics else 0))
    assert len(kept) >= seq


def test_recovery_repeats_safely_after_a_compaction_that_was_killed(tmp_path: Path) -> None:
    with Store(tmp_path / LIVE) as store:
        fill(store)
    (tmp_path / "messages.parquet").write_bytes(b"half")
    (tmp_path / "metrics.parquet.part").write_bytes(b"half")
    assert recover(tmp_path)
    assert not list(tmp_path.glob("*.part"))
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path / 'messages.parquet'}'").fetchall() == [(10,)]


def test_row_that_does_not_fit_is_refused_whole_batch_and_named(tmp_path: Path) -> None:
    with Store(tmp_path / LIVE) as store:
        store.add("metrics", [(0.0, "h", "", "m", 1.0), ("soon", "h", "", "m", 1.0)])
        with pytest.raises(StoreError, match="metrics"):
            store.flush()
        assert count(store.path, "metrics") == 0
        store._pending["metrics"].clear()
    with Store(tmp_path / LIVE) as store, pytest.raises(StoreError, match="no table 'spans'"):
        store.add("spans", [])


def test_cannot_be_made_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot record"):
        Store(tmp_path / "absent" / LIVE)


def _add_without_end(store: Store) -> None:
    for _ in range(100):
        store.add("metrics", [MetricRow(float(i), "host", "", "metric", 1.0) for i in range(1000)])
        store.flush()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_full_disk_is_a_clear_error_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        store = Store(tmp_path / LIVE)
        store.add("metrics", [MetricRow(float(i), "host", "", "metric", 1.0) for i in range(1000)])
        store.flush()
        with pytest.raises(StoreError, match="disk is full") as raised:
            _add_without_end(store)
        assert raised.value.remedy is not None
        kept = count(store.path, "metrics")
        assert kept >= 1000
        with pytest.raises(StoreError, match="disk is full"):
            store.close()
        assert count(store.path, "metrics") == kept
        disk = os.statvfs(tmp_path)
        (tmp_path / "ballast").write_bytes(b"x" * (disk.f_bavail * disk.f_bsize))
        with pytest.raises(StoreError, match="free some space"):
            recover(tmp_path)
        assert (tmp_path / LIVE).exists()
        (tmp_path / "ballast").unlink()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
