"""Every learner against the conformance suite, and the suite against learners that break it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.checks import learners as checks
from estran.learning import registry
from estran.learning.learner import Features, Labels, Learner, StateError
from estran.learning.mlp import Mlp

CHOICES: dict[str, Any] = {
    "mlp": "mlp",
    "mlp-deep-float64": {"mlp": {"hidden": [16, 8], "dtype": "float64"}},
    "mlp-momentum": {"mlp": {"optimizer": "momentum", "learning_rate": 0.01}},
    "mlp-adam": {"mlp": {"optimizer": "adam", "learning_rate": 0.01}},
    "hbp": {"hbp": {"depth": 3, "width": 16, "learning_rate": 0.05}},
    "hbp-as-programmed": {"hbp": {"depth": 2, "width": 9, "learning_rate": 0.05, "scale_losses": True, "dtype": "float64"}},
    "softmax": "softmax",
    "sgd-averaged": {"sklearn.linear_model:SGDClassifier": {"loss": "log_loss", "average": True}},
    "perceptron": {"sklearn.linear_model:Perceptron": {}},
    "multinomial": {"sklearn.naive_bayes:MultinomialNB": {}},
    "sklearn-mlp": {"sklearn.neural_network:MLPClassifier": {"hidden_layer_sizes": [16], "learning_rate_init": 0.01}},
    "river-softmax": {"river.linear_model:SoftmaxRegression": {}},
    "river-bayes": {"river.naive_bayes:GaussianNB": {}},
    "river-tree": {"river.tree:HoeffdingTreeClassifier": {"grace_period": 50}},
}


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_conformance(choice: Any, check: Any) -> None:
    for module in ("sklearn", "river"):
        if module in str(choice):
            pytest.importorskip(module)
    check(lambda features, classes, rng: registry.create(choice, features, classes, rng))


class _Broken(Mlp):
    def __init__(self, features: int, classes: int, rng: np.random.Generator) -> None:
        super().__init__(features, classes, rng, hidden=[8], learning_rate=0.1)


class _AveragesChunks(_Broken):
    def learn_many(self, x: Features, y: Labels) -> None:
        super().learn_many(x[::-1], y[::-1])


class _SharesMemory(_Broken):
    def state(self) -> Any:
        return self._parts

    def learn_many(self, x: Features, y: Labels) -> None:
        # Twice, so that the buffers have changed places and back.
        super().learn_many(x, y)
        super().learn_many(x[:0], y[:0])


class _LearnsWhenAsked(_Broken):
    def predict_proba(self, x: Features) -> Any:
        found = super().predict_proba(x)
        self._params *= 1.01
        return found


class _KeepsNothing(_Broken):
    def load(self, state: Any) -> None:
        return


class _SwallowsNan(_Broken):
    def learn_many(self, x: Features, y: Labels) -> None:
        super().learn_many(np.nan_to_num(x), y)


class _Lazy(_Broken):
    def learn_many(self, x: Features, y: Labels) -> None:
        super().learn_many(x[:0], y[:0])


class _Scores(_Broken):
    def predict_proba(self, x: Features) -> Any:
        return super().predict_proba(x) * 2


@pytest.mark.parametrize(
    "broken",
    [_AveragesChunks, _SharesMemory, _LearnsWhenAsked, _KeepsNothing, _SwallowsNan, _Lazy, _Scores],
    ids=lambda c: c.__name__,
)
def test_the_suite_finds_what_is_broken(broken: type[Learner]) -> None:
    with pytest.raises(AssertionError):
        checks.check_learner(broken)  # type: ignore[arg-type]


def test_a_learner_may_have_no_snapshots_but_must_say_what_to_do() -> None:
    class Mute(_Broken):
        def state(self) -> Any:
            raise StateError("no arrays here")

    with pytest.raises(AssertionError, match="says what to do"):
        checks.check_snapshot(Mute)
