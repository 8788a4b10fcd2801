from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.reproduce.prov import write_prov
from tests.run.experiments import estran


def test_a_run(run: Path, tmp_path: Path) -> None:
    path = write_prov(run, tmp_path / "x.json")
    found = json.loads(path.read_text())
    labels = {one["prov:label"] for one in found["activity"].values()}
    assert {"verify", "measure", "meter-0", "total-0"} <= labels
    used = {one["prov:entity"] for one in found["used"].values()}
    assert any(name.endswith("/file/data/levels.csv") for name in used)
    responses = next(one for name, one in found["entity"].items() if name.endswith("/file/responses.json"))
    assert responses["estran:sha256"] == json.loads((run / "run.json").read_text())["artefacts"]["responses.json"][7:]
    assert path.read_bytes() == write_prov(run, tmp_path / "again.json").read_bytes()


def test_on_the_command_line(run: Path, tmp_path: Path) -> None:
    done = estran("export", run.name[:15], "--to", "prov", "--out", "x.json", "--runs", str(run.parents[1]), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "x.json\n"), done.stderr
    assert json.loads((tmp_path / "x.json").read_text())["activity"]
    wrong = estran("export", str(tmp_path), "--to", "prov", cwd=tmp_path)
    assert (wrong.returncode, "there is no run" in wrong.stderr) == (2, True)


def test_all_runs_of_a_study(study: Path, tmp_path: Path) -> None:
    found = json.loads(write_prov(study, tmp_path / "x.json").read_text())
    assert sum(one["prov:type"] == "estran:run" for one in found["activity"].values()) == 4


def test_prov_itself_reads_it(run: Path, study: Path, tmp_path: Path) -> None:
    model = pytest.importorskip("prov.model", reason="needs prov")
    for number, folder in enumerate((run, study)):
        path = write_prov(folder, tmp_path / f"{number}.json")
        document = model.ProvDocument.deserialize(path, format="json")
        found = json.loads(path.read_text())
        written = sum(len(records) for kind, records in found.items() if kind != "prefix")
        assert len(document.get_records()) == written
        known = {str(record.identifier) for record in document.get_records() if record.is_element()}
        relations = [record for record in document.get_records() if record.is_relation()]
        assert relations
        assert {str(end) for record in relations for _, end in record.formal_attributes[:2] if end is not None} <= known
