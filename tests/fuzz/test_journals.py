"""Journals that somebody else wrote, or that were cut short: `estran clean` ends and removes nothing that is not its run's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from estran.run.cleaning import clean_leftovers
from estran.run.journal import RUN_VARIABLE, journal_folder

from .hostile import HOSTILE, as_json, bounded, examples, judged, mutated_lines

RUN = "20260101-000000-dead"


def lines(folder: Path, run: str = RUN) -> bytes:
    entries = [
        {"kind": "conductor", "value": f"999999999 1 {folder}"},
        {"kind": "process", "value": run},
        {"kind": "folder", "value": str(folder)},
    ]
    return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal_folder().mkdir(parents=True)
    return tmp_path / "state"


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of another run, which goes on."""
    program = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(program, env={**os.environ, RUN_VARIABLE: "20260101-000001-beef"})
    yield process
    assert process.poll() is None, "it was killed"
    process.kill()
    process.wait()


def written(content: bytes, name: str = f"{RUN}.jsonl", mode: int = 0o600) -> Path:
    path = journal_folder() / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder that is no run's: with a record of another run that goes on."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"schema": 1, "id": "other", "experiment": "x", "status": "running", "phases": []}))
    (folder / "live.sqlite").write_bytes(b"mine")
    return folder


@examples(20)
@given(data=st.data())
def test_whatever_a_journal_says(state: Path, bystander: subprocess.Popen[bytes], foreign: Path, data: st.DataObject) -> None:
    before = {path.name: path.read_bytes() for path in foreign.iterdir()}
    path = written(data.draw(mutated_lines(lines(foreign))))
    judged(clean_leftovers)
    assert bystander.poll() is None
    assert {one.name: one.read_bytes() for one in foreign.iterdir()} == before
    path.unlink(missing_ok=True)


def test_a_whole_journal_is_acted_upon(state: Path, bystander: subprocess.Popen[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"schema": 1, "id": RUN, "experiment": "x", "status": "running", "phases": []}))
    path = written(lines(folder))
    mine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, RUN_VARIABLE: RUN})
    time.sleep(0.2)
    assert [text.partition(",")[0] for text in clean_leftovers()] == [f"{RUN}: 1 processes"]
    assert mine.wait(10) < 0
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o602])
def test_a_journal_that_others_can_write_is_left_alone(state: Path, foreign: Path, mode: int) -> None:
    path = written(lines(foreign), mode=mode)
    (said,) = clean_leftovers()
    assert "others could have written it" in said
    assert path.exists()


def test_links_and_pipes_are_no_journals(state: Path, foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.jsonl").write_bytes(lines(foreign))
    (journal_folder() / "a.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    os.mkfifo(journal_folder() / "b.jsonl", 0o600)
    (journal_folder() / "c.jsonl").mkdir()
    with bounded(20):
        assert len(clean_leftovers()) == 3
    assert (tmp_path / "elsewhere.jsonl").exists()


@pytest.mark.parametrize(
    "conductor", ["-1 1 /x", "1/../self 1 /x", "1", "", "1 1 relative", "99999999999999999999 1 /x", "1 x /y", "١ 1 /x"]
)
def test_a_conductor_that_is_none_is_said(state: Path, conductor: str) -> None:
    written((json.dumps({"kind": "conductor", "value": conductor}) + "\n").encode())
    (said,) = clean_leftovers()
    assert "names no conductor" in said


@examples(15)
@given(value=HOSTILE)
@example(value="\ud800")
def test_whatever_the_ledger_of_reservations_says(state: Path, value: object) -> None:
    ledger = state / "estran" / "testbeds"
    ledger.mkdir(parents=True, exist_ok=True)
    (ledger / "g5k-x.json").write_bytes(as_json({"request": value, "keep": False, "jobs": value, "ends_at": value}))
    judged(clean_leftovers)


@pytest.mark.parametrize("value", ["", "{", "[]", '{"job": 1}', '{"job": "x", "login": {"host": []}, "configuration": null}'])
def test_a_job_that_is_none_is_said(state: Path, tmp_path: Path, value: str) -> None:
    written(lines(tmp_path / "gone") + (json.dumps({"kind": "slurm", "value": value}) + "\n").encode())
    (said,) = clean_leftovers()
    assert "names no job of Slurm" in said
