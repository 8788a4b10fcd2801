"""Platform files of kind ``ssh``: which hosts there are, how each is reached, and of which layers it may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from estran.platforms.remote.source import Needs, Open, Supplied, Texts
from estran.platforms.ssh.target import Client, Target
from estran.spec.document import Document
from estran.spec.platform_file import check_block, wrong_at
from estran.spec.schema import Entry, LongEnough, Name, Port, Text

MOST: int = 10_000
_RANGE = re.compile(r"\[(\d+)-(\d+)\]")


class Reaching(Entry):
    """How hosts are reached; what a host does not say itself, it has from the file."""

    user: Text | None = Field(None, description="User to log in as; else what ssh_config says.")
    port: Port | None = Field(None, description="Port of the SSH server.")
    key: Texts | None = Field(None, description="Private keys to offer; else those of the agent and of ssh_config.")
    jump: Text | None = Field(None, description="Host to go through, as user@host:port.")
    known_hosts: Text | None = Field(None, description="File of known host keys, or accept-new.")
    python: Text | None = Field(None, description="Command that starts Python ≥ 3.8 there.")
    client: Client | None = Field(None, description="asyncssh, or openssh: the ssh command with all of the user's settings.")
    timeout: LongEnough | None = Field(None, description="How long connecting may take.")


class HostEntry(Reaching):
    """One host, or several like ``node[1-8].lab``."""

    host: Text = Field(description="Name, address, or alias of ssh_config.")
    name: Name | None = Field(None, description="What it is called in messages.")
    address: Text | None = Field(None, description="By which the other hosts reach it, if not by the one above.")
    labels: Texts = Field(default_factory=list, description="Layers that it may serve, or labels that layers: maps to.")


class InventoryFile(Reaching, Supplied, Open):
    """The whole file."""

    platform: Literal["ssh"] = Field(description="Kind of the file.")
    hosts: list[HostEntry] = Field(min_length=1, description="The hosts that may be used, in order of preference.")
    layers: dict[Name, Texts] = Field(default_factory=dict, description="Labels of the hosts of a layer, if not its own name.")


@dataclass(frozen=True, slots=True)
class Inventory:
    """Hosts that may be used.

    Attributes
    ----------
    layers
        Labels that a layer's hosts may have, where they are not the layer's name.
    needs
        What is brought to the hosts.
    access
        How they get at each other.
    """

    file: str
    targets: tuple[Target, ...]
    layers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    needs: Needs = field(default_factory=Needs)
    access: Open = field(default_factory=lambda: Open(gateway=None))

    def may_serve(self, target: Target, layer: str) -> bool:
        """Whether a host can be one of a layer; one without labels may serve any."""
        return not target.layers or bool(self.layers.get(layer, frozenset({layer})) & set(target.layers))


def read_inventory(document: Document) -> Inventory:
    """Read a platform file of kind ``ssh``.

    Raises
    ------
    SpecErrors
        All that is wrong with it, each at file:line:column.
    """
    entry = check_block(document, InventoryFile)
    targets: dict[str, Target] = {}
    for index, host in enumerate(entry.hosts):
        for target in _targets(document, index, entry, host):
            if target.name in targets:
                raise wrong_at(
                    document, ("hosts", index), f"the host {target.name!r} occurs twice", "give one of them a name: of its own"
                )
            targets[target.name] = target
    known = {label for target in targets.values() for label in target.layers}
    for layer, wanted in entry.layers.items():
        if known and not known & set(wanted):
            raise wrong_at(
                document,
                ("layers", layer),
                f"no host has the label {' or '.join(wanted)}",
                f"labels are {', '.join(sorted(known))}",
            )
    chosen = {layer: frozenset(wanted) for layer, wanted in entry.layers.items()}
    access = Open(gateway=entry.gateway, behind=entry.behind)
    return Inventory(document.marks.file, tuple(targets.values()), chosen, Needs.of(entry), access)


def _targets(document: Document, index: int, file: InventoryFile, entry: HostEntry) -> Iterator[Target]:
    hosts = list(_expanded(document, ("hosts", index, "host"), _bare(entry.host)))
    addresses = (
        [None] * len(hosts)
        if entry.address is None
        else list(_expanded(document, ("hosts", index, "address"), _bare(entry.address)))
    )
    if len(addresses) != len(hosts):
        raise wrong_at(document, ("hosts", index, "address"), f"{len(addresses)} addresses for {len(hosts)} hosts", "give as many")

    def own(key: str, default: object = None) -> object:
        value = getattr(entry, key)
        found = value if value is not None else getattr(file, key)
        return default if found is None else found

    for number, (host, address) in enumerate(zip(hosts, addresses, strict=True)):
        name = host if entry.name is None else entry.name if len(hosts) == 1 else f"{entry.name}-{number}"
        yield Target(
            name, host, address, own("port"), own("user"), tuple(own("key", ())), own("jump"), own("known_hosts"),  # type: ignore[arg-type]
            own("python", "python3"), own("client", "asyncssh"), tuple(entry.labels), own("timeout", 15.0),  # type: ignore[arg-type]
            str(document.marks.where(("hosts", index))),
        )  # fmt: skip


def _bare(text: str) -> str:
    """An address of IPv6 without the brackets that it may stand in."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text


def _expanded(document: Document, place: tuple[str | int, ...], text: str) -> Iterator[str]:
    """``node[1-3]`` is ``node1``, ``node2``, ``node3``; leading zeros are kept."""
    found = _RANGE.search(text)
    if found is None:
        yield text
        return
    first, last = found.groups()
    if int(last) < int(first) or int(last) - int(first) >= MOST:
        raise wrong_at(document, place, f"the range {found[0]} is empty or too long", "write for example node[1-8]")
    for number in range(int(first), int(last) + 1):
        yield from _expanded(document, place, text.replace(found[0], f"{number:0{len(first)}d}", 1))
