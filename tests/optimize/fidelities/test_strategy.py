from collections import Counter

import numpy as np
import pytest

from estran.optimize.fidelities.history import Known
from estran.optimize.fidelities.ladder import Ladder, Rung
from estran.optimize.fidelities.strategy import MultiFidelity
from estran.optimize.goals import Goals
from estran.optimize.sampling import Sampling
from estran.optimize.single import Single
from estran.optimize.space import Space
from estran.optimize.strategy import Told
from estran.optimize.trials import Trials
from tests.optimize.searching import Factor, floats

GOALS = Goals.read(["one", "two"], [], ["limited<=0.9"])
SECONDS = {"flow": 0.2, "simulate": 2.0, "emulate": 20.0}
SPACE = Space((floats("x", 0.0, 1.0, 0.9), floats("y", 0.0, 1.0, 0.9), Factor("kind", ("plain", "better"))))


def truth(levels) -> dict[str, float]:
    x, y = levels["x"], levels["y"] - 0.4
    extra = 0.3 if levels["kind"] == "plain" else 0.0
    return {"one": x**2 + y**2 + extra + 0.1, "two": (x - 1) ** 2 + y**2 + extra + 0.1, "limited": x}


def biased(levels) -> dict[str, float]:
    return {name: 0.8 * value + 0.05 * levels["y"] for name, value in truth(levels).items()}


def opposite(levels) -> dict[str, float]:
    return {name: 2.0 - value for name, value in truth(levels).items()}


def only_one(levels) -> dict[str, float]:
    return {"one": truth(levels)["one"]}


def made(names=("simulate", "emulate"), trials=14, seed=1, space=SPACE, known=()) -> MultiFidelity:
    drawn = Sampling(space, GOALS, sampler="tpe", seed=seed, budget=trials)
    alone = Single(space, GOALS, drawn, fidelity="emulate", budget=trials, replicates=1, seed=seed)
    return MultiFidelity(space, GOALS, Ladder(tuple(map(Rung, names))), alone, trials=trials, seed=seed, known=known)


def told(fidelity, values) -> Told:
    complete = all(name in values for name in GOALS.responses)
    costs, broken = (GOALS.costs(values), GOALS.violations(values)) if complete else (None, None)
    return Told("done", costs, broken, SECONDS[fidelity], values)


def search(strategy: MultiFidelity, models, most=400) -> Trials:
    trials = Trials()
    while len(trials) < most and (ask := strategy.ask()) is not None:
        strategy.recall(ask)
        trials.add(ask)
        ended = told(ask.fidelity, models[ask.fidelity](ask.levels))
        strategy.tell(ask.number, ended)
        trials.tell(ask.number, ended)
    return trials


def best(trials: Trials) -> float:
    return min(t.told.costs[0] + t.told.costs[1] for t in trials.at("emulate") if t.told.feasible)


@pytest.fixture(scope="module")
def agreeing() -> tuple[MultiFidelity, Trials]:
    strategy = made()
    return strategy, search(strategy, {"simulate": biased, "emulate": truth})


def test_it_begins_with_the_default_everywhere_then_looks_below_before_it_goes_on(agreeing):
    asks = [trial.ask for trial in agreeing[1]]
    assert [(ask.fidelity, ask.why["what"]) for ask in asks[:2]] == [("simulate", "default"), ("emulate", "default")]
    order = [ask.why["what"] for ask in asks]
    assert order.index("first") < order.index("promote") < len(order) - 1
    assert next(ask for ask in asks[2:] if ask.fidelity == "emulate").why["what"] == "promote"
    assert asks[0].point == 0
    assert [ask.number for ask in asks] == list(range(len(asks)))


def test_as_many_runs_as_asked_for_at_the_top_and_more_below(agreeing):
    counts = Counter(trial.ask.fidelity for trial in agreeing[1])
    assert counts["emulate"] == 14
    assert counts["simulate"] > 14


def test_an_agreeing_fidelity_is_believed_and_leads_to_the_best(agreeing):
    strategy, trials = agreeing
    assert {trust.verdict for trust in strategy.trusts(GOALS.goals)} == {"trusted"}
    assert best(trials) < 0.73  # 0.7 is the least that can be
    assert trials.at("emulate")[-1].ask.levels["kind"] == "better"


def test_every_choice_says_why(agreeing):
    why = next(trial.ask.why for trial in agreeing[1] if trial.ask.why["what"] == "improve")
    assert why.keys() >= {"gain", "seconds", "per_second", "correlation", "feasible", "expected"}
    assert why["seconds"] in SECONDS.values()


def test_a_fidelity_that_says_the_opposite_is_found_out_and_left():
    strategy = made()
    trials = search(strategy, {"simulate": opposite, "emulate": truth})
    assert {trust.verdict for trust in strategy.trusts(GOALS.goals)} == {"distrusted"}
    made_for = Counter((trial.ask.fidelity, trial.ask.why["what"]) for trial in trials)
    assert made_for["emulate", "promote"] <= 2
    assert made_for["simulate", "lead"] + made_for["simulate", "improve"] <= 5
    assert "misleading" in strategy.trusts(GOALS.goals)[0].words("emulate")


def test_a_fidelity_that_measures_one_goal_informs_that_one():
    strategy = made(("flow", "emulate"), trials=8)
    trials = search(strategy, {"flow": only_one, "emulate": truth})
    assert [trust.verdict for trust in strategy.trusts(GOALS.goals)] == ["trusted", "silent"]
    assert len(trials.at("emulate")) == 8
    assert "says nothing of two" in strategy.trusts(GOALS.goals)[1].words("emulate")


def test_a_fidelity_at_which_all_runs_fail_is_left():
    strategy, trials = made(trials=7), Trials()
    while (ask := strategy.ask()) is not None:
        strategy.recall(ask)
        trials.add(ask)
        below = ask.fidelity == "simulate"
        strategy.tell(ask.number, Told("failed", seconds=1.0) if below else told("emulate", truth(ask.levels)))
    assert Counter(trial.ask.fidelity for trial in trials) == {"simulate": 3, "emulate": 7}


def test_three_rungs():
    trials = search(made(("flow", "simulate", "emulate"), trials=8), {"flow": biased, "simulate": biased, "emulate": truth}, 200)
    counts = Counter(trial.ask.fidelity for trial in trials)
    assert counts["emulate"] == 8
    assert counts["flow"] > counts["simulate"] >= 5


def test_a_search_that_was_interrupted_goes_on_the_same():
    models = {"simulate": biased, "emulate": truth}
    whole = search(made(trials=9), models, 45)
    again, trials = made(trials=9), Trials()
    for trial in list(whole)[:40]:
        again.recall(trial.ask)
        again.tell(trial.ask.number, trial.told)
        trials.add(trial.ask)
    assert again.ask() == (whole[40].ask if len(whole) > 40 else None)


def test_what_goes_on_is_not_asked_for_again():
    strategy = made(trials=30)
    trials = search(strategy, {"simulate": biased, "emulate": truth}, 35)
    asked = set()
    for _ in range(4):
        ask = strategy.ask()
        strategy.recall(ask)
        asked.add((ask.point, ask.fidelity))
    assert len(asked) == 4
    assert len(trials) == 35


def test_runs_of_earlier_studies_are_pairs():
    rng = np.random.default_rng(4)
    points = [SPACE.settled({"x": float(x), "y": float(y), "kind": "plain"}) for x, y in rng.random((6, 2))]
    known = [Known(p, f, m(p)) for p in points for f, m in (("simulate", opposite), ("emulate", truth))]
    found = made(known=known).trusts(GOALS.goals)
    assert [(trust.verdict, trust.pairs) for trust in found] == [("distrusted", 6)] * 2


def test_a_small_space_is_searched_to_its_end():
    space = Space((Factor("x", (0.0, 0.5, 1.0)), Factor("y", (0.0, 0.4, 1.0)), Factor("kind", ("plain", "better"))))
    trials = search(made(trials=30, space=space), {"simulate": biased, "emulate": truth})
    assert len({trial.ask.point for trial in trials.at("emulate")}) == 18
