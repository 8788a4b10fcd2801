"""An emulated run is calibrated from, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.spec.calibration import read_calibration
from tests.run.experiments import estran, run_folder, write

pytestmark = pytest.mark.root


def test_a_real_run_yields_a_calibration(tmp_path: Path) -> None:
    write(tmp_path)
    assert estran("run", "experiment.yaml", "--set", "measure.duration=3s", "--json", cwd=tmp_path).returncode == 0
    done = estran("calibrate", "latest", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "total: add" in done.stdout
    assert "--calibration calibration.json" in done.stderr
    found = read_calibration(tmp_path / "calibration.json")
    (run,) = found.runs
    assert (run["folder"], run["platform"], run["seed"]) == (str(run_folder(tmp_path).relative_to(tmp_path)), "emulate", 1)
    (add,) = found.operations
    assert 0 < add.cost.mean() < 1e-3
    (stream,) = found.streams
    assert stream.size.bytes > 8
    assert 0 < stream.extra.mean() < 5e-3  # the link's own 10 ms are not in it
    handled = {one.service: one for one in found.handling}
    assert 0 < handled["total"].wake.mean() < 5e-3
    assert handled["total"].receive_cpu.mean() + handled["total"].idle_cpu > 0
    assert handled["meter"].send_cpu.mean() > 0
    assert 0 < handled["meter"].late.mean() < 5e-3
    assert {(link.source.split("-")[0], link.target.split("-")[0]) for link in found.links} == {
        ("edge", "cloud"),
        ("cloud", "edge"),
    }
    assert all(link.measured["delay"] == pytest.approx(0.01, abs=1e-3) for link in found.links)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = estran("calibrate", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "no run 'nowhere'" in done.stderr
    assert not (tmp_path / "calibration.json").exists()
    assert estran("calibrate", cwd=tmp_path).returncode == 2


def test_json_is_the_file(tmp_path: Path) -> None:
    from .planted import Truth, plant

    plant(tmp_path / "one", Truth(duration=2.0))
    done = estran("calibrate", "one", "--out", "c.json", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == json.loads((tmp_path / "c.json").read_text())
