from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from estran.errors import DataError
from estran.observe import manifest as manifest_module
from estran.observe.manifest import capture, git_state, manifest
from estran.spec.own_files import own_files


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text("experiment: x\n")
    return path


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


def test_facts(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (experiment.parent / "data.csv").write_text("1\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ESTRAN_API_TOKEN", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    facts = manifest(experiment, command=["estran", "run"], inputs=[experiment.parent / "data.csv"])
    assert facts["hashes"]["experiment.yaml"] == "sha256:" + hashlib.sha256(b"experiment: x\n").hexdigest()
    assert set(facts["hashes"]) == {"experiment.yaml", "data.csv"}
    assert facts["command"] == ["estran", "run"]
    assert facts["environment"]["OMP_NUM_THREADS"] == "1"
    assert "hush" not in json.dumps(facts)
    assert facts["hardware"]["cores"] >= 1
    assert facts["hardware"]["memory"] > 1e8
    assert "numpy" in facts["packages"]
    assert facts["sysctls"].get("net.ipv4.tcp_congestion_control", "cubic")


def test_missing_input_is_named(experiment: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv"):
        manifest(experiment, inputs=[experiment.parent / "absent.csv"])


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_commit_and_changes(experiment: Path) -> None:
    folder = experiment.parent
    git(folder, "init", "-q")
    assert git_state(folder) is None  # no commit yet
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    clean = git_state(folder)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    experiment.write_text("experiment: y\n")
    first = git_state(folder)
    experiment.write_text("experiment: z\n")
    second = git_state(folder)
    assert first is not None
    assert second is not None
    assert first["dirty"]
    assert first["diff"] != second["diff"]


def test_without_git(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(experiment.parent) is None


def test_nobody_is_named_unasked(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESTRAN_AGENT", raising=False)
    assert manifest(experiment)["agent"] is None
    monkeypatch.setenv("ESTRAN_AGENT", "Ada Lovelace <https://orcid.org/0000-0000-0000-0001>")
    assert manifest(experiment)["agent"] == {"name": "Ada Lovelace", "id": "https://orcid.org/0000-0000-0000-0001"}
    monkeypatch.setenv("ESTRAN_AGENT", "Ada Lovelace")
    assert manifest(experiment)["agent"] == {"name": "Ada Lovelace"}


def test_secrets_of_the_command_line_are_hidden(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "swordfish-1")
    asked = {"overrides": ["services.a.env.X=swordfish-1"], "seed": 3}
    facts = capture(experiment, command=["estran", "--set", "services.a.env.PASSWORD=hunter2hunter2"], asked=asked).manifest
    assert "swordfish" not in json.dumps(facts)
    assert "hunter2" not in json.dumps(facts)
    assert facts["asked"]["seed"] == 3


def test_too_much_is_named_but_not_hashed(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = experiment.parent
    (folder / "large.bin").write_bytes(b"x" * 1000)
    (folder / "small.bin").write_bytes(b"x" * 10)
    monkeypatch.setattr(manifest_module, "MOST_BYTES", 100)
    facts = capture(experiment, own=own_files(folder)).manifest
    assert set(facts["hashes"]) == {"experiment.yaml", "small.bin"}
    assert facts["unhashed"] == {"large.bin": 1000}


def test_a_changed_file_is_hashed_anew(experiment: Path) -> None:
    data = experiment.parent / "data.csv"
    data.write_text("1")
    first = capture(experiment, own=own_files(experiment.parent)).manifest["hashes"]["data.csv"]
    data.write_text("22")
    assert capture(experiment, own=own_files(experiment.parent)).manifest["hashes"]["data.csv"] != first
