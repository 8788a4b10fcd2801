"""Who is registered under which name, and what every machine of a play is told of itself and of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from estran.spec.e2clab.grouping import distribute
from estran.spec.e2clab.model import Machine, Play, Scenario, Service
from estran.spec.e2clab.patterns import Inventory, inventory, select
from estran.spec.e2clab.scenario import groups_of


@dataclass(frozen=True, slots=True)
class Registered:
    """One machine in one role.

    Attributes
    ----------
    key
        What selectors find it by: ``layer.service.service_id[.sub].machine_id``.
    own
        Its ``_self``.
    """

    key: str
    host: str
    groups: tuple[str, ...]
    own: Mapping[str, Any]


@dataclass(slots=True)
class Directory:
    """All that is registered, in order."""

    entries: dict[str, Registered] = field(default_factory=dict)

    def add(self, entries: Iterable[Registered]) -> None:
        """Register machines; one under a key that there is already takes its place."""
        self.entries.update({entry.key: entry for entry in entries})

    def inventory(self) -> Inventory:
        """What selectors choose from."""
        return inventory((entry.key, entry.groups) for entry in self.entries.values())

    def select(self, pattern: str) -> list[Registered]:
        """Whom a selector finds, each host once and in its first role.

        Raises
        ------
        PatternError
            If it finds nobody.
        """
        found: dict[str, Registered] = {}
        for key in select(pattern, self.inventory()):
            entry = self.entries[key]
            found.setdefault(entry.host, entry)
        return list(found.values())

    def variables(self, play: Play) -> dict[str, dict[str, Any]]:
        """What each host of a play is told: ``_self``, and the prefixes of what the play depends on.

        Returns
        -------
        dict
            Variables by host, in order.

        Raises
        ------
        PatternError
            If a selector finds nobody.
        RequestError
            If a dependency cannot be told.
        """
        told: dict[str, dict[str, Any]] = {entry.host: {"_self": dict(entry.own)} for entry in self.select(play.selector)}
        for dependency in play.depends_on:
            services = [dict(entry.own) for entry in self.select(dependency.selector)]
            told = distribute(dependency, told, services)
        return told


def registered(
    service: Service,
    machines: Iterable[Machine],
    address: Callable[[str], str],
    *,
    port: str | int | None = None,
    sub_service: str | None = None,
    extra: Iterable[Mapping[str, Any] | None] = (),
) -> list[Registered]:
    """Register machines of a service, as a whole or as a part of it.

    Parameters
    ----------
    address
        Address of a host by its name.
    extra
        What each is to tell beside; shorter lists leave the last ones without.
    """
    further = [*extra]
    found = []
    for number, machine in enumerate(machines, 1):
        middle = f".{sub_service.lower()}" if sub_service else ""
        where = address(machine.host)
        url = where if port is None else f"[{where}]:{port}" if ":" in where else f"{where}:{port}"
        own: dict[str, Any] = {
            "_id": f"{machine.layer_id}_{machine.service_id}_{number}",
            "layer_id": str(machine.layer_id),
            "service_id": str(machine.service_id),
            "machine_id": str(number),
            "__address__": where,
            "url": url,
            "__address4__": where,
            "url4": url,
        }
        own |= dict(further[number - 1] or {}) if number <= len(further) else {}
        found.append(Registered(f"{service.key}{middle}.{number}", machine.host, tuple(groups_of(service)), own))
    return found


def default_directory(scenario: Scenario, address: Callable[[str], str]) -> Directory:
    """Register every service as a whole, as those without a plug-in are."""
    directory = Directory()
    for service in scenario.services:
        directory.add(registered(service, service.machines, address))
    return directory
