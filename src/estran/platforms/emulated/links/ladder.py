"""The ladder of engines, best first: which of them works here is found by trying, never by reading version numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

from estran.errors import PlatformError
from estran.platforms.emulated.links.engine import Engine, Links, Trial
from estran.platforms.emulated.network.fabric import Fabric
from estran.platforms.emulated.network.loopback_fabric import LoopbackFabric, Ports
from estran.spec.plug_ins import loaded, plug_ins

GROUP: Final = "estran.link_engines"
RUNGS: Final = ("netem", "nfqueue", "tun", "loopback")


def make_engine(rung: str, seed: int = 0) -> Engine:
    """The engine of one rung; nothing is touched before it is tried or started.

    Raises
    ------
    PlatformError
        If there is no such rung.
    RequestError
        If an installed package's engine cannot be loaded.
    """
    from estran.platforms.emulated.links.relay_loopback import LoopbackEngine
    from estran.platforms.emulated.links.relay_nfqueue import NfqueueEngine
    from estran.platforms.emulated.links.relay_tun import TunEngine
    from estran.platforms.emulated.links.traffic import NetemEngine

    makers: dict[str, Callable[[], Engine]] = {
        "netem": NetemEngine,
        "nfqueue": lambda: NfqueueEngine(seed),
        "tun": lambda: TunEngine(seed),
        "loopback": lambda: LoopbackEngine(seed),
    }
    if rung in makers:
        return makers[rung]()
    if rung not in (found := plug_ins(GROUP)):
        raise PlatformError(f"there is no engine {rung!r}", remedy=f"choose one of {', '.join(engines())}")
    engine: Engine = loaded(found[rung], f"emulate:{rung}")(seed)
    return engine


def engines() -> tuple[str, ...]:
    """Names of the ladder's rungs, and of engines of installed packages, which are used only where they are asked for by name."""
    return (*RUNGS, *sorted(plug_ins(GROUP)))


@dataclass(frozen=True, slots=True)
class Choice:
    """The best engine that works here, and what was found about each one tried, best first."""

    engine: Engine
    trials: Mapping[str, Trial]

    def fabric(self, hosts: Sequence[str], links: Links, ports: Ports = MappingProxyType({})) -> Fabric:
        """The fabric that suits the engine, not yet up.

        On the loopback rung it is a `LoopbackFabric`, which offers of a fabric what makes sense without namespaces; its
        descriptors are None.

        Parameters
        ----------
        ports
            TCP ports that services listen on, by host; the loopback rung relays these only.
        """
        if self.engine.name == "loopback":
            return cast("Fabric", LoopbackFabric(hosts, links, ports))
        return Fabric(hosts, links)


def try_engines(want: str | None = None) -> dict[str, Trial]:
    """Try every rung (or only the wanted one) for real; nothing is left behind."""
    return {rung: make_engine(rung).trial() for rung in ([want] if want else RUNGS)}


def choose(want: str | None = None, *, seed: int = 0, rungs: Sequence[str] = RUNGS) -> Choice:
    """Try the rungs for real and take the first that works.

    Parameters
    ----------
    want
        Only this rung will do.
    seed
        Of the jitter and losses that the engine draws.
    rungs
        Names of engines, best first.

    Raises
    ------
    PlatformError
        If none works; the message has each rung's reason.
    """
    trials = {rung: make_engine(rung).trial() for rung in ([want] if want else rungs)}
    chosen = next((rung for rung, trial in trials.items() if trial.works), None)
    if chosen is None:
        reasons = "; ".join(f"{rung}: {trial.why}" for rung, trial in trials.items())
        remedy = "let another engine be chosen, or do what its reason says" if want else "see `estran doctor`"
        raise PlatformError(f"this machine cannot emulate links ({reasons})", remedy=remedy)
    return Choice(make_engine(chosen, seed), trials)
