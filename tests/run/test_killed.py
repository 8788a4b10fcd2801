"""The conductor is killed -9 in every phase: `estran clean` leaves nothing of the run but its record, which says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from estran.run.cleaning import clean_leftovers
from tests.run import unprivileged
from tests.run.experiments import TINY, estran, record, run_folder, write
from tests.run.killed import PHASES, gone, mortal
from tests.run.unprivileged import need, through

SHORT = TINY.replace("hosts: 2", "hosts: 1").replace("warmup: 0.3s, duration: 1.5s", "warmup: 0.2s, duration: 1.2s")
MOMENTS = {
    "describe": "0", "provision": "0.15", "verify": "0.1", "launch": "0.1", "warm up": "0.1", "measure": "0.9",
    "finalise": "0.01", "give back": "0", "collect": "0.03", "record": "0",
}  # fmt: skip
"""Rows are under way for up to half a second before the conductor has them."""
MEASURED = ("measure", "finalise", "give back", "collect", "record")


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Journals of this test alone, in this process too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def test_no_phase_is_forgotten() -> None:
    assert {*PHASES, "describe", "record"} == set(MOMENTS)


@pytest.mark.parametrize("phase", MOMENTS)
def test_a_killed_conductor_leaves_nothing_after_clean(own_state: Path, phase: str) -> None:
    write(own_state, SHORT)
    mortal(phase, MOMENTS[phase], ["run", "experiment.yaml"], own_state)
    killed = record(own_state)
    (told,) = clean_leftovers()
    assert told.startswith(killed["id"])
    after = record(own_state)
    assert gone(own_state, after["id"]) == []
    assert (after["status"], after["failure"]["what"]) == ("failed", "the conductor was killed")
    assert after["failure"]["phase"] == {"describe": "start", "record": "collect"}.get(phase, phase)
    assert "running" not in {one["status"] for one in after["phases"]}
    folder = run_folder(own_state)
    if phase in MEASURED:
        assert json.loads((folder / "responses.json").read_text())["throughput"]["n"] > 5
        assert 0.1 < after["duration"] <= (1.19 if phase == "measure" else 1.4)  # what was measured, not what was planned
    else:
        assert after["duration"] == 0.0
        assert "killed before it was measured" in after["missing"]["all responses"]
    assert clean_leftovers() == []


def test_a_killed_run_can_be_shown_reported_and_packed(own_state: Path) -> None:
    write(own_state, SHORT)
    mortal("measure", "0.45", ["run", "experiment.yaml"], own_state)
    for verb in ("show", "report", "export"):  # nobody has cleaned up yet: what can be read is read, and what cannot is said
        told = estran(verb, "latest", cwd=own_state)
        assert told.returncode == {"export": 2}.get(verb, 0), told.stderr
        assert "Traceback" not in told.stderr
    assert "estran clean" in told.stderr
    assert len(clean_leftovers()) == 1
    shown = estran("show", "latest", cwd=own_state)
    assert shown.returncode == 0
    assert "the conductor was killed" in shown.stdout + shown.stderr
    assert estran("report", "latest", cwd=own_state).returncode == 0
    packed = estran("export", "latest", "--out", "crate.zip", cwd=own_state)
    assert packed.returncode == 0, packed.stderr
    assert "the conductor was killed" in packed.stderr


@pytest.fixture
def home() -> Iterator[Path]:
    with unprivileged.home() as folder:
        yield folder


@pytest.mark.parametrize("phase", ["verify", "measure"])
def test_a_killed_conductor_without_privilege_leaves_nothing_after_clean(home: Path, phase: str) -> None:
    need("open")
    write(home, SHORT)
    mortal(phase, MOMENTS[phase], ["run", "experiment.yaml"], home, through("open"))
    cleaned = estran("clean", cwd=home, env={"TMPDIR": str(home / "tmp")}, through=through("open"))
    assert cleaned.returncode == 0, cleaned.stderr
    assert gone(home, record(home)["id"]) == []
    assert record(home)["failure"]["what"] == "the conductor was killed"
