"""Where learners that are told of no tasks take one to end: a drift detector of theirs as the one who says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estran.checks.comparing import assert_same_state
from estran.errors import RequestError
from estran.learning import registry
from estran.learning.learner import NotFiniteError, StateError

DETECTORS: list[Any] = [
    "adwin",
    {"ddm": {"alarm": 4.0}},
    {"eddm": {"beta": 0.8}},
    {"kswin": {"alpha": 0.0001}},
    {"page-hinkley": {"threshold": 15.0}},
]
DRIFT, ROWS = 1200, 2000


def made(name: str, boundary: Any = "adwin", **options: Any) -> Any:
    settings = {"hidden": [16], "boundary": boundary, "apart": 200, **options}
    return registry.create({name: settings}, 5, 3, np.random.default_rng(0))


def stream(drift: int = DRIFT, rows: int = ROWS) -> tuple[Any, Any]:
    """Three classes that swap their meaning at a row; each class comes from the first rows on, so that nothing else tells."""
    rng = np.random.default_rng(3)
    kinds = rng.integers(3, size=rows)
    x = np.eye(3, 5)[kinds] + rng.normal(scale=0.35, size=(rows, 5))
    return x, np.where(np.arange(rows) < drift, kinds, (kinds + 1) % 3)


def ends(learner: Any, x: Any, y: Any) -> list[int]:
    """After how many rows the boundaries came."""
    found: list[int] = []
    for start in range(0, len(y), 10):
        learner.learn_many(x[start : start + 10], y[start : start + 10])
        found += [start + 10] * (learner.boundaries - len(found))
    return found


@pytest.mark.parametrize("name", ["lwf", "ewc"])
@pytest.mark.parametrize("boundary", DETECTORS, ids=lambda boundary: registry.read(boundary)[0])
def test_a_planted_drift_ends_a_task_and_nothing_else_does(name: str, boundary: Any) -> None:
    x, y = stream()
    found = ends(made(name, boundary), x, y)
    assert len(found) == 1, found
    assert DRIFT < found[0] <= DRIFT + 150
    assert ends(made(name, boundary), *stream(drift=ROWS)) == []


def test_lwf_then_learns_beside_the_weights_of_that_moment() -> None:
    x, y = stream()
    learner = made("lwf")
    (end,) = ends(learner, x, y)
    other = made("lwf")
    other.learn_many(x[:end], y[:end])
    state = learner.state()
    for part, array in other.weights().items():
        np.testing.assert_array_equal(state[f"tasks.teacher.{part}"], array)
    plain = registry.create({"naive": {"hidden": [16]}}, 5, 3, np.random.default_rng(0))
    plain.learn_many(x[:end], y[:end])
    for part, array in other.weights().items():
        np.testing.assert_array_equal(plain.state()[part], array)  # until then it learns plainly
    plain.learn_many(x[end:], y[end:])
    assert not np.array_equal(plain.state()["w0"], state["w0"])


def test_ewc_then_is_drawn_back_to_the_weights_of_that_moment() -> None:
    x, y = stream()
    learner, free = made("ewc"), made("ewc", weight=0.0)
    (end,) = ends(learner, x[: DRIFT + 200], y[: DRIFT + 200])
    ends(free, x[: DRIFT + 200], y[: DRIFT + 200])
    anchor = {part: learner.state()[f"tasks.anchor.{part}"] for part in learner.weights()}
    before = made("ewc")
    before.learn_many(x[:end], y[:end])
    for part, array in before.weights().items():
        np.testing.assert_array_equal(anchor[part], array)
    assert sum(array.sum() for part, array in learner.state().items() if part.startswith("tasks.importance")) > 0

    def away(one: Any) -> float:
        return sum(float(((one.weights()[part] - array) ** 2).sum()) for part, array in anchor.items())

    assert away(learner) < away(free)


@pytest.mark.parametrize("boundary", DETECTORS, ids=lambda boundary: registry.read(boundary)[0])
def test_the_detector_is_part_of_snapshots_however_the_stream_is_cut(boundary: Any) -> None:
    x, y = stream()
    whole, cut = made("ewc", boundary), made("ewc", boundary)
    whole.learn_many(x, y)
    for start, stop in ((0, 7), (7, 900), (900, DRIFT + 3), (DRIFT + 3, DRIFT + 24), (DRIFT + 24, ROWS)):
        cut.learn_many(x[start:stop], y[start:stop])
        loaded = made("ewc", boundary)
        loaded.load(cut.state())
        cut = loaded
    assert_same_state(whole, cut)
    assert cut.boundaries == 1


def test_what_fails_leaves_no_trace_in_the_detector() -> None:
    x, y = stream()
    learner = made("ewc", "ddm")
    learner.learn_many(x[:500], y[:500])
    before = learner.state()
    wrong = np.concatenate([x[500:560], np.full((30, 5), 1e30)])
    with pytest.raises(NotFiniteError):
        learner.learn_many(wrong, y[500:590])
    after = learner.state()
    assert before.keys() == after.keys()
    for part, array in before.items():
        np.testing.assert_array_equal(after[part], array)


def test_a_snapshot_without_the_detector_or_of_another_is_refused() -> None:
    learner, other = made("lwf", "ddm"), made("lwf", "page-hinkley")
    good = learner.state()
    for wrong in ({part: array for part, array in good.items() if not part.startswith("detector.")}, other.state()):
        with pytest.raises(StateError, match="detector"):
            learner.load(wrong)
    with pytest.raises(StateError):
        made("lwf", 100).load(good)


@pytest.mark.parametrize(
    ("boundary", "message"),
    [("adwim", "did you mean adwin"), ({"ddm": {"delta": 1}}, "delta"), (True, "boundary is True"), ([1], "boundary"), (0, "is 0")],
)
@pytest.mark.parametrize("name", ["lwf", "ewc"])
def test_what_is_no_boundary_is_named_when_checked_and_when_made(name: str, boundary: Any, message: str) -> None:
    for attempt in (lambda: registry.check({name: {"boundary": boundary}}), lambda: made(name, boundary)):
        with pytest.raises(RequestError, match=message) as raised:
            attempt()
        assert "boundary" in str(raised.value)


def test_a_detector_without_snapshots_is_refused() -> None:
    pytest.importorskip("river")
    with pytest.raises(RequestError, match="cannot be part of a snapshot"):
        made("lwf", "river.drift:ADWIN")
