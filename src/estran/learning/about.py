"""What the catalogue says of a learner, kept on its class as ``about``."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    family: str
    order: int
    cost: str
    source: str
