"""Examples in docstrings do what they show."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pytest


@pytest.mark.parametrize(
    "name", ["confusion", "deep.hbp", "linear.costs", "linear.newton", "linear.winnow", "mlp", "softmax", "snapshots"]
)
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(f"estran.learning.{name}"), extraglobs={"np": np})
    assert found.attempted
    assert not found.failed
