"""Builds declared costs and models of commands, for the simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from estran.spec.costs import FIXED, Amount, Call, CommandModel, Cost, Serving, Spread
from estran.spec.marks import Complaints, Path
from estran.spec.model import Service
from estran.spec.schema import CallEntry, CostEntry, ModelEntry
from estran.spec.suggest import did_you_mean

_POISSON: Final = Spread("exponential")


class CostBuilder:
    """Turns the blocks ``costs:`` and ``model:`` into data; what is wrong goes to the complaints."""

    def __init__(self, complaints: Complaints) -> None:
        self._complain = complaints.add

    def cost(self, path: Path, entry: CostEntry) -> Cost:
        """One operation's cost."""
        return Cost(entry.time, entry.each, self._spread(path, entry))

    def _spread(self, path: Path, entry: CostEntry) -> Spread:
        needed = {"lognormal": ("cv", entry.cv), "pareto": ("shape", entry.shape)}
        for kind, (key, value) in needed.items():
            if value is not None and entry.distribution != kind:
                self._complain((*path, key), f"{key} belongs to the {kind} distribution", f"add distribution: {kind}", at="key")
        if entry.distribution in ("fixed", "exponential"):
            return Spread(entry.distribution)
        key, value = needed[entry.distribution]
        if value is None:
            self._complain(path, f"a {entry.distribution} distribution needs {key}:", f"add {key}: 2", at="key")
            return FIXED
        if entry.distribution == "pareto" and value <= 1:
            what = f"a Pareto distribution of shape {value:g} has no finite mean: service times would be unbounded"
            self._complain((*path, "shape"), what, "give a shape above 1")
        return Spread(entry.distribution, value)

    def model(self, path: Path, entry: ModelEntry) -> CommandModel:
        """What a command is declared to do."""
        if entry.serves is None and not entry.calls:
            self._complain(path, "says neither what the command serves nor what it calls", "add serves: or calls:", at="key")
        calls = tuple(self._call((*path, "calls", index), call) for index, call in enumerate(entry.calls))
        if entry.serves is None:
            return CommandModel(None, calls, entry.idle)
        within: Path = (*path, "serves")
        inner = tuple(self._inner((*within, "calls", index), call) for index, call in enumerate(entry.serves.calls))
        cost = self.cost((*within, "cost"), entry.serves.cost)
        return CommandModel(Serving(cost, Amount(entry.serves.answer), inner), calls, entry.idle)

    def _call(self, path: Path, entry: CallEntry) -> Call:
        """A call of the command's own accord: it needs a rate."""
        given = [key for key in ("rate", "every") if getattr(entry, key) is not None]
        if len(given) != 1:
            what = "has no rate" if not given else "has both rate: and every:"
            self._complain(path, what, "write rate: 10/s, or every: 100ms", at="key")
        if entry.count is not None:
            self._complain((*path, "count"), "count belongs to calls within serves", "give a rate: instead", at="key")
        pause = 1 / entry.rate if entry.rate else entry.every or 0.0
        spread = _POISSON if entry.arrivals == "poisson" else FIXED
        cost = self.cost((*path, "cost"), entry.cost)
        return Call(entry.to, Amount(entry.size), Cost(pause, spread=spread), entry.waits, cost=cost)

    def _inner(self, path: Path, entry: CallEntry) -> Call:
        """A call made while serving: as many as are served."""
        for key in ("rate", "every"):
            if getattr(entry, key) is not None:
                self._complain((*path, key), f"{key} has no meaning within serves", "write count: calls per request", at="key")
        if entry.cost != CostEntry():
            self._complain((*path, "cost"), "the cost of calls within serves is part of its own cost", "add it there", at="key")
        return Call(entry.to, Amount(entry.size), Cost(), entry.waits, 1.0 if entry.count is None else entry.count)


def check_calls(services: Mapping[str, Service], complaints: Complaints) -> None:
    """Complain of calls to services that do not answer, and of calls that lead back to where they come from."""
    serving = {name for name, service in services.items() if service.model is not None and service.model.serves is not None}
    for name, service in services.items():
        model = service.model
        if model is None:
            continue
        base: Path = ("services", name, "model")
        own = [((*base, "calls", index), call) for index, call in enumerate(model.calls)]
        inner = [] if model.serves is None else list(enumerate(model.serves.calls))
        for path, call in [*own, *(((*base, "serves", "calls", index), call) for index, call in inner)]:
            if call.to not in services:
                complaints.add((*path, "to"), f"there is no service {call.to!r}", did_you_mean(call.to, services, kind="service"))
            elif call.to not in serving and services[call.to].command is not None and services[call.to].model is not None:
                complaints.add((*path, "to"), f"{call.to!r} serves nothing", f"add serves: to the model of {call.to}")
            elif services[call.to].command is None:
                complaints.add((*path, "to"), f"{call.to!r} is a component", "commands call commands; components have streams")
        cycle = _cycle(name, services)
        if cycle is not None:
            what = f"each request would cause another without end: {' → '.join(cycle)}"
            complaints.add((*base, "serves", "calls"), what, "take one call out of the cycle", at="key")


def _cycle(name: str, services: Mapping[str, Service]) -> list[str] | None:
    """The way of calls made while serving that leads from a service back to itself, or None."""

    def on(at: str) -> Iterable[str]:
        service = services.get(at)
        model = service.model if service is not None else None
        return () if model is None or model.serves is None else dict.fromkeys(call.to for call in model.serves.calls)

    ways = [[name]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for following in on(way[-1]):
            if following == name:
                return [*way, name]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return None
