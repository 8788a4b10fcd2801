"""What the flow engine has measured, by service and stream, as series over the slots of the window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from estran.platforms.simulated.flow import tables as t
from estran.platforms.simulated.flow.bins import edges
from estran.platforms.simulated.flow.engine import Engine
from estran.platforms.simulated.flow.program import Hop, Program

Floats: TypeAlias = NDArray[np.float64]


class Figures:
    """Sums of all parts, cut to the slots that have been simulated to their end.

    Attributes
    ----------
    window
        Begin and end of what was measured, simulated seconds.
    slots
        How many slots that are.
    """

    def __init__(self, program: Program, engine: Engine) -> None:
        measure = program.experiment.measure
        self.program = program
        self._engine = engine
        self._parts = dict(zip((node.name for node in program.nodes), engine.parts, strict=True))
        whole = t.SLOTS * (engine.now - measure.warmup) / measure.duration
        self.slots = max(0, min(t.SLOTS, int(whole + 1e-9)))
        self.window = (measure.warmup, measure.warmup + measure.duration * self.slots / t.SLOTS)

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.window[1] - self.window[0]

    @property
    def slot(self) -> float:
        """Length of a slot."""
        return self.seconds / max(1, self.slots)

    def station(self, service: str, column: int) -> Floats:
        """One column of a service's sums, by slot."""
        return np.asarray(np.sum([part.sums.table[0, : self.slots, column] for part in self._parts[service]], axis=0))

    def hop(self, hop: Hop, column: int) -> Floats:
        """One column of a hop's sums, by slot."""
        return np.asarray(self._hops[hop.number, : self.slots, column])

    @cached_property
    def _hops(self) -> Floats:
        return np.asarray(np.sum([part.sums.table[1:] for parts in self._engine.parts for part in parts], axis=0))

    def counts(self, service: str) -> NDArray[np.int64]:
        """A service's counts over the whole run."""
        return np.asarray(np.sum([part.sums.counts[0] for part in self._parts[service]], axis=0))

    @cached_property
    def hop_counts(self) -> NDArray[np.int64]:
        """Counts over the whole run, by hop."""
        return np.asarray(np.sum([part.sums.counts[1:] for parts in self._engine.parts for part in parts], axis=0))

    def latency(self, services: Iterable[str]) -> NDArray[np.int64]:
        """Histograms of the time from creation to the end of processing, by slot."""
        return np.asarray(np.sum([part.sums.shapes[: self.slots] for name in services for part in self._parts[name]], axis=0))

    def shape(self, service: str, row: int) -> NDArray[np.int64]:
        """A service's histogram: `QUEUEING_SHAPE` and so on."""
        return np.asarray(np.sum([part.sums.shapes[row] for part in self._parts[service]], axis=0))

    def transfer(self, hop: Hop) -> NDArray[np.int64]:
        """A hop's histogram of transfer times."""
        row = t.TRANSFER_SHAPES + hop.number
        return np.asarray(np.sum([part.sums.shapes[row] for parts in self._engine.parts for part in parts], axis=0))

    def busy(self, service: str) -> Floats:
        """Seconds of work within the window, by replica."""
        node = next(node for node in self.program.nodes if node.name == service)
        assert node.station is not None
        return np.asarray(node.station.replicas["busy"])

    def waiting(self, *, latest: bool) -> int:
        """Messages of streams of one delivery class that were on their way or waiting when the run ended."""
        first = np.array([hop.first for hop in self.program.hops])
        kinds = np.array([hop.latest for hop in self.program.hops])
        found = 0
        for parts in self._engine.parts:
            for part in parts:
                channels = part.queue.inbox["channel"][: part.queue.n]
                found += int((kinds[np.searchsorted(first, channels, side="right") - 1] == latest).sum()) if len(channels) else 0
        return found

    def under_way(self) -> Iterator[tuple[Hop, float]]:
        """By hop: messages of a channel under way or at work at once, at the most, by Little's law and the longest time seen."""
        for hop in self.program.hops:
            shapes = [self.transfer(hop), self.shape(hop.consumer, t.QUEUEING_SHAPE), self.shape(hop.consumer, t.COMPUTE_SHAPE)]
            longest = sum(float(edges()[1:][shape > 0].max(initial=0.0)) for shape in shapes)
            sent = float(self.hop_counts[hop.number][t.HOP_SENT]) / len(self.program.link_of(hop))
            yield hop, sent / max(self._engine.now, 1e-9) * longest

    @cached_property
    def stations(self) -> list[str]:
        """Services that take messages in."""
        return [name for name, role in self.program.roles.items() if role.kind != "source"]

    @cached_property
    def ends(self) -> list[str]:
        """Services where the way of data ends: those that answer or, where none does, those that send nothing on."""
        senders = {str(hop.stream.source): hop for hop in self.program.hops}
        roles = self.program.roles
        answering = [
            name for name in self.stations
            if roles[name].kind == "predictor" or (roles[name].kind == "trainer" and f"{name}.predictions" in senders)
        ]  # fmt: skip
        passing = {hop.producer for hop in self.program.hops if not hop.publishes}
        return answering or [name for name in self.stations if name not in passing]

    @cached_property
    def answers(self) -> bool:
        """Whether anything answers."""
        return any(self.program.roles[name].kind in ("predictor", "trainer") and name in self.ends for name in self.stations)

    @cached_property
    def reach(self) -> dict[str, float]:
        """Ends that one message at a service leads to, by service."""
        reach = dict.fromkeys(self.program.roles, 0.0) | dict.fromkeys(self.ends, 1.0)
        for _ in range(len(reach)):
            for name in reach:
                if name not in self.ends:
                    out = [hop for hop in self.program.hops if hop.producer == name and not hop.publishes]
                    reach[name] = sum(reach[hop.consumer] * (hop.fan if hop.routing == "all" else 1) for hop in out)
        return reach


def by_layer(figures: Figures, service: str, values: Any) -> dict[str, float]:
    """Sum of values by replica over the layers that a service is on."""
    ground = figures.program.ground
    layers = ground.layer_of(figures.program.hosts[service])
    sums = np.bincount(layers, values, len(ground.names))
    return {ground.names[layer]: float(sums[layer]) for layer in np.unique(layers).tolist()}
