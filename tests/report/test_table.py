"""The summary for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from estran.report import print_summary
from tests.report.synthetic import Scene, write_run


def printed(folder: Path, width: int) -> str:
    out = StringIO()
    print_summary(Console(file=out, width=width, force_terminal=False), folder)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["done", "failed", "untaught", "hundred", "hostile"])
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(runs: Mapping[str, Path], kind: str, width: int) -> None:
    lines = printed(runs[kind], width).splitlines()
    assert max(len(line.rstrip()) for line in lines if not line.startswith("report")) <= width


def test_figures_come_with_their_intervals(runs: Mapping[str, Path]) -> None:
    words = printed(runs["done"], 80).replace("\u202f", " ")
    assert "✓ done" in words
    for row in ("accuracy", "accuracy_no_change", "latency_p99", "staleness", "energy (by model)"):
        assert row in words
    assert "79.1 to 87.8 %" in words
    assert "5 → 5." in words
    assert "netem is not in this kernel" in words


def test_a_failure_shows_where_why_what_to_do_and_the_log(runs: Mapping[str, Path]) -> None:
    words = printed(runs["failed"], 120)
    for part in ("phase measure · host cloud-0 · service trainer-0", "exit code 1", "→ mend the component", "ValueError: shapes"):
        assert part in words
    assert words.index("ValueError") < words.index("accuracy")


def test_markup_and_control_characters_of_users_are_text(runs: Mapping[str, Path]) -> None:
    words = printed(runs["hostile"], 120)
    assert "[bold]not markup[/bold] [/]" in words
    assert "\x1b" not in words
    assert "\x00" not in words
    assert "✗ 1 bad" in words


def test_what_broke_is_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "r", Scene(duration=8))
    assert "broken" not in printed(folder, 80)
    faults = [
        {"key": "wan/0", "kind": "cut", "begun": 4.0, "ended": 6.5},
        {"key": "late/0", "kind": "kill", "begun": None, "ended": None},
    ]
    (folder / "faults.json").write_text(json.dumps({"version": 1, "faults": faults, "without": {}}))
    told = " ".join(printed(folder, 80).replace("\u202f", " ").split())
    assert "broken on purpose wan/0 (cut) from 4 s to 6.5 s" in told
    assert "late/0" not in told
