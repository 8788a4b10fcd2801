"""The seam to what makes links slow and lossy: `Engine`, one per way of doing it on some kernel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from estran.spec.model import LinkSpec

if TYPE_CHECKING:
    from estran.platforms.emulated.network.fabric import Fabric

Links = Mapping[tuple[str, str], LinkSpec]
"""What each direction of each link does to packets, by (source host, target host)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What an engine found when it tried itself.

    Attributes
    ----------
    works
        Whether the engine can be used on this machine, as this user.
    why
        One sentence: what was seen, or, where it does not work, the cause in the kernel's own words.
    limits
        What the engine cannot do as asked, by topic (``loss``, ``jitter``, ``rate``, …).
    """

    works: bool
    why: str
    limits: Mapping[str, str] = field(default_factory=dict)


class Running(Protocol):
    """An engine at work on one fabric."""

    @property
    def pid(self) -> int | None:
        """The relay's process, or None if the kernel does the work."""
        ...

    def alive(self) -> bool:
        """Whether packets are still shaped."""
        ...

    def update(self, links: Links) -> None:
        """Change what some links do from now on; links that are not named stay as they are.

        Raises
        ------
        PlatformError
            If a link is not one that the engine was started with, or the kernel refuses the change.
        """
        ...

    def cut(self, pairs: Collection[tuple[str, str]]) -> None:
        """Let nothing pass in some directions between hosts, linked or not, until they are mended: packets are lost.

        Where streams are relayed, not packets, their bytes wait instead.
        """
        ...

    def mend(self, pairs: Collection[tuple[str, str]]) -> None:
        """Let directions that were cut do what they are to do again."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What goes into the run's record: engine, limits, counters; plain data."""
        ...


class Engine(Protocol):
    """One way to enforce delay, jitter, loss and rate on a fabric's links."""

    name: str

    def trial(self) -> Trial:
        """Try the engine for real in a throw-away namespace; leaves nothing behind and raises nothing."""
        ...

    def start(self, fabric: Fabric) -> AbstractContextManager[Running]:
        """Shape ``fabric.links`` until the context is left. The fabric is up.

        Raises
        ------
        PlatformError
            On entering, if the kernel refuses.
        """
        ...
