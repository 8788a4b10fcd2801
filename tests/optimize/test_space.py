import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.errors import RequestError
from estran.optimize.space import Space
from estran.spec import load_text
from estran.study.factors import factors_of

FILE = """
experiment: searched
layers: {edge: {hosts: 1, device: raspberry-pi-4}, fog: {hosts: 1, device: jetson-orin-nano}}
services:
  a: {on: "${placement}", command: "a ${every} ${pool} ${loss} ${batch} ${policy}"}
factors:
  every: {from: 0.1s, to: 10s, scale: log, default: 1s}
  placement: [edge, fog]
  pool: {from: 1, to: 64, when: {placement: fog}}
  loss: {from: 0%, to: 5%, step: 1%}
  batch: [1, 16, 4]
  policy: {levels: [5, "5", none], default: none}
"""
VARIATIONS = load_text(FILE).variations
SPACE = Space(factors_of(VARIATIONS, {}))


def test_the_default_point_is_that_of_the_file() -> None:
    assert SPACE.default == {"every": "1s", "placement": "edge", "pool": 1, "loss": "0%", "batch": 1, "policy": "none"}
    assert SPACE.active(SPACE.default) == {"every", "placement", "loss", "batch", "policy"}


@given(st.integers(0, 2**31))
def test_suggestions_and_parameters_are_inverse(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    levels = SPACE.suggest(trial)
    parameters, distributions = SPACE.parameters(levels)
    assert distributions == trial.distributions
    assert parameters.keys() == trial.params.keys()
    assert all(
        parameters[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5))
        for name, value in trial.params.items()
    )
    assert ("pool" in parameters) == (levels["placement"] == "fog")
    assert levels["pool"] == 1 or levels["placement"] == "fog"
    study.add_trial(optuna.trial.create_trial(params=parameters, distributions=distributions, value=0.0))
    assert SPACE.settled(levels) == levels
    again = load_text(FILE, assignment=levels)
    assert again.assignment == levels


@given(st.integers(0, 2**31))
def test_vectors_lie_in_the_unit_cube_and_tell_points_apart(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    one, other = (SPACE.suggest(study.ask()) for _ in range(2))
    vectors = SPACE.vector(one), SPACE.vector(other)
    for vector in vectors:
        assert vector.shape == (len(SPACE.dimensions),)
        assert ((vector >= 0) & (vector <= 1)).all()
    assert (one == other) == np.allclose(*vectors, atol=1e-12)


def test_levels_outside_of_the_space_are_refused() -> None:
    for name, level in (("every", "20s"), ("placement", "cloud"), ("batch", 2), ("loss", "0.5%")):
        with pytest.raises(RequestError, match=f"is no level of {name}"):
            SPACE.parameters({**SPACE.default, name: level})


def test_ordered_levels_keep_their_order() -> None:
    column = SPACE.dimensions.index("batch")
    assert [SPACE.vector({**SPACE.default, "batch": level})[column] for level in (1, 4, 16)] == [0.0, 0.5, 1.0]
    place = SPACE.dimensions.index("every")
    assert SPACE.vector(SPACE.default)[place] == pytest.approx(0.5)
