"""Devices and links by name: the catalogue, and what a file adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from estran.spec.catalogue.loader import device_entries, link_entries
from estran.spec.marks import Complaints
from estran.spec.model import Device, Figure
from estran.spec.schema import BothWays, DeviceEntry, LinkEntry, LinkFigures
from estran.spec.suggest import did_you_mean
from estran.units import show

E = TypeVar("E", DeviceEntry, LinkEntry)

_LINK_KEYS = ("delay", "jitter", "rate", "loss")
_DEVICE_KEYS = ("cores", "speed", "memory", "idle_power", "busy_power")
_OWN = {"text": "given in the experiment file"}


class Kinds:
    """Finds devices and links by name, the file's own before the catalogue's."""

    def __init__(self, own_devices: Mapping[str, DeviceEntry], own_links: Mapping[str, LinkEntry], complaints: Complaints) -> None:
        self._complaints = complaints
        self._own_devices = own_devices
        self._own_links = own_links
        self._devices: dict[str, Device | None] = {}

    def device_names(self) -> list[str]:
        """All devices that a layer may name."""
        return list(dict.fromkeys([*self._own_devices, *device_entries()]))

    def link_names(self) -> list[str]:
        """All links that a rule may name."""
        return list(dict.fromkeys([*self._own_links, *link_entries()]))

    def check_own(self) -> None:
        """Complain of the file's own entries, used or not."""
        for name in self._own_devices:
            self.device(name)
        for name in self._own_links:
            self.link_figures(name)

    def device(self, name: str) -> Device | None:
        """Return a device by name, or None after complaining of the file's own entry, or if there is none such."""
        if name not in self._devices:
            entry = _inherited("devices", name, self._own_devices, device_entries(), DeviceEntry, self._complaints)
            self._devices[name] = None if entry is None else self._built(name, entry)
        return self._devices[name]

    def _built(self, name: str, entry: Mapping[str, Any]) -> Device | None:
        missing = [key for key in _DEVICE_KEYS if entry.get(key) is None]
        if missing:
            remedy = "add them, or like: with a device of the catalogue"
            self._complaints.add(("devices", name), f"{', '.join(missing)} missing", remedy, at="key")
            return None
        if entry["idle_power"] > entry["busy_power"]:
            what = f"idle power {show(entry['idle_power'], 'power')} is above busy power {show(entry['busy_power'], 'power')}"
            self._complaints.add(("devices", name), what, "swap them, or check their units", at="key")
            return None
        sources = {key: Figure(source["text"], source.get("url")) for key, source in entry["sources"].items()}
        return Device(name=name, **{key: entry[key] for key in _DEVICE_KEYS}, sources=sources)

    def link_figures(self, name: str) -> Mapping[str, Any] | None:
        """Return what a link's name stands for: figures by key, in SI units; rates may be ``BothWays``."""
        entry = _inherited("links", name, self._own_links, link_entries(), LinkEntry, self._complaints)
        return None if entry is None else {key: entry[key] for key in _LINK_KEYS if key in entry}


def given(entry: LinkFigures) -> dict[str, Any]:
    """Figures that a block gives itself (a rate of null counts as given: unlimited)."""
    return {
        key: getattr(entry, key)
        for key in _LINK_KEYS
        if key in entry.model_fields_set and (key == "rate" or getattr(entry, key) is not None)
    }


def rates(figures: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Rate from the first end to the second, and back."""
    rate = figures.get("rate")
    return (rate.up, rate.down) if isinstance(rate, BothWays) else (rate, rate)


def _inherited(
    section: str,
    name: str,
    own: Mapping[str, E],
    catalogue: Mapping[str, Mapping[str, Any]],
    model: type[E],
    complaints: Complaints,
) -> dict[str, Any] | None:
    """Figures of an entry over those of the entries that it is ``like``, nearest first."""
    figures: dict[str, Any] = {"sources": {}}
    seen: list[str] = []
    while True:
        mine = own.get(name) if name not in seen else None
        entry = mine or (model.model_validate(catalogue[name]) if name in catalogue else None)
        if entry is None:
            what = f"is like itself: {' → '.join((*seen, name))}" if name in seen else f"{name!r} is no known {section[:-1]}"
            if seen:
                remedy = "break the cycle" if name in seen else did_you_mean(name, [*own, *catalogue], kind=section[:-1])
                complaints.add((section, seen[-1], "like"), what, remedy)
            return None
        keys = _LINK_KEYS if section == "links" else _DEVICE_KEYS
        for key in keys:
            if key not in figures and (getattr(entry, key) is not None or (key == "rate" and key in entry.model_fields_set)):
                figures[key] = getattr(entry, key)
                source = entry.sources.get(key)
                figures["sources"][key] = source.model_dump() if source is not None else _OWN
        seen.append(name)
        if mine is None or entry.like is None:
            return figures
        name = entry.like
