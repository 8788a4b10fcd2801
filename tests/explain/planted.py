"""Studies with known effects."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estran.explain.table import Table
from estran.study.folder import Asked, Folder
from estran.study.rows import Row


def table(
    factors: dict[str, tuple[Any, ...]],
    points: list[dict[str, Any]],
    replicates: int,
    values: Any,
    design: str = "full",
    details: Any = None,
) -> Table:
    """A table of one response; ``values`` has shape (replicates × points,)."""
    asked = Asked(
        "planted", "planted.yaml", "", "simulate", None, (), design, None, replicates, 1, 1, factors, details=details or {}
    )
    rows = [
        Row(i + 1, i // len(points) + 1, i % len(points) + 1, 1, points[i % len(points)]) for i in range(replicates * len(points))
    ]
    taken = {name: tuple(dict.fromkeys([*factors[name], *(point[name] for point in points)])) for name in factors}
    levels = {name: tuple(map(str, given)) for name, given in taken.items()}
    codes = {name: np.array([taken[name].index(row.levels[name]) for row in rows]) for name in factors}
    blocks, numbers = np.array([row.block for row in rows]), np.array([row.point for row in rows])
    found = np.asarray(values, dtype=np.float64)
    folder, done = Folder(Path("planted"), asked, rows), np.ones(len(rows), bool)
    return Table(folder, levels, codes, blocks, numbers, done, {"latency": found}, {"latency": "s"})


class Planted:
    """A full factorial study of 2 to 4 factors: some have effects, well apart in size, others none; one interaction perhaps.

    Noise is normal, heavy-tailed (Student, 4 degrees of freedom), or larger at one level of a factor; blocks and hosts (a factor
    that nobody varies: each run lands on one of three) add their own.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        count, self.replicates = int(rng.integers(2, 5)), int(rng.integers(4, 7))
        self.factors = {f"f{i}": tuple(range(int(rng.integers(2, 4)))) for i in range(count)}
        self.points = [dict(zip(self.factors, levels, strict=True)) for levels in product(*self.factors.values())]
        self.kind = str(rng.choice(["normal", "heavy", "unequal"]))
        sizes = 4.0 * 2.0 ** -np.arange(count) * (np.arange(count) < rng.integers(1, count + 1))
        self.effects: dict[str, NDArray[np.float64]] = {}
        for (name, levels), size in zip(self.factors.items(), rng.permutation(sizes), strict=True):
            shape = np.linspace(-1, 1, len(levels))
            self.effects[name] = size * shape / np.sqrt((shape**2).mean())
        self.interaction = bool(rng.random() < 0.3)
        self.table = table(self.factors, self.points, self.replicates, self._values(rng))

    def _values(self, rng: np.random.Generator) -> NDArray[np.float64]:
        points = self.points * self.replicates
        y = np.array([sum(self.effects[name][level] for name, level in point.items()) for point in points])
        if self.interaction:
            first, second = list(self.factors)[:2]
            signs = [np.linspace(-1, 1, len(self.factors[name])) for name in (first, second)]
            y += 2.0 * np.array([signs[0][point[first]] * signs[1][point[second]] for point in points])
        noise = rng.standard_t(4, len(y)) / np.sqrt(2) if self.kind == "heavy" else rng.normal(size=len(y))
        if self.kind == "unequal":
            last = list(self.factors)[-1]
            noise *= np.where(np.array([point[last] for point in points]) == 0, 0.4, 1.6)
        blocks = np.repeat(rng.normal(size=self.replicates), len(self.points))
        hosts = rng.normal(scale=0.5, size=3)[rng.integers(3, size=len(y))]
        return 20.0 + y + noise + blocks + hosts

    @property
    def nulls(self) -> set[str]:
        """Terms that have no effect."""
        names = list(self.factors)
        mains = {name for name in names if not self.effects[name].any()}
        pairs = {f"{a} × {b}" for i, a in enumerate(names) for b in names[i + 1 :]}
        return mains | (pairs - ({f"{names[0]} × {names[1]}"} if self.interaction else set()))

    @property
    def ranking(self) -> list[str]:
        """Factors with an effect, the largest first."""
        sizes = {name: float((effect**2).mean()) for name, effect in self.effects.items() if effect.any()}
        return sorted(sizes, key=lambda name: -sizes[name])
