"""Hosts, replicas, channels and links as arrays: `estran.spec.resolve.plan` for very many hosts, with the same outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from estran.errors import RequestError
from estran.spec.model import Device, Layer, LinkRule, LinkSpec, Routing, Service
from estran.spec.selectors import match

Numbers = NDArray[np.int64]

MOST_CHANNELS: Final = 20_000_000


class Ground:
    """The hosts of an experiment, numbered through in the order of its layers."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self._layers = layers
        self.names = list(layers)
        sizes = [layer.hosts for layer in layers.values()]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.total = int(self.first[-1])

    def layer_of(self, hosts: Numbers) -> Numbers:
        """Number of each host's layer."""
        return np.searchsorted(self.first, hosts, side="right") - 1

    def device_of(self, layer: int) -> Device:
        """Device of a layer, by its number."""
        return self._layers[self.names[layer]].device

    def select(self, selectors: Iterable[str]) -> Numbers:
        """Hosts that any of the selectors matches, each once, in the order of the selectors."""
        found = np.concatenate([self._one(selector) for selector in selectors])
        _, places = np.unique(found, return_index=True)
        return found[np.sort(places)]

    def mask(self, selector: str) -> NDArray[np.bool_]:
        """Whether each host matches a selector."""
        chosen = np.zeros(self.total, dtype=np.bool_)
        chosen[self._one(selector)] = True
        return chosen

    def _one(self, selector: str) -> Numbers:
        if selector in self._layers:
            layer = self.names.index(selector)
            return np.arange(self.first[layer], self.first[layer + 1])
        places = (name.rpartition("-") for name in match(selector, self._layers))
        return np.array([self.first[self.names.index(layer)] + int(index) for layer, _, index in places], dtype=np.int64)


def place(service: Service, ground: Ground) -> Numbers:
    """Host of each replica: spread over the matching hosts in turn."""
    hosts = ground.select(service.on)
    count = len(hosts) if service.replicas is None else service.replicas
    return hosts[np.arange(count) % len(hosts)]


def channels(stream: str, routing: Routing, producers: Numbers, consumers: Numbers) -> tuple[Numbers, int]:
    """Consumer replica of each channel, and how many channels each producer replica has.

    Parameters
    ----------
    producers, consumers
        Host of each replica.

    Raises
    ------
    RequestError
        If there are more than can be kept.
    """
    if routing != "paired":
        if len(producers) * len(consumers) > MOST_CHANNELS:
            what = f"routing {routing} makes {len(producers)} × {len(consumers)} channels"
            raise RequestError(what, where=stream, remedy="use routing: paired, or fewer replicas")
        return np.tile(np.arange(len(consumers)), len(producers)), len(consumers)
    by_host = np.argsort(consumers, kind="stable")
    low = np.searchsorted(consumers[by_host], producers, side="left")
    near = np.searchsorted(consumers[by_host], producers, side="right") - low
    index = np.arange(len(producers))
    own = by_host[np.minimum(low + index % np.maximum(near, 1), len(consumers) - 1)]
    return np.where(near > 0, own, index % len(consumers)), 1


@dataclass(slots=True)
class Links:
    """Directed links that channels use.

    Attributes
    ----------
    of_channel
        Link of each channel over all hops; -1 within one host.
    rule
        Number of the network rule in force, by link; -1 for none.
    source, target
        Host at each end, by link.
    """

    of_channel: NDArray[np.int32]
    rule: Numbers
    source: Numbers
    target: Numbers

    def __len__(self) -> int:
        return len(self.source)


def links(ends: list[tuple[Numbers, Numbers]], network: tuple[LinkRule, ...], ground: Ground) -> Links:
    """Find the links below all channels.

    Parameters
    ----------
    ends
        By hop: hosts of producer and consumer, by channel.
    """
    source = np.concatenate([a for a, _ in ends]) if ends else np.empty(0, np.int64)
    target = np.concatenate([b for _, b in ends]) if ends else np.empty(0, np.int64)
    apart = source != target
    pairs, inverse = np.unique(source[apart] * ground.total + target[apart], return_inverse=True)
    of_channel = np.full(len(source), -1, np.int32)
    of_channel[apart] = inverse
    a, b = pairs // ground.total, pairs % ground.total
    rule = np.full(len(pairs), -1, np.int64)
    for number, one in enumerate(network):
        left, right = ground.mask(one.source), ground.mask(one.target)
        covered = left[a] & right[b]
        if one.symmetric:
            covered |= right[a] & left[b]
        rule[covered] = number
    return Links(of_channel, rule, a, b)


def figures(network: tuple[LinkRule, ...]) -> NDArray[np.float64]:
    """Delay, jitter, seconds per bit and loss of each rule's links; last, of links without a rule."""
    specs = [*(rule.link for rule in network), LinkSpec()]
    return np.array([(link.delay, link.jitter, 1 / link.rate if link.rate else 0.0, link.loss) for link in specs])
