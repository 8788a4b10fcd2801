"""What every regressor promises, of ours and of other libraries; and the suite against regressors that break it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.checks import regressors as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.learner import Features, LearnerError, NotFiniteError, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.regression.adapters import SklearnRegressor
from estran.learning.regression.regressor import Regressor, create
from estran.learning.regression.rows import Numbers
from estran.learning.regression.second_order import Ridge
from tests.run.experiments import estran

CHOICES: dict[str, Any] = {
    "pa": {"pa-regression": {"variant": "pa"}},
    "pa1": "pa-regression",
    "pa2": {"pa-regression": {"variant": "pa2"}},
    "ogd": "ogd-regression",
    "ogd-huber": {"ogd-regression": {"loss": "huber", "steps": "fixed"}},
    "ogd-absolute": {"ogd-regression": {"loss": "absolute", "learning_rate": 0.3}},
    "adagrad": "adagrad-regression",
    "adagrad-insensitive": {"adagrad-regression": {"loss": "epsilon_insensitive", "epsilon": 0.05}},
    "ftrl": {"ftrl-regression": {"l1": 0.01, "l2": 0.01}},
    "ridge": "ridge",
    "ridge-forgetting": {"ridge": {"forgetting": 0.99, "bias": False}},
    "forward-ridge": "forward-ridge",
    "mlp": {"mlp-regression": {"hidden": [8], "learning_rate": 0.05}},
    "mlp-huber": {"mlp-regression": {"hidden": [], "loss": "huber", "learning_rate": 0.05, "dtype": "float64"}},
    "ons": {"ons-regression": {"bound": 4.0}},
    "ons-unbounded": {"ons-regression": {"gamma": 0.2}},
}
FOREIGN: dict[str, Any] = {
    "sklearn-sgd": {"sklearn.linear_model:SGDRegressor": {"eta0": 0.1}},
    "sklearn-mlp": {"sklearn.neural_network:MLPRegressor": {"hidden_layer_sizes": [16], "learning_rate_init": 0.01}},
    "river-linear": {"river.linear_model:LinearRegression": {"intercept_lr": 0.1}},
    "river-neighbours": {"river.neighbors:KNNRegressor": {"n_neighbors": 3}},
}
EACH = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)


def make(choice: Any, features: int = 4) -> Any:
    return create(choice, features, np.random.default_rng(0))


def stream(n: int, features: int, seed: int = 0) -> tuple[Features, Numbers]:
    """Rows with zeros among them, and targets that a linear model gets mostly right."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)) * (rng.random((n, features)) < 0.6)
    return x, x @ rng.normal(size=features) / features + 0.3 + rng.normal(scale=0.1, size=n)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("choice", [*CHOICES.values(), *FOREIGN.values()], ids=[*CHOICES, *FOREIGN])
def test_conformance(choice: Any, check: Any) -> None:
    for module in ("sklearn", "river"):
        if module in str(choice):
            pytest.importorskip(module)
    check(lambda features, rng: create(choice, features, rng))


@EACH
def test_a_chunk_is_answered_and_learned_row_by_row(choice: Any) -> None:
    x, y = stream(120, 19)
    chunked, single = make(choice, 19), make(choice, 19)
    answers = np.concatenate([chunked.predict_then_learn(x[at : at + 50], y[at : at + 50]) for at in (0, 50, 100)])
    for i in range(len(x)):
        assert single.predict_one(dict(enumerate(x[i]))) == single.predict(x[[i]])[0] == answers[i]
        if i % 2:
            single.learn_one({j: value for j, value in enumerate(x[i]) if value}, y[i])
        else:
            single.partial_fit(x[[i]], y[[i]])
    for name, part in chunked.state().items():
        assert np.array_equal(part, single.state()[name]), name


@EACH
def test_sparse_rows_teach_the_same_to_the_bit(choice: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(100, 13)
    dense, thin = make(choice, 13), make(choice, 13)
    assert np.array_equal(dense.predict_then_learn(x, y), thin.predict_then_learn(sparse.csr_matrix(x), y))
    for name, part in dense.state().items():
        assert np.array_equal(part, thin.state()[name]), name
    assert np.array_equal(dense.predict(x), thin.predict(sparse.coo_array(x)))


@pytest.mark.parametrize("name", ["pa-regression", "forward-ridge"])
def test_bad_input_is_told_with_its_row_and_leaves_no_trace(name: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y = stream(8, 4)
    regressor, untouched = make(name), make(name)
    regressor.learn_many(x, y)
    untouched.learn_many(x, y)
    hole, unknown, steep = x.copy(), y.copy(), x.copy()
    hole[5, 2], unknown[6], steep[3] = np.nan, np.inf, 1e200
    for rows, targets, text in (
        (hole, y, f"{name}: row 5 of 8 holds a NaN"),
        (x, unknown, f"{name}: the target of row 6 of 8 is inf"),
        (steep, y, f"{name}: answers or weights overflow at row"),
        (x, y[:3], f"{name}: 8 rows came with targets of shape (3,)"),
        (x, y.astype(complex), "complex128, not real numbers"),
        (x[:, :2], y, "do not fit a learner of 4 features"),
    ):
        for wrapped in (rows, sparse.csr_array(rows)):
            with pytest.raises(LearnerError) as raised:
                regressor.learn_many(wrapped, targets)
            assert text in str(raised.value)
    with pytest.raises(NotFiniteError, match="row 5 of 8"):
        regressor.predict(sparse.csr_array(hole))
    with pytest.raises(LearnerError, match="no feature 4"):
        regressor.learn_one({4: 1.0}, 1.0)
    assert regressor.predict_then_learn(x[:0], y[:0]).shape == (0,)
    for part, array in untouched.state().items():
        assert np.array_equal(array, regressor.state()[part])


def test_snapshots_that_cannot_have_been_learned_are_refused() -> None:
    for name, part in (("ridge", "variances"), ("adagrad-regression", "squares"), ("ogd-regression", "clock")):
        regressor = make(name)
        regressor.learn_many(*stream(5, 4))
        state = regressor.state()
        with pytest.raises(StateError, match=f"{name}: {part} of the snapshot are too small"):
            regressor.load(state | {part: -state[part]})
        with pytest.raises(StateError, match="finite floats"):
            regressor.load(state | {"weights": state["weights"] * np.nan})
        assert np.array_equal(regressor.state()[part], state[part])


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"pa-regression": {"variant": "pa3"}}, "pa-regression: variant is 'pa3'\n  → give pa, pa1 or pa2"),
        ({"pa-regression": {"epsilon": -1}}, "epsilon is -1\n  → give a number from 0"),
        ({"ogd-regression": {"loss": "hinge"}}, "give squared, absolute, epsilon_insensitive or huber"),
        ({"ogd-regression": {"steps": "wild"}}, "give decaying or fixed"),
        ({"ogd-regression": {"bias": 1}}, "bias is 1\n  → give true or false"),
        ({"adagrad-regression": {"delta": 0}}, "delta is 0"),
        ({"ftrl-regression": {"l1": -1}}, "give a number from 0"),
        ({"ridge": {"l2": 0}}, "l2 is 0\n  → give a number above 0"),
        ({"ridge": {"forgetting": 1.5}}, "forgetting is 1.5\n  → give a number above 0, up to 1"),
        ({"ridge": {"forgetting": True}}, "forgetting is True\n  → give a number above 0"),
        ({"ons-regression": {"bound": 0}}, "bound is 0"),
        ({"ridge": {"lamda": 1}}, "learner ridge: there is no setting 'lamda'"),
        ("ridg", "did you mean ridge"),
        ("arow", "it learns classes, not numbers\n  → choose one of adagrad-regression, "),
    ],
)
def test_wrong_settings_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        make(choice)
    assert text in str(raised.value)


def test_rows_without_features_are_refused() -> None:
    with pytest.raises(RequestError, match="rows of 0 features teach nothing"):
        make("ridge", 0)


def test_regressors_are_in_the_catalogue_and_no_learners_of_classes() -> None:
    names = {next(iter(choice)) if isinstance(choice, dict) else choice for choice in CHOICES.values()}
    for name in names:
        about = registry.about(name)
        assert about is not None
        assert (about.family, about.task) == ("regression", "numbers")
        assert registry.settings(name)[-1] == ("initial" if name == "mlp-regression" else "bias")
        with pytest.raises(SettingsError, match=f"learner {name}: it learns numbers, not classes"):
            registry.check(name)
        registry.warm(name)


def test_foreign_classifiers_and_batch_estimators_are_refused() -> None:
    for path, text in (
        ("sklearn.linear_model:SGDClassifier", "learns classes, not numbers"),
        ("sklearn.linear_model:Ridge", "neither by partial_fit nor by learn_one"),
        ("river.naive_bayes:GaussianNB", "learns classes, not numbers"),
        ("river.linear_model:LinearRegresion", "cannot be imported"),
    ):
        pytest.importorskip(path.split(".")[0])
        with pytest.raises(SettingsError, match=text):
            make(path)


def test_pipelines_of_river_are_regressors_or_not_by_their_last_step(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("river")
    (tmp_path / "own_pipelines.py").write_text(
        "from river import linear_model, preprocessing\n"
        "def scaled(): return preprocessing.StandardScaler() | linear_model.LinearRegression()\n"
        "def classes(): return preprocessing.StandardScaler() | linear_model.LogisticRegression()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    x, y = stream(300, 4)
    scaled = make("own_pipelines:scaled")
    scaled.learn_many(x, y)
    assert np.abs(scaled.predict(x) - y).mean() < np.abs(y - y.mean()).mean()
    with pytest.raises(SettingsError, match="learns classes"):
        make("own_pipelines:classes")
    with pytest.raises(StateError, match="choose ridge"):
        scaled.state()


def test_chunked_estimators_learn_whole_chunks_and_what_they_refuse_is_a_learners_error() -> None:
    pytest.importorskip("sklearn")
    x, y = stream(300, 4)
    whole, single = (
        make({"sklearn.neural_network:MLPRegressor": {"chunked": chunked, "hidden_layer_sizes": [4]}}) for chunked in (True, False)
    )
    for regressor in (whole, single):
        regressor.learn_many(x, y)
    assert (whole.estimator.t_, single.estimator.t_) == (300, 300)
    assert not np.array_equal(whole.predict(x), single.predict(x))

    class Stubborn:
        def partial_fit(self, x: Any, y: Any) -> None:
            raise ValueError("not today")

        def predict(self, x: Any) -> Any:
            return np.full(len(x), np.nan)

    stubborn = SklearnRegressor(Stubborn(), 4, name="theirs")
    with pytest.raises(LearnerError, match="theirs: Stubborn refuses: not today"):
        stubborn.learn_many(x, y)
    stubborn._fitted = True
    with pytest.raises(NotFiniteError, match="Stubborn answers nan"):
        stubborn.predict(x)


class _Broken(Ridge):
    def __init__(self, features: int, rng: np.random.Generator) -> None:
        super().__init__(features, rng)


class _AveragesChunks(_Broken):
    def learn_many(self, x: Features, y: Numbers) -> None:
        super().learn_many(x[::-1], y[::-1])


class _AnswersLate(_Broken):
    def predict_then_learn(self, x: Features, y: Numbers) -> Numbers:
        super().predict_then_learn(x, y)
        return self.predict(x)


class _SharesMemory(_Broken):
    def state(self) -> Any:
        return self._plan.views(self._live)


class _LearnsWhenAsked(_Broken):
    def predict(self, x: Features) -> Numbers:
        found = super().predict(x)
        self._live[1] *= 1.01
        return found


class _KeepsNothing(_Broken):
    def load(self, state: Any) -> None:
        return


class _SwallowsUnknown(_Broken):
    def predict_then_learn(self, x: Features, y: Numbers) -> Numbers:
        kept = np.isfinite(y) if np.asarray(y).dtype.kind == "f" and np.shape(y) == (len(x),) else slice(None)
        return super().predict_then_learn(x[kept], y[kept])


class _Lazy(_Broken):
    def predict_then_learn(self, x: Features, y: Numbers) -> Numbers:
        super().predict_then_learn(x, y)
        self.load(Ridge(self.features, np.random.default_rng(0)).state())
        return np.zeros(len(y))


class _Rounds(_Broken):
    def predict(self, x: Features) -> Any:
        return super().predict(x).astype(np.float32)


class _Drawn(_Broken):
    entropy = np.random.default_rng(5)

    def learn_many(self, x: Features, y: Numbers) -> None:
        super().learn_many(x, np.asarray(y) + self.entropy.normal())


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (_AveragesChunks, "answer differently"),
        (_AnswersLate, "otherwise than predict"),
        (_SharesMemory, "snapshot changed"),
        (_LearnsWhenAsked, "answer"),
        (_KeepsNothing, "answer differently"),
        (_SwallowsUnknown, "no NotFiniteError"),
        (_Lazy, "on a linear function"),
        (_Rounds, "float32"),
        (_Drawn, "answer differently"),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_the_suite_finds_what_is_broken(broken: type[Regressor], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        checks.check_regressor(broken)  # type: ignore[arg-type]


def test_a_regressor_may_have_no_snapshots_but_must_say_what_to_do() -> None:
    class Mute(_Broken):
        def state(self) -> Any:
            raise StateError("no arrays here")

    with pytest.raises(AssertionError, match="says what to do"):
        checks.check_snapshot(Mute)


def test_an_experiment_that_trains_a_regressor_is_refused_at_its_line(tmp_path: Path) -> None:
    example = (Path(__file__).parents[3] / "examples" / "visual-inspection" / "experiment.yaml").read_text(encoding="utf-8")
    text = example.replace("learner: {mlp: {hidden: [64]}}", "learner: {ridge: {l2: 0.5}}")
    (tmp_path / "experiment.yaml").write_text(text, encoding="utf-8")
    line = text[: text.index("learner: {ridge")].count("\n") + 1
    shown = estran("check", "experiment.yaml", cwd=tmp_path)
    assert shown.returncode == 2
    assert f"experiment.yaml:{line}:" in shown.stderr
    assert "learner ridge: it learns numbers, not classes\n  → choose one of a-gem, " in shown.stderr
