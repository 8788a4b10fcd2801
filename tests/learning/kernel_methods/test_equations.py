"""Kernel learners against plain references of their papers' equations, and the invariants of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estran.learning import registry
from estran.learning.kernel_methods import budget_kernel, functions_kernel
from estran.learning.learner import Features, Labels
from tests.learning.kernel_methods.references import GAMMA, Joint, gaussian, kernels, violation

CLASSES = pytest.mark.parametrize("classes", [2, 3])


def make(choice: Any, features: int = 4, classes: int = 2, seed: int = 0) -> Any:
    return registry.create(choice, features, classes, np.random.default_rng(seed))


def stream(n: int, classes: int, seed: int = 0, features: int = 4) -> tuple[Features, Labels]:
    """Rows whose classes lie in shells around the origin, one label in ten wrong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features))
    far = (x**2).sum(axis=1)
    y = np.searchsorted(np.quantile(far, np.linspace(0, 1, classes + 1)[1:-1]), far)
    return x, np.where(rng.random(n) < 0.1, rng.integers(classes, size=n), y)


def follow(learner: Any, reference: Joint, x: Features, y: Labels) -> None:
    """Both learn, row by row, and say the same."""
    for row, label in zip(x, y.tolist(), strict=True):
        scores = np.atleast_1d(learner.decision_function(row[None])[0])
        assert np.allclose(scores, reference.scores(row), atol=1e-9)
        learner.learn_one(row, label)
        reference.learn(row, label)
        clock, coefficients = learner.state()["clock"], learner.state()["coefficients"]
        used = int(clock[0])
        assert used == len(reference.supports) <= learner.budget
        assert not coefficients[:, used:].any()


@CLASSES
@pytest.mark.parametrize("form", kernels())
def test_with_room_for_all_mistakes_all_are_the_kernel_perceptron(form: str, classes: int) -> None:
    kernel, given = kernels()[form]
    x, y = stream(150, classes)
    reference = Joint(classes, kernel)
    answers = [reference.answer_then_learn(row, label) for row, label in zip(x, y.tolist(), strict=True)]
    choices: list[Any] = [{"kernel-perceptron": {"budget": 200, "removal": removal, **given}} for removal in ("oldest", "random")]
    if form == "gaussian":
        choices += [{"forgetron": {"budget": 200, "gamma": GAMMA}}, {"projectron": {"budget": 200, "eta": 1e-6, **given}}]
    for choice in choices:
        learner = make(choice, 4, classes)
        assert learner.predict_then_learn(x, y).tolist() == answers
        wanted = np.array([reference.scores(row) for row in x])
        assert np.allclose(learner.decision_function(x).reshape(len(x), -1), wanted, rtol=1e-9, atol=1e-7)


@CLASSES
def test_a_linear_kernel_makes_it_the_perceptron(classes: int) -> None:
    x, y = stream(200, classes)
    kernel = make({"kernel-perceptron": {"budget": 200, "kernel": "linear"}}, 4, classes)
    linear = make({"perceptron": {"bias": False}}, 4, classes)
    assert np.array_equal(kernel.predict_then_learn(x, y), linear.predict_then_learn(x, y))
    assert np.allclose(kernel.decision_function(x), linear.decision_function(x))


@CLASSES
def test_the_oldest_goes_first(classes: int) -> None:
    x, y = stream(150, classes)

    def remove(reference: Joint) -> None:
        if len(reference.supports) > 9:
            reference.drop(0)

    follow(make({"kernel-perceptron": {"budget": 9, "gamma": GAMMA}}, 4, classes), Joint(classes, gaussian, after=remove), x, y)


def test_chance_removes_any_support_alike() -> None:
    x, y = stream(4000, 2, seed=1)
    learner = make({"kernel-perceptron": {"budget": 5, "removal": "random", "gamma": GAMMA}}, seed=2)
    counts, before = np.zeros(5), learner.state()
    for row, label in zip(x, y.tolist(), strict=True):
        learner.learn_one(row, label)
        after = learner.state()
        changed = np.flatnonzero((after["supports"] != before["supports"]).any(axis=0))
        if before["clock"][0] == 5 and len(changed):
            assert len(changed) == 1
            assert np.array_equal(after["supports"][:, changed[0]], row)
            assert after["coefficients"][0, changed[0]] == (1 if label else -1)
            counts[changed[0]] += 1
        before = after
    assert before["clock"][5] == counts.sum() > 500
    expected = counts.sum() / 5
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # χ² of 4 degrees of freedom, one in a thousand


@CLASSES
def test_forgetron_shrinks_by_its_rule(classes: int) -> None:
    x, y = stream(400, classes, seed=3)
    budget, mistakes, damage, shrunk = 20, 0, 0.0, 0

    def psi(lost: float, margin: float) -> float:
        return lost * lost + 2 * lost - 2 * lost * margin

    def rule(reference: Joint) -> None:
        nonlocal mistakes, damage, shrunk
        mistakes += 1
        if len(reference.supports) <= budget:
            return
        # With unit vectors for several classes, too: the joint kernel halves, the coefficients stay.
        half = 1.0 if classes == 2 else 0.5
        sigma, mu = reference.alphas[0], half * reference.margin(0)
        # Ψ(φσ, φμ) + Q = 15/32·M is a parabola in φ.
        roots = np.roots([sigma * sigma - 2 * sigma * mu, 2 * sigma, damage - 15 / 32 * mistakes])
        edges = [root.real for root in roots if abs(root.imag) < 1e-12 and 0 < root.real < 1]
        whole = psi(sigma, mu) + damage <= 15 / 32 * mistakes
        phi = 1.0 if whole else max(edges, key=lambda edge: psi(edge * sigma, edge * mu) <= 15 / 32 * mistakes - damage + 1e-9)
        shrunk += not whole
        reference.alphas = [phi * alpha for alpha in reference.alphas]
        damage += psi(phi * sigma, phi * mu)
        assert damage <= 15 / 32 * mistakes + 1e-9
        reference.drop(0)

    learner = make({"forgetron": {"budget": budget, "gamma": GAMMA}}, 4, classes)
    follow(learner, Joint(classes, gaussian, after=rule), x, y)
    clock = learner.state()["clock"]
    assert shrunk > 3
    assert (clock[2], clock[3]) == (mistakes, pytest.approx(damage))


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-6, 1.0), st.floats(-50, 50), st.floats(0.4, 100))
def test_no_larger_shrinkage_would_do(sigma: float, mu: float, allowed: float) -> None:
    def psi(phi: Any) -> Any:
        return (phi * sigma) ** 2 + 2 * phi * sigma - 2 * phi * sigma * phi * mu

    phi = budget_kernel.shrinkage(sigma, mu, allowed)
    assert 0 < phi <= 1
    assert psi(phi) <= allowed * (1 + 1e-12)
    above = np.linspace(phi, 1.0, 200)[1:]
    assert (psi(above) > allowed * (1 - 1e-12)).all() or phi == 1.0


@CLASSES
def test_projectron_projects_onto_its_supports(classes: int) -> None:
    x, y = stream(300, classes, seed=4)
    learner = make({"projectron": {"budget": 15, "eta": 0.6, "gamma": GAMMA}}, 4, classes)
    stored = projected = 0
    for row, label in zip(x, y.tolist(), strict=True):
        before = learner.state()
        n, scores = int(before["clock"][0]), np.atleast_1d(learner.decision_function(row[None])[0])
        learner.learn_one(row, label)
        after = learner.state()
        margin, direction = violation(scores, label)
        if margin > 0:
            assert np.array_equal(before["coefficients"], after["coefficients"])
            continue
        supports = before["supports"][:, :n].T
        gram, likes = gaussian(supports, supports), gaussian(supports, row[None])[:, 0]
        shares = np.linalg.solve(gram, likes) if n else np.zeros(0)
        missing = 1.0 - likes @ shares
        if n < 15 and missing > 0.6**2:
            stored += 1
            assert np.array_equal(after["supports"][:, n], row)
            assert np.array_equal(after["coefficients"][:, n], direction)
            kept = after["supports"][:, : n + 1].T
            assert np.allclose(after["inverse"][: n + 1, : n + 1] @ gaussian(kept, kept), np.eye(n + 1), atol=1e-9)
        else:
            projected += 1
            moved = (after["coefficients"] - before["coefficients"])[:, :n]
            assert np.allclose(moved, np.outer(direction, shares), atol=1e-9)
            assert int(after["clock"][0]) == n
    assert stored > 5
    assert projected > 20


@CLASSES
@pytest.mark.parametrize("form", kernels())
def test_bpa_s_loses_what_costs_least(form: str, classes: int) -> None:
    """Its objective, ½|f − fₜ|² + C·loss(f), is no smaller for any other support and any other β."""
    kernel, given = kernels()[form]
    x, y = stream(80, classes, seed=5)
    x /= 2.0
    c, budget, exchanged, rng = 0.3, 6, 0, np.random.default_rng(0)
    learner = make({"bpa-s": {"budget": budget, "c": c, **given}}, 4, classes)
    for row, label in zip(x, y.tolist(), strict=True):
        before, scores = learner.state(), np.atleast_1d(learner.decision_function(row[None])[0])
        learner.learn_one(row, label)
        after, n = learner.state(), int(before["clock"][0])
        margin, direction = violation(scores, label)
        own = float(kernel(row[None], row[None])[0, 0])
        if margin >= 1:
            assert np.array_equal(before["coefficients"], after["coefficients"])
            continue
        step = min(c, (1 - margin) / (own * (direction @ direction)))
        if n < budget:
            assert np.allclose(after["coefficients"][:, n], step * direction)
            continue
        exchanged += 1
        supports = before["supports"].T
        likes, selves = kernel(supports, row[None])[:, 0], np.array([float(kernel(s[None], s[None])[0, 0]) for s in supports])

        def objective(
            r: int,
            beta: Any,
            before: Any = before,
            scores: Any = scores,
            likes: Any = likes,
            selves: Any = selves,
            own: float = own,
            label: int = label,
        ) -> float:
            lost = before["coefficients"][:, r]
            length = lost @ lost * selves[r] - 2 * lost @ beta * likes[r] + beta @ beta * own
            margin = violation(scores - lost * likes[r] + beta * own, label)[0]
            return float(length / 2 + c * max(0.0, 1 - margin))

        (gone,) = np.flatnonzero((after["supports"] != before["supports"]).any(axis=0))
        found = after["coefficients"][:, gone]
        assert np.allclose(found, before["coefficients"][:, gone] * likes[gone] / own + step * direction)
        least = objective(int(gone), found)
        for r in range(budget):
            start = before["coefficients"][:, r] * likes[r] / own + step * direction
            assert least <= objective(r, start) + 1e-9
            if classes == 2:
                tries = start + rng.normal(size=(40, 1)) * 10.0 ** rng.uniform(-4, 0, size=(40, 1))
                assert least <= min(objective(r, other) for other in tries) + 1e-9
    assert exchanged > 10


@pytest.mark.parametrize(("loss", "slope"), [("hinge", lambda m: 1.0 * (m < 1)), ("logistic", lambda m: 1 / (1 + np.exp(m)))])
@CLASSES
def test_fourier_is_gradient_descent_on_its_map(loss: str, slope: Callable[[float], float], classes: int) -> None:
    x, y = stream(120, classes, seed=6)
    learner = make({"fourier": {"frequencies": 30, "loss": loss, "learning_rate": 0.3}}, 4, classes)
    weights = np.zeros((1 if classes == 2 else classes, 60))
    for row, label in zip(x, y.tolist(), strict=True):
        z = learner.map(row[None])[0]
        margin, direction = violation(weights @ z, label)
        weights += 0.3 * slope(margin) * np.outer(direction, z)
        learner.learn_one(row, label)
        assert np.allclose(learner.state()["weights"], weights, atol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_fourier_comes_nearer_to_the_kernel_as_one_over_the_root(kernel: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(60, 5))
    apart = x[:, None] - x[None]
    wanted = np.exp(-0.2 * ((apart**2) if kernel == "gaussian" else np.abs(apart)).sum(axis=2))

    def error(frequencies: int) -> float:
        squares = []
        for seed in range(8):
            z = make({"fourier": {"frequencies": frequencies, "kernel": kernel, "gamma": 0.2}}, 5, seed=seed).map(x)
            assert np.allclose((z**2).sum(axis=1), 1.0)
            squares.append(((z @ z.T - wanted) ** 2).mean())
        return float(np.sqrt(np.mean(squares)))

    few, many = error(50), error(50 * 64)
    assert 6 < few / many < 10.5
    assert many < 0.015


@CLASSES
def test_nystroem_is_kernel_descent_first_and_then_linear_on_its_map(classes: int) -> None:
    x, y = stream(200, classes, seed=8)
    eta, budget, rank = 0.4, 15, 6
    learner = make({"nystroem": {"budget": budget, "rank": rank, "learning_rate": eta, "gamma": GAMMA}}, 4, classes)
    reference = Joint(classes, gaussian, threshold=1.0, step=eta)
    at = 0
    while not learner.settled:
        assert np.allclose(np.atleast_1d(learner.decision_function(x[[at]])[0]), reference.scores(x[at]))
        learner.learn_one(x[at], int(y[at]))
        reference.learn(x[at], int(y[at]))
        at += 1
    landmarks = np.array(reference.supports)
    assert np.array_equal(learner.state()["supports"].T, landmarks)
    values, vectors = np.linalg.eigh(gaussian(landmarks, landmarks))
    values, vectors = values[-rank:], vectors[:, -rank:]
    # The map's inner products are the best kernel of that rank, and the weights those of the landmarks.
    across = gaussian(landmarks, x)
    near = across.T @ (vectors / values) @ vectors.T @ across
    z = learner.map(x)
    assert np.allclose(z @ z.T, near)
    assert np.allclose(learner.decision_function(x).reshape(len(x), -1), z @ learner.map(landmarks).T @ reference.table())
    weights = learner.state()["weights"].copy()
    for row, label, mapped in zip(x[at:], y[at:].tolist(), z[at:], strict=True):
        margin, direction = violation(weights @ mapped, label)
        weights += eta * (margin < 1) * np.outer(direction, mapped)
        learner.learn_one(row, label)
    assert np.allclose(learner.state()["weights"], weights)


def test_nystroem_of_full_rank_keeps_all_that_it_knew() -> None:
    x, y = stream(40, 3, seed=9)
    settings = {"learning_rate": 0.4, "gamma": GAMMA}
    before = make({"nystroem": {"budget": 21, **settings}}, 4, 3)
    after = make({"nystroem": {"budget": 20, **settings}}, 4, 3)
    at = 0
    while not after.settled:
        for one in (before, after):
            one.learn_one(x[at], int(y[at]))
        at += 1
    assert not before.settled
    assert np.allclose(before.decision_function(x[:at]), after.decision_function(x[:at]), atol=1e-8)
    signs = after.state()["basis"]
    assert (signs[np.abs(signs).argmax(axis=0), np.arange(20)] > 0).all()


def test_landmarks_that_repeat_are_no_harm() -> None:
    x = np.repeat(np.eye(4), 10, axis=0)
    learner = make({"nystroem": {"budget": 12, "loss": "logistic"}})
    learner.learn_many(x, np.arange(40) % 4 // 2)
    z = learner.map(x)
    assert learner.settled
    assert np.linalg.matrix_rank(z) == 2
    assert np.abs(z).max() <= 1 + 1e-9


def test_exponential_and_waves_are_exact_to_a_few_units_in_the_last_place() -> None:
    t = np.concatenate([np.linspace(0, 700, 100_001), 10.0 ** np.linspace(-20, 0, 1000), [709.0, 1e5]])
    found = t.copy()
    functions_kernel.fade(found)
    within = t <= 700
    assert np.abs(found[within] / np.exp(-t[within]) - 1).max() < 5e-16
    assert (found[~within] < 1e-300).all()
    assert found[0] == 1.0
    quarters = np.concatenate([np.linspace(-9, 9, 100_001), [1e6 + 0.25, -1e9 - 0.5, 2.0**40]])
    cosines, sines = quarters.copy(), np.empty_like(quarters)
    functions_kernel.turn(cosines, 2.0, sines)
    angles = np.fmod(quarters, 4.0) * (np.pi / 2)
    assert np.abs(cosines - 2 * np.cos(angles)).max() < 3e-15
    assert np.abs(sines - 2 * np.sin(angles)).max() < 3e-15
