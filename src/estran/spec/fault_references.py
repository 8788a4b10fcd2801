"""Cross checks of faults: hosts, links, services and outputs that they befall, and that no two befall the same at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, pairwise

from estran.spec.faults import DATA_KINDS, DOWN, LINK_KINDS, SERVICE_KINDS, Fault
from estran.spec.marks import Complaints, Path
from estran.spec.model import Layer, LinkRule, Measure, Port, Service, Stream
from estran.spec.references import References
from estran.spec.selectors import match_any
from estran.spec.suggest import did_you_mean


class FaultReferences:
    """Checks what faults say of other parts of a description; its arguments are those that could be built.

    That there is no such link, output or replica is said only where everything that could provide it is right: it comes last.
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        network: Iterable[LinkRule],
        services: Mapping[str, Service],
        streams: Iterable[Stream],
        references: References,
        complaints: Complaints,
    ) -> None:
        self._layers = layers
        self._network = tuple(network)
        self._services = services
        self._streams = tuple(streams)
        self._references = references
        self._complaints = complaints
        self._complain = complaints.add

    def _place(self, path: Path, index: int) -> Path:
        """Where an item stands that may be alone, without a list around it."""
        return (*path, index) if (*path, index) in self._complaints.marks.values else path

    def check(self, faults: Mapping[str, Fault], measure: Measure) -> None:
        """Complain of everything that a fault names and that is not there."""
        for fault in faults.values():
            path: Path = ("faults", fault.name)
            if fault.when is not None:
                self._references.until(fault.when, (*path, "when"))
            if fault.kind in SERVICE_KINDS or (fault.kind in DATA_KINDS and fault.kind != "corrupt"):
                self._of_services(path, fault)
            elif fault.kind == "corrupt":
                self._of_outputs(path, fault)
            else:
                self._of_hosts(path, fault)
            self._room(path, fault, measure)
        for one, other in combinations((fault for fault in faults.values() if fault.happens), 2):
            if (moment := _meet(one, other)) is not None and self._share(one, other):
                what = f"befalls at {moment:g}s what {one.name!r} ({one.kind}) has not given back"
                self._complain(("faults", other.name, "at"), what, "choose another moment, or make one of them shorter")

    def _of_hosts(self, path: Path, fault: Fault) -> None:
        sides = (fault.on, fault.beyond) if fault.kind in LINK_KINDS else (fault.on,)
        known = True
        for side, selectors in enumerate(sides):
            for index, text in enumerate(selectors):
                whole: Path = (*path, fault.kind)
                place = self._place(self._place(whole, side), index) if len(sides) > 1 else self._place(whole, index)
                known = bool(self._references.selector(place, text)) and known
        if fault.kind not in LINK_KINDS or not known:
            return
        near, far = (set(match_any(side, self._layers)) for side in sides)
        ends = f"{', '.join(fault.on)} and {', '.join(fault.beyond)}"
        if fault.kind == "partition" and near & far:
            self._complain((*path, fault.kind), f"{min(near & far)} is on both sides", "name hosts on one side each")
        elif fault.kind != "partition" and self._links_known() and not any(a & near and b & far for a, b in self._linked()):
            remedy = "name two layers that a network rule or a stream connects"
            self._complain((*path, fault.kind), f"there is no link between {ends}", remedy)

    def _links_known(self) -> bool:
        """Whether nothing is wrong with what makes links: rules, and streams between services on known hosts."""
        named = self._references.declared("services")
        sections = any(self._complaints.about(section) for section in ("layers", "links", "network", "streams"))
        return not sections and named == set(self._services) and all(self._replicas_known(name) for name in named)

    def _replicas_known(self, service: str) -> bool:
        """Whether it is certain on which hosts a service runs, and how often."""
        layers = self._references.declared("layers") == set(self._layers)
        return layers and not any(self._complaints.about("services", service, key) for key in ("on", "replicas"))

    def _linked(self) -> Iterator[tuple[set[str], set[str]]]:
        """Groups of hosts with links from the first to the second."""
        for rule in self._network:
            ends = set(match_any([rule.source], self._layers)), set(match_any([rule.target], self._layers))
            yield ends
            if rule.symmetric:
                yield ends[::-1]
        for stream in self._streams:
            for target in stream.targets:
                if stream.source.service in self._services and target.service in self._services:
                    ends = self._hosts(stream.source.service), self._hosts(target.service)
                    yield ends
                    yield ends[::-1]

    def _hosts(self, service: str) -> set[str]:
        return set(match_any(self._services[service].on, self._layers))

    def _of_services(self, path: Path, fault: Fault) -> None:
        for index, name in enumerate(fault.on):
            place, service = self._place((*path, fault.kind), index), self._service(name)
            if service is None:
                if not self._may_be(name):
                    remedy = did_you_mean(name, self._references.declared("services"), kind="service")
                    self._complain(place, f"there is no service {name!r}", remedy)
            elif fault.kind in DATA_KINDS:
                facts = self._references.facts(service)
                if service.component is None:
                    self._complain(place, f"{name!r} is a command, whose data are its own", "name a source")
                elif facts is not None and fault.kind not in facts.faults:
                    what = f"{name!r} ({service.component}) knows no {fault.kind}"
                    self._complain(place, what, "name a service whose component is source")

    def _service(self, name: str) -> Service | None:
        """A service by its name or that of one of its replicas."""
        if name in self._services:
            return self._services[name]
        stem, _, number = name.rpartition("-")
        service = self._services.get(stem)
        if service is None or not number.isdigit() or number != str(int(number)):
            return None
        count = len(match_any(service.on, self._layers)) if service.replicas is None else service.replicas
        return service if int(number) < count else None

    def _may_be(self, name: str) -> bool:
        """Whether a name is that of a service that could not be built, or of a replica of one whose replicas are not known."""
        declared, (stem, _, number) = self._references.declared("services"), name.rpartition("-")
        if name in declared:
            return True
        return stem in declared and number.isdigit() and not (stem in self._services and self._replicas_known(stem))

    def _of_outputs(self, path: Path, fault: Fault) -> None:
        sent = {str(stream.source) for stream in self._streams}
        for index, text in enumerate(fault.on):
            place = self._place((*path, fault.kind), index)
            if text not in sent:
                service, _, port = text.partition(".")
                if not port:
                    self._complain(place, f"{text!r} is no output", did_you_mean(f"{text}.", sent, kind="output"))
                elif self._complaints.about("streams"):
                    self._references.port(place, Port(service, port), "output")
                elif self._references.port(place, Port(service, port), "output") or service in self._services:
                    self._complain(place, f"no stream carries {text!r}", did_you_mean(text, sent, kind="output"))

    def _room(self, path: Path, fault: Fault, measure: Measure) -> None:
        """Whether all random moments find room without overlapping, and given ones do not overlap each other."""
        if fault.chance is not None:
            low, high = fault.chance.within or (0.0, measure.duration)
            high, lasting = min(high, measure.duration), fault.duration or 0.0
            if fault.chance.times * lasting > high - low:
                what = f"{fault.chance.times} × {lasting:g}s find no room between {low:g}s and {high:g}s"
                self._complain((*path, "random"), what, "make it shorter, or widen within:")
        moments = sorted(fault.at)
        for before, after in pairwise(moments):
            if after < before + (fault.duration or 0.0) or after == before:
                self._complain((*path, "at"), f"happens again at {after:g}s, before it is over", "space the moments out")
                return

    def _share(self, one: Fault, other: Fault) -> bool:
        """Whether two faults want the same thing for themselves (`estran.spec.faults.Injection.targets`)."""
        if one.kind in LINK_KINDS and other.kind in LINK_KINDS:
            (a, b), (c, d) = (self._sides(fault) for fault in (one, other))
            straight, crossed = bool(a & c and b & d), bool(a & d and b & c)
            return straight or (crossed and not (one.one_way and other.one_way))
        if one.kind in DOWN and other.kind in DOWN:
            return bool(set(self._down(one)) & set(self._down(other)))
        if one.kind != other.kind:
            return False
        if one.kind in DATA_KINDS and one.kind != "corrupt":
            return bool(set(self._names(one)) & set(self._names(other)))
        if one.kind == "corrupt":
            return bool(set(one.on) & set(other.on))
        return bool(set(match_any(one.on, self._layers)) & set(match_any(other.on, self._layers)))

    def _sides(self, fault: Fault) -> tuple[set[str], set[str]]:
        return set(match_any(fault.on, self._layers)), set(match_any(fault.beyond, self._layers))

    def _down(self, fault: Fault) -> list[str]:
        """Hosts and replicas that it takes down."""
        if fault.kind in SERVICE_KINDS:
            return self._names(fault)
        hosts = match_any(fault.on, self._layers)
        placed = ((name, match_any(service.on, self._layers), service) for name, service in self._services.items())
        return [
            *hosts,
            *(
                f"{name}-{index}"
                for name, on, service in placed if on
                for index in range(len(on) if service.replicas is None else service.replicas)
                if on[index % len(on)] in hosts
            ),
        ]  # fmt: skip

    def _names(self, fault: Fault) -> list[str]:
        """Replicas of the services that it names."""
        found: list[str] = []
        for name in fault.on:
            service = self._services.get(name)
            if service is None:
                found.append(name)
            else:
                count = len(match_any(service.on, self._layers)) if service.replicas is None else service.replicas
                found += [f"{name}-{index}" for index in range(count)]
        return found


def _meet(one: Fault, other: Fault) -> float | None:
    """The first moment that both are on, of those that are given."""
    lasting, other_lasting = _lasting(one), _lasting(other)
    meetings = [max(a, b) for a in one.at for b in other.at if a == b or (a < b + other_lasting and b < a + lasting)]
    return min(meetings, default=None)


def _lasting(fault: Fault) -> float:
    """Seconds; a kill without a duration is over at once."""
    if fault.duration is None:
        return 0.0 if fault.kind == "kill" else float("inf")
    return fault.duration
