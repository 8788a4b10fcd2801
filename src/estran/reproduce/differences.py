"""Which recorded facts of two runs differ, what most likely matters first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estran.reproduce.facts import EVERY_PACKAGE, GROUPS, Facts, Group, Name, facts
from estran.units import Dimension, QuantityError, minus, parse

_ORDER: Final[Mapping[bool, tuple[Group, ...]]] = {
    False: ("description", "files", "platform", "environment", "network", "load", "machine", "repository"),
    True: ("description", "files", "environment", "platform", "machine", "repository", "network", "load"),
}
"""Where a difference is looked for first, by whether both runs were simulated: these know no machine but through floating point."""
_IDLE: Final = re.compile(r"name|kernel_build|memory|governor|net\.\S+|vm\.\S+|commit|dirty|diff|untracked|patch_\w+")
"""Facts that hardly ever matter by themselves: told, but last within their group."""
_CLOSE: Final = 0.05
_FINE: Final = {"delay": 3e-4, "loss": 0.01}
"""What measured delays (s) and losses may differ by, and be called the same; all else by `_CLOSE` of itself."""
_BUSY: Final = 0.15
_RECORDED: Final[tuple[Group, ...]] = ("network", "load", "machine", "repository")
_ALWAYS: Final = ("Estran", "Estran's own code", "Python")
"""What every run has, and an older Estran did not record."""
_DIMENSIONS: Final[tuple[Dimension, ...]] = ("duration", "rate", "size", "frequency")
_OWN: Final = "package "
_NUMERICAL: Final = ("numpy", "scipy", "numba", "scikit-learn", "river", "torch")


@dataclass(frozen=True, slots=True)
class Changed:
    """A fact that is not the same; None where one side has none such."""

    group: Group
    name: str
    a: Any
    b: Any

    def __str__(self) -> str:
        change = None if self.name == "seed" else _share(self.a, self.b)
        return f"{self.name}: {_told(self.a)} → {_told(self.b)}" + ("" if change is None else minus(f" ({change:+.3g} %)"))


@dataclass(frozen=True, slots=True)
class Differences:
    """Facts of B that are not those of A, most likely to matter first; and of each group, how many are the same."""

    changed: tuple[Changed, ...]
    same: Mapping[Group, int]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        changed = [{"group": one.group, "name": one.name, "a": one.a, "b": one.b, "told": str(one)} for one in self.changed]
        return {"changed": changed, "same": dict(self.same)}


def differences(a: Path, b: Path) -> Differences:
    """Compare the recorded facts of two run folders.

    Raises
    ------
    EstranError
        If one is no run folder, or damaged.
    """
    return compared(facts(a), facts(b))


def compared(a: Facts, b: Facts) -> Differences:
    """Compare two tables of facts."""
    simulated = all(one.get(("platform", "platform")) == "simulate" for one in (a, b))
    names = list({**a, **b})
    apart = [name for name in names if not _alike(name[1], a.get(name), b.get(name)) and not _unknown(name, a, b)]
    changed = [Changed(*name, a.get(name), b.get(name)) for name in apart]
    order = _ORDER[simulated]
    ranked = sorted(changed, key=lambda one: (order.index(one.group), _rank(one), one.name))
    same = Counter(name[0] for name in names if name not in set(apart) and name in a and name in b)
    return Differences(tuple(ranked), {group: same[group] for group in GROUPS if same[group]})


def _rank(one: Changed) -> int:
    """Within its group: libraries that compute first, then Estran and Python, then all else."""
    if one.group == "environment":
        if one.name.removeprefix(_OWN) in _NUMERICAL:
            return 0
        return 1 if one.name in ("Estran", "Estran's own code", "Python") else 2
    if one.group == "description":
        return 0 if one.name == "seed" or one.name.startswith("level of ") else 1
    return 0 if one.name == "platform" else 2 if _IDLE.fullmatch(one.name) else 1


def _unknown(name: Name, a: Facts, b: Facts) -> bool:
    """Whether one side did not record a fact, which does not say that it has none."""
    if name in a and name in b:
        return False
    if name[1].startswith(_OWN):
        return not (EVERY_PACKAGE in a and EVERY_PACKAGE in b)
    return name == EVERY_PACKAGE or name[0] in _RECORDED or name[1] in _ALWAYS


def _alike(name: str, a: Any, b: Any) -> bool:
    if a == b:
        return True
    if name.startswith("measured ") and isinstance(a, float) and isinstance(b, float):
        slack = _FINE.get(name.split()[1], 0.0)
        return abs(a - b) <= max(slack, _CLOSE * max(abs(a), abs(b)))
    if name.startswith("share of the machine") and None not in (a, b):
        return bool(abs(a - b) <= _BUSY)
    return _share(a, b) == 0.0


def _share(a: Any, b: Any) -> float | None:
    """By how many percent B is more than A, where both are quantities of one dimension; None where they are not."""
    if isinstance(a, int | float) and isinstance(b, int | float) and not isinstance(a, bool) and not isinstance(b, bool):
        return None if a == 0 else 100.0 * (b - a) / abs(a)
    if not (isinstance(a, str) and isinstance(b, str)):
        return None
    for dimension in _DIMENSIONS:
        try:
            one, other = parse(a, dimension), parse(b, dimension)
        except QuantityError:
            continue
        return None if one == 0 or not re.search(r"[a-z/]", a) else round(100.0 * (other - one) / one, 6)
    return None


def _told(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text[:15] + "…" if text.startswith("sha256:") else text
