"""The ladder of limiters, best first: which of them works here is found by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from estran.errors import PlatformError
from estran.platforms.emulated.limits.cgroup1 import Tree1
from estran.platforms.emulated.limits.cgroup2 import Tree2
from estran.platforms.emulated.limits.cgroup_groups import CgroupLimiter
from estran.platforms.emulated.limits.limiter import Limiter
from estran.platforms.emulated.limits.throttle import Throttle
from estran.platforms.emulated.links.engine import Trial

RUNGS: Final = ("cgroup2", "cgroup1", "throttle")


def make_limiter(rung: str, run: str) -> Limiter:
    """The limiter of one rung, for a run's id; nothing is touched before it is tried or used."""
    makers: dict[str, Callable[[], Limiter]] = {
        "cgroup2": lambda: CgroupLimiter(Tree2(run)),
        "cgroup1": lambda: CgroupLimiter(Tree1(run)),
        "throttle": Throttle,
    }
    if rung not in makers:
        raise PlatformError(f"there is no CPU limiter {rung!r}", remedy=f"choose one of {', '.join(RUNGS)}")
    return makers[rung]()


def choose_limiter(run: str, want: str | None = None, rungs: Iterable[str] = RUNGS) -> tuple[Limiter, dict[str, Trial]]:
    """Try the rungs for real, best first, and return the first that works with what was found about each one tried.

    Parameters
    ----------
    run
        The run's id, which names its groups.
    want
        Only this rung will do.

    Raises
    ------
    PlatformError
        If none works; the message has each rung's reason.
    """
    trials: dict[str, Trial] = {}
    for rung in [want] if want else rungs:
        limiter = make_limiter(rung, run)
        trials[rung] = limiter.trial()
        if trials[rung].works:
            return limiter, trials
    reasons = "; ".join(f"{rung}: {trial.why}" for rung, trial in trials.items())
    raise PlatformError(
        f"this machine cannot limit CPU and memory ({reasons})",
        remedy="run as root, or leave out `want` so that another rung is taken" if want else "run as root",
    )
