"""Modules of PyTorch as learners; and our own networks' gradients against its automatic ones."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estran.checks import learners as checks
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.deep.hbp import HedgeBackprop
from estran.learning.evaluation import prequential
from estran.learning.learner import LearnerError, NotFiniteError, StateError
from estran.learning.mistakes import SettingsError
from estran.learning.mlp import Mlp

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'estran[torch]'")
torch.set_num_threads(1)  # small rows gain nothing by more, and lose much where others compute

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, features, classes, width=16, drop=0.0, norm="none"):
        super().__init__()
        layers = {"none": nn.Identity, "batch": lambda: nn.BatchNorm1d(width), "layer": lambda: nn.LayerNorm(width)}
        self.first, self.norm = nn.Linear(features, width), layers[norm]()
        self.drop, self.last = nn.Dropout(drop), nn.Linear(width, classes)

    def forward(self, x):
        return self.last(self.drop(torch.tanh(self.norm(self.first(x)))))

class Warm(Net):
    def __init__(self, features, classes, learning_rate=1.0):
        super().__init__(features, classes)

class Fussy(Net):
    def forward(self, x):
        if x.max() > 90:
            raise RuntimeError("more than I can take")
        return super().forward(x)

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.all = nn.LazyLinear(3)

    def forward(self, x):
        return self.all(x)

def deep(features, classes, widths=(12, 12)):
    sizes = [features, *widths]
    layers = [part for one, two in zip(sizes, sizes[1:]) for part in (nn.Linear(one, two), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

def frozen(features, classes):
    return nn.Linear(features, classes).requires_grad_(False)

def estimator(alpha=0.0001):
    from sklearn.linear_model import SGDClassifier
    return SGDClassifier(alpha=alpha)
"""


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "own_nets.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_nets", None)


def make(choice: Any, features: int = 5, classes: int = 3, seed: int = 0) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(seed))


def rows(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    return rng.normal(size=(n, 5)) + np.eye(3, 5)[y] * 2, y


CHOICES: dict[str, Any] = {
    "sgd": {"own_nets:Net": {"learning_rate": 0.1}},
    "dropout-momentum": {"own_nets:Net": {"drop": 0.3, "optimizer": "momentum", "learning_rate": 0.02}},
    "function-adam": {"own_nets:deep": {"optimizer": "adam", "learning_rate": 0.01}},
    "lazy-adamw": {"own_nets:Lazy": {"optimizer": {"AdamW": {"weight_decay": 0.01}}, "learning_rate": 0.05}},
}


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_conformance(choice: Any, check: Any) -> None:
    check(lambda features, classes, rng: registry.create(choice, features, classes, rng))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_learners_that_follow_the_sum_of_their_gradients_learn_as_one_with_all_rows(optimizer: str) -> None:
    rng, settings = np.random.default_rng(0), {"optimizer": optimizer, "learning_rate": 0.1, "chunked": True}
    whole, *members = (make({"own_nets:Net": settings}, classes=3) for _ in range(4))
    for _ in range(5):
        x, y = rng.normal(size=(9, 5)), rng.integers(3, size=9)
        whole.learn_many(x, y)
        parts = [slice(0, 7), slice(7, 9), slice(9, 9)]  # one has no rows
        total = sum(member.gradient(x[part], y[part]) for member, part in zip(members, parts, strict=True))
        assert [member.follow(total) for member in members] == [9, 9, 9]
    for key, array in whole.state().items():
        for member in members:
            np.testing.assert_allclose(member.state()[key], array, rtol=1e-4, atol=1e-6)


def test_a_sum_that_is_not_finite_or_has_no_rows_changes_nothing() -> None:
    learner = make({"own_nets:Net": {}})
    before = learner.state()
    total = learner.gradient(np.empty((0, 5)), np.empty(0, np.int64))
    assert learner.follow(total) == 0
    with pytest.raises(NotFiniteError, match="diverged"):
        learner.follow(total * float("nan"))
    assert all(np.array_equal(array, before[key]) for key, array in learner.state().items())


def test_dropout_goes_on_alike_from_a_snapshot_and_leaves_torchs_generator_alone() -> None:
    (x, y), choice = rows(40), {"own_nets:Net": {"drop": 0.5, "learning_rate": 0.1}}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other, dry = make(choice), make(choice, seed=8), make({"own_nets:Net": {"learning_rate": 0.1}})
    assert not np.array_equal(one.predict_proba(x), other.predict_proba(x))
    one.learn_many(x[:20], y[:20])
    other.load(one.state())
    torch.rand(3)
    one.learn_many(x[20:], y[20:])
    other.partial_fit(x[20:], y[20:], classes=[0, 1, 2])
    assert np.array_equal(one.predict_proba(x), other.predict_proba(x))
    dry.learn_many(x, y)
    assert not np.array_equal(one.state()["module.last.weight"], dry.state()["module.last.weight"]), "dropout should matter"
    torch.set_rng_state(before)
    make(choice).learn_many(x, y)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_it_learns_as_torch_itself_would(optimizer: str) -> None:
    learner, (x, y) = make({"own_nets:deep": {"optimizer": optimizer, "learning_rate": 0.02, "momentum": 0.8}}), rows(30)
    twin = torch.nn.Sequential(
        torch.nn.Linear(5, 12), torch.nn.ReLU(), torch.nn.Linear(12, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3)
    )
    twin.load_state_dict({key[7:]: torch.tensor(array) for key, array in learner.state().items() if key != "draws"})
    step = {
        "sgd": lambda: torch.optim.SGD(twin.parameters(), lr=0.02),
        "momentum": lambda: torch.optim.SGD(twin.parameters(), lr=0.02, momentum=0.8),
        "adam": lambda: torch.optim.Adam(twin.parameters(), lr=0.02, betas=(0.8, 0.999)),
    }[optimizer]()
    answers = learner.predict_then_learn(x, y)
    for row, label, answer in zip(torch.tensor(x, dtype=torch.float32), torch.tensor(y), answers, strict=True):
        step.zero_grad()
        scores = twin(row[None])
        assert int(scores.argmax()) == answer
        torch.nn.functional.cross_entropy(scores, label[None]).backward()
        step.step()
    for key, tensor in twin.state_dict().items():
        assert np.array_equal(learner.state()[f"module.{key}"], tensor.numpy())


def test_chunked_is_one_step_a_chunk_and_lets_batches_be_normalised() -> None:
    (x, y), settings = rows(64), {"norm": "batch", "learning_rate": 0.3}
    learner = make({"own_nets:Net": {**settings, "chunked": True}})
    stream = [rows(16, seed=seed) for seed in range(40)]
    result = prequential(learner, stream, 3).overall()
    assert result.accuracy[-1] > 0.8
    assert learner.state()["draws"][1] == 40
    assert learner.state()["module.norm.num_batches_tracked"] == 40
    other = make({"own_nets:Net": {**settings, "chunked": True}}, seed=4)
    other.load(learner.state())
    assert np.array_equal(other.predict_proba(x), learner.predict_proba(x))
    with pytest.raises(LearnerError, match="Net raises at row 0: Expected more than 1 value") as raised:
        make({"own_nets:Net": settings}).learn_many(x, y)
    assert "LayerNorm, or set chunked: true" in str(raised.value)


def test_what_fails_half_way_leaves_no_trace() -> None:
    x, y = rows(20)
    for choice, spoilt, wanted, text in (
        ("own_nets:Fussy", 99.0, LearnerError, "Fussy raises at row 7: more than I can take"),
        ({"own_nets:Net": {"optimizer": "adam"}}, 1e300, NotFiniteError, "row 7"),
        ({"own_nets:deep": {"optimizer": "momentum"}}, 1e25, NotFiniteError, "row"),
    ):
        learner = make(choice)
        learner.learn_many(x, y)
        before = learner.state()
        bad = x.copy()
        bad[7] = spoilt
        for learn in (learner.learn_many, learner.predict_then_learn):
            with pytest.raises(wanted, match=text):
                learn(bad, y)
            after = learner.state()
            assert before.keys() == after.keys()
            assert all(np.array_equal(array, after[key]) for key, array in before.items())


def test_sparse_rows_and_decision_function() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    (x, y), learner, other = rows(30), make("own_nets:Net"), make("own_nets:Net")
    x *= np.random.default_rng(0).random(x.shape) < 0.5
    learner.learn_many(x, y)
    other.learn_many(sparse.csr_array(x), y)
    assert np.array_equal(learner.decision_function(x), other.decision_function(sparse.csr_array(x)))
    two = make("own_nets:Net", classes=2)
    odds = two.predict_proba(x)
    assert two.decision_function(x) == pytest.approx(np.log(odds[:, 1] / odds[:, 0]), abs=1e-6)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"own_nets:Net": {"optimzer": "adam"}}, "no setting 'optimzer'\n  → did you mean optimizer"),
        ({"own_nets:Net": {"optimizer": "adan"}}, "no optimizer 'adan'\n  → did you mean adam"),
        ({"own_nets:Net": {"optimizer": "LBFGS"}}, "no optimizer 'LBFGS'"),
        ({"own_nets:Net": {"optimizer": {"AdamW": {"decay": 1}}}}, "no setting of AdamW 'decay'"),
        ({"own_nets:Net": {"optimizer": {"AdamW": {"weight_decay": -1}}}}, "optimizer: Invalid weight_decay"),
        ({"own_nets:Net": {"optimizer": 3}}, "give a name, or one name with its settings"),
        ({"own_nets:Net": {"learning_rate": 0}}, "learning_rate is 0"),
        ({"own_nets:Net": {"momentum": 1.0}}, "momentum is 1.0"),
        ({"own_nets:Net": {"chunked": "yes"}}, "give true or false"),
        ({"own_nets:Net": {"device": "toaster"}}, "device is 'toaster'"),
        ({"own_nets:Net": {"device": "meta"}}, "its generator cannot be kept"),
        ({"own_nets:Net": {"width": -1}}, "own_nets:Net"),
        ({"own_nets:Warm": {"learning_rate": 0.1}}, "learning_rate could be the module's own setting or that of how it learns"),
        ("own_nets:frozen", "nothing to learn"),
        ({"torch.nn:Linear": {"in_features": 5, "out_features": 7}}, "answers 1 rows with shape (1, 7)"),
        ({"torch.nn:Linear": {"in_features": 4, "out_features": 3}}, "Linear raises at row 0"),
        ({"own_nets:estimator": {"learning_rate": 0.1}}, "no setting 'learning_rate'\n  → known: alpha, chunked"),
    ],
    ids=str,
)
def test_wrong_choices_are_told(choice: Any, text: str) -> None:
    with pytest.raises(RequestError) as raised:
        make(choice)
    assert text in str(raised.value)


def test_a_clash_is_found_before_anything_is_made() -> None:
    registry.check({"own_nets:Net": {"width": 3, "device": "cpu"}})
    registry.check({"own_nets:Warm": {"momentum": 0.1}})
    registry.check({"own_nets:deep": {"widths": [3], "learning_rate": 0.1}})
    with pytest.raises(SettingsError, match="could be the module's own"):
        registry.check({"own_nets:Warm": {"learning_rate": 0.1}})


def test_foreign_snapshots_are_refused() -> None:
    (x, y), learner = rows(10), make({"own_nets:Net": {"optimizer": "adam"}})
    fresh = learner.state()
    learner.learn_many(x, y)
    state = learner.state()
    for wrong, text in (
        (
            {**state, "optimizer.last.bias.exp_avg": state["optimizer.last.bias.exp_avg"][:1]},
            "of shape (1,), wanted finite float32",
        ),
        (
            {key: array for key, array in state.items() if key != "optimizer.last.bias.step"},
            "optimizer.last.bias.step is on one side",
        ),
        ({**state, "module.last.bias": np.full(3, np.nan, np.float32)}, "wanted finite"),
        ({**state, "draws": np.array([-1, 0])}, "negative"),
        (
            {**state, "module.last.bias": state["module.last.bias"].astype(np.float64)},
            "is float64 of shape (3,), wanted finite float32",
        ),
    ):
        with pytest.raises(StateError) as raised:
            learner.load(wrong)
        assert text in str(raised.value)
    learner.load(fresh)
    assert learner.state().keys() == fresh.keys(), "nothing of the optimizer's memory should be left"


def test_types_without_a_form_in_numpy_are_told() -> None:
    from estran.learning.pytorch import TorchLearner

    learner = TorchLearner(torch.nn.Linear(2, 2).to(torch.bfloat16), 2, 2, seed=0)
    with pytest.raises(StateError, match="bfloat16, which NumPy has not"):
        learner.state()


def elsewhere(code: str, place: Path) -> str:
    """What a process prints that has not imported torch."""
    code = f"import sys; sys.path.insert(0, {str(place)!r})\nimport numpy as np\nfrom estran.learning import registry\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_which_seed_an_estimator_gets_does_not_depend_on_torch(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    code = """
rng = np.random.default_rng(0)
made = registry.create("sklearn.linear_model:SGDClassifier", 2, 2, rng)
print(made.estimator.random_state, rng.integers(2**31), "torch" in sys.modules)
"""
    rng = np.random.default_rng(0)
    here: Any = registry.create("sklearn.linear_model:SGDClassifier", 2, 2, rng)
    assert elsewhere(code, tmp_path) == f"{here.estimator.random_state} {rng.integers(2**31)} False"


def test_a_function_that_imports_torch_itself_is_seeded_by_us(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "def net(features, classes):\n    from torch import nn\n    return nn.Linear(features, classes)\n", encoding="utf-8"
    )
    code = 'print(registry.create("late:net", 2, 2, np.random.default_rng(0)).state()["module.weight"].tolist())'
    choice = {"torch.nn:Linear": {"in_features": 2, "out_features": 2}}
    wanted = make(choice, 2, 2).state()["module.weight"]
    assert not np.array_equal(make(choice, 2, 2, seed=1).state()["module.weight"], wanted)
    assert elsewhere(code, tmp_path) == str(wanted.tolist())


def test_example() -> None:
    from estran.learning import pytorch

    found = doctest.testmod(pytorch)
    assert found.attempted
    assert not found.failed


def gradients(state: dict[str, np.ndarray], loss: Any) -> dict[str, np.ndarray]:
    """By automatic differentiation."""
    given = {name: torch.tensor(array, requires_grad=True) for name, array in state.items()}
    loss(given).backward()
    return {name: tensor.grad.numpy() for name, tensor in given.items() if tensor.grad is not None}


def test_the_perceptrons_gradient_is_that_of_autograd() -> None:
    rng = np.random.default_rng(0)
    mlp, (x, y) = Mlp(5, 3, rng, hidden=[40, 7], dtype="float64", learning_rate=1e-3), rows(1)
    before = dict(mlp.state())

    def loss(given: Any) -> Any:
        h = torch.tensor(x)
        for layer in range(2):
            h = torch.relu(h @ given[f"w{layer}"] + given[f"b{layer}"])
        return torch.nn.functional.cross_entropy(h @ given["w2"] + given["b2"], torch.tensor(y))

    mlp.learn_many(x, y)
    for name, wanted in gradients(before, loss).items():
        assert (before[name] - mlp.state()[name]) / 1e-3 == pytest.approx(wanted, abs=1e-10), name


def test_hedge_backpropagations_gradient_is_that_of_autograd() -> None:
    rng = np.random.default_rng(0)
    learner, (x, y) = HedgeBackprop(5, 3, rng, depth=4, width=33, dtype="float64", learning_rate=1e-3), rows(1)
    learner.load({**learner.state(), "alpha": rng.dirichlet(np.ones(5))})
    before = {name: array for name, array in learner.state().items() if name != "alpha"}
    alpha = learner.alphas

    def loss(given: Any) -> Any:
        h, label = torch.tensor(x), torch.tensor(y)
        losses = [torch.nn.functional.cross_entropy(h @ given["theta0"] + given["c0"], label)]
        for layer in range(1, 5):
            h = torch.relu(h @ given[f"w{layer}"] + given[f"b{layer}"])
            losses.append(torch.nn.functional.cross_entropy(h @ given[f"theta{layer}"] + given[f"c{layer}"], label))
        return sum(share * part for share, part in zip(alpha, losses, strict=True))

    learner.learn_many(x, y)
    wanted = gradients(before, loss)
    assert wanted.keys() == before.keys()
    for name, gradient in wanted.items():
        assert (before[name] - learner.state()[name]) / 1e-3 == pytest.approx(gradient, abs=1e-10), name
