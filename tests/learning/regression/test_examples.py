"""Examples in docstrings do what they show."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pytest


@pytest.mark.parametrize("name", ["evaluation", "first_order", "plan", "regressor", "second_order"])
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(f"estran.learning.regression.{name}"), extraglobs={"np": np})
    assert found.attempted
    assert not found.failed
