"""The strategy of one fidelity, on functions whose optimum is known."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from estran.optimize.goals import Goals
from estran.optimize.sampling import Known, Sampling
from estran.optimize.single import Single
from estran.optimize.space import Space
from estran.optimize.standing import standings
from estran.optimize.strategy import Told
from estran.optimize.trials import Trials
from estran.study.factors import Factor
from tests.optimize.searching import asks, floats, noise, searched, told

BOWL = Space((floats("x", 0.0, 1.0, 0.9), floats("y", 0.01, 100.0, 50.0, log=True)))
ONE = Goals.read(["latency"], [], [])
TWO = Goals.read(["latency"], ["accuracy"], [])


def bowl(levels: Mapping[str, Any], seed: int) -> dict[str, float]:
    apart = (levels["x"] - 0.3) ** 2 + (np.log10(levels["y"]) / 2) ** 2
    return {"latency": 1.0 + 10 * apart, "accuracy": 0.5 + levels["x"] / 2}


def noisy(levels: Mapping[str, Any], seed: int) -> dict[str, float]:
    found = bowl(levels, seed)
    return {**found, "latency": found["latency"] + 0.2 * seed + noise(levels, seed, 0.3)}


def single(
    space: Space, goals: Goals, *, budget: int = 40, replicates: int = 3, sampler: str = "tpe", seed: int = 7, known: Any = ()
) -> Single:
    drawn = Sampling(space, goals, sampler=sampler, seed=seed, budget=budget, known=known)
    return Single(space, goals, drawn, fidelity="simulate", budget=budget, replicates=replicates, seed=seed)


def test_the_default_comes_first_and_the_budget_holds() -> None:
    made = asks(searched(single(BOWL, ONE), ONE, bowl))
    assert len(made) == 40
    assert (made[0].levels, made[0].why["what"], made[0].seed) == (BOWL.default, "default", 7)
    assert [ask.number for ask in made] == list(range(40))
    assert len({repr(ask.levels) for ask in made}) == len({ask.point for ask in made})


@pytest.mark.parametrize(
    "sampler", ["tpe", "nsga2", pytest.param("gp", marks=pytest.mark.skipif(not find_spec("torch"), reason="needs torch"))]
)
def test_samplers_find_what_is_better_than_random_draws(sampler: str) -> None:
    best = min(bowl(ask.levels, 0)["latency"] for ask in asks(searched(single(BOWL, ONE, budget=60, sampler=sampler), ONE, bowl)))
    assert best < 1.5
    assert bowl(BOWL.default, 0)["latency"] > 10


def test_what_is_asked_follows_from_the_seed_and_from_what_was_told() -> None:
    whole = asks(searched(single(BOWL, TWO), TWO, noisy))
    assert asks(searched(single(BOWL, TWO), TWO, noisy)) == whole
    assert asks(searched(single(BOWL, TWO, seed=8), TWO, noisy)) != whole
    resumed = single(BOWL, TWO)
    for ask in whole[:25]:
        resumed.recall(ask)
        resumed.tell(ask.number, told(TWO, noisy(ask.levels, ask.seed)))
    assert resumed.ask() == whole[25]


def test_replicates_go_to_points_whose_place_is_uncertain() -> None:
    trials = searched(single(BOWL, ONE, budget=60), ONE, noisy)
    found = standings(trials, "simulate", ONE, np.random.default_rng(0))
    doubted = [found[ask.point].means[0] for ask in asks(trials) if "front" in ask.why]
    assert len(doubted) > 5
    assert np.mean(doubted < np.median([one.means[0] for one in found.values()])) > 0.85
    assert sum(one.runs - 1 for one in found.values()) <= 60 / 3 + 4
    best = min(found.values(), key=lambda one: one.means[0])
    assert (best.runs, found[0].runs) == (3, 3)
    assert max(one.runs for one in found.values()) == 3
    assert {ask.seed for ask in asks(trials)} == {7, 8, 9}


def test_where_replicates_are_alike_none_are_made() -> None:
    made = asks(searched(single(BOWL, TWO), TWO, bowl))
    assert sum(ask.replicate > 0 for ask in made) == 1


def test_small_spaces_are_searched_to_their_end() -> None:
    space = Space((Factor("a", (1, 2, 3)), Factor("b", ("x", "y"))))
    made = asks(
        searched(
            single(space, ONE, budget=100, replicates=2),
            ONE,
            lambda levels, seed: {"latency": levels["a"] + noise(levels, seed, 0.1)},
        )
    )
    assert len({ask.point for ask in made}) == 6
    assert len(made) == 12


def test_factors_that_do_not_count_stay_at_their_default() -> None:
    space = Space((Factor("where", ("edge", "fog")), Factor("pool", (1, 64), 8, None, {"where": ("fog",)})))
    made = asks(searched(single(space, ONE, budget=20), ONE, lambda levels, seed: {"latency": float(levels["pool"])}))
    assert {(ask.levels["where"], ask.levels["pool"]) for ask in made} == {("edge", 8), ("fog", 1), ("fog", 64)}


def test_failed_points_are_not_tried_again() -> None:
    strategy, trials, failed = single(BOWL, ONE, budget=30), Trials(), 0
    while (ask := strategy.ask()) is not None:
        strategy.recall(ask)
        trials.add(ask)
        lost = ask.levels["x"] < 0.5
        failed += lost
        ended = Told("failed", failure="it broke") if lost else told(ONE, bowl(ask.levels, ask.seed))
        strategy.tell(ask.number, ended)
        trials.tell(ask.number, ended)
    assert failed > 3
    assert len(trials) == 30
    assert all(len(point.trials) == 1 for point in trials.points.values() if point.levels["x"] < 0.5)


def test_pruned_points_are_taken_to_be_bad() -> None:
    strategy, pruned = single(BOWL, ONE, budget=50, replicates=1), []
    while (ask := strategy.ask()) is not None:
        strategy.recall(ask)
        latency = bowl(ask.levels, ask.seed)["latency"]
        lost = ask.number > 8 and latency > 3.0
        pruned.append(lost)
        strategy.tell(ask.number, Told("pruned", reached=(4, latency)) if lost else told(ONE, bowl(ask.levels, ask.seed)))
    assert sum(pruned[9:25]) > sum(pruned[34:])


def test_several_runs_may_go_on() -> None:
    strategy, made = single(BOWL, ONE, budget=30), []
    while (ask := strategy.ask()) is not None:
        strategy.recall(ask)
        made.append(ask)
        if len(made) > 3:
            late = made[len(made) - 4]
            strategy.tell(late.number, told(ONE, noisy(late.levels, late.seed)))
    assert len(made) == 30
    assert len({(ask.point, ask.replicate) for ask in made}) == 30


def test_limits_are_kept() -> None:
    goals = Goals.read(["latency"], [], ["accuracy>=0.9"])
    trials = searched(single(BOWL, goals, budget=50), goals, bowl)
    found = standings(trials, "simulate", goals, np.random.default_rng(0))
    best = next(one for one in found.values() if one.on_front)
    assert best.point.levels["x"] >= 0.8
    assert best.means[0] < 4.3  # 3.5 where it is least
    unlimited = searched(single(BOWL, ONE, budget=50), ONE, bowl)
    assert sum(ask.levels["x"] >= 0.8 for ask in asks(trials)) > sum(ask.levels["x"] >= 0.8 for ask in asks(unlimited))


def test_earlier_points_guide_the_search() -> None:
    known = [
        Known({"x": x, "y": y}, (bowl({"x": x, "y": y}, 0)["latency"],), ())
        for x in (0.1, 0.29, 0.5, 0.9)
        for y in (0.02, 0.5, 1.1, 50.0)
    ]
    warm = [bowl(ask.levels, 0)["latency"] for ask in asks(searched(single(BOWL, ONE, budget=12, known=known), ONE, bowl))]
    cold = [bowl(ask.levels, 0)["latency"] for ask in asks(searched(single(BOWL, ONE, budget=12), ONE, bowl))]
    assert np.median(warm) < np.median(cold)
