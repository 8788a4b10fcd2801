"""From the checked ``faults:`` block to faults: one kind each, with what that kind needs, and one way of saying when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from estran.spec.faults import KINDS, LINK_KINDS, Chance, Condition, Fault, FaultKind
from estran.spec.marks import Complaints, Path
from estran.spec.schema import FaultEntry

_SETTINGS: Final[Mapping[FaultKind, tuple[str, ...]]] = {
    "degrade": ("delay", "jitter", "rate", "loss"), "flap": ("period", "share"), "slow": ("speed",), "clock-skew": ("offset",),
    "memory-pressure": ("memory",), "corrupt": ("share",), "burst": ("factor",), "drift": ("amount", "change"),
}  # fmt: skip
_DEFAULTS: Final[Mapping[FaultKind, Mapping[str, Any]]] = {"flap": {"period": 1.0, "share": 0.5}, "drift": {"change": "shift"}}
_ALL: Final = tuple(dict.fromkeys(key for keys in _SETTINGS.values() for key in keys))
_WHEN: Final = ("at", "when", "random")


class FaultBuilder:
    """Builds faults; what is wrong with one is complained of, and it is left out.

    Parameters
    ----------
    condition
        Reads a condition that stands at a path, or complains.
    """

    def __init__(self, complaints: Complaints, condition: Callable[[Path, str], Condition | None]) -> None:
        self._complain, self._marks = complaints.add, complaints.marks
        self._condition = condition

    def faults(self, entries: Mapping[str, FaultEntry]) -> dict[str, Fault]:
        """All faults, by name."""
        built = {name: self._fault(name, entry) for name, entry in entries.items()}
        return {name: fault for name, fault in built.items() if fault is not None}

    def _fault(self, name: str, entry: FaultEntry) -> Fault | None:
        path: Path = ("faults", name)
        kind = self._kind(path, entry)
        when = self._when(path, entry)
        if kind is None or when is None or not self._lasts(path, kind, entry) or not self._fits(path, kind, entry):
            return None
        settings = self._settings(path, kind, entry)
        if settings is None:
            return None
        on, beyond = _targets(kind, getattr(entry, kind.replace("-", "_")))
        place = str(self._marks.where(path, "key"))
        return Fault(name, kind, on, beyond, entry.one_way, duration=entry.for_, settings=settings, place=place, **when)

    def _kind(self, path: Path, entry: FaultEntry) -> FaultKind | None:
        given = [kind for kind in KINDS if getattr(entry, kind.replace("-", "_")) is not None]
        if not given:
            self._complain(path, "does not say what breaks", f"add one of {', '.join(KINDS)}, such as cut: [fog, cloud]", at="key")
        elif len(given) > 1:
            self._complain((*path, given[1]), f"{given[0]} and {given[1]} are two faults", "write an entry for each", at="key")
        return given[0] if len(given) == 1 else None

    def _when(self, path: Path, entry: FaultEntry) -> dict[str, Any] | None:
        given = [key for key in _WHEN if getattr(entry, key) is not None]
        if not given:
            self._complain(path, "does not say when", "add at: 5s, when: accuracy >= 0.9, or random: {times: 3}", at="key")
            return None
        if len(given) > 1:
            self._complain(
                (*path, given[1]), f"has {' and '.join(given)}, but one decides", f"keep one of {', '.join(given)}", at="key"
            )
            return None
        if entry.at is not None:
            return {"at": tuple(entry.at)}
        if entry.when is not None:
            condition = self._condition((*path, "when"), entry.when)
            return None if condition is None else {"when": condition}
        return {"chance": self._chance((*path, "random"), entry)}

    def _chance(self, path: Path, entry: FaultEntry) -> Chance | None:
        assert entry.random is not None
        within = entry.random.within
        if within is not None and within[0] >= within[1]:
            self._complain((*path, "within"), "ends before it begins", "write for example [2s, 18s]")
            within = None
        return Chance(entry.random.times, None if within is None else (within[0], within[1]))

    def _lasts(self, path: Path, kind: FaultKind, entry: FaultEntry) -> bool:
        """Whether its duration makes sense with its kind and moments."""
        if entry.for_ is None and "for_" in entry.model_fields_set:
            self._complain(
                (*path, "for"), "is empty", "give a time; 0s or none: it does not happen; without for: to the end", at="key"
            )
            return False
        if entry.for_ is not None:
            return True
        several = (entry.at is not None and len(entry.at) > 1) or (entry.random is not None and entry.random.times > 1)
        if kind == "reboot":
            self._complain(path, "a reboot needs a time that it takes", "add for: 20s; a host that stays away is a crash", at="key")
        elif several and kind != "kill":
            self._complain(path, "cannot happen again while it is never over", "add for: 3s", at="key")
        else:
            return True
        return False

    def _fits(self, path: Path, kind: FaultKind, entry: FaultEntry) -> bool:
        """Whether no key is of another kind."""
        allowed = _SETTINGS.get(kind, ())
        wrong = [key for key in _ALL if getattr(entry, key) is not None and key not in allowed]
        for key in wrong:
            owners = [other for other, keys in _SETTINGS.items() if key in keys]
            self._complain((*path, key), f"has no meaning for {kind}", f"it belongs to {' and '.join(owners)}", at="key")
        if entry.one_way and (kind not in LINK_KINDS):
            self._complain((*path, "one-way"), f"has no meaning for {kind}", "it belongs to links", at="key")
            return False
        return not wrong

    def _settings(self, path: Path, kind: FaultKind, entry: FaultEntry) -> dict[str, Any] | None:
        keys, default = _SETTINGS.get(kind, ()), _DEFAULTS.get(kind, {})
        found = {
            key: value for key in keys if (value := getattr(entry, key)) is not None or (value := default.get(key)) is not None
        }
        if kind == "degrade" and not found:
            self._complain(path, "does not say how the link is degraded", "add delay:, jitter:, rate: or loss:", at="key")
            return None
        missing = [key for key in keys if key not in found] if kind != "degrade" else []
        for key in missing:
            self._complain(path, f"the key {key!r} is missing", f"add {key}: ({_described(key)})", at="key")
        if found.get("change") == "swap" and found.get("amount", 0) > 1:
            self._complain((*path, "amount"), "no more than all labels can be swapped", "give a share, such as 0.5")
            return None
        return None if missing else found


def _targets(kind: FaultKind, value: list[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if kind == "partition":
        return tuple(value[0]), tuple(value[1])
    return ((value[0],), (value[1],)) if kind in LINK_KINDS else (tuple(value), ())


def _described(key: str) -> str:
    return str(FaultEntry.model_fields[key].description).partition(": ")[2].rstrip(".")
