import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.optimize.fidelities.scale import Scale
from estran.optimize.fidelities.volume import Gain, reference
from estran.optimize.pareto import hypervolume


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(0, 8))
def test_the_gain_of_a_point_is_the_difference_of_hypervolumes(seed, goals, count):
    rng = np.random.default_rng(seed)
    known, point = rng.random((count, goals)), rng.random((1, goals)) * 1.3
    beyond = np.ones(goals)
    before = hypervolume(known, beyond) if count else 0.0
    assert Gain(known, beyond)(point)[0] == pytest.approx(hypervolume(np.vstack([known, point]), beyond) - before, abs=1e-9)


def test_the_reference_is_beyond_the_worst_of_the_front_only():
    found = reference(np.array([[1.0, 2.0], [2.0, 1.0], [9.0, 9.0]]))
    assert found == pytest.approx([2.1, 2.1])


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=20))
def test_a_scale_leads_back(values):
    y = np.array(values)
    scale = Scale.of(y, np.zeros(len(y), dtype=np.int64))
    assert scale.back(scale.to(y)) == pytest.approx(y, rel=1e-6, abs=1e-6)


def test_what_spans_orders_of_magnitude_is_modelled_by_its_logarithm():
    y = np.array([0.01, 0.02, 0.05, 0.2, 1.0, 30.0])
    assert Scale.of(y, np.zeros(6, dtype=np.int64)).logarithmic
    assert not Scale.of(np.array([0.8, 0.9, 0.91, 0.95]), np.zeros(4, dtype=np.int64)).logarithmic
