"""Where a forecaster's numbers and settings lie. Plain NumPy: nothing here compiles."""

from __future__ import annotations

from typing import Final

HEAD: Final = 3
"""Numbers before the scores: seed of the draws, how many were made, rounds learned."""

METHOD, ETA, ANYTIME, LIMIT, SHARE, LOW, HIGH = range(7)
"""Places in the plan: method; η, or 0 for √(the next / t), at most the one after it; fixed share; range of a loss."""

HEDGE, LEADER, PERTURBED = 0.0, 1.0, 2.0
"""Methods: weights that fall exponentially, the leader, the perturbed leader."""
