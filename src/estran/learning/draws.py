"""Chance inside compiled learners: draws that depend on a seed and a counter only. Importing it imports numba.

A learner that draws keeps two numbers, a seed (below 2⁵³, so that it can stand among floats) and how many draws were made. So its
snapshot goes on drawing where it was, a chunk draws what its rows would one at a time, and a chunk that fails draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from estran.learning.compiled import compiled

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def seed_from(rng: np.random.Generator) -> float:
    """A seed for `uniform`: a whole number below 2⁵³."""
    return float(rng.integers(2**53))


def _mixed(word: Any) -> Any:
    """SplitMix64's finaliser (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014)."""
    word = (word ^ (word >> _30)) * _FIRST
    word = (word ^ (word >> _27)) * _SECOND
    return word ^ (word >> _31)


mixed: Callable[[Any], Any] = compiled(_mixed, inlined=True)


def _uniform(seed: Any, count: Any) -> Any:
    """Draw number ``count`` of a seed: from 0 to below 1, with 53 random bits. Both are whole floats, from 0 to below 2⁵³."""
    word = mixed(mixed(np.uint64(seed) + _STEP) + (np.uint64(count) + np.uint64(1)) * _STEP)
    return float(word >> _11) * (1.0 / 9007199254740992.0)


uniform: Callable[[Any, Any], Any] = compiled(_uniform, inlined=True)
