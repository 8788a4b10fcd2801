"""What the server says: logs, comparisons, studies, Prometheus, the stream of a run that goes on."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from estran.web.index import key_of
from estran.web.logs import MOST, TAIL, read_logs

from .growing import Growing
from .served import Served, served


def test_a_stream_tells_of_a_run_until_it_is_over(root: Path, tmp_path: Path) -> None:
    growing = Growing(root / "runs" / "visual-inspection" / "done", tmp_path / "runs" / "e" / "r")
    growing.until(2.0)
    with served([tmp_path]) as one:
        one.enter()
        key = key_of(growing.folder)
        seen = one.events(f"/api/run/{key}/stream?width=400")
        _, first = next(seen)
        assert first["run"]["status"] == "running"
        answered = next(figure for figure in first["figures"] if figure["name"] == "samples")["value"]
        growing.until(6.0)
        _, second = next(seen)
        assert next(figure for figure in second["figures"] if figure["name"] == "samples")["value"] > answered
        assert second["run"]["clock"] > 5.9
        logs = one.ask(f"/api/run/{key}/logs?text=SO+FAR").data
        assert [line[3] for line in logs["lines"]] == ["so far 2", "so far 6"]
        growing.until(9.0)
        assert [line[3] for line in one.ask(f"/api/run/{key}/logs?after={logs['next']}").data["lines"]] == ["so far 9"]
        assert one.ask(f"/api/run/{key}/logs?name=trainer-0").data["lines"] == []
        growing.end()
        rest = list(seen)
        assert rest[-1] == ("end", "over")
        assert rest[-2][1]["run"]["status"] == "done"
        after = one.ask(f"/api/run/{key}/logs?name=detector-0").data
        assert after["source"] == "finished"
        assert [line[3] for line in after["lines"]] == ["so far 2", "so far 6", "so far 9"]


def test_the_servers_end_ends_streams(root: Path, tmp_path: Path) -> None:
    growing = Growing(root / "runs" / "visual-inspection" / "done", tmp_path / "e" / "r")
    growing.until(1.0)
    last: list[object] = []
    with served([tmp_path]) as one:
        one.enter()
        seen = one.events(f"/api/run/{key_of(growing.folder)}/stream")
        next(seen)
        reading = threading.Thread(target=lambda: last.extend(seen))
        reading.start()
    reading.join(10)
    growing.store.close()
    assert last[-1] == ("end", "gone")


def test_a_run_that_is_awaited_has_a_page_before_it_begins(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e" / "r"
    with served([tmp_path], awaited=key_of(folder)) as one:
        one.enter()
        assert 'data-awaited="yes"' in one.ask(f"/run/{key_of(folder)}").text
        assert one.ask(f"/api/run/{key_of(folder)}/drawing").status == 404
        assert one.ask(f"/run/{key_of(tmp_path / 'e' / 'another')}").status == 404
        done = root / "runs" / "visual-inspection" / "done"
        folder.mkdir(parents=True)
        shutil.copy(done / "run.json", folder)  # it comes before the plan
        assert one.ask(f"/api/run/{key_of(folder)}/drawing").data["nodes"] == []
        assert "data-edges" not in one.ask(f"/run/{key_of(folder)}").text
        shutil.copytree(done, folder, dirs_exist_ok=True)
        assert len(one.ask(f"/api/run/{key_of(folder)}/drawing").data["nodes"]) == 3 + 6 + 6
        assert "data-edges" in one.ask(f"/run/{key_of(folder)}").text


def test_everything_of_a_finished_run_is_told(server: Served, root: Path) -> None:
    key = key_of(root / "runs" / "visual-inspection" / "done")
    (_, state), end = server.events(f"/api/run/{key}/stream")
    assert end == ("end", "over")
    drawing = server.ask(f"/api/run/{key}/drawing").data
    assert {node["label"] for node in drawing["nodes"] if node["kind"] == "chip"} == {f"camera-{i}" for i in range(4)} | {
        "detector-0",
        "trainer-0",
    }
    assert state["edges"].keys() == {edge["id"] for edge in drawing["edges"]}
    models = next(edge for edge in drawing["edges"] if edge["stream"] == "trainer.models")
    assert (models["from"], models["to"], models["delivery"]) == ("trainer-0", "detector-0", "latest")
    assert state["edges"][models["id"]]["transfer"] == pytest.approx(0.047, abs=0.003)
    direct = next(edge for edge in drawing["edges"] if edge["from"] == "camera-0" and edge["to"] == "detector-0")
    assert state["edges"][direct["id"]]["rate"] == pytest.approx(50, rel=0.05)
    assert state["edges"][direct["id"]]["asked"]["delay"].startswith("5")
    assert state["edges"][direct["id"]]["ok"] is True
    assert {host["name"] for host in state["hosts"]} == {"edge-0", "edge-1", "edge-2", "edge-3", "fog-0", "cloud-0"}
    assert all(host["energy"] > 0 and host["cpu"] > 0 and host["memory"] > 0 for host in state["hosts"])
    assert [chart["id"] for chart in state["charts"]][:4] == ["accuracy", "latency", "throughput", "staleness"]
    for chart in state["charts"]:
        assert chart["x"] == sorted(chart["x"])
        assert all(len(line["y"]) == len(chart["x"]) for line in chart["series"])


@pytest.mark.parametrize("query", ["start=x", "width=abc", "end=1e"])
def test_what_is_no_number_is_refused(server: Served, root: Path, query: str) -> None:
    answer = server.ask(f"/api/run/{key_of(root / 'runs' / 'visual-inspection' / 'done')}/charts?{query}")
    assert answer.status == 400
    assert "is no number" in answer.data["what"]


@pytest.mark.parametrize("width", ["inf", "-inf", "nan", "-5", "1e300"])
def test_any_number_is_a_width(server: Served, root: Path, width: str) -> None:
    key = key_of(root / "runs" / "visual-inspection" / "done")
    for path in (f"/api/compare/charts?of={key}&width={width}", f"/api/run/{key}/charts?width={width}&start={width}&end={width}"):
        assert server.ask(path).status == 200, path


def test_runs_are_compared_with_the_first(server: Served, root: Path) -> None:
    folder = root / "runs" / "visual-inspection"
    keys = "&".join(f"of={key_of(folder / name)}" for name in ("done", "other", "done"))
    found = server.ask(f"/api/compare?{keys}").data
    assert [side["name"] for side in found["sides"]] == ["done", "other", "done"]
    accuracy = next(row for row in found["rows"] if row["response"] == "accuracy")
    assert accuracy["first"] == accuracy["cells"][1]["value"]
    energy = next(row for row in found["rows"] if row["response"] == "energy")
    assert energy["cells"][1]["verdict"] == "equivalent"
    one = server.ask(f"/api/compare?of={key_of(folder / 'done')}")
    assert one.status == 400
    assert "choose two" in one.data["remedy"]


def test_a_study_is_told_row_by_row(server: Served, root: Path) -> None:
    found = server.ask(f"/api/study/{key_of(root / 'studies' / 'placements')}").data
    assert [(row["run"], row["status"], row["levels"]["placement"]) for row in found["rows"]] == [
        (1, "done", "fog"), (2, "done", "edge"), (3, "running", "fog"), (4, "to do", "edge")
    ]  # fmt: skip
    assert found["rows"][0]["key"] == key_of(root / "studies" / "placements" / "runs" / "1-2")
    assert found["rows"][3]["key"] is None
    assert found["counts"] == {"done": 2, "running": 1, "to do": 1}
    assert found["pages"] == ["explain.html"]
    assert found["left"] > 0


def test_prometheus_reads_what_it_is_told(server: Served, root: Path) -> None:
    answer = server.ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    (info,) = families["estran_run_info"].samples
    assert info.labels["run"] == "study-3-1"  # the one that goes on
    assert info.labels["status"] == "running"
    messages = {
        tuple(s.labels[n] for n in ("stream", "producer", "consumer")): s.value for s in families["estran_stream_messages"].samples
    }
    assert messages["camera.samples", "camera-0", "detector-0"] == 400
    assert {sample.labels["quantile"] for sample in families["estran_latency_seconds"].samples} == {"0.5", "0.95", "0.99"}
    assert {sample.labels["host"] for sample in families["estran_host_cpu_cores"].samples} >= {"fog-0", "cloud-0"}
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families.values())
    assert all(math.isfinite(sample.value) for family in families.values() for sample in family.samples)


def test_labels_of_hostile_runs_stay_labels(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "runs" / "visual-inspection" / "hostile", tmp_path / "e" / "r")
    with served([tmp_path]) as one:
        one.enter()
        families = {family.name: family for family in text_string_to_metric_families(one.ask("/metrics").text)}
        assert "<script>alert(1)</script>" in families["estran_run_info"].samples[0].labels["experiment"]


def test_without_runs_there_is_nothing_to_scrape(tmp_path: Path) -> None:
    with served([tmp_path]) as one:
        one.enter()
        (family,) = text_string_to_metric_families(one.ask("/metrics").text)
        assert (family.name, family.samples[0].value) == ("estran_runs", 0)
        found = one.ask("/api/list").data
        assert (found["runs"], found["studies"]) == ([], [])
        assert one.ask(f"/api/list?known={found['state']}").data == {"state": found["state"]}


def test_the_dashboard_asks_for_metrics_that_there_are(server: Served) -> None:
    dashboard = server.ask("/grafana.json").data
    text = server.ask("/metrics").text
    asked = {word for panel in dashboard["panels"] for word in _names(panel["targets"][0]["expr"])}
    told = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert asked - told <= {"estran_alerts"}  # there are none in this run
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def _names(query: str) -> set[str]:
    return {word for word in query.replace("(", " ").replace("{", " ").split() if word.startswith("estran_")}


def test_a_damaged_run_is_a_problem_not_a_crash(root: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(root / "runs" / "visual-inspection" / "other", tmp_path / "e" / "r"))
    (folder / "messages.parquet").write_bytes(b"PAR1 no PAR1")
    with served([tmp_path]) as one:
        one.enter()
        assert one.ask("/api/list").data["runs"][0]["status"] == "done"
        answer = one.ask(f"/api/run/{key_of(folder)}/charts")
        assert answer.status == 500
        assert "cannot be read" in answer.data["what"]


def test_ten_thousand_points_come_down_to_the_screens_width(root: Path, tmp_path: Path) -> None:
    growing = Growing(root / "runs" / "visual-inspection" / "done", tmp_path / "e" / "r")
    rows = [(i * 0.5, "fog-0", "", "memory", 1e9 * (i % 977)) for i in range(10_000)]
    growing.store.add("metrics", rows)
    growing.until(9.0)
    with served([tmp_path]) as one:
        one.enter()
        begun = time.perf_counter()
        found = one.ask(f"/api/run/{key_of(growing.folder)}/charts?width=600").data
        assert time.perf_counter() - begun < 30
        memory = next(chart for chart in found if chart["id"] == "memory")
        (line,) = [line for line in memory["series"] if line["label"] == "fog-0"]
        known = [value for value in line["y"] if value is not None]
        assert len(known) <= 600
        assert max(known) == pytest.approx(975.5e9, rel=0.01)
        assert len(json.dumps(memory)) < 100_000
    growing.store.close()


def test_what_breaks_while_a_run_is_followed_is_told(root: Path, tmp_path: Path) -> None:
    growing = Growing(root / "runs" / "visual-inspection" / "done", tmp_path / "e" / "r")
    growing.until(1.0)
    with served([tmp_path]) as one:
        one.enter()
        seen = one.events(f"/api/run/{key_of(growing.folder)}/stream")
        assert next(seen)[0] == "message"
        (growing.folder / "plan.json").write_text("{")
        name, said = list(seen)[-1]
        assert name == "problem"
        assert "plan.json" in said
    growing.store.close()


def test_of_a_very_long_log_the_end_is_told(root: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(root / "runs" / "visual-inspection" / "other", tmp_path / "r"))
    text = "".join(f"{i * 0.001:10.3f} stdout line {i} {'x' * 60}\n" for i in range(120_000))
    (folder / "logs" / "trainer-0.log").write_text(text)
    assert len(text) > TAIL
    found = read_logs(folder, "trainer-0", 0, "")
    assert len(found["lines"]) == MOST
    assert found["lines"][-1][3].startswith("line 119999 ")
    assert found["next"] < 120_000
    assert read_logs(folder, "trainer-0", found["next"], "")["lines"] == []
