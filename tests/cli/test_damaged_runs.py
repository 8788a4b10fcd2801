"""Looking at run folders that are damaged or not Estran's, on terminals that can show little."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run.experiments import estran


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "tiny" / "20260101-000000-abcd"
    run.mkdir(parents=True)
    return run


@pytest.mark.parametrize("text", ['{"schema": 1, "id"', "[]", ""])
@pytest.mark.parametrize("argv", [("show",), ("show", "latest", "--json"), ("report",)])
def test_a_damaged_record_is_named(tmp_path: Path, folder: Path, text: str, argv: tuple[str, ...]) -> None:
    (folder / "run.json").write_text(text)
    shown = estran(*argv, cwd=tmp_path)
    assert shown.returncode == 1
    assert "run.json" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_damaged_run_is_listed_as_such(tmp_path: Path, folder: Path) -> None:
    (folder / "run.json").write_text("{")
    listed = estran("ls", "--json", cwd=tmp_path)
    assert [run["status"] for run in json.loads(listed.stdout)["runs"]] == ["damaged"]


def test_a_terminal_without_utf_8_is_enough(tmp_path: Path) -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    refused = estran("check", "nothing.yaml", cwd=tmp_path, env=env)
    assert refused.returncode == 2
    assert "no such file" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "UnicodeEncodeError" not in estran("doctor", cwd=tmp_path, env=env).stderr


def test_an_example_cannot_be_written_everywhere(tmp_path: Path) -> None:
    refused = estran("init", "/proc/nowhere", cwd=tmp_path)
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr


@pytest.mark.parametrize("plan", ["{", "{}", "5", "[]", '{"replicas": [1]}', '{"replicas": 1}', '{"replicas": [{"name": "a-0"}]}'])
def test_logs_of_a_run_whose_plan_is_damaged(tmp_path: Path, folder: Path, plan: str) -> None:
    (folder / "run.json").write_text('{"schema": 1, "id": "x", "experiment": "tiny", "status": "done"}')
    (folder / "plan.json").write_text(plan)
    shown = estran("logs", "latest", "a", cwd=tmp_path)
    assert shown.returncode in (1, 2)
    assert ("plan.json" in shown.stderr) == (plan != "{}")
    assert "Traceback" not in shown.stderr
