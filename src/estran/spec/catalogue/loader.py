"""Reads ``devices.toml`` and ``links.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from estran.spec.model import Device, Figure
from estran.units import parse

Entries = Mapping[str, Mapping[str, Any]]


@cache
def _table(file: str) -> Entries:
    import tomllib
    from importlib.resources import files

    text = files("estran.spec.catalogue").joinpath(file).read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


def device_entries() -> Entries:
    """Devices by name, each as a ``devices:`` block would have it, with quantities as text."""
    return _table("devices.toml")


def link_entries() -> Entries:
    """Links by name, each as a ``links:`` block would have it, with quantities as text."""
    return _table("links.toml")


@cache
def devices() -> Mapping[str, Device]:
    """Devices of the catalogue by name."""
    return MappingProxyType({name: _device(name, entry) for name, entry in device_entries().items()})


@cache
def links() -> tuple[str, ...]:
    """Names of the links of the catalogue."""
    return tuple(link_entries())


def _device(name: str, entry: Mapping[str, Any]) -> Device:
    return Device(
        name=name,
        cores=entry["cores"],
        speed=float(entry["speed"]),
        memory=parse(entry["memory"], "size"),
        idle_power=parse(entry["idle_power"], "power"),
        busy_power=parse(entry["busy_power"], "power"),
        sources=figures(entry.get("sources", {})),
    )


def figures(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """Sources as the model has them."""
    return {key: Figure(entry["text"], entry.get("url")) for key, entry in entries.items()}
