"""Which runs and studies are meant by what a user writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.cli.listing import find_study
from estran.errors import RequestError


def test_the_latest_study_is_the_newest_of_all_experiments(tmp_path: Path) -> None:
    for name in ("a/20261101-120000-aaaa", "b/20261102-120000-bbbb", "c/20261101-130000-cccc"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "study.json").write_text("{}")
    (tmp_path / "d" / "20261103-120000-dddd").mkdir(parents=True)
    assert find_study(Path("latest"), tmp_path).name == "20261102-120000-bbbb"
    assert find_study(tmp_path / "a", tmp_path) == tmp_path / "a"


def test_without_a_study_there_is_no_latest(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no study"):
        find_study(Path("latest"), tmp_path)
