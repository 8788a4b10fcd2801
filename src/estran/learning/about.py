"""What the catalogue says of a learner, kept on its class as ``about``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Task: TypeAlias = Literal["classes", "numbers", "experts", "arms"]
"""What is learned: classes of rows, numbers of rows, shares of experts' advice, or which arm of a bandit to pull."""

GIVEN: Final[dict[Task, tuple[str, ...]]] = {
    "classes": ("features", "classes", "rng"),
    "numbers": ("features", "rng"),
    "experts": ("experts", "rng"),
    "arms": ("arms", "rng"),
}
"""Names of the arguments that come first in the factory of each task, before the settings."""


@dataclass(frozen=True)
class About:
    """A line of the catalogue.

    Parameters
    ----------
    family
        Learners that are described on one page.
    order
        1 for rules that use gradients, 2 for those that also learn how sure they are of each weight; 0 for what is made of others.
    cost
        What a sample costs, with d features (nonzero ones, in sparse rows) and K classes (1 where there are two).
    source
        Where its equations are.
    task
        What is learned.
    """

    family: str
    order: int
    cost: str
    source: str
    task: Task = "classes"
