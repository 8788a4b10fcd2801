"""Learners of classes that are made of others: votes by Hedge, and choices by Exp3."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.bandits.selecting import Exp3Selected
from estran.learning.evaluation import prequential
from estran.learning.experts.methods import Hedge
from estran.learning.experts.voting import Hedged
from estran.learning.learner import Features, Labels, LearnerError, NotFiniteError, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.softmax import Softmax
from estran.learning.streams.classic import Hyperplane

CHOICES: dict[str, Any] = {
    "hedged": "hedged",
    "hedged-share": {"hedged": {"learners": ["pa1", {"mlp": {"hidden": [8]}}, "arow"], "eta": 0.3, "share": 0.01}},
    "hedged-log": {"hedged": {"loss": "log"}},
    "hedged-foreign": {"hedged": {"learners": [{"sklearn.naive_bayes:MultinomialNB": {}}, "softmax"], "loss": "log"}},
    "hedged-river": {"hedged": {"learners": [{"river.naive_bayes:GaussianNB": {}}, "perceptron"]}},
    "exp3-selected": "exp3-selected",
    "exp3-selected-chosen": {"exp3-selected": {"learners": ["arow", "pa1"], "gamma": 0.3, "learning": "chosen"}},
    "nested": {"exp3-selected": {"learners": [{"hedged": {"learners": ["arow", "pa1"]}}, "softmax"]}},
}
EACH = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)

OWN = [name for name in CHOICES if name not in ("hedged-foreign", "hedged-river")]
"""Those whose members have snapshots, and answer to the bit however many rows are asked."""
EXACT = pytest.mark.parametrize("choice", [CHOICES[name] for name in OWN], ids=OWN)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def make(choice: Any, features: int = 4, classes: int = 3) -> Any:
    for module in ("sklearn", "river"):
        if module in str(choice):
            pytest.importorskip(module)
    return registry.create(choice, features, classes, rng())


def stream(n: int, features: int = 4, classes: int = 3, seed: int = 0) -> tuple[Features, Labels]:
    chance = rng(seed)
    x = chance.random((n, features)) * (chance.random((n, features)) < 0.8)
    return x, (x @ chance.normal(size=(features, classes)) + 0.1 * chance.normal(size=(n, classes))).argmax(axis=1)


def same(one: Any, other: Any) -> bool:
    mine, theirs = one.state(), other.state()
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[part], theirs[part]) for part in mine)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@EACH
def test_conformance(choice: Any, check: Any) -> None:
    make(choice)
    check(lambda features, classes, rng: registry.create(choice, features, classes, rng))


@EXACT
@pytest.mark.parametrize("classes", [2, 3])
def test_a_chunk_is_its_rows_and_answers_are_those_before_learning(choice: Any, classes: int) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(70, classes=classes)
    whole, single, thin = (make(choice, classes=classes) for _ in range(3))
    answers = np.concatenate([whole.predict_then_learn(x[a:b], y[a:b]) for a, b in ((0, 1), (1, 30), (30, 30), (30, 70))])
    for i in range(70):
        assert single.predict_one(x[i]) == answers[i]
        single.learn_one(x[i], y[i])
    assert np.array_equal(thin.predict_then_learn(sparse.csr_matrix(x), y), answers)
    assert same(whole, single)
    assert same(whole, thin)
    scores = whole.decision_function(x)
    assert np.array_equal(scores > 0 if classes == 2 else scores.argmax(axis=1), whole.predict(sparse.csr_matrix(x)))


def test_the_vote_is_hedges() -> None:
    choices: Any = ["perceptron", {"arow": {"r": 0.1}}, {"pa1": {"c": 0.1}}]
    x, y = stream(200)
    model = Hedged(4, 3, rng(), learners=choices, eta=0.4)
    answers = model.predict_then_learn(x, y)
    members = [registry.create(choice, 4, 3, rng()) for choice in choices]
    shares, votes = np.full(3, 1 / 3), np.zeros(3)
    for i in range(200):
        said = [int(member.predict(x[i : i + 1])[0]) for member in members]
        votes[:] = 0
        for share, answer in zip(shares, said, strict=True):
            votes[answer] += share
        assert votes[answers[i]] == pytest.approx(votes.max())
        shares = shares * np.exp(-0.4 * (np.array(said) != y[i]))
        shares /= shares.sum()
        for member in members:
            member.learn_many(x[i : i + 1], y[i : i + 1])
    assert np.allclose(model.shares(), shares)


def test_log_loss_is_as_good_as_the_best_member_up_to_ln_n() -> None:
    choices: Any = [{"softmax": {"learning_rate": rate}} for rate in (0.001, 0.1, 2.0)]
    x, y = stream(400)
    model = Hedged(4, 3, rng(), learners=choices, loss="log")
    members = [registry.create(choice, 4, 3, rng()) for choice in choices]
    mixed, alone = 0.0, np.zeros(3)
    for i in range(400):
        row, label = x[i : i + 1], y[i : i + 1]
        mixed -= math.log(model.predict_proba(row)[0, y[i]])
        alone -= [math.log(member.predict_proba(row)[0, y[i]]) for member in members]
        model.learn_many(row, label)
        for member in members:
            member.learn_many(row, label)
    posterior = np.exp(alone.min() - alone)
    assert np.allclose(model.shares(), posterior / posterior.sum(), atol=1e-9)
    assert mixed <= alone.min() + math.log(3)
    assert mixed < alone.max() - 20


@pytest.mark.parametrize("name", ["hedged", "exp3-selected"])
def test_the_best_member_gets_the_say(name: str) -> None:
    choice = {name: {"learners": [{"softmax": {"learning_rate": 1e-9}}, "arow", {"softmax": {"learning_rate": 1e-8}}]}}
    model = registry.create(choice, 5, 2, rng())
    chunks = list(Hyperplane(features=5, turning=0, noise=0).chunks(rng(1), rows=4000))
    found = prequential(model, chunks, 2).sliding(1000).accuracy[-1]
    arow = prequential(registry.create("arow", 5, 2, rng()), chunks, 2).sliding(1000).accuracy[-1]
    shares = model.shares() if isinstance(model, Hedged) else model.probabilities()  # type: ignore[attr-defined]  # Exp3Selected
    assert shares.argmax() == 1
    assert shares[1] > 0.8
    assert found > arow - (0.02 if name == "hedged" else 0.15)


def test_shares_follow_a_best_member_that_changes() -> None:
    # Under noise the slow member is better; where the concept has just changed, the fast one is.
    x = rng(2).normal(size=(4200, 4))
    y = (x.sum(axis=1) + 2 * rng(3).normal(size=4200) > 0).astype(np.int64)
    y[4000:] = 1 - y[4000:]
    members: Any = [{"softmax": {"learning_rate": 0.005}}, {"softmax": {"learning_rate": 1.0}}]
    shared, plain = (Hedged(4, 2, rng(), learners=members, eta=0.3, share=share) for share in (0.01, 0.0))
    for model in (shared, plain):
        model.learn_many(x[:4000], y[:4000])
        assert model.shares()[0] > 0.6
    right = [(model.predict_then_learn(x[4000:], y[4000:]) == y[4000:]).mean() for model in (shared, plain)]
    assert shared.shares()[1] > 0.6
    assert plain.shares()[1] < 0.1
    assert right[0] > right[1] + 0.1


def test_exp3_draws_and_learns_of_one_answer_only() -> None:
    choices: Any = ["arow", {"softmax": {"learning_rate": 1e-9}}]
    x, y = stream(300, classes=2)
    model = Exp3Selected(4, 2, rng(), learners=choices, gamma=0.2)
    answers, wanted, chosen = model.predict_then_learn(x, y), [], []
    other = Exp3Selected(4, 2, rng(), learners=choices, gamma=0.2)
    members = [registry.create(choice, 4, 2, rng()) for choice in choices]
    w = np.ones(2)
    for i in range(300):
        assert np.allclose(other.probabilities(), 0.8 * w / w.sum() + 0.1)
        arm, p = other.chosen, other.probabilities()
        said = [int(member.predict(x[i : i + 1])[0]) for member in members]
        wanted.append(said[arm])
        chosen.append(arm)
        w[arm] *= math.exp(0.2 / 2 * (said[arm] == y[i]) / p[arm])
        other.learn_many(x[i : i + 1], y[i : i + 1])
        for member in members:
            member.learn_many(x[i : i + 1], y[i : i + 1])
    assert answers.tolist() == wanted
    assert set(chosen) == {0, 1}
    assert same(model, other)


def test_only_the_chosen_learns_if_so_set() -> None:
    model = Exp3Selected(4, 3, rng(), learners=["arow", "pa1", "perceptron"], learning="chosen")
    x, y = stream(60)
    for i in range(60):
        chosen, before = model.chosen, model.state()
        model.learn_many(x[i : i + 1], y[i : i + 1])
        after = model.state()
        learned = {int(part.split(".")[0]) for part in after if part.endswith("clock") and not part.startswith("by")
                   if not np.array_equal(before[part], after[part])}  # fmt: skip
        assert learned == {chosen}


class Failing(Softmax):
    """Refuses a row that begins with 7, after having learned those before it in the chunk."""

    def learn_many(self, x: Features, y: Labels) -> None:
        self.predict_then_learn(x, y)

    def predict_then_learn(self, x: Features, y: Labels) -> Labels:
        answers = np.empty(len(x), dtype=np.int64)
        for i in range(len(x)):
            if x[i, 0] == 7:
                raise NotFiniteError("diverged", where="failing", remedy="none")
            answers[i] = super().predict_then_learn(x[i : i + 1], y[i : i + 1])[0]
        return answers


class Mute(Failing):
    """Has no snapshots."""

    def state(self) -> Any:
        raise StateError("no arrays", where="mute", remedy="none")


@pytest.mark.parametrize("settings", [{"hedged": {}}, {"hedged": {"loss": "log"}}, {"exp3-selected": {}},
                                      {"exp3-selected": {"learning": "chosen"}}])  # fmt: skip
def test_a_chunk_that_fails_is_rolled_back_in_all_members(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ((name, more),) = settings.items()
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, "failing": f"{__name__}:Failing"})
    monkeypatch.setattr(registry, "_imported", lambda path: Failing if "Failing" in path else IMPORTED(path))
    model, untouched = (registry.create({name: {**more, "learners": ["arow", "failing", "pa1"]}}, 4, 3, rng()) for _ in range(2))
    x, y = stream(50)
    for one in (model, untouched):
        one.learn_many(x[:20], y[:20])
    bad = x.copy()
    bad[45:, 0] = 7
    # Where only one member learns a row, the failing one has to be drawn for a row that it refuses.
    failed = ""
    for _ in range(50):
        before = model.state()
        try:
            model.learn_many(bad[40:], y[40:])
        except NotFiniteError as error:
            failed = str(error)
            break
    assert "diverged" in failed
    assert all(np.array_equal(model.state()[part], array) for part, array in before.items())
    untouched.load(before)
    for one in (model, untouched):
        one.learn_many(x, y)
    assert same(model, untouched)


IMPORTED = registry._imported


def test_members_without_snapshots_are_bound_to_say_so() -> None:
    model = Hedged(4, 3, rng())
    model.members[1] = Mute(4, 3, rng())
    x, y = stream(30)
    model.learn_many(x, y)
    for call in (model.state, lambda: model.load({})):
        with pytest.raises(StateError):
            call()
    with pytest.raises(NotFiniteError, match="diverged"):
        model.learn_many(np.full((1, 4), 7.0), y[:1])


def test_foreign_snapshots_change_nothing() -> None:
    model, other = Hedged(4, 3, rng()), Hedged(4, 3, rng(5))
    x, y = stream(30)
    model.learn_many(x, y)
    before = other.state()
    state = dict(model.state())
    for wrong in (
        {**state, "by.losses": np.zeros(3)},
        {**state, "2.weights": np.zeros(3)},
        {**state, "1.weights": np.full_like(state["1.weights"], np.nan)},
        {part: array for part, array in state.items() if part != "by.clock"},
    ):
        with pytest.raises(StateError):
            other.load(wrong)
        assert all(np.array_equal(other.state()[part], array) for part, array in before.items())
    other.load(state)
    assert same(model, other)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"hedged": {"learners": []}}, r"learners is \[\]"),
        ({"hedged": {"learners": "arow"}}, "give a list"),
        ({"hedged": {"learners": ["arrow"]}}, "did you mean arow"),
        ({"hedged": {"learners": [{"arow": {"rr": 1}}]}}, "no setting 'rr'"),
        ({"exp3-selected": {"learners": ["ucb1"]}}, "it learns arms, not classes"),
    ],
)
def test_bad_choices_are_told_without_making_one(choice: Any, text: str) -> None:
    for attempt in (registry.check, make):
        with pytest.raises(SettingsError, match=text):
            attempt(choice)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"hedged": {"loss": "square"}}, "give mistakes or log"),
        ({"hedged": {"share": 0.1}}, "set eta, too"),
        ({"hedged": {"eta": -1, "loss": "log"}}, "eta is -1"),
        ({"exp3-selected": {"gamma": 1}}, "gamma is 1"),
        ({"exp3-selected": {"learning": "some"}}, "give all or chosen"),
    ],
)
def test_bad_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError, match=text):
        make(choice)


def test_a_real_data_set_is_learned() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = digits.data / 16, digits.target.astype(np.int64)
    choice: Any = {"hedged": {"learners": ["perceptron", "arow", {"softmax": {"learning_rate": 0.1}}, "pa1"]}}
    right = {}
    for name, made in {"hedged": choice, **{name: name for name in ("perceptron", "arow", "pa1")}}.items():
        right[name] = (make(made, 64, 10).predict_then_learn(x, y) == y).mean()
    assert right["hedged"] > max(right["perceptron"], right["arow"], right["pa1"]) - 0.01


def test_warming_and_what_it_goes_by() -> None:
    for kind in (Hedged, Exp3Selected):
        kind.warm()
    assert isinstance(Hedged(2, 2, rng()).goes_by, Hedge)
    with pytest.raises(LearnerError, match="labels run from 0 to 3"):
        Hedged(4, 3, rng()).learn_many(np.zeros((2, 4)), np.array([0, 3]))
