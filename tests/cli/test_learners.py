"""`estran learners`: readable at any width, family by family."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from estran.cli.learners import print_learners
from estran.learning import registry
from estran.learning.mistakes import SettingsError


def printed(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    print_learners(**options)
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [100, 160])
def test_every_learner_stands_below_its_family(columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = printed(capsys).splitlines()
    assert max(map(len, lines)) <= columns
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings == sorted(headings)
    assert "linear (learns classes)" in headings
    rows = [line.split() for line in lines if line.startswith("  ") and line[2] != " " and "cost per sample" not in line]
    assert sorted(row[0] for row in rows) == registry.names()
    arow = next(at for at, line in enumerate(lines) if line.startswith("  arow "))
    assert "r, covariance, prior, bias" in lines[arow]
    source = "Crammer, Kulesza, Dredze 2009, fig. 1"
    assert source in lines[arow if columns == 160 else arow + 1]
    # Columns stand below each other in all families.
    assert len({line.index("cost per sample") for line in lines if "cost per sample" in line}) == 1


def test_one_family_only(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, family="deep")
    assert "mlp" in shown
    assert "arow" not in shown
    listed = msgspec.json.decode(printed(capsys, family="deep", json=True))
    assert {"mlp", "hbp"} <= listed.keys()
    assert {entry["about"]["family"] for entry in listed.values()} == {"deep"}
    assert listed["mlp"]["settings"][0] == "hidden"
    with pytest.raises(SettingsError, match=r"there is no family 'deap'\n  → did you mean deep\?"):
        print_learners(family="deap")


def test_one_that_does_not_say_what_it_is_stands_last_with_dashes(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "names", lambda: ["mlp", "theirs"])
    monkeypatch.setattr(registry, "about", lambda name: None if name == "theirs" else _ABOUT)
    monkeypatch.setattr(registry, "settings", lambda name: [])
    lines = printed(capsys).splitlines()
    assert lines[-3:-2] == [line for line in lines if line.startswith("  theirs")]
    assert lines[-3].split() == ["theirs", "–", "–", "–"]
    assert "other" in lines


_ABOUT = registry.about("mlp")
