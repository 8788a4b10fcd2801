"""Secrets that were in the environment or on the command line are in no crate."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import duckdb
import pytest

from estran.errors import RequestError
from estran.reproduce.writing import write_crate
from tests.reproduce.experiments import EXPERIMENT, experiment, simulated_run
from tests.run.experiments import PARTS, estran

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "planted-in-environment-1",
    "ESTRAN_API_TOKEN": "planted-in-environment-2",
    "HTTPS_PROXY": "http://user:planted-in-proxy@proxy.example:3128",
    "OMP_DISPLAY_AFFINITY": "https://user:planted-in-url@example.org",
}
OPTIONS = (
    "services.total.env.DB_PASSWORD=planted-on-command-line-1",
    "services.total.env.SAFE=planted-in-environment-1",
)


def test_no_planted_secret_reaches_a_crate(tmp_path: Path) -> None:
    experiment(tmp_path)
    telling = "        import os\n        print(os.environ['AWS_SECRET_ACCESS_KEY'])\n        total = 0.0\n"
    (tmp_path / "parts.py").write_text(PARTS.replace("        total = 0.0\n", telling))
    (tmp_path / ".env").write_text("TOKEN=planted-in-dotenv\n")
    for argv in (["init", "-q"], ["add", "-A", "-f"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *argv], check=True)
    (tmp_path / ".env").write_text("TOKEN=planted-in-dotenv-diff\n")
    options = [part for option in OPTIONS for part in ("--set", option)]
    made = estran("run", "experiment.yaml", "--on", "simulate", "--json", *options, cwd=tmp_path, env=SECRETS)
    run = tmp_path / json.loads(made.stdout)["folder"]
    assert "planted-in-environment-1" in (run / "logs" / "total-0.log").read_text()
    done = estran("export", str(run), "--json", "--out", "x.zip", cwd=tmp_path, env=SECRETS)
    assert done.returncode == 0, done.stderr
    warnings = json.loads(done.stdout)["warnings"]
    assert any("total-0.log: a secret is hidden" in warning for warning in warnings)
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        archive.extractall(unpacked)
    for path in unpacked.rglob("*"):
        if path.is_file():
            assert b"planted-" not in path.read_bytes(), path
            if path.suffix == ".parquet":
                rows = duckdb.connect(":memory:").execute(f"FROM '{path}'").fetchall()
                assert "planted-" not in repr(rows), path


def test_secrets_of_a_studys_command_line_are_hidden(tmp_path: Path) -> None:
    experiment(tmp_path)
    options = ("--set", OPTIONS[0], "--replicates", "1", "--on", "simulate", "--json")
    made = estran("study", "experiment.yaml", *options, cwd=tmp_path)
    study = tmp_path / json.loads(made.stdout)["study"]
    assert "planted-" in (study / "study.json").read_text(), "estran resume needs it"
    path, crate = write_crate(study)
    assert crate.asked.overrides == ("services.total.env.DB_PASSWORD=<hidden>",)
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if b"planted-" in archive.read(name)]


def test_a_description_with_a_secret_is_refused(tmp_path: Path) -> None:
    experiment(tmp_path)
    file = tmp_path / "experiment.yaml"
    file.write_text(EXPERIMENT.replace("costs: {add: 1ms}", "costs: {add: 1ms}, env: {API_KEY: swordfish-9}"))
    run = simulated_run(tmp_path)
    assert "swordfish" not in (run / "experiment.yaml").read_text()
    assert "hides" in " ".join(json.loads((run / "run.json").read_text())["warnings"])
    with pytest.raises(RequestError, match=r"experiment\.yaml: it holds what looks like a secret"):
        write_crate(run)


def test_code_with_a_secret_of_the_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment(tmp_path)
    (tmp_path / "notes.txt").write_text("the token is swordfish-9\n")
    run = simulated_run(tmp_path)
    monkeypatch.setenv("MY_TOKEN", "swordfish-9")
    with pytest.raises(RequestError, match=r"notes\.txt: it holds the value of a variable"):
        write_crate(run)
