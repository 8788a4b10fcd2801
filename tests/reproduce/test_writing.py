"""Crates: what is in them, that it is what ran, and that it is always the same."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from estran.errors import RequestError
from estran.reproduce.layout import DOCUMENT, METADATA, SEAL, Crate, decode
from estran.reproduce.writing import write_crate
from tests.reproduce.experiments import experiment, simulated_run


def opened(path: Path) -> tuple[zipfile.ZipFile, Crate]:
    archive = zipfile.ZipFile(path)
    return archive, decode(archive.read(DOCUMENT), str(path))


def test_a_run_with_all_that_it_was_made_of(run: Path, tmp_path: Path) -> None:
    path, crate = write_crate(run, tmp_path)
    _, read = opened(path)
    assert read == crate
    assert (crate.kind, crate.experiment, crate.id, crate.status) == ("run", "tiny", run.name, "done")
    roles = {file.path: file.role for file in crate.files}
    assert roles["experiment/experiment.yaml"] == "description"
    assert roles["experiment/parts.py"] == roles["experiment/start.sh"] == "code"
    assert roles["experiment/data/levels.csv"] == "data"
    assert roles["record/messages.parquet"] == roles["record/provenance.jsonl"] == "record"
    assert [path for path, role in roles.items() if role == "estran"] == ["environment/estran-0.1.0-py3-none-any.whl"]
    assert not [path for path in roles if "work/" in path or path.endswith(".crate.zip")]
    assert (crate.asked.verb, crate.asked.seed, crate.asked.file) == ("run", 1, "experiment/experiment.yaml")
    assert crate.warnings == ()


def test_every_file_is_as_the_index_says(run: Path, tmp_path: Path) -> None:
    path, crate = write_crate(run, tmp_path)
    archive, _ = opened(path)
    assert set(archive.namelist()) == {file.path for file in crate.files} | {DOCUMENT}
    for file in crate.files:
        data = archive.read(file.path)
        assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
        assert bool(archive.getinfo(file.path).external_attr >> 16 & 0o100) == file.executable
    assert crate.file("experiment/start.sh").executable  # type: ignore[union-attr]
    assert archive.comment.decode() == SEAL + hashlib.sha256(archive.read(DOCUMENT)).hexdigest()


def test_the_same_record_gives_the_same_bytes(run: Path, study: Path, tmp_path: Path) -> None:
    for number, folder in enumerate((run, study)):
        first, again = (write_crate(folder, tmp_path / f"{number}{name}.zip")[0] for name in "ab")
        assert first.read_bytes() == again.read_bytes()


def test_the_same_seed_leaves_the_same_provenance(tmp_path: Path) -> None:
    first, again = (simulated_run(tmp_path) / "provenance.jsonl" for _ in range(2))
    assert first.read_bytes() == again.read_bytes()
    assert b"service/meter-0" in first.read_bytes()


def test_what_was_changed_since_the_commit_is_in_the_record(tmp_path: Path) -> None:
    experiment(tmp_path)
    for argv in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *argv], check=True)
    (tmp_path / "data" / "levels.csv").write_text("a,b\n3,4\n")
    run = simulated_run(tmp_path)
    assert json.loads((run / "manifest.json").read_text())["git"]["dirty"] is True
    _, crate = write_crate(run)
    assert crate.file("record/changes.patch") is not None
    assert "+3,4" in (run / "changes.patch").read_text()


def test_roles_are_apart_from_the_platform(run: Path, tmp_path: Path) -> None:
    _, crate = write_crate(run, tmp_path)
    assert [(part.layer, part.hosts, part.device, part.services) for part in crate.parts] == [
        ("edge", 2, "cloud-vm-2", ("meter",)),
        ("cloud", 1, "cloud-vm-2", ("total",)),
    ]
    assert (crate.binding.platform, crate.binding.on, crate.binding.file) == ("simulate", "simulate", None)
    assert crate.binding.machine["kernel"].startswith("Linux")


def test_overrides_and_levels_are_asked_for_again(tmp_path: Path) -> None:
    run = simulated_run(tmp_path, "rate=40", "layers.edge.hosts=1", seed=7)
    _, crate = write_crate(run, tmp_path)
    assert (crate.asked.overrides, crate.asked.seed) == (("rate=40", "layers.edge.hosts=1"), 7)
    assert crate.parts[0].hosts == 1


def test_a_study_with_all_its_runs(study: Path, tmp_path: Path) -> None:
    path, crate = write_crate(study, tmp_path)
    archive, _ = opened(path)
    assert (crate.kind, crate.asked.verb, crate.asked.design, crate.asked.replicates) == ("study", "study", "full", 2)
    assert {f"record/runs/{number}-1/responses.json" for number in range(1, 5)} <= set(archive.namelist())
    assert {"record/study.json", "record/design.csv", "record/responses.csv"} <= set(archive.namelist())


def test_a_calibration_from_elsewhere_lies_beside_the_description(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    experiment(tmp_path / "exp")
    calibration = tmp_path / "known.json"
    calibration.write_text(json.dumps({"schema": 1}))
    run = simulated_run(tmp_path / "exp", calibration=str(calibration))
    _, crate = write_crate(run, tmp_path)
    assert crate.asked.calibration == "experiment/known.json"
    assert crate.file("experiment/known.json").role == "calibration"  # type: ignore[union-attr]


def test_a_platform_file_stays_at_home(own_run: Callable[[], Path]) -> None:
    run = own_run()
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["hashes"]["lab.yaml"] = "sha256:0"
    (run / "manifest.json").write_text(json.dumps(manifest | {"platform_file": "lab.yaml"}))
    (run.parents[2] / "lab.yaml").write_text("platform: ssh\nhosts: [{host: secret.example}]\n")
    path, crate = write_crate(run)
    assert (crate.binding.on, crate.binding.file) == ("lab.yaml", "sha256:0")
    assert not [name for name in zipfile.ZipFile(path).namelist() if "lab.yaml" in name]


def test_what_has_changed_since_the_run_is_refused_by_name(own_run: Callable[[], Path]) -> None:
    run = own_run()
    parts = run.parents[2] / "parts.py"
    parts.write_text(parts.read_text() + "\n")
    with pytest.raises(RequestError, match=r"parts\.py: it has changed since the run"):
        write_crate(run)


@pytest.mark.parametrize("reads", ["open('data/levels.csv')", "read('levels')", "(HERE / 'data').glob('*')"])
def test_what_is_gone_is_refused_by_name_where_a_module_names_it(tmp_path: Path, reads: str) -> None:
    file = experiment(tmp_path)
    (tmp_path / "readings.py").write_text(f"def load():\n    return {reads}\n")
    (tmp_path / "parts.py").write_text("import readings\n" + (tmp_path / "parts.py").read_text())
    run = simulated_run(file.parent)
    (tmp_path / "data" / "levels.csv").unlink()
    with pytest.raises(RequestError, match=r"levels\.csv: it is gone"):
        write_crate(run)


def test_what_nothing_names_may_change_and_is_left_out_with_a_warning(own_run: Callable[[], Path]) -> None:
    run = own_run()
    home = run.parents[2]
    (home / "data" / "levels.csv").write_text("scratch\n")
    _, crate = write_crate(run)
    assert crate.file("experiment/data/levels.csv") is None
    assert crate.file("experiment/parts.py") is not None
    (told,) = [warning for warning in crate.warnings if "levels" in warning]
    assert told == "data/levels.csv is not in the crate: it has changed since the run, and nothing in the experiment names it"


def test_a_record_that_was_touched_is_refused_by_name(own_run: Callable[[], Path]) -> None:
    run = own_run()
    responses = run / "responses.json"
    responses.write_text(responses.read_text().replace("1", "2", 1))
    with pytest.raises(RequestError, match=r"responses\.json: it is no longer what the run left"):
        write_crate(run)


def test_a_run_that_goes_on_is_refused(own_run: Callable[[], Path]) -> None:
    run = own_run()
    record = run / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"status": "running"}))
    with pytest.raises(RequestError, match="goes on"):
        write_crate(run)


def test_a_moved_experiment_can_be_shown(own_run: Callable[[], Path], tmp_path: Path) -> None:
    run = own_run()
    kept = tmp_path / "kept"
    run.rename(kept)
    home = tmp_path / "elsewhere"
    (tmp_path / "copy").rename(home)
    with pytest.raises(RequestError, match="no longer there"):
        write_crate(kept)
    for shown in (home / "experiment.yaml", home):
        path, _ = write_crate(kept, experiment=shown)
        assert path.parent == tmp_path
        path.unlink()


def test_a_failed_run_is_packed_with_a_warning(tmp_path: Path) -> None:
    run = simulated_run(tmp_path, "services.meter.with.fail_after=3")
    _, crate = write_crate(run, tmp_path)
    assert crate.status == "failed"
    assert any("the sensor is on fire" in warning for warning in crate.warnings)


def test_a_study_that_is_not_complete_says_so(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    shutil.rmtree(copy / "runs" / "2-1")
    _, crate = write_crate(copy)
    assert (crate.status, crate.warnings) == ("failed", ("1 runs of the study are not done: estran resume",))


def test_a_later_attempt_makes_a_study_whole(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    shutil.copytree(copy / "runs" / "2-1", copy / "runs" / "2-2")
    record = copy / "runs" / "2-1" / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"status": "failed", "failure": {"what": "it rained"}}))
    _, crate = write_crate(copy)
    assert (crate.status, crate.warnings) == ("done", ("runs/2-1 failed: it rained",))


def test_an_optimisation_is_its_studies(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "optimisation"
    shutil.copytree(study, copy / "simulate")
    (copy / "optimize.json").write_text(json.dumps({"seed": 5, "trials": 4}))
    _, crate = write_crate(copy)
    assert (crate.kind, crate.status, crate.asked.verb, crate.asked.seed) == ("optimisation", "done", "optimize", 5)
    assert crate.file("record/simulate/runs/1-1/responses.json") is not None


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    write_crate(run, tmp_path)
    with pytest.raises(RequestError, match="there already"):
        write_crate(run, tmp_path)
    with pytest.raises(RequestError, match="no such folder"):
        write_crate(run, tmp_path / "absent" / "x.zip")
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="no folder can be made here: File exists"):
        write_crate(run, tmp_path / "file")


def test_what_is_not_named_as_a_zip_file_is_a_folder_and_made(run: Path, tmp_path: Path) -> None:
    path, _ = write_crate(run, tmp_path / "crates")
    assert path == tmp_path / "crates" / f"tiny-{run.name}.crate.zip"
    assert zipfile.is_zipfile(path)
    assert write_crate(run, tmp_path / "crates" / "my.zip")[0].name == "my.zip"


@pytest.mark.parametrize("licence", ["", "all rights", "CC BY", "https://"])
def test_what_is_no_licence_is_refused(run: Path, tmp_path: Path, licence: str) -> None:
    with pytest.raises(RequestError, match=r"is no licence(.|\n)*CC-BY-4\.0"):
        write_crate(run, tmp_path, licence=licence)
    assert not list(tmp_path.glob("*.zip"))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder of a run"):
        write_crate(tmp_path)


def test_newer_crates_are_refused() -> None:
    with pytest.raises(RequestError, match="its version is 99"):
        decode(b'{"schema": 99}', "x.zip")
    with pytest.raises(RequestError, match="cannot be read"):
        decode(b"[]", "x.zip")


def test_the_metadata_lists_what_there_is(run: Path, tmp_path: Path) -> None:
    path, crate = write_crate(run, tmp_path)
    archive, _ = opened(path)
    graph = {entity["@id"]: entity for entity in json.loads(archive.read(METADATA))["@graph"]}
    assert {file.path for file in crate.files if file.path != METADATA} <= set(graph)
    action = next(entity for entity in graph.values() if entity["@type"] == "CreateAction")
    assert {"@id": "experiment/data/levels.csv"} in action["object"]
    assert {"@id": "record/responses.json"} in action["result"]
