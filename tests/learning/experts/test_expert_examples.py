"""Examples in docstrings of forecasters, bandits and what is made of them do what they show."""

from __future__ import annotations

import doctest
from importlib import import_module

import numpy as np
import pytest

MODULES = (
    "counting",
    "bandits.adversarial",
    "bandits.bandit",
    "bandits.linear",
    "bandits.selecting",
    "bandits.stochastic",
    "experts.forecaster",
    "experts.methods",
    "experts.voting",
    "linear.banditron",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = import_module(f"estran.learning.{name}")
    found = doctest.testmod(module, extraglobs={"np": np}, optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed
