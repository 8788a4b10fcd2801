import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from estran.optimize.fidelities.trust import ENOUGH, judged, ranked


def verdict(low, high, noise=0.0):
    return judged("simulate", "latency", np.asarray(low, dtype=float), np.asarray(high, dtype=float), noise)


def test_five_pairs_in_the_opposite_order_are_enough():
    found = verdict([1, 2, 3, 4, 5], [9, 7, 6, 4, 1])
    assert found.verdict == "distrusted"
    assert "misleading" in found.words("emulate")
    assert "-1.00" in found.words("emulate")


def test_four_are_not():
    found = verdict([1, 2, 3, 4], [4, 3, 2, 1])
    assert found.verdict == "untested"
    assert found.used
    assert "not tested" in found.words("emulate")


def test_a_biased_fidelity_with_the_right_order_is_believed():
    found = verdict([1, 2, 3, 4, 5, 6], [20, 31, 39, 52, 60, 69])
    assert found.verdict == "trusted"
    assert found.discrepancy is not None
    assert found.discrepancy < 0.1


def test_noise_is_no_discrepancy():
    rng = np.random.default_rng(1)
    truth = np.arange(12.0)
    high = truth + rng.normal(size=12)
    assert verdict(truth, high, 1.0).discrepancy < verdict(truth, high).discrepancy


def test_where_nothing_but_noise_differs_nothing_can_be_said_of_the_discrepancy():
    assert verdict([1, 2, 3, 4, 5], [1.0, 1.1, 0.9, 1.05, 0.95], noise=1.0).discrepancy is None


@given(st.lists(st.floats(-1e3, 1e3), min_size=ENOUGH, max_size=30), st.lists(st.floats(-1e3, 1e3), min_size=30, max_size=30))
def test_the_interval_holds_the_correlation(low, high):
    found, (least, most) = ranked(np.array(low), np.array(high[: len(low)]))
    assert -1 <= found <= 1
    assert least <= np.clip(found, -1 + 1 / len(low) ** 2, 1 - 1 / len(low) ** 2) + 1e-9
    assert most >= np.clip(found, -1 + 1 / len(low) ** 2, 1 - 1 / len(low) ** 2) - 1e-9
