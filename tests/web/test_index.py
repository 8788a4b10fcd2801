"""Runs and studies as they are found, and found again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from estran.errors import RequestError
from estran.web.index import Index, key_of


def test_runs_and_studies_are_found_newest_first(root: Path) -> None:
    index = Index([root])
    runs = index.runs()
    started = [run.started or "" for run in runs]
    assert started == sorted(started, reverse=True)
    assert runs[-1].name == "other"
    assert {run.name for run in runs} == {"done", "failed", "hostile", "other", "1-1", "1-2", "2-1", "3-1"}
    done = next(run for run in runs if run.name == "done")
    assert done.status == "done"
    assert done.factors == {"placement": "fog", "publish_every": "0.5s"}
    written = json.loads((root / "runs" / "visual-inspection" / "done" / "responses.json").read_text())
    assert done.responses["accuracy"] == pytest.approx(written["accuracy"]["value"], rel=1e-5)
    assert next(run for run in runs if run.name == "failed").failure == "the service trainer-0 ended with exit code 1 after 7.3 s"
    (study,) = index.studies(runs)
    assert (study.runs, study.done, study.failed, study.running) == (4, 2, 1, 1)
    assert {run.study for run in runs if "-" in run.name} == {study.key}


@pytest.mark.parametrize("inner", ["", "runs", "runs/visual-inspection", "runs/visual-inspection/done"])
def test_any_folder_above_a_run_may_be_watched(root: Path, inner: str) -> None:
    assert "done" in {run.name for run in Index([root / inner]).runs()}


def test_only_what_changed_is_read_again(root: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(root / "runs", tmp_path / "runs"))
    index = Index([folder])
    before = {run.key: run for run in index.runs()}
    state = index.state
    index.look()
    assert index.state == state
    changed = folder / "visual-inspection" / "other"
    document = json.loads((changed / "run.json").read_text()) | {"status": "interrupted"}
    (changed / "new").write_text(json.dumps(document))
    (changed / "new").replace(changed / "run.json")
    shutil.rmtree(folder / "visual-inspection" / "failed")
    after = {run.key: run for run in index.runs()}
    assert index.state != state
    assert before.keys() - after.keys() == {key_of(folder / "visual-inspection" / "failed")}
    assert after[key_of(changed)].status == "interrupted"
    assert all(after[key] is before[key] for key in after if key != key_of(changed))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": 3}', "\x00"])
def test_a_damaged_run_is_listed_as_such(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "runs" / "e" / "r"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(content)
    (folder / "responses.json").write_text(content)
    (run,) = Index([tmp_path]).runs()
    assert (run.name, run.status, run.experiment) == ("r", "damaged", "e")


def test_keys_are_of_what_is_there_only(root: Path) -> None:
    index = Index([root / "runs"])
    done = root / "runs" / "visual-inspection" / "done"
    assert index.path(key_of(done), "run") == done
    for key, kind in (
        (key_of(done), "study"),
        (key_of(root / "studies" / "placements"), "study"),
        ("..", "run"),
        (str(done), "run"),
    ):
        with pytest.raises(RequestError, match="there is no"):
            index.path(key, kind)


def test_folders_behind_links_are_not_found(root: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(root / "runs")
    assert Index([tmp_path]).runs() == []
    assert Index([tmp_path / "absent"]).runs() == []
