"""More hosts than can be planned one by one."""

from __future__ import annotations

from pathlib import Path

from tests.run.experiments import estran

FILE = """
experiment: crowd
layers: {edge: {hosts: 50000, device: raspberry-pi-4}}
services: {camera: {on: edge, component: source, with: {rate: 1/s}}, store: {on: edge, component: sink}}
streams: [{from: camera.samples, to: store.messages}]
"""


def test_they_are_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(FILE)
    for platform in ("emulate", "simulate"):
        done = estran("run", "experiment.yaml", "--on", platform, cwd=tmp_path)
        assert done.returncode == 2
        assert "50,000 hosts are too many" in done.stderr
        assert "--detail flow" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_their_file_can_be_checked(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(FILE)
    done = estran("check", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 0
    assert "not looked at" in done.stderr
