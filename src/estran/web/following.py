"""One run, followed: what its folder said so far, brought up to date when somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from estran.observe.queries import Run, open_run
from estran.report.folder import RunFolder, read_folder
from estran.web.answers import Answers
from estran.web.happenings import Happenings
from estran.web.machines import Machines
from estran.web.models import Models
from estran.web.tables import News, Tables, finished
from estran.web.traffic import Traffic

TABLES: Final = ("messages", "metrics", "events", "exchanges")
FRESH: Final = 0.4
"""Seconds for which what was read is new enough, so that many who look cost no more than one."""
MOST_KEPT: Final = 6
"""Runs that are kept in memory: those looked at last."""

_NEWEST: Final = (
    "SELECT max(done) AS newest FROM {messages}",
    "SELECT max(time) AS newest FROM {metrics}",
    "SELECT max(time) AS newest FROM {events}",
    "SELECT max(answer_last) AS newest FROM {exchanges}",
)


@dataclass
class Facts:
    """Everything that rows told so far; ``newest`` is the latest time of the run's clock that any of them names."""

    models: Models = field(default_factory=Models)
    traffic: Traffic = field(default_factory=Traffic)
    machines: Machines = field(default_factory=Machines)
    happenings: Happenings = field(default_factory=Happenings)
    newest: float = 0.0

    def __post_init__(self) -> None:
        self.answers = Answers(self.models)

    def take(self, news: News) -> None:
        """Read new rows of all tables."""
        for part in (self.models, self.answers, self.traffic, self.machines, self.happenings):
            part.take(news)
        for query in _NEWEST:
            times = news.read(query)[0]
            self.newest = max([self.newest, *(float(time) for time in times if time == time)])


class Following:
    """Follows one run, live or finished, from any thread.

    Attributes
    ----------
    run, folder, facts
        As they were when `refresh` was called last.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.Lock()
        self.path = folder
        self.facts = Facts()
        self.run: Run = open_run(folder)
        self.folder: RunFolder = read_folder(folder)
        self._tables = Tables(folder, TABLES)
        self._whole = False
        self._now = now
        self._read_at: float | None = None

    def refresh(self) -> None:
        """Read what is new; the caller holds ``lock``.

        Raises
        ------
        EstranError
            If a file of the run is damaged.
        """
        if self._whole or (self._read_at is not None and self._now() - self._read_at < FRESH):
            return
        self._read_at = self._now()
        self.run, self.folder = open_run(self.path), read_folder(self.path)
        if self.run.live:
            try:
                for news in self._tables.live():
                    self.facts.take(news)
                return
            except FileNotFoundError:  # just now it has become Parquet
                self.run = open_run(self.path)
        self._read_whole()

    def _read_whole(self) -> None:
        """Read a run that is over from the beginning: the last rows came after those that were read live."""
        self.facts = Facts()
        if (self.path / "messages.parquet").exists():
            with finished(self.run) as news:
                self.facts.take(news)
        self._whole = self.over

    @property
    def over(self) -> bool:
        """Whether nothing more is to come; a run that has failed says so before it has given everything back."""
        return self.folder.status != "running" and (self.folder.run.get("ended") is not None or not self.run.live)

    def measure(self) -> dict[str, Any]:
        """The measurement as planned: its warm-up, its duration, what may end it earlier."""
        plan = self.run.document("plan")
        measure = plan.get("measure") if isinstance(plan, dict) else None
        return measure if isinstance(measure, dict) else {}


class Followings:
    """Runs that are followed, by folder."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path, Following] = {}

    def of(self, folder: Path) -> Following:
        """The one for a run's folder.

        Raises
        ------
        EstranError
            If it is no run.
        """
        with self._lock:
            found = self._known.pop(folder, None) or Following(folder)
            self._known[folder] = found  # now the newest
            for path in list(self._known)[:-MOST_KEPT]:
                del self._known[path]
            return found
