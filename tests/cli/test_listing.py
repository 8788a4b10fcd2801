"""Which runs and studies are meant by what a user writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.cli.listing import find_run, find_study
from estran.cli.look import ls
from estran.errors import RequestError
from estran.study.folder import Asked, Folder
from estran.study.rows import Row


def test_the_latest_study_is_the_newest_of_all_experiments(tmp_path: Path) -> None:
    for name in ("a/20261101-120000-aaaa", "b/20261102-120000-bbbb", "c/20261101-130000-cccc"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "study.json").write_text("{}")
    (tmp_path / "d" / "20261103-120000-dddd").mkdir(parents=True)
    assert find_study(Path("latest"), tmp_path).name == "20261102-120000-bbbb"
    assert find_study(tmp_path / "a", tmp_path) == tmp_path / "a"


def test_without_a_study_there_is_no_latest(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no study"):
        find_study(Path("latest"), tmp_path)


def begun(path: Path) -> Path:
    """A study of two rows, of which one is done."""
    asked = Asked(
        "planted", "experiment.yaml", "0", "simulate", None, (),
        design="full", samples=None, replicates=2, seed=1, retries=0, factors={},
    )  # fmt: skip
    study = Folder.make(path, asked, [Row(1, 1, 1, 1, {}), Row(2, 2, 1, 2, {})])
    run = study.attempt(study.rows[0], 1)
    run.mkdir()
    plain = {"schema": 1, "id": run.name, "experiment": "planted", "status": "done", "platform": "simulate", "seed": 1}
    (run / "run.json").write_text(json.dumps(plain | {"started": "2026-11-23T18:00:00Z", "warmup": 0.0, "duration": 1.0}))
    return path


def test_a_folder_is_listed_with_its_studies_and_a_study_with_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = begun(tmp_path / "planted" / "20261101-120000-aaaa")
    for folder in (tmp_path, tmp_path / "planted"):
        ls(folder)
        shown = capsys.readouterr().out
        assert "20261101-120000-aaaa" in shown
        assert "1 of 2 done" in shown
    ls(study)
    assert "1-1" in capsys.readouterr().out
    ls(tmp_path, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == []
    assert [(one["design"], one["runs"], one["done"]) for one in told["studies"]] == [("full", 2, 1)]


def test_a_search_is_listed_once_and_a_damaged_study_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = tmp_path / "20261101-120000-aaaa"
    begun(search / "simulate")
    (search / "optimize.json").write_text(
        json.dumps({"experiment": "planted", "fidelities": [{"name": "simulate", "on": "simulate"}]})
    )
    (tmp_path / "20261102-120000-bbbb").mkdir()
    (tmp_path / "20261102-120000-bbbb" / "study.json").write_text("{")
    ls(tmp_path, json=True)
    told = json.loads(capsys.readouterr().out)["studies"]
    assert [(one["id"][-4:], one["design"], one["runs"], one["done"]) for one in told] == [
        ("aaaa", "search", 1, 1),
        ("bbbb", "damaged", 0, 0),
    ]


def test_who_names_a_study_for_a_run_is_told_what_to_name(tmp_path: Path) -> None:
    study = begun(tmp_path / "studies" / "a")
    with pytest.raises(RequestError, match="of a study, not of a run") as caught:
        find_run(str(study), tmp_path)
    assert caught.value.remedy == f"name one of its runs; `estran ls {study}` lists them"
