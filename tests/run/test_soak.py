"""A short run at full load: nothing is lost, and what holds messages within processes is bounded."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import duckdb
import pytest
from benchmarks import soak

from estran.run.prepare import prepare
from estran.run.record import QuietProgress
from estran.run.session import execute
from tests.run.experiments import assert_nothing_left
from tests.run.soaking import lengths, write_soak

GONE = 1 << 23
"""More than a process's number can be."""
WINDOW = 1024
"""Messages of a stream that are under way at the most."""


class Looking(QuietProgress):
    """Looks, a few times a second, at how long everything is that the conductor holds."""

    def __init__(self) -> None:
        self.seen: list[dict[str, int]] = []

    def live(self, figures: dict[str, float]) -> None:
        self.seen.append(lengths())


def test_a_process_that_ends_while_it_is_looked_at_is_passed_over() -> None:
    found = defaultdict[str, soak.Series](list)
    names = soak.Names(os.getpid())
    names._known = dict.fromkeys((os.getpid(), GONE), "known")
    soak.look([GONE], 0.0, names, found)
    assert not found
    soak.look([GONE, os.getpid()], 1.0, names, found)
    assert [time for time, *_ in found["known"]] == [1.0]


@pytest.mark.alone
def test_at_full_load_nothing_is_lost_and_nothing_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    looking = Looking()
    prepared = prepare(str(write_soak(tmp_path, "12s")))
    folder, status = execute(prepared, out=tmp_path / "runs", progress=looking, command=["estran", "run"])
    assert status == "done", (folder / "run.json").read_text()
    messages = str(folder / "messages.parquet")
    ways = duckdb.execute(
        "SELECT origin, receiver, count(*), count(DISTINCT seq), max(seq) + 1 FROM read_parquet(?) "
        "WHERE stream NOT LIKE '%models%' GROUP BY ALL", [messages],
    ).fetchall()  # fmt: skip
    assert len(ways) == 6
    assert all(count == distinct == numbered > 100 for *_, count, distinct, numbered in ways), ways
    ordered = (
        "SELECT list(seq ORDER BY done, seq) = range(count(*)) FROM read_parquet(?) WHERE receiver = 'counter-0' GROUP BY origin"
    )
    assert duckdb.execute(ordered, [messages]).fetchall() == [(True,), (True,)]
    longest = "SELECT replica, max(value), count(*) FROM read_parquet(?) WHERE metric = 'longest' GROUP BY ALL"
    inside = duckdb.execute(longest, [str(folder / "metrics.parquet")]).fetchall()
    assert {replica for replica, *_ in inside} == {"flood-0", "flood-1", "counter-0"}
    assert all(value <= 2 * WINDOW for _, value, _ in inside), inside
    half = len(looking.seen) // 2
    assert half > 10
    for place in looking.seen[-1]:
        early, late = (max(seen.get(place, 0) for seen in part) for part in (looking.seen[:half], looking.seen[half:]))
        assert late <= 1.5 * early + 200, place
    assert_nothing_left(folder.name)
