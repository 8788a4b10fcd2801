from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.errors import EstranError, RequestError
from estran.observe.queries import list_runs, open_run
from estran.observe.responses import measure
from estran.observe.rows import LogRow
from estran.observe.store import LIVE, Store

from .folders import hop, write_folder


@pytest.mark.parametrize("live", [True, False])
def test_live_and_finished_runs_read_alike(tmp_path: Path, live: bool) -> None:
    tables = {
        "messages": [hop(i, float(i), answer=1 if i else None) for i in range(20)],
        "logs": [LogRow(1.0, "edge-0", "camera-0", "stdout", "hello")],
    }
    run = open_run(write_folder(tmp_path / "r", tables, live=live))
    assert run.live is live
    columns = run.columns("messages")
    assert columns["seq"].tolist() == list(range(20))
    assert columns["answer"].tolist() == [None] + [1] * 19
    assert columns["origin"][0] == "camera-0"
    assert run.log("camera-0") == ["     1.000 stdout hello"]
    assert run.log("detector-1") == []
    with pytest.raises(RequestError, match="no replica 'camera-9'") as caught:
        run.log("camera-9")
    assert "camera-0" in str(caught.value.remedy)
    with run.database() as connection:
        assert connection.sql("SELECT count(*), sum(answer) FROM messages").fetchall() == [(20, 19)]
    assert run.replicas["camera-0"] == ("camera", "edge-0")
    assert measure(run).values["throughput"].n == 18


def test_live_run_is_read_while_it_is_written(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "r", {}, live=True)
    with Store(folder / LIVE) as store:
        for n in (1, 2):
            store.add("messages", [hop(n, float(n))])
            store.flush()
            assert len(open_run(folder).columns("messages")["seq"]) == n


def test_unknown_table_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no table 'spans'"):
        open_run(write_folder(tmp_path / "r", {})).columns("spans")
    with pytest.raises(RequestError, match="no run folder"):
        open_run(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "x"}', ""])
def test_damaged_run_json_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(EstranError, match=r"run\.json"):
        open_run(tmp_path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema": 99, "id": "a", "experiment": "b", "status": "done"}')
    with pytest.raises(EstranError, match="schema 99"):
        open_run(tmp_path)


def test_damaged_tables_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "r", {"messages": [hop(0, 0.0)]})
    (folder / "messages.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(EstranError, match=r"messages\.parquet"):
        open_run(folder).columns("messages")
    (folder / LIVE).write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(EstranError, match=r"live\.sqlite"):
        open_run(folder).columns("messages")
    (folder / "plan.json").write_text('{"replicas": [1]}')
    with pytest.raises(EstranError, match=r"plan\.json"):
        _ = open_run(folder).replicas


def test_parquet_of_another_make_is_refused(tmp_path: Path) -> None:
    import duckdb

    folder = write_folder(tmp_path / "r", {})
    with duckdb.connect() as own:  # what other tests have left open in the common connection is none of its business
        own.sql("SELECT 1 AS x").write_parquet(str(folder / "messages.parquet"))
    with pytest.raises(EstranError, match=r"messages\.parquet"):
        open_run(folder).columns("messages")


def test_lists_runs_oldest_first_and_damaged_ones_too(tmp_path: Path) -> None:
    for name, started in (("b", "2026-01-02T00:00:00Z"), ("a", "2026-01-03T00:00:00Z")):
        folder = tmp_path / "exp" / name
        folder.mkdir(parents=True)
        record = {"schema": 1, "id": name, "experiment": "exp", "status": "done", "started": started, "duration": 3}
        (folder / "run.json").write_text(json.dumps(record))
    (tmp_path / "exp" / "c").mkdir()
    (tmp_path / "exp" / "c" / "run.json").write_text("{")
    (tmp_path / "exp" / "d").mkdir()
    going = {"schema": 1, "id": "d", "experiment": "exp", "status": "running", "started": "2026-01-04T00:00:00Z", "duration": 60}
    (tmp_path / "exp" / "d" / "run.json").write_text(json.dumps(going))
    found = list_runs(tmp_path)
    assert [(run.id, run.status) for run in found] == [("c", "damaged"), ("b", "done"), ("a", "done"), ("d", "running")]
    assert "run.json" in (found[0].problem or "")
    assert found[1].duration == 3
    assert found[3].duration is None  # what its record says was planned: a killed run would seem to have lasted that long
    assert list_runs(tmp_path / "absent") == []
