"""What was asked of links and processors and what was measured, like links brought together; warnings and fallbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from estran.report.folder import Host, RunFolder
from estran.report.wording import spread

MOST_FACTS = 60
_APART = {"fallbacks", "notes", "pairs", "pid", "alive", "engine_ladder", "limiter_ladder"}
UNITS = {"delay": "s", "jitter": "s", "rate": "bit/s", "loss": "fraction"}


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of one link; quantities in seconds, bits per second and fractions. ``ok`` is None where it was not probed."""

    source: str
    target: str
    asked: Mapping[str, float | None]
    measured: Mapping[str, float | None]
    ok: bool | None
    complaint: str


@dataclass(frozen=True, slots=True)
class LinkGroup:
    """Links between the same two layers of which the same was asked."""

    source: str
    target: str
    links: tuple[Link, ...]

    @property
    def ok(self) -> bool | None:
        """False if any failed, None if none was probed."""
        verdicts = [link.ok for link in self.links]
        return False if False in verdicts else (True if True in verdicts else None)

    @property
    def failed(self) -> list[Link]:
        """Links outside tolerance."""
        return [link for link in self.links if link.ok is False]

    @property
    def probed(self) -> int:
        """How many of them were probed."""
        return sum(link.ok is not None for link in self.links)

    def asked(self, quantity: str) -> str:
        """What was asked, in words."""
        return spread(_values(link.asked for link in self.links)[quantity], UNITS[quantity])

    def measured(self, quantity: str) -> str:
        """What was measured: the median, and the range if it is wide."""
        return spread(_values(link.measured for link in self.links)[quantity], UNITS[quantity])


@dataclass(frozen=True, slots=True)
class Cpu:
    """A device's CPU share in cores of the emulating machine."""

    host: str
    asked: float
    measured: float
    ok: bool
    complaint: str


def links(run: RunFolder) -> list[Link]:
    """Every planned link with its probe's result, where it was probed: of links that are alike a platform may probe one."""
    entries = [entry for entry in run.network.get("links") or [] if isinstance(entry, dict)]
    probed = {(entry.get("source"), entry.get("target")): entry for entry in entries}
    found = []
    for planned in run.links:
        asked = {name: planned.get(name) for name in UNITS}
        entry = probed.pop((planned.get("source"), planned.get("target")), None)
        found.append(_link(entry or planned, asked, entry.get("measured") if entry else {}, entry.get("ok") if entry else None))
    return found + [_link(entry, entry.get("asked"), entry.get("measured"), entry.get("ok")) for entry in probed.values()]


def group(found: Iterable[Link], hosts: Mapping[str, Host]) -> list[LinkGroup]:
    """Bring together the links between two layers of which the same was asked, in the order of the plan."""
    groups: dict[tuple[Any, ...], list[Link]] = {}
    for link in found:
        layers = (_layer(link.source, hosts), _layer(link.target, hosts))
        asked = tuple(sorted((name, value) for name, value in link.asked.items() if value))
        groups.setdefault((*layers, asked), []).append(link)
    return [
        LinkGroup(names([link.source for link in like], hosts), names([link.target for link in like], hosts), tuple(like))
        for like in groups.values()
    ]


def worth_telling(groups: Iterable[LinkGroup]) -> list[str]:
    """Quantities that were asked of some link, or that some link has unasked."""
    every = [link for like in groups for link in like.links]
    return [name for name in UNITS if any(link.asked.get(name) for link in every) or _unasked(every, name)]


def _unasked(found: list[Link], name: str) -> bool:
    return name in ("delay", "loss") and any((link.measured.get(name) or 0.0) > 0.0 for link in found)


def cpus(run: RunFolder) -> list[Cpu]:
    """CPU shares asked and measured."""
    return [
        Cpu(
            str(entry.get("host")),
            float(entry["asked"]),
            float(entry["measured"]),
            bool(entry.get("ok")),
            str(entry.get("complaint") or ""),
        )
        for entry in run.network.get("cpus") or []
        if isinstance(entry, dict) and entry.get("asked") is not None and entry.get("measured") is not None
    ]


def fallbacks(run: RunFolder) -> list[str]:
    """Every weaker means in use, what the platform noted, and the warnings of the run and of its plan."""
    known = run.network.get("facts") or {}
    lists = (known.get("fallbacks"), known.get("notes"), run.run.get("warnings"), list(run.plan_warnings))
    return list(dict.fromkeys(_stand_ins(known) + [words for texts in lists for words in _texts(texts)]))


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """Engines, limiters and their limits as name and text; nested ones as ``delay · engine``, counters of single links left out."""
    pairs = flatten(run.network.get("facts") or {})
    return [(name, text) for name, text in pairs if not _APART & set(name.split(" · "))][:MOST_FACTS]


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to emulate links or to limit processors: whether it works on this machine, and whether it was used."""

    what: str
    name: str
    works: bool
    used: bool
    why: str


def ladders(run: RunFolder) -> list[Rung]:
    """Every way that the platform tried, strongest first."""
    known = run.network.get("facts") or {}
    return [
        Rung(what, str(name), bool(trial.get("works")), name == _chosen(known, what), str(trial.get("why") or ""))
        for what in ("engine", "limiter")
        for name, trial in (known.get(f"{what}_ladder") or {}).items()
    ]


def _chosen(known: Mapping[str, Any], what: str) -> Any:
    chosen = known.get(what)
    return chosen.get("engine") if isinstance(chosen, Mapping) else chosen


def _stand_ins(known: Mapping[str, Any]) -> list[str]:
    """Where the chosen engine or limiter is not the strongest of its ladder: which one it stands in for, and why."""
    said = []
    for what in ("engine", "limiter"):
        ladder, chosen = known.get(f"{what}_ladder"), _chosen(known, what)
        if not isinstance(ladder, Mapping) or chosen not in ladder:
            continue
        for stronger in list(ladder)[: list(ladder).index(chosen)]:
            why = str(ladder[stronger].get("why", "it does not work here")).partition(";")[0]
            said.append(f"{what} {chosen} stands in for {stronger}: {why}")
    return said


def flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested plain data as pairs of a dotted name and a text."""
    if isinstance(value, Mapping):
        return [pair for key, entry in value.items() for pair in flatten(entry, f"{name} · {key}" if name else str(key))]
    if isinstance(value, list | tuple):
        if all(not isinstance(entry, dict | list | tuple) for entry in value):
            return [(name, ", ".join(map(str, value)))] if value else []
        return [pair for i, entry in enumerate(value) for pair in flatten(entry, f"{name} {i + 1}")]
    if isinstance(value, bool):
        return [(name, "yes" if value else "no")]
    return [] if value is None else [(name, str(value))]


def names(found: list[str], hosts: Mapping[str, Host]) -> str:
    """One name, two joined by a comma, or the first and last of many in the order of the plan."""
    order = {name: i for i, name in enumerate(hosts)}
    unique = sorted(dict.fromkeys(found), key=lambda name: order.get(name, len(order)))
    return ", ".join(unique) if len(unique) <= 2 else f"{unique[0]}…{unique[-1]}"


def _layer(host: str, hosts: Mapping[str, Host]) -> str:
    return hosts[host].layer if host in hosts else host


def _link(entry: Mapping[str, Any], asked: Any, measured: Any, ok: bool | None) -> Link:
    complaint = str(entry.get("complaint") or "")
    return Link(str(entry.get("source")), str(entry.get("target")), asked or {}, measured or {}, ok, complaint)


def _values(sides: Iterable[Mapping[str, float | None]]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in UNITS}
    for side in sides:
        for name in UNITS:
            value = side.get(name)
            if value is not None:
                values[name].append(value)
    return values


def _texts(value: Any) -> list[str]:
    """Warnings as text, whether they came as strings or as objects that say what and what to do."""
    entries = value if isinstance(value, list) else ([] if value is None else [value])
    texts = []
    for entry in entries:
        if isinstance(entry, Mapping):
            texts.append(": ".join(str(entry[key]) for key in ("where", "what", "remedy") if entry.get(key)) or str(dict(entry)))
        else:
            texts.append(str(entry))
    return texts
