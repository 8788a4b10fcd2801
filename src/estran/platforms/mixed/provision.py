"""Real and emulated hosts of one run, as the conductor sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from estran.errors import PlatformError
from estran.platforms.base import Access, Host, Verification
from estran.platforms.emulated.platform import EmulatedProvision
from estran.platforms.mixed.beside import NETWORK, Beside
from estran.platforms.mixed.through import passing, put_together
from estran.platforms.remote.host import RemoteHost
from estran.platforms.remote.provision import RemoteProvision
from estran.platforms.remote.together import first_of
from estran.runtime.clock import Clock
from estran.spec.faults import Injection
from estran.spec.plan import Plan


class MixedProvision:
    """Hosts, addresses and facts of both parts.

    Parameters
    ----------
    side
        The emulated part, if there is one.
    plan
        Of the whole run.
    """

    def __init__(self, real: RemoteProvision, side: Beside | None, plan: Plan) -> None:
        self._real = real
        self._side = side
        self._links = plan.links
        self._at = {replica.name: replica.host for replica in plan.replicas.values()}
        self.hosts: Mapping[str, Host] = {**real.hosts, **({} if side is None else side.hosts)}

    @property
    def remotes(self) -> Mapping[str, RemoteHost]:
        """Real hosts by their envoys."""
        return self._real.remotes

    def address(self, source: str, target: str) -> str:
        """From within the emulated network the gateway has an address of its own."""
        if self._side is None or (source not in self._side.hosts and target not in self._side.hosts):
            return self._real.address(source, target)
        if source not in self._side.hosts or target in self._side.hosts or target == self._side.gateway:
            return self._side.provision.address(source if source in self._side.hosts else target, target)
        return self._real.address(source, target)  # which it cannot dial, and needs only to name

    def access(self) -> Access:
        """Nobody outside can dial emulated hosts."""
        real = self._real.access()
        if self._side is None:
            return real
        inside = dict.fromkeys(self._side.hosts, NETWORK)
        return replace(
            real,
            behind={*real.behind, *inside},
            router=self._side.gateway,
            security={**real.security, **self._side.security},
            networks=inside,
        )

    async def verify(self) -> Verification:
        """Both parts are probed one after the other: each would disturb the other's figures. What passes both is their sum."""
        real = await self._real.verify()
        if self._side is None:
            return real
        emulated = await self._side.provision.verify()
        streams = {"encrypted": bool(self.access().security), "router": self._side.gateway, "behind": sorted(self.access().behind)}
        facts = {**emulated.facts, **real.facts, "streams": streams}
        measured = (*emulated.links, *real.links)
        far = put_together(passing(self._links, self._side.hosts, self._side.gateway), self._side.gateway, measured)
        return Verification((*measured, *far), (*emulated.cpus, *real.cpus), facts)

    async def enforce(self) -> None:
        """Hold emulated services to their devices' speed from now on."""
        if self._side is not None:
            await self._side.provision.enforce()

    def sampler(self, host: str) -> tuple[str, Mapping[str, Any]]:
        """As the part does that the host is of."""
        return self._part(host).sampler(host)

    def observer(self, host: str) -> tuple[str, Mapping[str, Any]] | None:
        """As the part does that the host is of."""
        return self._part(host).observer(host)

    async def inject(self, injection: Injection) -> None:
        """Each part begins what befalls it; see `estran.platforms.base.Breakable`."""
        for provision, own in self._shares(injection):
            await provision.inject(own)

    async def heal(self, injection: Injection) -> None:
        """Each part ends it."""
        for provision, own in self._shares(injection):
            await provision.heal(own)

    def _shares(self, injection: Injection) -> list[tuple[RemoteProvision | EmulatedProvision, Injection]]:
        """What of an injection is of each part; links to the gateway from within are emulated."""
        inside = set() if self._side is None else {*self._side.hosts}

        def share(emulated: bool) -> Injection:
            return replace(
                injection,
                links=tuple(pair for pair in injection.links if bool(inside & set(pair)) == emulated),
                hosts=tuple(host for host in injection.hosts if (host in inside) == emulated),
                replicas=tuple(name for name in injection.replicas if (self._at[name] in inside) == emulated),
            )

        shares: list[tuple[RemoteProvision | EmulatedProvision, Injection]] = [(self._real, share(False))]
        if self._side is not None:
            shares.append((self._side.provision, share(True)))
        return [(provision, own) for provision, own in shares if own.links or own.hosts or own.replicas]

    def _part(self, host: str) -> RemoteProvision | EmulatedProvision:
        return self._side.provision if self._side is not None and host in self._side.hosts else self._real

    def now_ns(self) -> int:
        """Read the controller's monotonic clock."""
        return self._real.now_ns()

    def clock(self, origin_ns: int) -> Clock:
        """The run's clock, as the controller reads it."""
        return self._real.clock(origin_ns)

    async def conclude(self) -> Mapping[str, Any]:
        """That of real hosts; emulated ones have the controller's clock."""
        return await self._real.conclude()

    def notes(self) -> list[str]:
        """Those of both parts."""
        return [*self._real.notes(), *([] if self._side is None else self._side.provision.notes())]

    async def broken(self) -> PlatformError:
        """Wait until a part breaks, and say how."""
        parts = [self._real.broken(), *([] if self._side is None else [self._side.provision.broken()])]
        return await first_of(parts)
