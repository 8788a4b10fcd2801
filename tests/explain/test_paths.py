"""Where the time goes: known stages and known changes are found, and parts sum to the whole whatever the messages."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

pytest.importorskip("scipy", reason="explaining needs scipy: pip install 'estran[study]'")

from estran.explain.paths import Paths, paths, profiled
from estran.explain.table import Table, read_table
from estran.observe.memory_store import MemoryStore
from estran.observe.queries import open_run
from estran.observe.rows import MessageRow
from estran.observe.spending import Spending, at_quantile, spending, spent
from estran.observe.stories import Stories
from estran.report.pathed import print_paths
from estran.study.folder import Asked, Folder
from estran.study.rows import Row
from tests.run.experiments import TINY, estran, write

from .planted import table as planted_table
from .planted_paths import HOSTS, LINK, SERVICES, WINDOW, Truth, shares

FACTORS: dict[str, tuple[Any, ...]] = {"delay": ("10ms", "80ms"), "load": ("low", "high")}
POINTS = [dict(zip(FACTORS, levels, strict=True)) for levels in product(*FACTORS.values())]


def truths(rng: np.random.Generator) -> dict[tuple[str, str], Truth]:
    """Of every point: the delay changes the link and a little queueing, the load queueing and work."""
    a, b = rng.uniform(0.003, 0.006), rng.uniform(0.001, 0.002)
    base = Truth(rng.uniform(0.002, 0.01), rng.uniform(0.001, 0.01), rng.uniform(0.01, 0.02), rng.uniform(0.002, 0.01), a, b)
    longer, busier = rng.uniform(0.04, 0.07), rng.uniform(1.5, 2.0)
    return {
        (delay, load): replace(
            base,
            link=base.link + (longer if delay == "80ms" else 0.0),
            a=a * (busier if load == "high" else 1.0) * (1.3 if delay == "80ms" else 1.0),
            work=base.work + (0.03 if load == "high" else 0.0),
        )
        for delay, load in POINTS_OF
    }


POINTS_OF = [(point["delay"], point["load"]) for point in POINTS]


def average(parts: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in parts) / len(parts) for name in parts[0]}


def study(seed: int, replicates: int = 3, messages: int = 3000) -> tuple[dict[tuple[str, str], Truth], Table, list[Spending]]:
    """A full study with common random numbers in each block, as Estran makes them."""
    known = truths(np.random.default_rng(seed))
    found = [
        spent(known[point].stories(np.random.default_rng((seed, block)), messages), WINDOW, SERVICES, HOSTS)
        for block in range(replicates)
        for point in POINTS_OF
    ]
    return known, planted_table(FACTORS, POINTS, replicates, [one.latency for one in found]), found


@pytest.mark.parametrize("seed", range(50))
def test_planted_stages_and_shares_of_changes_are_found(seed: int) -> None:
    known, table, found = study(seed)
    told = profiled(table, found, (), np.random.default_rng(seed))
    assert told is not None
    for part in ("mean", "tail"):
        wanted = average([getattr(truth, part)() for truth in known.values()])
        whole = sum(wanted.values())
        overall = getattr(told.overall, part)
        for name, seconds in wanted.items():
            assert overall[name] / whole == pytest.approx(seconds / whole, abs=0.03)
        for change in told.changes:
            place = list(FACTORS).index(change.factor)
            levels = [
                average([getattr(truth, part)() for point, truth in known.items() if point[place] == level])
                for level in (change.low, change.high)
            ]
            for name, share in shares(*levels).items():
                assert getattr(change, f"{part}_shares")[name] == pytest.approx(share, abs=0.03), (part, change.factor, name)


def consistent(told: Paths) -> None:
    """Everything that is to sum up does."""
    every = [told.overall, *(profile for profiles in told.factors.values() for profile in profiles)]
    for profile in every:
        assert sum(profile.mean.values()) == pytest.approx(profile.latency, rel=1e-9)
        assert sum(profile.tail.values()) == pytest.approx(profile.p99, rel=1e-9)
    for change in told.changes:
        by = {profile.level: profile for profile in told.factors[change.factor]}
        assert change.mean == pytest.approx(by[change.high].latency - by[change.low].latency, abs=1e-9)
        assert change.tail == pytest.approx(by[change.high].p99 - by[change.low].p99, abs=1e-9)
        assert sum(change.tail_stages.values()) == pytest.approx(change.tail, abs=1e-9)
        for given_shares in (change.mean_shares, change.tail_shares):
            assert not given_shares or sum(given_shares.values()) == pytest.approx(1.0)


def test_an_unbalanced_study_is_not_confounded() -> None:
    """Half the runs of one point are lost: what load does must not look like what delay does."""
    known, table, found = study(7, replicates=6)
    kept = [one if i % 4 != 3 or i > 12 else None for i, one in enumerate(found)]
    told = profiled(table, kept, ["run 4: gone"], np.random.default_rng(0))
    assert told is not None
    consistent(told)
    (change,) = [one for one in told.changes if one.factor == "delay"]
    levels = [average([t.mean() for point, t in known.items() if point[0] == level]) for level in ("10ms", "80ms")]
    assert change.mean_shares[LINK] == pytest.approx(shares(*levels)[LINK], abs=0.03)
    assert any("run 4: gone" in note for note in told.notes)


def test_a_factor_that_does_nothing_gets_no_shares() -> None:
    truth = truths(np.random.default_rng(1))[POINTS_OF[0]]
    quiet = 0
    for seed in range(20):
        found = [spent(truth.stories(np.random.default_rng((seed, i)), 400), WINDOW, SERVICES, HOSTS) for i in range(16)]
        told = profiled(planted_table(FACTORS, POINTS, 4, [one.latency for one in found]), found, (), np.random.default_rng(seed))
        assert told is not None
        consistent(told)
        quiet += sum(not change.mean_shares and not change.mean_shares_ci95 for change in told.changes)
    assert quiet >= 33  # of 40; 38 are expected


def test_one_run_a_level_is_told_without_shares() -> None:
    found = [
        spent(truths(np.random.default_rng(2))[POINTS_OF[i]].stories(np.random.default_rng(i), 200), WINDOW, SERVICES, HOSTS)
        for i in (0, 2)
    ]
    table = planted_table({"delay": FACTORS["delay"]}, [{"delay": "10ms"}, {"delay": "80ms"}], 1, [1.0, 2.0])
    told = profiled(table, found, (), np.random.default_rng(0))
    assert told is not None
    (change,) = told.changes
    assert (change.mean_ci95, change.mean_shares, change.tail_shares_ci95) == (None, {}, {})
    assert "nothing is left" in told.notes[-1]


def test_of_many_levels_the_greatest_is_told_against_the_least() -> None:
    delays = np.random.default_rng(0).uniform(0.01, 0.08, 20)
    truth = truths(np.random.default_rng(0))[POINTS_OF[0]]
    found = [spent(replace(truth, link=d).stories(np.random.default_rng(1), 300), WINDOW, SERVICES, HOSTS) for d in delays.tolist()]
    points = [{"delay": delay} for delay in delays.tolist()]
    told = profiled(planted_table({"delay": (0.01, 0.08)}, points, 1, delays, "latin"), found, (), np.random.default_rng(0))
    assert told is not None
    consistent(told)
    (change,) = told.changes
    assert change.mean == pytest.approx(np.ptp(delays), rel=1e-6)
    assert change.mean_shares[LINK] == pytest.approx(1.0, rel=1e-6)
    assert "20 levels" in told.notes[-1]


seconds = st.floats(0.0, 10.0)


@given(st.lists(st.tuples(seconds, seconds, seconds), min_size=1, max_size=300), st.floats(0.5, 1.0))
def test_parts_sum_to_any_quantile(rows: list[tuple[float, float, float]], level: float) -> None:
    parts = dict(zip("abc", np.array(rows).T, strict=True))
    latency = np.array(rows).sum(axis=1)
    value, tail = at_quantile(latency, parts, level)
    assert value == pytest.approx(np.quantile(latency, level))
    assert all(part >= 0 for part in tail.values())
    near = np.sort(latency)[-max(10, len(rows)) :]
    assert sum(tail.values()) == pytest.approx(value, rel=1e-9, abs=1e-300) or near.max() == 0


def write_run(folder: Path, stories: Stories) -> None:
    """A finished run's folder, through the store of simulated runs."""
    folder.mkdir(parents=True)
    columns = [getattr(stories, name).tolist() for name in Stories.__dataclass_fields__ if name != "names"]
    rows = []
    for trace, stream, origin, receiver, seq, *times, size, _, _, answer in zip(*columns, strict=True):
        names = stories.names
        told = None if answer < 0 else answer
        rows.append(MessageRow(f"t{trace}", names[stream], names[origin], seq, names[receiver], *times, size, None, None, told))
    store = MemoryStore()
    store.add("messages", rows)
    store.compact(folder)
    run = {"schema": 1, "id": folder.name, "experiment": "x", "status": "done", "warmup": 0.0, "duration": 1e6}
    replicas = [{"name": name, "service": service, "host": HOSTS[name][0]} for name, service in SERVICES.items()]
    hosts = [{"name": host, "layer": layer, "device": {"cores": 1, "speed": 1.0}} for host, layer in HOSTS.values()]
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "plan.json").write_text(json.dumps({"hosts": hosts, "replicas": replicas}))
    (folder / "responses.json").write_text(json.dumps({"latency": {"value": 1.0, "unit": "s", "n": 1}}))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A study of one factor with its run folders."""
    points = [{"delay": level} for level in FACTORS["delay"]]
    rows = [Row(i + 1, i // 2 + 1, i % 2 + 1, 1, points[i % 2]) for i in range(6)]
    asked = Asked("x", "x.yaml", "", "simulate", None, (), "full", None, 3, 1, 1, {"delay": FACTORS["delay"]})
    folder = Folder.make(tmp_path / "study", asked, rows)
    known = truths(np.random.default_rng(3))
    for row in rows:
        write_run(folder.attempt(row, 1), known[row.levels["delay"], "low"].stories(np.random.default_rng(row.block), 500))
    folder.write_table(folder.outcomes())
    return folder.path


def test_run_folders_are_read_and_damaged_ones_are_told(folders: Path) -> None:
    told = paths(read_table(folders), np.random.default_rng(0))
    assert told is not None
    consistent(told)
    assert (told.overall.runs, told.overall.messages, told.notes) == (6, 3000, ())
    assert told.changes[0].mean_shares[LINK] > 0.9
    (folders / "runs" / "1-1" / "messages.parquet").write_bytes(b"nonsense")
    (folders / "runs" / "2-1" / "run.json").unlink()
    (folders / "runs" / "3-1" / "messages.parquet").unlink()
    (folders / "runs" / "4-1" / "plan.json").write_text('{"hosts": 3}')
    less = paths(read_table(folders), np.random.default_rng(0))
    assert less is not None
    assert less.overall.runs == 2
    assert "4 of the finished runs cannot be read" in less.notes[0]
    for number in (5, 6):
        (folders / "runs" / f"{number}-1" / "run.json").write_text("{")
    nothing = paths(read_table(folders), np.random.default_rng(0))
    assert nothing is not None
    assert nothing.overall.runs == 0
    print_paths(Console(), nothing)


def test_in_memory_and_from_a_folder_is_the_same(tmp_path: Path) -> None:
    stories = truths(np.random.default_rng(5))[POINTS_OF[3]].stories(np.random.default_rng(5), 300)
    write_run(tmp_path / "r", stories)
    read, held = spending(open_run(tmp_path / "r")), spent(stories, (0.0, 1e6), SERVICES, HOSTS)
    assert read.mean == pytest.approx(held.mean, abs=1e-12)
    assert read.tail == pytest.approx(held.tail, abs=1e-12)


def test_runs_without_messages_have_no_paths() -> None:
    silent = [Spending(0, 0.0, 0.0, {}, {}) for _ in POINTS]
    assert profiled(planted_table(FACTORS, POINTS, 1, [1.0] * 4), silent, (), np.random.default_rng(0)) is None


def test_words_say_what_a_change_is_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    _, table, found = study(11)
    told = profiled(table, found, (), np.random.default_rng(0))
    assert told is not None
    print_paths(Console(width=120), told)
    text = capsys.readouterr().out
    assert "transfer fog → cloud explains" in text
    assert "of the p99 increase from delay=10ms to delay=80ms" in text


def test_a_simulated_study_of_a_delay_is_explained_by_its_link(tmp_path: Path) -> None:
    """The model of the link says so: 20 ms more on the way of every message, and nothing else that changes."""
    varied = TINY.replace("delay: 10ms", 'delay: "${delay}"').replace('"parts:Total"', '"parts:Total", costs: {add: 1ms}')
    write(tmp_path, varied + "factors:\n  delay: [10ms, 30ms]\n")
    made = estran("study", "experiment.yaml", "--on", "simulate", "--json", "--replicates", "3", cwd=tmp_path)
    path = tmp_path / json.loads(made.stdout)["study"]
    asked = estran("explain", str(path), "--response", "latency", "--json", cwd=tmp_path)
    (change,) = json.loads(asked.stdout)["paths"]["changes"]
    assert change["mean"] == pytest.approx(0.020, rel=0.03)
    assert change["mean_shares"]["transfer edge → cloud"] == pytest.approx(1.0, abs=0.03)
    assert change["mean_stages"]["transfer edge → cloud"] == pytest.approx(0.020, rel=0.03)
    assert change["tail_shares"]["transfer edge → cloud"] == pytest.approx(1.0, abs=0.03)
    said = estran("explain", str(path), cwd=tmp_path)
    assert "transfer edge → cloud explains" in said.stdout, said.stderr
