"""How points stand under noise, and what is told of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estran.optimize.answer import answer
from estran.optimize.goals import Goals
from estran.optimize.pareto import hypervolume, on_front
from estran.optimize.standing import chosen_replicate, fitted, standings
from estran.optimize.strategy import Ask, Told
from estran.optimize.trials import Trials

TWO = Goals.read(["latency"], ["accuracy"], ["energy<=40J"])


def trials(*points: list[tuple[float, float, float]], first: int = 1) -> Trials:
    """Points with a run for each seed: latency, accuracy, energy."""
    found, number = Trials(), 0
    for point, runs in enumerate(points):
        for replicate, (latency, accuracy, energy) in enumerate(runs):
            values = {"latency": latency, "accuracy": accuracy, "energy": energy}
            found.add(Ask(number, point, {"x": point}, "simulate", first + replicate, replicate, {"what": "explore"}))
            found.tell(number, Told("done", TWO.costs(values), TWO.violations(values), 2.0, values))
            number += 1
    return found


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@given(st.integers(2, 8), st.integers(2, 4), st.floats(-5, 5))
def test_effects_of_seeds_are_no_differences_of_points(points: int, seeds: int, drift: float) -> None:
    """Exact runs, each its point's mean and its seed's effect: some points were run with all seeds, others with the first only."""
    runs = [{seed: np.array([10.0 * point + drift * seed]) for seed in range(seeds if point < 2 else 1)} for point in range(points)]
    found = fitted(runs)
    assert found.runs.tolist() == [seeds] * min(points, 2) + [1] * (points - 2)
    assert np.diff(found.means[2:, 0]) == pytest.approx(10.0)
    if sum(found.runs) - points - (seeds - 1) >= 2:
        assert np.diff(found.means[:, 0]) == pytest.approx(10.0)
        assert found.deviation[0] == pytest.approx(0.0, abs=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    draws, held, count = np.random.default_rng(5), 0, 150
    one = Goals.read(["latency"], [], [])
    for _ in range(count):
        seeds = draws.normal(0, 1, 4)
        found = Trials()
        for number in range(12):
            latency = 5.0 + seeds[number % 4] - seeds.mean() + draws.normal(0, 0.5)
            ask = Ask(number, number // 4, {"x": number // 4}, "simulate", number % 4, number % 4)
            found.add(ask)
            found.tell(number, Told("done", (latency,), (), 1.0, {"latency": latency}))
        low, high = standings(found, "simulate", one, rng())[0].ci95[0] or (0.0, 0.0)
        held += low <= 5.0 <= high
    assert 0.9 <= held / count <= 0.99


def test_places_are_as_sure_as_runs_make_them() -> None:
    clear, close, behind = [(1.0, 0.9, 30.0)] * 2, [(0.5, 0.7, 30.0)] * 2, [(9.0, 0.5, 30.0)] * 2
    noisy = [(1.02, 0.901, 30.0), (0.99, 0.899, 31.0)]
    found = standings(trials(clear, close, behind, noisy), "simulate", TWO, rng())
    assert (found[1].on_front, found[2].on_front) == (True, False)
    assert found[1].front > 0.95
    assert found[2].front < 0.05
    assert 0.1 < found[0].front < 0.9
    assert all(one.feasible > 0.95 for one in found.values())
    chosen = chosen_replicate(found, 5)
    assert chosen is not None
    assert chosen.point.number in (0, 3)
    assert chosen_replicate(found, 2) is None


def test_what_differs_by_rounding_only_is_equal() -> None:
    found = standings(trials([(1.0, 0.1 + 0.2, 30.0)], [(1.1, 0.3 + 1e-16, 30.0)], [(0.9, 0.3, 30.0)]), "simulate", TWO, rng())
    assert [one.on_front for one in found.values()] == [False, False, True]


def test_points_that_break_a_limit_are_not_on_the_front() -> None:
    found = standings(trials([(1.0, 0.9, 30.0)], [(0.5, 0.95, 50.0)]), "simulate", TWO, rng())
    assert [one.on_front for one in found.values()] == [True, False]
    assert [one.feasible for one in found.values()] == [1.0, 0.0]
    assert found[1].broken == pytest.approx((10.0,))


def test_the_gain_is_told_with_its_uncertainty() -> None:
    default = [(0.142, 0.901, 30.0), (0.150, 0.893, 30.0), (0.146, 0.897, 30.0)]
    better = [(0.061, 0.900, 30.0), (0.066, 0.8935, 30.0), (0.062, 0.8965, 30.0)]
    found = answer(
        trials(default, [(0.3, 0.8, 30.0)], better), TWO, experiment="x", target="simulate",
        units={"latency": "s", "accuracy": "fraction"}, seed=1,
    )  # fmt: skip
    assert found.recommended == 2
    assert [gain.better for gain in found.gains] == [True, None]
    assert found.sentence.startswith("latency 146ms → 63ms (−57 %, 95 % −")
    assert "at the same accuracy (−0.033 points, 95 % −" in found.sentence
    assert found.sentence.endswith("cannot be told from 0)")
    assert found.counts == {"simulate": {"done": 7}}
    assert found.seconds == {"simulate": 14.0}
    assert any("over- than understated" in note for note in found.notes)


def test_where_the_default_failed_there_is_nothing_to_compare_with() -> None:
    made = trials([(1.0, 0.9, 30.0)], [(2.0, 0.95, 30.0)])
    made.tell(0, Told("failed", failure="it broke"))
    found = answer(made, TWO, experiment="x", target="simulate", units={}, seed=1)
    assert (found.recommended, found.gains) == (1, ())
    assert [step.hypervolume for step in found.trace] == [0.0, pytest.approx(1.21)]
    assert found.sentence.startswith("there is nothing to compare with")
    assert "no run of the default was done: there is nothing to compare with" in found.notes
    assert found.counts == {"simulate": {"failed": 1, "done": 1}}


def test_nothing_better_and_nothing_possible_are_said() -> None:
    best = answer(trials([(1.0, 0.9, 30.0)], [(2.0, 0.8, 30.0)]), TWO, experiment="x", target="simulate", units={}, seed=1)
    assert (best.recommended, best.sentence) == (0, "nothing that was tried is better than the default")
    broken = answer(trials([(1.0, 0.9, 50.0)]), TWO, experiment="x", target="simulate", units={}, seed=1)
    assert (broken.recommended, broken.sentence) == (None, "no point is likely to keep all limits")
    none = answer(Trials(), TWO, experiment="x", target="simulate", units={}, seed=1)
    assert (none.candidates, none.trace) == ((), ())


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12, unique=True))
def test_fronts_and_volumes_are_those_of_their_definition(points: list[tuple[float, float]]) -> None:
    costs = np.array(points)
    beaten = [any((other <= one).all() and (other < one).any() for other in costs) for one in costs]
    assert on_front(costs).tolist() == [not lost for lost in beaten]
    corners = sorted({(x, y) for x, y in points})
    volume, height = 0.0, 1.0
    for (x, y), right in zip(corners, [*(x for x, _ in corners[1:]), 1.0], strict=True):
        height = min(height, y)
        volume += (right - x) * (1.0 - height)
    assert hypervolume(costs, np.ones(2)) == pytest.approx(volume, abs=1e-9)
