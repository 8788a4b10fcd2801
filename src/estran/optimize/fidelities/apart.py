"""The highest fidelity by itself: what the strategy of one fidelity says of its trials, as if there were no others."""

from __future__ import annotations

from dataclasses import replace

from estran.optimize.fidelities.history import Choice
from estran.optimize.single import Single
from estran.optimize.strategy import Ask, Told


class Apart:
    """Shows a strategy the trials of one rung, numbered as if they were all.

    Parameters
    ----------
    rung
        Number of that rung.
    """

    def __init__(self, single: Single, rung: int) -> None:
        self._single, self._rung = single, rung
        self._numbers: dict[int, int] = {}
        self._points: dict[int, int] = {}

    def recall(self, ask: Ask) -> None:
        """Show it an ask of the rung."""
        number = self._numbers.setdefault(ask.number, len(self._numbers))
        point = self._points.setdefault(ask.point, len(self._points))
        self._single.recall(replace(ask, number=number, point=point))

    def tell(self, number: int, told: Told) -> None:
        """Tell it how an ask that it was shown ended."""
        self._single.tell(self._numbers[number], told)

    def replicate(self) -> Choice | None:
        """A run of a point that was run before, where that decides something."""
        return self._chosen(self._single.replicate())

    def ask(self) -> Choice | None:
        """What it would run next."""
        return self._chosen(self._single.ask())

    def _chosen(self, ask: Ask | None) -> Choice | None:
        return None if ask is None else Choice(ask.levels, self._rung, ask.why, ask.hints)
