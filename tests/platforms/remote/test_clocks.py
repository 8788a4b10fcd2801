"""What is said of clocks that do not run at the controller's speed."""

from __future__ import annotations

from estran.platforms.remote.host import ClockOffset
from estran.platforms.remote.provision import moved

EARLY = {"edge-0": ClockOffset(5_000_000, 100_000), "cloud-0": ClockOffset(-7_000_000, 200_000)}


def test_the_clock_that_moved_most_is_told_with_how_far() -> None:
    late = {"edge-0": ClockOffset(5_400_000, 100_000), "cloud-0": ClockOffset(-8_250_000, 200_000)}
    (said,) = moved(EARLY, late)
    assert said.startswith("the clock of cloud-0 moved by 1.25 ms")


def test_what_comparisons_may_be_wrong_by_is_no_movement() -> None:
    late = {"edge-0": ClockOffset(5_200_000, 100_000), "cloud-0": ClockOffset(-6_600_000, 200_000)}
    assert moved(EARLY, late) == []
    assert moved(EARLY, {}) == []
