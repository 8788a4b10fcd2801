"""Plays of a workflow as they are read for the engine that does their tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.e2clab.plays import read_plays, refused
from estran.errors import SpecErrors
from tests.spec.e2clab.scenarios import SECOND, read

WORKFLOW = """
- hosts: cloud
  vars: {place: here, port: 1}
  vars_files: ["{{ artifacts_dir }}/ports.yaml", [absent.yaml, places.yaml]]
  launch:
  - {shell: echo, vars: {own: 1}}
"""


def test_variables_of_files_hold_over_those_of_the_play_and_under_those_of_a_task(tmp_path: Path) -> None:
    scenario = read(tmp_path, SECOND, workflow=WORKFLOW)
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir(exist_ok=True)
    (artifacts / "ports.yaml").write_text("{port: 2, own: 2}")
    (scenario.folder / "places.yaml").write_text("place: there")
    (play,) = read_plays(scenario, artifacts)
    (task,), _ = play.tasks["launch"]
    assert task["vars"] == {"place": "there", "port": 2, "own": 1}


def test_files_of_variables_that_cannot_be_used_are_told_together(tmp_path: Path) -> None:
    scenario = read(tmp_path, SECOND, workflow=WORKFLOW)
    (scenario.folder / "ports.yaml").write_text("- no map")
    with pytest.raises(SpecErrors) as raised:
        read_plays(scenario, scenario.folder)
    told = [str(error) for error in raised.value.errors]
    assert len(told) == 2
    assert "variables must be a map" in told[0]
    assert "there is no absent.yaml or places.yaml" in told[1]
    assert len(refused(scenario, scenario.folder)) == 2
