from __future__ import annotations

from pathlib import Path

from estran.spec.own_files import own_files


def test_what_runs_leave_is_not_the_experiments_own(tmp_path: Path) -> None:
    for name in (
        "experiment.yaml", "parts.py", "data/a.csv", ".env", ".git/config", "__pycache__/parts.pyc", "runs/x/1/run.json",
        "results/x/1/run.json", "results/x/1/messages.parquet", "results/notes.txt", "s/study.json", "s/runs/1/run.json",
        "environment/pyvenv.cfg", "environment/lib/x.py",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert {name for name, _ in own_files(tmp_path)} == {"experiment.yaml", "parts.py", "data/a.csv", "results/notes.txt"}
