"""One process at a time makes a study's runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from estran.errors import RequestError
from estran.study.lock import alone


def test_what_one_holds_another_does_not_get_until_it_is_let_go(tmp_path: Path) -> None:
    document = tmp_path / "study.json"
    document.write_text("{}")
    with alone(document), pytest.raises(RequestError, match="another process is making its runs"), alone(document):
        pass
    with alone(document):
        assert [one.name for one in tmp_path.iterdir()] == ["study.json"], "something is left behind"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"), alone(tmp_path / "study.json"):
        pass
