"""Problems with two goals and a known best, at several fidelities, for `optimize_fidelities.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from estran.optimize.goals import Goals
from estran.optimize.space import Space
from estran.spec.ranges import Range
from estran.study.factors import Factor

Values = dict[str, float]
Model = Callable[[Mapping[str, Any]], Values]


@dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes
    ----------
    models
        By fidelity, the cheapest first: what is expected at a point, without noise.
    seconds
        That a run takes.
    noise
        Deviation of a run from what is expected, as a share of it, at each fidelity.
    """

    name: str
    factors: tuple[Factor, ...]
    goals: Goals
    models: dict[str, Model]
    seconds: dict[str, float] = field(default_factory=lambda: {"simulate": 2.0, "emulate": 20.0})
    noise: float = 0.02

    @property
    def space(self) -> Space:
        return Space(self.factors)

    def grid(self) -> list[dict[str, Any]]:
        space, names = self.space, [factor.name for factor in self.factors]
        points = (space.settled(dict(zip(names, levels, strict=True))) for levels in product(*map(levels_of, self.factors)))
        return list({str(point): point for point in points}.values())


def levels_of(factor: Factor) -> list[Any]:
    if factor.range is None:
        return list(factor.levels)
    one = factor.range
    if one.step is None and not one.whole:
        return np.linspace(one.low, one.high, 25).tolist()
    return [int(v) if one.whole else v for v in np.arange(one.low, one.high + 1e-9, one.step or 1).tolist()]


def ranged(name: str, low: float, high: float, default: float, **how: Any) -> Factor:
    return Factor(name, (low, high), default, Range(low, high, **how))


def reversed_(model: Model) -> Model:
    """A simulator that says the opposite of the truth: the best is worst."""

    def turned(levels: Mapping[str, Any]) -> Values:
        return {name: 1.0 / max(value, 1e-6) if value > 0 else -value for name, value in model(levels).items()}

    return turned


def branin_currin(step: float | None) -> Problem:
    """Branin's function against Currin's, with fidelities as in BoTorch's test function (Irshad et al. 2021)."""

    def at(fidelity: float) -> Model:
        def model(levels: Mapping[str, Any]) -> Values:
            x, y = float(levels["x"]), float(levels["y"])
            u, v = 15 * x - 5, 15 * y
            b = 5.1 / (4 * np.pi**2) - 0.01 * (1 - fidelity)
            c, t = 5 / np.pi - 0.1 * (1 - fidelity), 1 / (8 * np.pi) + 0.05 * (1 - fidelity)
            branin = (v - b * u**2 + c * u - 6) ** 2 + 10 * (1 - t) * np.cos(u) + 10
            part = 1.0 - 0.1 * (1 - fidelity) * np.exp(-1 / (2 * max(y, 1e-9)))
            part = 1 - part * np.exp(-1 / (2 * max(y, 1e-9))) if fidelity < 1 else 1 - np.exp(-1 / (2 * max(y, 1e-9)))
            currin = part * (2300 * x**3 + 1900 * x**2 + 2092 * x + 60) / (100 * x**3 + 500 * x**2 + 4 * x + 20)
            return {"branin": float(branin) + 10.0, "currin": float(currin) + 1.0}

        return model

    factors = (ranged("x", 0.0, 1.0, 0.5, step=step), ranged("y", 0.0, 1.0, 0.5, step=step))
    goals = Goals.read(["branin", "currin"], [], [])
    return Problem("branin-currin", factors, goals, {"simulate": at(0.0), "emulate": at(1.0)})


def deployment(grid: bool) -> Problem:
    """A detector is placed, batched and replicated: latency against accuracy within an energy; simulated without contention."""

    def at(contention: float, service: float, uplink: float) -> Model:
        def model(levels: Mapping[str, Any]) -> Values:
            place, batch, replicas = levels["placement"], int(levels["batch"]), int(levels["replicas"])
            publish, codec = float(levels["publish"]), levels["codec"]
            speed = {"edge": 0.6, "fog": 1.0, "cloud": 3.0}[place]
            size = {"none": 1.0, "fast": 0.45, "dense": 0.25}[codec] if place != "edge" else 0.0
            coding = {"none": 0.0, "fast": 1.5, "dense": 6.0}[codec] if place != "edge" else 0.0
            network = {"edge": 0.0, "fog": 5.0, "cloud": 25.0}[place] * uplink + 20.0 * size
            training = contention * 1.5 / (1 + 4 * publish)
            each = service * (3.0 + 9.0 / batch**0.7) / speed * (1 + training + contention * 0.15 * (replicas - 1) ** 1.5 / speed)
            load = 0.06 * each / replicas
            queue = each * load / max(1 - load, 0.1) + 200 * max(load - 0.9, 0.0)
            latency = network + coding + each + queue + 1.0 * batch
            stale = publish + 0.01 * network
            lost = {"none": 0.0, "fast": 0.01, "dense": 0.04}[codec] if place != "edge" else 0.06
            accuracy = 0.94 - 0.12 * (1 - np.exp(-stale / 3)) - lost
            energy = 10 + 6 * replicas * {"edge": 0.5, "fog": 1.0, "cloud": 1.6}[place] + 1.5 / publish + 0.02 * latency
            return {"latency": float(latency), "accuracy": float(accuracy), "energy": float(energy)}

        return model

    batch = ranged("batch", 1, 29, 1, whole=True, step=4) if grid else ranged("batch", 1, 32, 1, whole=True)
    publish = Factor("publish", (0.1, 0.3, 1.0, 3.0, 9.0), 3.0) if grid else ranged("publish", 0.1, 10.0, 2.0, log=True)
    factors = (
        Factor("placement", ("edge", "fog", "cloud"), "edge"),
        batch,
        ranged("replicas", 1, 6, 2, whole=True),
        publish,
        Factor("codec", ("none", "fast", "dense"), "none", None, {"placement": ("fog", "cloud")}),
    )
    goals = Goals.read(["latency"], ["accuracy"], ["energy<=40"])
    models = {"simulate": at(0.0, 0.8, 1.1), "emulate": at(0.5, 1.0, 1.0)}
    return Problem("deployment", factors, goals, models, noise=0.01)


def pools() -> Problem:
    """Four pools of threads on one server, after the shape of a served engine: response time against its tail and memory."""

    def at(switching: float, bias: float) -> Model:
        def model(levels: Mapping[str, Any]) -> Values:
            sizes = np.array([float(levels[name]) for name in ("http", "download", "extract", "search")])
            work = np.array([0.4, 1.1, 2.6, 1.7]) * bias
            crowd = np.maximum(0.0, sizes.sum() - 40.0) / 40.0
            slow = 1 + switching * crowd**1.5 + switching * 0.25 * np.maximum(sizes[2] - 7, 0) / 3
            rate = sizes / (work * slow)
            users = 120.0
            bottleneck = users / np.min(rate * np.array([0.14, 0.35, 0.9, 0.7]))
            response = 0.15 * bottleneck + float((work * slow).sum()) + 2.0 * float(np.exp(-sizes / 6).sum())
            memory = 0.8 + 0.04 * sizes[0] + 0.05 * sizes[1] + 0.35 * sizes[2] + 0.12 * sizes[3]
            return {"response": float(response), "memory": float(memory)}

        return model

    names = ("http", "download", "extract", "search")
    factors = tuple(ranged(name, 2, 44, 20, whole=True, step=6) for name in names)
    return Problem(
        "pools", factors, Goals.read(["response", "memory"], [], []), {"simulate": at(0.3, 0.9), "emulate": at(1.0, 1.0)}
    )


def many(factors: int = 8) -> Problem:
    """DTLZ2 with eight factors (Deb et al. 2002) and two goals; the simulator has its valley a little aside, and waves."""

    def at(aside: float, waves: float) -> Model:
        def model(levels: Mapping[str, Any]) -> Values:
            x = np.array([float(levels[f"x{i}"]) for i in range(factors)])
            g = float(((x[1:] - 0.6 - aside) ** 2).sum()) + waves * float(np.sin(9 * x[1:]).sum()) * 0.02
            g = max(g, 0.0)
            angle = x[0] * np.pi / 2
            return {"one": float((1 + g) * np.cos(angle)) + 0.1, "two": float((1 + g) * np.sin(angle)) + 0.1}

        return model

    made = tuple(ranged(f"x{i}", 0.0, 1.0, 0.3) for i in range(factors))
    return Problem("dtlz2-8", made, Goals.read(["one", "two"], [], []), {"simulate": at(0.08, 1.0), "emulate": at(0.0, 0.0)})
