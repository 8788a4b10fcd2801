"""What must hold of runs with random faults (`estran.checks.chaos`); `benchmarks/chaos.py` draws many more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estran.checks import chaos

CASES = sorted((Path(__file__).parent / "chaos").glob("*.json"))


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_random_faults(first: int) -> None:
    wrong = {seed: found for seed in range(first, first + 10) if (found := chaos.violations(chaos.draw(seed)))}
    assert wrong == {}


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_what_failed_once(case: Path) -> None:
    assert chaos.violations(json.loads(case.read_text())) == []


def test_a_violation_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a transport that repeats nothing, messages are lost, and the fault that does it is singled out."""
    from estran.platforms.simulated.senders import AcknowledgedSender

    monkeypatch.setattr(AcknowledgedSender, "repeat", lambda self: None)
    case = json.loads((Path(__file__).parent / "chaos" / "reboot-and-begin-anew.json").read_text())
    case["faults"]["harmless"] = {"slow": "fog", "speed": 0.5, "at": "1s", "for": "1s"}
    assert any("lost" in found or "did not move" in found for found in chaos.violations(case))
    assert list(chaos.shrink(case)["faults"]) == ["f0"]
