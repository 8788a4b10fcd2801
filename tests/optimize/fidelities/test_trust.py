import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from estran.optimize.fidelities.trust import ENOUGH, agreeing, judged, ranked


def kendall(low, high):
    return sum(np.sign(low[i] - low[j]) * np.sign(high[i] - high[j]) for i in range(len(low)) for j in range(i))


def verdict(low, high, noise=0.0):
    return judged("simulate", "latency", np.asarray(low, dtype=float), np.asarray(high, dtype=float), noise)


def test_three_pairs_in_the_opposite_order_are_enough():
    found = verdict([1, 2, 3], [9, 7, 4])
    assert found.verdict == "distrusted"
    assert found.agreement < 0.25
    assert "misleading" in found.words("emulate")


def test_of_five_the_correlation_is_told():
    found = verdict([1, 2, 3, 4, 5], [9, 7, 6, 4, 1])
    assert found.agreement < 0.05
    assert "-1.00" in found.words("emulate")


def test_one_pair_says_nothing():
    found = verdict([1], [4])
    assert found.verdict == "untested"
    assert found.used
    assert "not tested" in found.words("emulate")


def test_points_that_are_alike_below_say_nothing():
    assert verdict([1, 1.01, 1.02], [9, 7, 4]).verdict == "untested"


def test_trust_is_won_back_by_later_pairs():
    assert verdict([1, 2, 3], [3, 2, 1]).verdict == "distrusted"
    assert verdict([1, 2, 3, 4, 5, 6, 7, 8], [3, 2, 1, 4, 5, 6, 7, 8]).verdict == "trusted"


def test_no_order_at_all_is_not_believed_for_long():
    rng = np.random.default_rng(3)
    assert verdict(rng.normal(size=40), rng.normal(size=40)).verdict == "distrusted"


@given(st.permutations(range(6)))
def test_the_opposite_of_what_agrees_does_not(order):
    low, high = np.arange(6.0), np.array(order, dtype=float)
    one, other = agreeing(low, high), agreeing(low, -high)
    assert 0 < one < 1
    assert (one > other) == (kendall(low, high) > 0) or kendall(low, high) == 0


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
