"""What was asked of links and processors and what was measured, like links brought together; warnings and fallbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from estran.report.folder import Host, RunFolder
from estran.report.numbers import spread

MOST_FACTS = 60
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
    """Every link with its probe's result; before the probes, what was asked only."""
    probed = [entry for entry in run.network.get("links") or [] if isinstance(entry, dict)]
    if probed:
        return [_link(entry, entry.get("asked"), entry.get("measured"), entry.get("ok")) for entry in probed]
    return [_link(entry, {name: entry.get(name) for name in UNITS}, {}, None) for entry in run.links]


def group(found: Iterable[Link], hosts: Mapping[str, Host]) -> list[LinkGroup]:
    """Bring together the links between two layers of which the same was asked, in the order of the plan."""
    groups: dict[tuple[Any, ...], list[Link]] = {}
    for link in found:
        layers = (_layer(link.source, hosts), _layer(link.target, hosts))
        asked = tuple(sorted((name, value) for name, value in link.asked.items() if value is not None))
        groups.setdefault((*layers, asked), []).append(link)
    return [
        LinkGroup(names([link.source for link in like], hosts), names([link.target for link in like], hosts), tuple(like))
        for like in groups.values()
    ]


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
    """Every weaker means in use, as the platform reported it, and the warnings of the run and of its plan."""
    reported = _texts((run.network.get("facts") or {}).get("fallbacks"))
    return list(dict.fromkeys(reported + _texts(run.run.get("warnings")) + list(run.plan_warnings)))


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """Engines, limiters and their limits as name and text; nested ones as ``delay · engine``, counters of single links left out."""
    pairs = flatten(run.network.get("facts") or {})
    return [(name, text) for name, text in pairs if not {"fallbacks", "pairs"} & set(name.split(" · "))][:MOST_FACTS]


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
    return ", ".join(unique) if len(unique) <= 2 else f"{unique[0]} … {unique[-1]}"


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
