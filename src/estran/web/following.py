"""One run, followed: what its folder said so far, brought up to date when somebody looks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from estran.observe.queries import Run, open_run
from estran.report.folder import RunFolder, read_folder
from estran.web.answers import Answers
from estran.web.happenings import Happenings
from estran.web.machines import Machines
from estran.web.models import Models
from estran.web.refusal import Refusal
from estran.web.tables import TIMES, News, Tables, between, finished
from estran.web.traffic import Traffic

FRESH: Final = 0.4
"""Seconds for which what was read is new enough, so that many who look cost no more than one."""
MOST_KEPT: Final = 9
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


class Shown(Protocol):
    """A run of which figures are shown: as it goes, when it is over, or at a moment of it.

    Attributes
    ----------
    over
        Whether nothing more is to come.
    whole
        Whether figures are of the whole run; else they are of the last seconds before ``facts.newest``.
    """

    @property
    def run(self) -> Run: ...
    @property
    def folder(self) -> RunFolder: ...
    @property
    def facts(self) -> Facts: ...
    @property
    def over(self) -> bool: ...
    @property
    def whole(self) -> bool: ...

    def measure(self) -> Mapping[str, Any]:
        """The measurement as planned: its warm-up, its duration, what may end it earlier."""
        ...


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
        self._tables = Tables(folder, tuple(TIMES))
        self._whole = False
        self._replay = Replay(self)
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

    @property
    def whole(self) -> bool:
        """Whether figures are of the whole run; else they are of its last seconds."""
        return self.over

    def at(self, moment: float) -> Replay:
        """The run as it was at a moment of its clock, in seconds; the caller holds ``lock`` until it has done with it.

        Raises
        ------
        Refusal
            If the run is not over: there is only now.
        EstranError
            If a file of the run is damaged.
        """
        self.refresh()
        if not self._whole:
            raise Refusal(409, "a run that goes on cannot be replayed", where=self.path.name, remedy="wait until it is over")
        self._replay.go(min(max(moment, 0.0), self.facts.newest))
        return self._replay

    def measure(self) -> dict[str, Any]:
        """The measurement as planned: its warm-up, its duration, what may end it earlier."""
        plan = self.run.document("plan")
        measure = plan.get("measure") if isinstance(plan, dict) else None
        return measure if isinstance(measure, dict) else {}


class Replay:
    """A finished run as it was at a moment: the same facts, of rows no later than that.

    Going forward reads only what came in between; going back begins anew.

    Attributes
    ----------
    facts
        As they were; their ``newest`` is the moment.
    """

    over = True
    whole = False
    """Figures are of the seconds before the moment, as they were while the run went on."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._upto = -math.inf
        self.facts = Facts()

    @property
    def run(self) -> Run:
        """The run."""
        return self._following.run

    @property
    def folder(self) -> RunFolder:
        """Its documents."""
        return self._following.folder

    def measure(self) -> Mapping[str, Any]:
        """The measurement as planned."""
        return self._following.measure()

    def go(self, moment: float) -> None:
        """Go to a moment of the run's clock."""
        if moment < self._upto:
            self.facts, self._upto = Facts(), -math.inf
        if moment > self._upto:
            with between(self.run, self._upto, moment) as news:
                self.facts.take(news)
            self._upto = moment
        self.facts.newest = moment


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
