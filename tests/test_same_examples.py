"""The test command tries the same examples each time, whatever else was tested before or has changed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def _drawn() -> list[int | str]:
    seen: list[int | str] = []

    @settings(max_examples=300)
    @given(st.integers() | st.text(max_size=8))
    def look(value: int | str) -> None:
        seen.append(value)

    look()
    return seen


def test_examples_do_not_depend_on_which_modules_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _drawn()
    file = tmp_path / "numbers_and_words.py"
    file.write_text("".join(f"a{n} = {n * 1_000_003 + 7}\nb{n} = 'word{n}'\n" for n in range(500)))
    spec = importlib.util.spec_from_file_location("numbers_and_words", file)
    assert spec is not None
    monkeypatch.setitem(sys.modules, "numbers_and_words", importlib.util.module_from_spec(spec))
    assert _drawn() == before
    assert len({repr(value) for value in before}) > 200
