"""Shares of the say over versions of a model that come and go, by Hedge or Exp3."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.learning import registry
from estran.learning.bandits import bandit
from estran.learning.experts import forecaster
from estran.learning.mistakes import SettingsError


def check(by: registry.Choice) -> bool:
    """Make sure that versions can be mixed by this; whether all of them answer, rather than one at a time.

    Raises
    ------
    SettingsError
        If it is neither ``hedge`` nor ``exp3``, or does not take a setting.
    """
    name, _ = registry.read(by)
    if name not in ("hedge", "exp3"):
        raise SettingsError(
            f"versions are not mixed by {name!r}", where="by", remedy="choose hedge or exp3, alone or with settings"
        )
    registry.check(by, "experts" if name == "hedge" else "arms")
    return name == "hedge"


class Mixture:
    """A forecaster or a bandit over at most so many versions. A newcomer starts even with the best, in place of the worst.

    Parameters
    ----------
    by
        ``hedge`` or ``exp3``, alone or with settings.
    size
        How many versions at the most.
    rng
        Source of all its randomness.

    Raises
    ------
    SettingsError
        If ``by`` is neither.

    Notes
    -----
    Clipper mixes or selects models in the same way (Crankshaw et al., *Clipper: a low-latency online prediction serving system*,
    NSDI 2017, section 5), but its models stay. An expert that has slept (Freund, Schapire, Singer, Warmuth, *Using and combining
    predictors that specialize*, STOC 1997) would start with the losses of the mix; a newcomer gets the leader's, since the newest
    version is mostly the best.

    Examples
    --------
    >>> mixture = Mixture({"hedge": {"eta": 0.5}}, 2, np.random.default_rng(0))
    >>> mixture.join(), mixture.join()
    (None, None)
    >>> mixture.learn_losses(np.array([[1.0, 0.0]] * 4))
    >>> mixture.shares().round(3).tolist(), mixture.join(), mixture.shares().round(3).tolist()
    ([0.119, 0.881], 0, [0.5, 0.5])
    """

    def __init__(self, by: registry.Choice, size: int, rng: np.random.Generator) -> None:
        self.hedging = check(by)
        self._by, self._size, self._rng = by, size, rng
        self._inner: Any = None

    def __len__(self) -> int:
        return 0 if self._inner is None else len(self.shares())

    def shares(self) -> NDArray[np.float64]:
        """Share of each version, in order of joining: of the mix, or of being chosen."""
        found: NDArray[np.float64] = self._inner.shares() if self.hedging else self._inner.probabilities()
        return found

    def join(self) -> int | None:
        """Take one more version in, as the last; returns which one has to leave, if any, as it was numbered before."""
        if self._inner is None:
            self._inner = self._of(1)
            return None
        leaves = int(np.argmin(self.shares())) if len(self) == self._size else None
        losses = self._losses()
        kept = losses if leaves is None else np.delete(losses, leaves)
        self._restore(np.append(kept, losses.min()))
        return leaves

    def leave(self, index: int) -> None:
        """Let one version go, of two or more."""
        self._restore(np.delete(self._losses(), index))

    def choose(self) -> tuple[int, float]:
        """The version to follow, and with which probability it was chosen."""
        shares = self.shares()
        index = int(self._inner.choose())
        return index, float(shares[index])

    def learn_losses(self, losses: NDArray[np.float64]) -> None:
        """Learn what following each version would have cost on some rows, shape (n, versions), from 0 to 1. For Hedge."""
        self._inner.learn_many(losses)

    def learn_reward(self, index: int, reward: float, probability: float) -> None:
        """Learn what one version has brought, from 0 to 1, and with which probability it had been chosen. For Exp3."""
        self._inner.learn(None, index, reward, probability=probability)

    def _of(self, versions: int) -> Any:
        made = forecaster.create if self.hedging else bandit.create
        return made(self._by, versions, self._rng)

    def _losses(self) -> NDArray[np.float64]:
        return np.asarray(self._inner.state()["losses"])

    def _restore(self, losses: NDArray[np.float64]) -> None:
        clock = self._inner.state()["clock"]
        self._inner = self._of(len(losses))
        self._inner.load({"clock": clock, "losses": losses})
