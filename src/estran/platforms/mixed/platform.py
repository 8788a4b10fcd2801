"""The platform of experiments whose layers are on different platforms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from estran.errors import PlatformError, SpecError
from estran.platforms.base import Problem
from estran.platforms.emulated.platform import EmulatedPlatform
from estran.platforms.files import platform_of
from estran.platforms.mixed.beside import Beside, beside
from estran.platforms.mixed.file import read_mixed
from estran.platforms.mixed.parts import part, with_stand_in
from estran.platforms.mixed.provision import MixedProvision
from estran.platforms.mixed.through import adds_up, passing
from estran.platforms.remote.breaking import breaks, hidden
from estran.platforms.remote.platform import RealTime, RemotePlatform, layers_of
from estran.platforms.remote.provision import authority_of, provision
from estran.platforms.remote.source import Found, Occasion, Source
from estran.platforms.remote.together import first_of, together
from estran.spec.document import Document
from estran.spec.faults import FaultKind
from estran.spec.plan import Plan
from estran.spec.platform_file import wrong_at


class MixedPlatform(RealTime):
    """Layers of real hosts from one source or several, and emulated ones beside them.

    Parameters
    ----------
    document
        A platform file of kind ``mixed``.
    """

    name = "mixed"

    def __init__(self, document: Document) -> None:
        super().__init__()
        self._document = document
        self._file, files = read_mixed(document)
        sources = {path: _source(path) for path in dict.fromkeys(files.values())}
        self._sources: Mapping[str, Source] = {layer: sources[path] for layer, path in files.items()}

    @property
    def reserves(self) -> bool:
        """Whether some part does."""
        return any(source.reserves for source in self._sources.values())

    async def check(self, plan: Plan) -> list[Problem]:
        """What its parts cannot do, as far as that is known without reaching any host."""
        if missing := [layer for layer in plan.experiment.layers if layer not in self._file.layers]:
            raise wrong_at(self._document, ("layers",), f"nothing is said of {', '.join(missing)}", "add a platform for each layer")
        found = [problem for source, layers in self._parts(plan) for problem in source.check(layers)]
        real = self._real(plan)
        emulated = [name for name in plan.hosts if name not in real]
        if emulated and real:
            gateway = self._gateway(plan)
            found += await EmulatedPlatform(stand_ins=[gateway]).check(with_stand_in(plan, emulated, gateway)[0])
            found += _apart(plan, emulated, gateway)
        elif emulated:
            found += await EmulatedPlatform().check(plan)
        found += hidden(plan, real, self._file.behind)
        return [*found, *_unbreakable(plan, real, self._gateway(plan) if emulated and real else None)]

    def breaks(self, kind: FaultKind) -> str | None:
        """Any kind, on some hosts; `check` looks at which."""
        return None

    def cost(self, plan: Plan) -> list[str]:
        """What the run may cost, in words."""
        return [line for source, layers in self._parts(plan) for line in source.cost(layers)]

    @asynccontextmanager
    async def provide(self, plan: Plan, folder: Path, run_id: str) -> AsyncIterator[MixedProvision]:
        """Have all parts provided, real hosts side by side."""
        real = self._real(plan)
        emulated = [name for name in plan.hosts if name not in real]
        authority = authority_of(plan, run_id)
        async with AsyncExitStack() as stack:
            found = await self._found(plan, folder, run_id, stack)
            side: Beside | None = None
            if emulated:
                side = await stack.enter_async_context(
                    beside(plan, emulated, self._gateway(plan), found, folder, run_id, authority)
                )
            names = {} if side is None else {side.gateway: [side.inner_address]}
            provided = await stack.enter_async_context(provision(part(plan, real), found, self._file, folder, authority, names))
            yield MixedProvision(provided, side, plan)

    async def _found(self, plan: Plan, folder: Path, run_id: str, stack: AsyncExitStack) -> Found:
        """All real hosts; what is reserved is waited for side by side."""

        async def enter(source: Source, layers: Mapping[str, Sequence[str]]) -> Found:
            occasion = Occasion(run_id, layers, folder, self._note, self._tell, self._kept)
            return await stack.enter_async_context(source.hosts(occasion))

        parts = await together({number: enter(*one) for number, one in enumerate(self._parts(plan))})
        places = {name: place for one in parts.values() for name, place in one.places.items()}
        facts = {key: value for one in parts.values() for key, value in one.facts.items()}
        waits = [one.broken for one in parts.values() if one.broken is not None]

        async def broken() -> PlatformError:
            return await first_of(wait() for wait in waits)

        return Found(places, facts, broken if waits else None)

    def _parts(self, plan: Plan) -> list[tuple[Source, Mapping[str, Sequence[str]]]]:
        """Each source once, with the layers that it provides hosts for."""
        layers = layers_of(plan)
        sources = {id(source): source for source in self._sources.values()}
        return [
            (source, {layer: layers[layer] for layer, own in self._sources.items() if own is source and layer in layers})
            for source in sources.values()
        ]

    def _real(self, plan: Plan) -> list[str]:
        return [name for name, host in plan.hosts.items() if host.layer in self._sources]

    def _gateway(self, plan: Plan) -> str:
        return next(name for name, host in plan.hosts.items() if host.layer == self._file.gateway)


def _source(path: Path) -> Source:
    platform = platform_of(path, but=MixedPlatform.name)
    if not isinstance(platform, RemotePlatform):
        raise SpecError("hosts of such a platform cannot be mixed", where=str(path), remedy="name a platform of real hosts")
    return platform.source


def _unbreakable(plan: Plan, real: Sequence[str], gateway: str | None) -> list[Problem]:
    """Faults that would befall real machines, or links that are two: one within the emulated network, and one behind it."""
    found = {}
    for one in plan.injections:
        machines = [host for host in one.hosts if host in real]
        if machines and (why := breaks(one.kind)) is not None:
            found[one.fault] = Problem(
                f"no {one.kind} of {machines[0]}: {why}", f"faults.{one.fault}", "let it befall emulated hosts"
            )
        for a, b in one.links:
            if gateway not in (None, a, b) and (a in real) != (b in real):
                what = f"{a} and {b} have no link of their own: all between them goes by {gateway}"
                found[one.fault] = Problem(what, f"faults.{one.fault}", f"break the link to {gateway}")
    return list(found.values())


def _apart(plan: Plan, emulated: Sequence[str], gateway: str) -> list[Problem]:
    """Links from the emulated network through the gateway to other real hosts, where both parts do not come to what is asked."""
    odd = [one for one in passing(plan.links, emulated, gateway) if not adds_up(one, gateway, plan.links)]
    layers = dict.fromkeys(frozenset((plan.hosts[one.source].layer, plan.hosts[one.target].layer)) for one in odd)
    middle = plan.hosts[gateway].layer
    return [
        Problem(
            f"what passes between {near} and {far} goes by {gateway}: it gets what both parts of that way do together",
            f"link {near} ↔ {far}", f"ask of {near} ↔ {middle} and {middle} ↔ {far} what comes to as much", fatal=False,
        )
        for near, far in (sorted(pair, key=list(plan.experiment.layers).index) for pair in layers)
    ]  # fmt: skip
