"""Whole runs without privilege: in a user namespace, in what containers leave of one, and where there is none at all."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.run import unprivileged
from tests.run.experiments import TINY, assert_nothing_left, estran, record, run_folder, start, wait_for_phase, write
from tests.run.unprivileged import need, through


@pytest.fixture
def home() -> Iterator[Path]:
    with unprivileged.home() as folder:
        yield folder


def network(folder: Path) -> dict[str, object]:
    return json.loads((run_folder(folder) / "network.json").read_text())["facts"]


def assert_all_messages_came(folder: Path) -> None:
    """At least at the link's delay, each once, on both channels."""
    messages = str(run_folder(folder) / "messages.parquet")
    rows = duckdb.execute(
        "SELECT min(received - sent), count(*), count(DISTINCT seq), max(seq) + 1 FROM read_parquet(?) GROUP BY origin", [messages]
    ).fetchall()
    assert len(rows) == 2
    for fastest, count, distinct, numbered in rows:
        assert fastest >= 0.0099
        assert count == distinct == numbered > 30


@pytest.mark.parametrize("on", ["emulate", "emulate:tun"])
def test_a_run_in_a_user_namespace(home: Path, on: str) -> None:
    need("open")
    if on == "emulate:tun" and not unprivileged.TUN.exists():
        pytest.skip("there is no /dev/net/tun")
    write(home)
    done = estran("run", "experiment.yaml", "--on", on, cwd=home, through=through("open"))
    assert done.returncode == 0, done.stdout + done.stderr
    facts = network(home)
    assert facts["engine"]["engine"] in (("tun",) if on == "emulate:tun" else ("netem", "nfqueue", "tun"))
    assert facts["notes"][0] == "rootless: in a user namespace"
    assert not any("no process namespace" in note for note in facts["notes"])
    assert facts["limiter"] == "throttle" or facts["limiter_ladder"][facts["limiter"]]["works"]
    assert_all_messages_came(home)
    assert_nothing_left(record(home)["id"])


def test_doctor_tries_every_rung_without_root(home: Path) -> None:
    need("open")
    found = json.loads(estran("doctor", "--json", cwd=home, through=through("open")).stdout)
    assert "rootless, in a user namespace" in found["notes"]
    engines = {rung["name"]: rung for rung in found["engines"]}
    assert engines["loopback"]["works"], engines["loopback"]["why"]
    assert any(engines[name]["chosen"] for name in ("netem", "nfqueue", "tun"))


def test_where_no_other_proc_may_be_mounted_the_run_goes_without_a_process_namespace(home: Path) -> None:
    need("masked")
    write(home)
    done = estran("run", "experiment.yaml", cwd=home, through=through("masked"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(note.startswith("no process namespace: cannot mount proc") for note in network(home)["notes"])
    assert_all_messages_came(home)
    assert_nothing_left(record(home)["id"])


def test_where_the_kernels_settings_are_read_only_doctor_finds_no_use_for_namespaces(home: Path) -> None:
    need("container")
    found = json.loads(estran("doctor", "--json", cwd=home, through=through("container")).stdout)
    engines = {rung["name"]: rung for rung in found["engines"]}
    assert engines["loopback"]["chosen"]
    assert "/proc/sys is read-only here" in engines["netem"]["why"]


def test_without_user_namespaces_the_loopback_rung_carries_a_run(home: Path) -> None:
    need("barred")
    write(home)
    done = estran("run", "experiment.yaml", cwd=home, through=through("barred"))
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = record(home)["warnings"]
    assert any("only TCP connections to declared ports are delayed" in warning for warning in warnings)
    assert any("hosts share one network" in warning for warning in warnings)
    facts = network(home)
    assert facts["engine"]["engine"] == "loopback"
    assert "cannot make a user namespace" in facts["engine_ladder"]["netem"]["why"]
    assert_all_messages_came(home)
    assert_nothing_left(record(home)["id"])


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_without_user_namespaces_losses_are_refused_before_anything_starts(home: Path, verb: str) -> None:
    need("barred")
    write(home, TINY.replace("rate: 20mbit", "rate: 20mbit, loss: 1%"))
    refused = estran(verb, "experiment.yaml", cwd=home, through=through("barred"))
    assert refused.returncode == 2
    told = " ".join((refused.stdout + refused.stderr).split())
    assert "loss on the engine loopback: cannot be emulated on TCP; set it to 0" in told
    assert "raise user.max_user_namespaces with sysctl, or run as root" in told
    assert not (home / "runs").exists()
    assert list((home / "state").glob("**/*.jsonl")) == []


def test_an_interrupted_run_without_root_leaves_nothing(home: Path) -> None:
    need("open")
    write(home, TINY.replace("duration: 1.5s", "duration: 50s"))
    process = start("run", "experiment.yaml", cwd=home, through=through("open"))
    wait_for_phase(home, "measure")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert (process.returncode, record(home)["status"]) == (1, "interrupted")
    assert_nothing_left(record(home)["id"])


@pytest.mark.parametrize("place", ["open", "masked", "barred"])
def test_a_killed_conductor_without_root_leaves_nothing_after_clean(home: Path, place: str) -> None:
    need(place)
    write(home, TINY.replace("duration: 1.5s", "duration: 50s"))
    process = start("run", "experiment.yaml", cwd=home, through=through(place))
    wait_for_phase(home, "measure")
    process.kill()
    process.communicate(timeout=20)
    cleaned = estran("clean", cwd=home, through=through(place))
    assert cleaned.returncode == 0, cleaned.stderr
    assert_nothing_left(record(home)["id"], within=0.5)
    assert record(home)["failure"]["what"] == "the conductor was killed"
    assert list((home / "state").glob("**/*.jsonl")) == []
