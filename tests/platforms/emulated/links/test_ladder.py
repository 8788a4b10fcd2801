"""The ladder: every rung is tried for real, the best that works is taken, and nothing is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from estran.errors import PlatformError
from estran.platforms.emulated.links import ladder, throwaway
from estran.platforms.emulated.links.engine import Trial
from estran.platforms.emulated.links.ladder import RUNGS, choose, make_engine, try_engines
from estran.platforms.emulated.links.relay_nfqueue import NfqueueEngine
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.loopback_fabric import LoopbackFabric
from estran.platforms.emulated.probes.probe import probe
from estran.spec.model import LinkSpec
from tests.processes import children


def open_files() -> set[str]:
    return {str(entry.resolve()) for entry in Path("/proc/self/fd").iterdir()}


def test_every_rung_is_tried_and_nothing_is_left() -> None:
    before, home, started = open_files(), Path("/proc/self/ns/net").stat().st_ino, children()
    trials = try_engines()
    assert tuple(trials) == RUNGS
    assert all(trial.why for trial in trials.values())
    assert trials["loopback"].works
    assert "loss" in trials["loopback"].limits
    assert open_files() == before
    assert Path("/proc/self/ns/net").stat().st_ino == home
    assert children() == started


def test_the_best_that_works_is_chosen_and_all_are_recorded() -> None:
    choice = choose(seed=3)
    assert choice.trials[choice.engine.name].works
    better = list(choice.trials)[: list(choice.trials).index(choice.engine.name)]
    assert not any(choice.trials[rung].works for rung in better)
    assert tuple(choice.trials) == RUNGS


def test_a_rung_can_be_forced_and_brings_its_fabric() -> None:
    choice = choose("loopback")
    assert choice.engine.name == "loopback"
    assert tuple(choice.trials) == ("loopback",)
    assert isinstance(choice.fabric(["a"], {}, {"a": [80]}), LoopbackFabric)
    assert tuple(choose(rungs=("tun", "loopback")).trials) == ("tun", "loopback")
    with pytest.raises(PlatformError, match="there is no engine 'wifi'"):
        choose("wifi")


def test_where_nothing_works_every_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NfqueueEngine, "trial", lambda self: Trial(False, "no queue here"))
    with pytest.raises(PlatformError, match=r"nfqueue: no queue here"):
        choose("nfqueue")
    later = choose(rungs=("nfqueue", "loopback"))
    assert later.engine.name == "loopback"
    assert later.trials["nfqueue"] == Trial(False, "no queue here")
    assert ladder.RUNGS[-1] == "loopback"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes network namespaces")
@pytest.mark.parametrize("rung", RUNGS[:3])
def test_a_chosen_engine_does_what_it_promised(rung: str) -> None:
    trial = make_engine(rung).trial()
    if not trial.works:
        pytest.skip(trial.why)
    choice = choose(rung, seed=1)
    links = {("a", "b"): LinkSpec(0.02)}
    with choice.fabric(["a", "b"], links) as fabric, choice.engine.start(fabric) as running:
        assert isinstance(fabric, Fabric)
        assert running.alive()
        (measure,) = probe(fabric, links, budget_s=0.4)
        assert measure.measured["delay"] == pytest.approx(0.02, abs=0.002)


def test_a_trial_raises_nothing_whatever_happens_in_it() -> None:
    def raises() -> str:
        raise OSError(95, "Operation not supported")

    def breaks() -> str:
        raise KeyError("unexpected")

    if os.geteuid() == 0:
        assert throwaway.trial(raises, {}, "do this") == Trial(False, "Operation not supported; do this")
        assert throwaway.trial(breaks, {}, "") == Trial(False, "KeyError: 'unexpected'")
        assert throwaway.trial(lambda: "seen", {"loss": "none"}, "") == Trial(True, "seen", {"loss": "none"})
    assert throwaway.trial_here(raises, {}, "do this") == Trial(False, "Operation not supported; do this")


def test_a_trial_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway, "_SECONDS", 0.2)
    began, started = time.monotonic(), children()
    trial = throwaway.trial(lambda: str(time.sleep(60)), {}, "")
    if os.geteuid() == 0:
        assert trial == Trial(False, "the trial gave no answer in 0.2 s")
    assert time.monotonic() - began < 10
    assert children() == started
