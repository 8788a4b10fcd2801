"""A run that goes on: a live file that grows as a real run's does, from the rows of a finished one."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from estran.observe.queries import open_run
from estran.observe.rows import COLUMNS, LogRow
from estran.observe.store import LIVE, Store

TIMES = {"messages": "done", "metrics": "time", "operations": "time", "events": "time"}


class Growing:
    """A copy of a finished run whose rows come in by their times."""

    def __init__(self, finished: Path, folder: Path) -> None:
        self.folder = folder
        self._finished = finished
        self._now = -math.inf
        folder.mkdir(parents=True)
        for name in ("plan", "network", "assignment", "manifest"):
            shutil.copy(finished / f"{name}.json", folder)
        plan = json.loads((folder / "plan.json").read_text())
        (folder / "plan.json").write_text(json.dumps(plan | {"measure": {"warmup": 2.0, "duration": 6.0, "until": None}}))
        self._tables = {table: _rows(finished, table) for table in TIMES}
        self.record("running", "warm up")
        self.store = Store(folder / LIVE)

    def record(self, status: str, phase: str, **more: Any) -> None:
        """Write ``run.json`` as a conductor does, by replacing it."""
        whole = json.loads((self._finished / "run.json").read_text())
        phases = [{"name": phase, "started": "2026-11-23T18:45:04.000Z", "seconds": None, "status": "running"}]
        document = whole | {"id": self.folder.name, "status": status, "ended": None, "phases": phases} | more
        (self.folder / "run.json.part").write_text(json.dumps(document))
        (self.folder / "run.json.part").replace(self.folder / "run.json")

    def until(self, time: float) -> None:
        """Let everything come in that happened until then."""
        for table, rows in self._tables.items():
            at = [column.name for column in COLUMNS[table]].index(TIMES[table])
            self.store.add(table, [row for row in rows if self._now < row[at] <= time])
        self.store.add("logs", [LogRow(time, "fog-0", "detector-0", "stdout", f"so far {time:g}")])
        self.store.flush()
        self._now = time

    def end(self) -> None:
        """Compact it, and say that it is done."""
        self.store.compact(self.folder)
        shutil.copy(self._finished / "responses.json", self.folder)
        self.record("done", "collect", ended="2026-11-23T18:45:20Z")


def _rows(folder: Path, table: str) -> list[tuple[Any, ...]]:
    with open_run(folder).database() as connection:
        return connection.execute(f"FROM {table} ORDER BY {TIMES[table]}").fetchall()
