"""Examples in docstrings do what they show, in every module of the library that has any."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import estran.learning

ROOT = Path(estran.learning.__path__[0])
FOUND = [
    path.relative_to(ROOT).with_suffix("") for path in sorted(ROOT.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")
]
MODULES = [".".join(path.parts) for path in FOUND]


def test_most_modules_have_some() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    if name == "sklearn":
        pytest.importorskip("sklearn")
    if name.startswith("pytorch"):
        pytest.importorskip("torch", reason="torch is not installed: pip install 'estran[torch]'")
    module = import_module(f"estran.learning.{name}")
    found = doctest.testmod(module, extraglobs={"np": np}, optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed
