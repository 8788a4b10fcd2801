"""The example of a served engine: the best sizes of its pools lie inside their ranges, and its default is far from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.simulated import record, simulate, value

EXAMPLE = Path(__file__).parents[2] / "examples" / "served-engine"
GOOD = {"http": 24, "download": 8, "extract": 2, "simsearch": 4}


def served(folder: Path, response: str = "throughput", **pools: int) -> float:
    """A response of a short run. With so many users always waiting, who is served faster waits less: throughput tells."""
    levels = [f"{name}={size}" for name, size in pools.items()]
    short = ["measure.warmup=4s", "measure.duration=12s", *levels]
    text = (EXAMPLE / "experiment.yaml").read_text()
    run = simulate(folder, text, {"engine": (EXAMPLE / "engine.py").read_text()}, overrides=short)
    assert record(run)["status"] == "done", record(run)["failure"]
    return value(run, response)


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> float:
    return served(tmp_path_factory.mktemp("good"), **GOOD)


def test_the_default_is_far_from_the_best(tmp_path: Path, best: float) -> None:
    assert served(tmp_path) < 0.85 * best


@pytest.mark.parametrize(
    "worse", [{"http": 8}, {"download": 2}, {"extract": 1}, {"extract": 8}, {"simsearch": 1}, {"http": 64, "extract": 6}], ids=str
)
def test_pools_that_are_too_small_or_too_large_hurt(tmp_path: Path, best: float, worse: dict[str, int]) -> None:
    assert served(tmp_path, **{**GOOD, **worse}) < 0.95 * best


def test_users_wait_as_long_as_the_requests_before_theirs_take(tmp_path: Path, best: float) -> None:
    assert served(tmp_path, "latency", **GOOD) == pytest.approx(80 / best, rel=0.1)
