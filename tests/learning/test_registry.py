"""Learners by name, and what is said of wrong ones."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.learning import registry
from estran.learning.adapters import RiverLearner, SklearnLearner
from estran.learning.learner import Learner, LearnerError, NotFiniteError, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.mlp import Mlp
from estran.learning.softmax import Softmax


def make(choice: Any, features: int = 4, classes: int = 3) -> Learner:
    return registry.create(choice, features, classes, np.random.default_rng(0))


def test_names_and_settings() -> None:
    mlp = make({"mlp": {"hidden": [32, 16]}})
    assert isinstance(mlp, Mlp)
    assert mlp.hidden == (32, 16)
    assert isinstance(make({"softmax": None}), Softmax)
    assert {"mlp", "softmax"} <= set(registry.names())


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("mpl", "did you mean mlp"),
        ({"mlp": {"hiden": [3]}}, "learner mlp: there is no setting 'hiden'\n  → did you mean hidden"),
        ({"mlp": {"rng": 3}}, "no setting 'rng'"),
        ({"mlp": {}, "softmax": {}}, "not 2"),
        ("nowhere.at:All", "cannot be imported"),
        ("math:pi", "neither a class nor a function"),
        ({"math:sqrt": {"y": 3}}, "no setting 'y'"),
        ({"estran.learning.mlp:Mlp": {"depth": 3}}, "no setting 'depth'"),
    ],
)
def test_wrong_choices_are_told(choice: Any, text: str) -> None:
    for attempt in (registry.check, make):
        with pytest.raises(SettingsError) as raised:
            attempt(choice)
        assert text in str(raised.value)


def test_installed_learners_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "estran.learning.softmax:Softmax", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == registry.GROUP else [])
    assert "theirs" in registry.names()
    assert isinstance(make({"theirs": {"learning_rate": 0.5}}), Softmax)


def test_a_users_own_learner_and_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("river")
    (tmp_path / "own_learners.py").write_text(
        "from estran.learning.softmax import Softmax\n"
        "class Own(Softmax):\n"
        "    def __init__(self, features, classes, rng, *, bias=1.0):\n"
        "        super().__init__(features, classes, rng)\n"
        "        self.bias = bias\n"
        "def scaled(grace=50):\n"
        "    from river import preprocessing, tree\n"
        "    return preprocessing.StandardScaler() | tree.HoeffdingTreeClassifier(grace_period=grace)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make({"own_learners:Own": {"bias": 2.0}}).bias == 2.0  # type: ignore[attr-defined]  # it is an Own
    piped = make({"own_learners:scaled": {"grace": 20}})
    assert isinstance(piped, RiverLearner)
    piped.learn_many(np.eye(3, 4), np.arange(3))
    with pytest.raises(SettingsError, match="no setting 'gracee'"):
        registry.check({"own_learners:scaled": {"gracee": 20}})


def test_foreign_estimators_take_their_seed_from_ours() -> None:
    pytest.importorskip("sklearn")
    choice = {"sklearn.linear_model:SGDClassifier": {}}
    seeds = [registry.create(choice, 2, 2, np.random.default_rng(seed)).estimator.random_state for seed in (1, 1, 2)]  # type: ignore[attr-defined]
    assert seeds[0] == seeds[1] != seeds[2]


def test_estimators_that_need_all_data_at_once_are_refused() -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(SettingsError, match="neither by partial_fit nor by learn_one"):
        make("sklearn.svm:SVC")


def test_chunked_estimators_learn_whole_chunks() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    x = rng.normal(size=(300, 4)) + y[:, None]
    chunked = make({"sklearn.naive_bayes:GaussianNB": {"chunked": True}})
    chunked.learn_many(x, y)
    assert (chunked.predict(x) == y).mean() > 0.7


def test_a_function_that_takes_any_setting_is_not_handed_chunked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    (tmp_path / "any_setting.py").write_text(
        "def bayes(classes, **settings):\n"
        "    from sklearn.naive_bayes import GaussianNB\n"
        "    return GaussianNB(priors=[1 / classes] * classes, **settings)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    learner: Any = make({"any_setting:bayes": {"var_smoothing": 0.1, "chunked": True}})
    assert learner.chunked
    assert learner.estimator.get_params() == {"priors": [1 / 3] * 3, "var_smoothing": 0.1}


def test_answers_that_are_no_numbers_are_refused() -> None:
    pytest.importorskip("sklearn")
    # Row by row it sees no spread, and divides by it.
    single = make("sklearn.naive_bayes:GaussianNB")
    single.learn_many(np.zeros((3, 4)), np.arange(3))
    with pytest.raises(NotFiniteError, match="chunked"), np.errstate(all="ignore"):
        single.predict_proba(np.zeros((1, 4)))


def test_what_an_estimator_refuses_is_a_learners_error() -> None:
    pytest.importorskip("sklearn")
    counting = make("sklearn.naive_bayes:MultinomialNB")
    with pytest.raises(LearnerError, match="MultinomialNB refuses"):
        counting.learn_many(-np.ones((1, 4)), np.array([0]))


def test_an_attribute_without_a_form_as_arrays_is_named() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    learner = SklearnLearner(linear.SGDClassifier(), 4, 3)
    learner.learn_many(np.eye(3, 4), np.arange(3))
    learner.estimator.callback_ = object()
    with pytest.raises(StateError, match="callback_ is a object") as raised:
        learner.state()
    assert "same component" in str(raised.value)


def test_two_class_models_of_river_refuse_more_classes() -> None:
    pytest.importorskip("river")
    with pytest.raises(SettingsError, match="OneVsRestClassifier"):
        make("river.linear_model:LogisticRegression")
    assert isinstance(make("river.linear_model:LogisticRegression", classes=2), RiverLearner)


class Picky:
    """A learner of one's own, with a range."""

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, rate: float = 0.05) -> None:
        if not 0 < rate <= 1:
            raise ValueError("rate must be above 0 and at most 1")


class Narrow:
    """Takes rows of one width only."""

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, rate: float = 0.05) -> None:
        if features != 20:
            raise ValueError("rows must be 20 wide")


class Demanding:
    """Has a setting without a default."""

    def __init__(self, features: int, classes: int, rng: np.random.Generator, *, rate: float) -> None:
        if rate > 1:
            raise ValueError("rate must be at most 1")


@pytest.mark.parametrize(
    ("choice", "what"),
    [
        ({f"{__name__}:Picky": {"rate": 5}}, "rate must be above 0"),
        ({f"{__name__}:Demanding": {"rate": 5}}, "rate must be at most 1"),
        (f"{__name__}:Demanding", "rate"),
        ({"mlp": {"hidden": [0]}}, "hidden is"),
        ({"mlp": {"learning_rate": -1}}, "learning_rate"),
        ({f"{__name__}:Picky": {"rate": 0.5}}, None),
        ({f"{__name__}:Narrow": {"rate": 0.5}}, None),
        ({f"{__name__}:Demanding": {"rate": 0.5}}, None),
        ("mlp", None),
    ],
)
def test_values_that_a_learner_refuses_are_found_without_data(choice: registry.Choice, what: str | None) -> None:
    if what is None:
        registry.check_values(choice)
        return
    with pytest.raises(SettingsError, match=what) as caught:
        registry.check_values(choice)
    assert str(caught.value.where).startswith("learner ")
