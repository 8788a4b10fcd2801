"""What is known of one host while tasks run: its variables by where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from estran.tasks.connection import Connection
from estran.tasks.scope import Scope
from estran.tasks.templating import Templates

Layer = tuple[Mapping[str, Any], bool]
"""A map of variables, and whether its values are templates."""


@dataclass(slots=True)
class HostState:
    """One host.

    Attributes
    ----------
    given
        Variables that the caller gave: templates.
    facts
        What modules found of the host, by its long names (``ansible_hostname``).
    gathered
        Whether all facts were asked for.
    found
        What tasks registered and set: data.
    included
        What ``include_vars`` read: templates.
    parameters
        Variables of the lists that are being included, innermost last.
    out
        Whether the host takes no further part.
    """

    name: str
    connection: Connection
    given: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    gathered: bool = False
    found: dict[str, Any] = field(default_factory=dict)
    included: dict[str, Any] = field(default_factory=dict)
    parameters: list[Layer] = field(default_factory=list)
    out: bool = False

    def scope(self, templates: Templates, magic: Mapping[str, Any], local: Mapping[str, Any]) -> Scope:
        """Names of a task: ``local`` are its own variables."""
        layers: tuple[Layer, ...] = (
            *reversed(self.parameters), (self.found, False), (self.included, True), (local, True), (self.given, True),
            (self.facts, False), (magic, False),
        )  # fmt: skip
        return Scope(templates, layers, facts=None if self.gathered else self.name)

    def share(self, other: HostState, module: str, result: Mapping[str, Any]) -> None:
        """Have what a task, whose result this is, has set on another host."""
        if module in ("set_fact", "include_vars"):
            kept = "found" if module == "set_fact" else "included"
            names = {name for one in result.get("results", [result]) for name in one.get("ansible_facts", ())}
            theirs = getattr(other, kept)
            getattr(self, kept).update({name: theirs[name] for name in names & theirs.keys()})


class ShortFacts(Mapping[str, Any]):
    """``ansible_facts``: facts by their names without ``ansible_``; asks for them when they are not known."""

    def __init__(self, state: HostState) -> None:
        self._state = state

    def __getitem__(self, name: str) -> Any:
        for key in (f"ansible_{name}", name):
            if key in self._state.facts:
                return self._state.facts[key]
        self._gathered()
        raise KeyError(name)

    def _gathered(self) -> None:
        from estran.tasks.errors import FactsNeeded

        if not self._state.gathered:
            raise FactsNeeded(self._state.name)

    def __iter__(self) -> Iterator[str]:
        self._gathered()
        return (name.removeprefix("ansible_") for name in self._state.facts)

    def __len__(self) -> int:
        self._gathered()
        return len(self._state.facts)


def group_names(host: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Groups of a host, as Ansible names them."""
    return sorted(group for group, members in groups.items() if host in members and group not in ("all", "ungrouped")) or [
        "ungrouped"
    ]


def all_groups(hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Groups with the two that are always there."""
    named = {host for group, members in groups.items() if group != "all" for host in members}
    given = {group: list(members) for group, members in groups.items()}
    return {"all": list(hosts), "ungrouped": [host for host in hosts if host not in named], **given}
