"""The loop between a strategy and its runs: ask, make, tell, until there is nothing more to ask for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from estran.errors import EstranError
from estran.optimize.journal import Journal
from estran.optimize.running import Runs
from estran.optimize.strategy import DONE, Ask, Strategy, Told
from estran.optimize.trials import Trials

HOPELESS: Final = 5
"""So many first trials of which none succeeds end the search."""


class Watcher(Protocol):
    """Who is told how it goes."""

    def began(self, ask: Ask) -> None:
        """A run begins."""
        ...

    def ended(self, ask: Ask, told: Told) -> None:
        """It has ended."""
        ...

    def mind(self, text: str) -> None:
        """Something is to be minded."""
        ...


class Unwatched:
    """Tells nobody."""

    def began(self, ask: Ask) -> None: ...

    def ended(self, ask: Ask, told: Told) -> None: ...

    def mind(self, text: str) -> None: ...


def recall(journal: Journal, strategy: Strategy, trials: Trials) -> list[Ask]:
    """Give a strategy and its trials all that a journal knows; return the asks whose runs were cut off, which are to be made."""
    cut = []
    for ask, told in journal.recalled():
        trials.add(ask)
        strategy.recall(ask)
        if told is None:
            cut.append(ask)
        else:
            trials.tell(ask.number, told)
            strategy.tell(ask.number, told)
    return cut


async def search(
    strategy: Strategy,
    trials: Trials,
    journal: Journal,
    runs: Runs,
    *,
    cut: list[Ask],
    widths: Mapping[str, int],
    watcher: Watcher,
) -> None:
    """Make all runs that a strategy asks for, as many at once as their fidelities bear.

    Parameters
    ----------
    cut
        Asks of an earlier session that come first.
    widths
        Of each fidelity, how many runs may go on at once while one of its own does: beside an emulated run that must have the
        machine to itself, none is simulated.

    Raises
    ------
    EstranError
        If no run can be made, or none of the first ones succeeds.
    """
    left, going = deque(cut), dict[asyncio.Task[Told], Ask]()
    try:
        while True:
            while _room(going.values(), widths):
                ask = left.popleft() if left else _asked(strategy, trials, journal)
                if ask is None:
                    break
                if not _room([*going.values(), ask], widths, more=0):
                    left.appendleft(ask)  # it waits until those that go on have ended
                    break
                going[asyncio.create_task(runs.make(ask, lambda ask=ask: watcher.began(ask)))] = ask  # type: ignore[misc]
            if not going:
                return
            ended, _ = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(ended, key=lambda task: going[task].number):
                ask = going.pop(task)
                told = await task
                journal.end(ask.number, told)
                trials.tell(ask.number, told)
                strategy.tell(ask.number, told)
                watcher.ended(ask, told)
            runs.write()
            _make_sure_some_succeed(trials)
    finally:
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        runs.write(now=True)


def _room(going: Collection[Ask], widths: Mapping[str, int], more: int = 1) -> bool:
    """Whether so many runs more may go on beside these."""
    return len(going) + more <= min((widths[ask.fidelity] for ask in going), default=max(widths.values()))


def _asked(strategy: Strategy, trials: Trials, journal: Journal) -> Ask | None:
    ask = strategy.ask()
    if ask is not None:
        journal.begin(ask)
        trials.add(ask)
        strategy.recall(ask)
    return ask


def _make_sure_some_succeed(trials: Trials) -> None:
    told = [trial.told for trial in trials if trial.told is not None]
    if len(told) >= HOPELESS and not any(one.status == DONE for one in told):
        raise EstranError(
            f"none of the first {len(told)} runs was done: {told[-1].failure}", where="optimize", remedy="see why: estran logs RUN"
        )
