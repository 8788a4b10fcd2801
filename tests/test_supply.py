"""What Estran is made of: licences of what it needs, and an audit that does not take silence for an answer."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CI = Path(__file__).parents[1] / ".ci"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CI / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_an_extra_that_may_needs_the_gpl() -> None:
    done = subprocess.run([sys.executable, CI / "licences.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    users = {line[:32].strip(): line[52:93].strip() for line in done.stdout.splitlines()}
    assert users["numpy"] == "estran"
    assert "ansible" in users.get("ansible-core", "ansible")


@pytest.mark.parametrize(
    ("licence", "so"),
    [
        ("GPL-3.0-or-later", True), ("GNU General Public License v3 or later (GPLv3+)", True), ("AGPL-3.0-only", True),
        ("LGPL-3.0-or-later", False), ("EPL-2.0 OR GPL-2.0-or-later", False), ("BSD-3-Clause", False), ("MIT", False),
    ],
)  # fmt: skip
def test_the_gpl_is_known_where_it_is_the_only_choice(licence: str, so: bool) -> None:
    assert loaded("licences").is_gpl(licence) is so


@pytest.mark.parametrize(
    ("answers", "options", "status", "said"),
    [
        ([{"name": "numpy", "version": "2", "vulns": []}, {"name": "estran", "skip_reason": "local"}], [], 0, "no known holes"),
        ([{"name": "numpy", "version": "2", "vulns": []}, {"name": "rich", "skip_reason": "unknown"}], [], 1, "audit failed"),
        ([{"name": "rich", "skip_reason": "unknown"}], ["--where-possible"], 0, "audit skipped"),
        ([{"name": "rich", "version": "1", "vulns": [{"id": "X", "fix_versions": ["2"]}]}], ["--where-possible"], 1, "mended in 2"),
        (None, [], 1, "no route"),
        (None, ["--where-possible"], 0, "no route"),
    ],
)  # fmt: skip
def test_an_audit_that_could_not_ask_is_none(tmp_path: Path, answers: Any, options: list[str], status: int, said: str) -> None:
    program = tmp_path / "pip-audit"
    told = "echo no route >&2; exit 1" if answers is None else f"cat <<'E'\n{json.dumps({'dependencies': answers})}\nE"
    program.write_text(f"#!/bin/sh\n{told}\n")
    program.chmod(0o755)
    command = [sys.executable, str(CI / "audit.py"), str(program), str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr
