"""Faults by hand: the door, who may knock, and a real run that is touched."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from estran.errors import PlatformError, RequestError
from estran.platforms.base import Provision
from estran.run.faults import Injector
from estran.run.hand import Hand, ask, door, door_of
from estran.run.record import QuietProgress, RunRecord
from estran.runtime.clock import RealClock
from estran.spec import load_text, plan
from estran.spec.faults import FaultKind, Injection
from tests.run.experiments import assert_nothing_left, record, run_folder, start, wait_for_phase, write

TEXT = """\
experiment: touched
seed: 7
layers:
  fog:   {hosts: 1, device: cloud-vm-2}
  cloud: {hosts: 1, device: cloud-vm-2}
network:
  - {between: [fog, cloud], delay: 5ms}
services:
  camera:  {on: fog, component: source, with: {data: digits, rate: 10/s}}
  trainer: {on: cloud, component: trainer}
streams:
  - {from: camera.samples, to: trainer.samples}
measure: {warmup: 0s, duration: 20s}
"""


class Breaker:
    """Takes everything that happens down; refuses to crash hosts, and cannot slow them."""

    name = "breaker"
    virtual = False
    hosts: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def breaks(self, kind: FaultKind) -> str | None:
        return "it has no hammer" if kind == "crash" else None

    async def inject(self, injection: Injection) -> None:
        if injection.kind == "slow":
            raise PlatformError("the host would not", remedy="be patient")
        self.done.append(("inject", injection.key))

    async def heal(self, injection: Injection) -> None:
        self.done.append(("heal", injection.key))


class Scene:
    """A door with a hand behind it that breaks nothing real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.breaker = Breaker()
        self.rows: list[Any] = []
        planned = plan(load_text(TEXT, source="f.yaml"))
        collector = cast(
            "Any", SimpleNamespace(expect=lambda *_: None, fail=self.rows.append, take=lambda _, rows: self.rows.extend(rows))
        )
        self.injector = Injector(
            planned, cast("Provision", self.breaker), collector, cast("Any", None), RealClock(time.monotonic_ns()), folder
        )
        self.record = RunRecord(folder, {"id": "x"}, QuietProgress())
        self.hand = Hand(planned, cast("Any", self.breaker), self.injector, self.record)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("long" * 30)))  # longer than a socket's address may be
    (tmp_path / "run").mkdir()
    return Scene(tmp_path / "run")


async def test_a_fault_begins_is_marked_and_healed(scene: Scene) -> None:
    async with door(scene.hand, "x"):
        place = door_of("x")
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        kinds = (await ask("x", {"ask": "kinds"}))["kinds"]
        assert (kinds["cut"], kinds["crash"]) == (None, "it has no hammer")
        answer = await ask("x", {"fault": {"cut": ["fog", "cloud"], "for": "2s"}})
        assert answer["targets"] == ["cloud-0 ↔ fog-0"]
        assert scene.breaker.done == [("inject", "by-hand-1/0")]
        (told,) = json.loads((scene.folder / "faults.json").read_text())["faults"]  # at once: the run may be killed any time
        assert (told["begun"] is not None, told["ended"]) == (True, None)
        with pytest.raises(RequestError, match="by-hand-1/0 is still on there"):
            await ask("x", {"fault": {"degrade": ["fog", "cloud"], "delay": "1s"}})
        async with asyncio.timeout(20):
            while len(scene.breaker.done) < 2:
                await asyncio.sleep(0.05)
        assert scene.breaker.done == [("inject", "by-hand-1/0"), ("heal", "by-hand-1/0")]
        await ask("x", {"fault": {"hang": "camera"}})
    assert not place.exists()
    await scene.injector.heal()  # as the conductor does at the end
    assert scene.breaker.done[-1] == ("heal", "by-hand-2/0")
    written = json.loads((scene.folder / "faults.json").read_text())["faults"]
    assert [(one["kind"], one["by_hand"], one["ended"] is not None) for one in written] == [
        ("cut", True, True),
        ("hang", True, True),
    ]
    assert json.loads((scene.folder / "run.json").read_text())["by_hand"] == 2
    assert "touched by hand: cut of cloud-0 ↔ fog-0" in scene.record.warnings[0]
    with pytest.raises(RequestError, match="no fault can be started now"):
        await ask("x", {"ask": "kinds"})


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ({"cut": ["fog", "clowd"]}, "matches no layer or host"),
        ({"cut": ["fog", "cloud"], "at": "3s"}, "begins at once"),
        ({"cut": ["fog", "cloud"], "for": "0s"}, "a fault of no time does not happen"),
        ({"crash": "fog"}, "it has no hammer"),
        ({"slow": "fog", "speed": 0.5}, "the host would not"),
        ({}, "does not say what breaks"),
        ([1], "this is no request"),
        ({"cut": {"x": "\n]: &a"}}, "is not a list|list|cut"),
    ],
)
async def test_what_is_no_fault_is_refused_and_touches_nothing(scene: Scene, fault: Any, what: str) -> None:
    async with door(scene.hand, "x"):
        with pytest.raises(RequestError, match=what):
            await ask("x", {"fault": fault})
    assert scene.breaker.done == []
    assert scene.record.warnings == []


async def test_two_at_once_follow_each_other(scene: Scene) -> None:
    async with door(scene.hand, "x"):
        hang, kill = {"hang": "camera"}, {"kill": "trainer"}
        await asyncio.gather(ask("x", {"fault": hang}), ask("x", {"fault": kill}))
    assert {one.injection.key for one in scene.injector.happenings} == {"by-hand-1/0", "by-hand-2/0"}


async def test_nonsense_ends_only_its_own_connection(scene: Scene) -> None:
    async with door(scene.hand, "x"):
        folder = os.open(door_of("x").parent, os.O_RDONLY)
        try:
            for sent in (b"", b"\n", b"{", b"null\n", b"x" * 40_000):
                reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/x.sock")
                writer.write(sent)
                writer.write_eof()
                with suppress(ConnectionResetError):  # of what is too long the end is not read
                    assert b"this is no request" in await reader.read()
                writer.close()
        finally:
            os.close(folder)
        assert (await ask("x", {"ask": "kinds"}))["kinds"]["cut"] is None


@pytest.mark.alone
def test_a_run_that_was_touched_by_hand_says_so_an_emulated_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    process = start("run", "experiment.yaml", "--json", "--set", "measure.duration=5s", cwd=tmp_path)
    try:
        wait_for_phase(tmp_path, "measure")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        run = run_folder(tmp_path)
        deadline = time.monotonic() + 3.0
        while not door_of(run.name).exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        asyncio.run(ask(run.name, {"fault": {"hang": "total", "for": "1s"}}))
        assert "touched by hand: hang of total-0" in " ".join(record(tmp_path)["warnings"])
    finally:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert record(tmp_path)["by_hand"] == 1
    (fault,) = json.loads((run / "faults.json").read_text())["faults"]
    assert 0.9 <= fault["ended"] - fault["begun"] <= 3.0
    assert "touched by hand" in (run / "report.html").read_text()
    assert not door_of(run.name).exists()
    assert_nothing_left(run.name)
