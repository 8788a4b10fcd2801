"""The seam to what provides real hosts: an inventory, a scheduler, a testbed, or several of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import BeforeValidator, Field

from estran.errors import PlatformError
from estran.platforms.base import Problem
from estran.platforms.remote.host import RemoteHost
from estran.spec.schema import Entry, Name, Text, listed

Texts = Annotated[list[Text], BeforeValidator(listed)]


class Supplied(Entry):
    """What a platform file says of what hosts need, whatever its kind."""

    environment: Literal["shipped", "installed"] = Field(
        "shipped", description="shipped: packages come from here; installed: hosts have all that Estran needs."
    )
    packages: Texts = Field(default_factory=list, description="Python packages that components need beside Estran's own.")


class Open(Entry):
    """What a platform file says of how hosts of different layers get at each other."""

    gateway: Name | None = Field(None, description="Layer that all others can dial: its first host passes streams on.")
    behind: list[Name] = Field(default_factory=list, description="Layers whose hosts nobody can dial (NAT); they dial the gateway.")


@dataclass(frozen=True, slots=True)
class Needs:
    """What is brought to hosts.

    Attributes
    ----------
    packages
        Distributions that components need beside Estran and what it depends on.
    shipped
        Whether packages are brought; otherwise the Python that the host's envoy runs in must have them.
    """

    packages: tuple[str, ...] = ()
    shipped: bool = True

    @classmethod
    def of(cls, entry: Supplied) -> Needs:
        """As a file says."""
        return cls(tuple(entry.packages), entry.environment == "shipped")


@dataclass(frozen=True, slots=True)
class Place:
    """One of the plan's hosts: its envoy, the address by which the others reach it, and what it needs."""

    remote: RemoteHost
    address: str
    needs: Needs = Needs()
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """Hosts that a source provides.

    Attributes
    ----------
    facts
        For the run's record.
    broken
        Waits until what was reserved is taken away, and says how and what to do; None where nothing can be.
    """

    places: Mapping[str, Place]
    facts: Mapping[str, Any] = field(default_factory=dict)
    broken: Callable[[], Awaitable[PlatformError]] | None = None


@dataclass(frozen=True, slots=True)
class Occasion:
    """For which run hosts are provided.

    Attributes
    ----------
    layers
        Names of the hosts that are wanted, by layer.
    folder
        The run's.
    note, tell
        See `estran.platforms.base.Reserving.confide`.
    kept
        What is reserved is to be kept, and this told of it; None if it is to be given back.
    """

    run_id: str
    layers: Mapping[str, Sequence[str]]
    folder: Path
    note: Callable[[str, str], None]
    tell: Callable[[str], None]
    kept: Callable[[str], None] | None = None


class Source(Protocol):
    """Provides real hosts for layers of an experiment.

    Attributes
    ----------
    name
        Its kind.
    access
        Which layers cannot be dialled, and which all others can dial.
    reserves
        Whether its hosts are reserved, and can be kept from one run to the next.
    """

    name: str
    access: Open
    reserves: bool

    def check(self, layers: Mapping[str, Sequence[str]]) -> list[Problem]:
        """What it cannot provide, as far as that is known without asking anybody."""
        ...

    def cost(self, layers: Mapping[str, Sequence[str]]) -> list[str]:
        """What hosts may cost, in words."""
        ...

    def hosts(self, occasion: Occasion) -> AbstractAsyncContextManager[Found]:
        """Provide hosts, each with an envoy; they are given back on exit whatever happens.

        Raises
        ------
        PlatformError
            On entering, if they cannot be provided.
        """
        ...
