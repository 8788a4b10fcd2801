from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.errors import EstranError
from estran.observe.provenance import FILE, Line, Provenance, read


def test_services_models_and_files(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path)
    provenance.feeds({"predictor-0": ["trainer-0", "trainer-1"]})
    provenance.started("run")
    provenance.used("run", ["file/data.npz"])
    provenance.take(
        [
            (0.0, "edge-0", "predictor-0", "started", "pid 12"),
            (1.0, "cloud-0", "trainer-0", "published", '{"version": 1, "samples": 4}'),
            (1.5, "edge-0", "predictor-0", "swapped", '{"version": 1}'),
            (2.0, "cloud-0", "trainer-1", "published", "1"),
            (2.5, "edge-0", "predictor-0", "swapped", '{"version": 1}'),
            (2.6, "edge-0", "", "energy-source", "model"),
            (3.0, "edge-0", "predictor-0", "ended", "status 0"),
        ]
    )
    assert not (tmp_path / FILE).exists(), "lines are held back"
    provenance.flush()
    assert read(tmp_path / FILE) == [
        Line("started", "run"),
        Line("used", "run", "file/data.npz"),
        Line("started", "service/predictor-0", None, 0.0),
        Line("generated", "service/trainer-0", "model/trainer-0/1", 1.0),
        Line("used", "service/predictor-0", "model/trainer-0/1", 1.5),
        Line("generated", "service/trainer-1", "model/trainer-1/1", 2.0),
        Line("used", "service/predictor-0", "model/*/1", 2.5),
        Line("ended", "service/predictor-0", None, 3.0, "status 0"),
    ]
    assert json.loads((tmp_path / FILE).read_text().splitlines()[0]) == {"what": "started", "activity": "run"}


def test_a_use_that_is_told_before_its_publication_waits_for_it(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path)
    provenance.feeds({"predictor-0": ["camera-0", "trainer-0"]})
    provenance.take([(1.5, "edge-0", "predictor-0", "swapped", "1"), (1.6, "edge-0", "predictor-0", "swapped", "7")])
    provenance.take([(1.0, "cloud-0", "trainer-0", "published", "1")])
    provenance.settle()
    provenance.flush()
    assert read(tmp_path / FILE) == [
        Line("generated", "service/trainer-0", "model/trainer-0/1", 1.0),
        Line("used", "service/predictor-0", "model/trainer-0/1", 1.5),
        Line("used", "service/predictor-0", "model/*/7", 1.6),
    ]


def test_what_a_kill_has_cut_short_is_left_out(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path)
    provenance.started("run")
    provenance.started("phase/verify")
    provenance.flush()
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-5])
    assert [line.activity for line in read(tmp_path / FILE)] == ["run"]
    (tmp_path / FILE).write_bytes(b"no json\n")
    with pytest.raises(EstranError, match="damaged"):
        read(tmp_path / FILE)


def test_much_is_not_held_back(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path)
    provenance.generated("run", (f"file/{'x' * 1000}{number}" for number in range(1100)))
    assert (tmp_path / FILE).stat().st_size > 1_000_000


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path / "absent")
    provenance.started("run")
    with pytest.raises(EstranError, match="cannot write"):
        provenance.flush()
