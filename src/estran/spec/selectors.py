"""Selectors: a layer, a host, or a glob over both, and the hosts that they match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from estran.spec.model import Layer


def host_names(layer: Layer) -> list[str]:
    """Hosts of a layer: ``edge-0`` … ``edge-3``."""
    return [f"{layer.name}-{index}" for index in range(layer.hosts)]


def match(selector: str, layers: Mapping[str, Layer]) -> list[str]:
    """Hosts that a selector matches, in the order of the file.

    A selector is a layer's name, a host's name, or a glob (``*``, ``?``, ``[0-3]``) over either.
    """
    if selector in layers:
        return host_names(layers[selector])
    matched: list[str] = []
    for layer in layers.values():
        whole = fnmatchcase(layer.name, selector)
        matched += [name for name in host_names(layer) if whole or fnmatchcase(name, selector)]
    return matched


def match_any(selectors: Iterable[str], layers: Mapping[str, Layer]) -> list[str]:
    """Hosts that any of the selectors matches, each once, in the order of the selectors."""
    return list(dict.fromkeys(host for selector in selectors for host in match(selector, layers)))


def known_selectors(layers: Mapping[str, Layer]) -> list[str]:
    """Names to suggest in place of a selector that matches nothing: layers, then their hosts."""
    return [*layers, *(name for layer in layers.values() for name in host_names(layer)[:50])]
