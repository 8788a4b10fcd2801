"""Hosts without namespaces: each has an address of 127.0.0.0/8, and each ordered pair of hosts has one of its own."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from estran.errors import PlatformError
from estran.spec.model import LinkSpec

MOST_HOSTS: Final = 254
PROBE_PORT: Final = 47017
"""A port of every host that is always relayed, for measuring links."""

Ports = Mapping[str, Sequence[int]]
"""TCP ports on which something listens, by host."""

_CLAIM_PORT: Final = 47016
_turns: Final = itertools.count()
_BLOCKS: Final = range(16, 255)  # 127.0 and 127.1 have other uses: localhost, Debian's 127.0.1.1, systemd's 127.0.0.53


@dataclass(frozen=True, slots=True)
class LoopbackHost:
    """A host's place: an address, and no namespace."""

    name: str
    index: int
    address: str
    namespace_fd: None = None


class LoopbackFabric:
    """Hosts that are told apart by addresses alone; for machines that allow no namespaces.

    Host ``i`` is ``127.B.i.i`` and reaches host ``j`` at ``127.B.i.j``, where a relay listens on the declared ports; the
    block B is claimed with a listening socket, so that several fabrics may be up on one machine.

    Parameters
    ----------
    hosts
        Names, unique, at most 254.
    links
        What was asked of each direction of each link.
    ports
        TCP ports that services listen on, by host; only these are relayed.

    Raises
    ------
    PlatformError
        If there are too many hosts, names repeat or links lead to unknown hosts.
    """

    core_fd = None

    def __init__(
        self, hosts: Sequence[str], links: Mapping[tuple[str, str], LinkSpec], ports: Ports = MappingProxyType({})
    ) -> None:
        if len(hosts) > MOST_HOSTS or len(set(hosts)) != len(hosts):
            raise PlatformError(f"{len(hosts)} hosts: at most {MOST_HOSTS}, each with its own name", where="loopback fabric")
        strays = [f"{a} → {b}" for a, b in links if a not in hosts or b not in hosts or a == b]
        if strays:
            raise PlatformError(f"no link can be {', '.join(strays)}", where="loopback fabric", remedy="link two known hosts")
        self._names = {name: index for index, name in enumerate(hosts, 1)}
        self._links = dict(links)
        self._ports = ports
        self._claim: socket.socket | None = None
        self._block = 0

    @property
    def links(self) -> Mapping[tuple[str, str], LinkSpec]:
        """What is asked of each direction of each link."""
        return MappingProxyType(self._links)

    def change(self, links: Mapping[tuple[str, str], LinkSpec]) -> None:
        """Note what is asked of some links from now on; for engines, whose `update` calls it first.

        Raises
        ------
        PlatformError
            If the fabric has no such link.
        """
        for source, target in links:
            if (source, target) not in self._links:
                raise PlatformError(f"there is no link from {source!r} to {target!r} to change", where="loopback fabric")
        self._links |= dict(links)

    @property
    def hosts(self) -> Mapping[str, LoopbackHost]:
        """All hosts by name."""
        return {name: LoopbackHost(name, index - 1, self.address(name, name)) for name, index in self._names.items()}

    def address(self, source: str, target: str) -> str:
        """The address by which ``source`` reaches ``target``; a host's own address is that by which it reaches itself."""
        if self._claim is None:
            raise PlatformError("the fabric is not up", where="loopback fabric", remedy="call up() first, or use it as a context")
        try:
            return f"127.{self._block}.{self._names[source]}.{self._names[target]}"
        except KeyError as error:
            raise PlatformError(f"there is no host {error.args[0]!r}", where="loopback fabric") from error

    def ports(self, host: str) -> tuple[int, ...]:
        """The ports of a host that are relayed."""
        return tuple(dict.fromkeys((*self._ports.get(host, ()), PROBE_PORT)))

    def facts(self) -> Mapping[str, Any]:
        """What goes into the run's record."""
        return {"hosts": len(self._names), "block": f"127.{self._block}.0.0/16", "namespaces": False}

    def up(self) -> None:
        """Claim a block of addresses.

        Raises
        ------
        PlatformError
            If none is free.
        """
        first = os.getpid() + next(_turns)  # connections of the fabric before may still keep their ports
        for offset in range(len(_BLOCKS)):
            block = _BLOCKS[(first + offset) % len(_BLOCKS)]
            claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            with suppress(OSError):
                claim.bind((f"127.{block}.255.254", _CLAIM_PORT))
                self._claim, self._block = claim, block
                return
            claim.close()
        raise PlatformError(
            "no block of addresses below 127.0.0.0/8 is free", where="loopback fabric",
            remedy="end other runs; on systems whose loopback interface has 127.0.0.1 only, use namespaces or the simulator",
        )  # fmt: skip

    def down(self) -> None:
        """Give the block back."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.down()
