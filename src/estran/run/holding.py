"""Keeping what a platform provides from one run to the next, and the journal of what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from estran.platforms.base import Holdable, Platform
from estran.run.journal import Journal
from estran.run.session import new_run_id


@contextmanager
def holding(platform: Platform, folder: Path) -> Iterator[None]:
    """Let a platform keep hosts for the runs that are made until the context is left; one that cannot provides them anew each time.

    Parameters
    ----------
    folder
        What the runs have in common, for the journal.
    """
    if not isinstance(platform, Holdable):
        yield
        return
    name = f"held-{new_run_id()}"
    with Journal(name, folder) as journal, platform.hold(name):
        journal.write("process", name)
        yield
