"""Crates in the eyes of others: the validator of the Process and Workflow Run Crate profiles, without a network."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from estran.reproduce import ro_crate
from estran.reproduce.layout import METADATA
from estran.reproduce.writing import write_crate
from tests.reproduce.experiments import simulated_run

pytest.importorskip("rocrate_validator", reason="needs roc-validator, which `make install-test` installs")

PROFILE = "workflow-run-crate"
"""Validated with those that it is a profile of: Process Run Crate, Workflow RO-Crate and RO-Crate."""
UNSAID = ("license", "author", "publisher", "agent", "url", "absolute URI")
"""What profiles recommend and nobody has said, or a file in a crate cannot have."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.reproduce.validator import warm

    path = tmp_path_factory.mktemp("cache") / "http"
    warm(path)
    return path


def valid(crate: Path, cache: Path) -> list[str]:
    """What is only recommended, after making sure that all that is required is there."""
    from tests.reproduce.validator import complaints

    assert complaints(crate, PROFILE, cache) == []
    return complaints(crate, PROFILE, cache, "RECOMMENDED")


def test_a_run(run: Path, cache: Path, tmp_path: Path) -> None:
    left = valid(write_crate(run, tmp_path)[0], cache)
    assert [complaint for complaint in left if not any(word in complaint for word in UNSAID)] == []


def test_a_run_of_someone_under_a_licence(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ESTRAN_AGENT", "Ada Lovelace <https://orcid.org/0000-0000-0000-0001>")
    run = simulated_run(tmp_path)
    path, _ = write_crate(run, licence="CC-BY-4.0")
    assert not [complaint for complaint in valid(path, cache) if "license" in complaint or "agent" in complaint]
    graph = {one["@id"]: one for one in json.loads(zipfile.ZipFile(path).read(METADATA))["@graph"]}
    assert graph["https://orcid.org/0000-0000-0000-0001"]["name"] == "Ada Lovelace"
    assert graph["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}


def test_a_failed_run(tmp_path: Path, cache: Path) -> None:
    path, _ = write_crate(simulated_run(tmp_path, "services.meter.with.fail_after=3"))
    valid(path, cache)
    actions = [one for one in json.loads(zipfile.ZipFile(path).read(METADATA))["@graph"] if one["@type"] == "CreateAction"]
    assert actions[0]["actionStatus"].endswith("FailedActionStatus")
    assert "fire" in actions[0]["error"]


def test_a_study(study: Path, cache: Path, tmp_path: Path) -> None:
    left = valid(write_crate(study, tmp_path)[0], cache)
    assert [complaint for complaint in left if not any(word in complaint for word in UNSAID)] == []


def test_a_study_of_very_many_runs(study: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ro_crate, "WHOLE", 2)
    path, crate = write_crate(study, tmp_path)
    valid(path, cache)
    graph = {one["@id"]: one for one in json.loads(zipfile.ZipFile(path).read(METADATA))["@graph"]}
    assert {"record/runs/1-1/responses.json", "record/study.json"} <= set(graph)
    assert crate.file("record/runs/1-1/messages.parquet") is not None
    assert "record/runs/1-1/messages.parquet" not in graph


def test_the_validator_would_complain(run: Path, cache: Path, tmp_path: Path) -> None:
    path, _ = write_crate(run, tmp_path)
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(damaged, "w") as target:
        for name in archive.namelist():
            data = archive.read(name)
            if name == METADATA:
                document = json.loads(data)
                document["@graph"] = [one for one in document["@graph"] if one["@type"] != "CreateAction"]
                data = json.dumps(document).encode()
            target.writestr(name, data)
    from tests.reproduce.validator import complaints

    assert complaints(damaged, PROFILE, cache)
