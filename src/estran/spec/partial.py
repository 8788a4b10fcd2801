"""References out of blocks that are malformed elsewhere: a bad delay must not hide a bad selector beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from estran.spec.blocks import Blocks
from estran.spec.build import Builder
from estran.spec.marks import Path
from estran.spec.model import Port
from estran.spec.references import References


def check_broken(data: Mapping[str, Any], blocks: Blocks, builder: Builder, checks: References) -> None:
    """Check the names in every block that could not be read as a whole; only text in the right place is looked at."""
    for index, entry in _broken(data.get("network"), blocks.network):
        for key, text in _texts(entry, "between", "from", "to"):
            checks.selector(("network", index, *key), text)
        for key, text in _texts(entry, "link"):
            builder.known_link(("network", index, *key), text)
    for name, entry in _broken(data.get("layers"), blocks.layers):
        for key, text in _texts(entry, "device"):
            builder.known_device(("layers", name, *key), text)
    for name, entry in _broken(data.get("services"), blocks.services):
        for key, text in _texts(entry, "on"):
            checks.selector(("services", name, *key), text)
        for key, text in _texts(entry, "component"):
            checks.component(("services", name, *key), text)
    for index, entry in _broken(data.get("streams"), blocks.streams):
        for side, sought in (("from", "output"), ("to", "input")):
            for key, text in _texts(entry, side):
                service, dot, port = text.partition(".")
                if service and dot and port:
                    checks.port(("streams", index, *key), Port(service, port), sought)


def _broken(section: Any, whole: Mapping[Any, Any]) -> list[tuple[str | int, Mapping[str, Any]]]:
    """Blocks of a section that are maps, but not among those read as a whole."""
    items = section.items() if isinstance(section, dict) else enumerate(section) if isinstance(section, list) else ()
    return [(key, entry) for key, entry in items if key not in whole and isinstance(entry, dict)]


def _texts(entry: Mapping[str, Any], *keys: str) -> list[tuple[Path, str]]:
    """Texts below some keys of a block, directly or in a list."""
    found: list[tuple[Path, str]] = []
    for key in keys:
        value = entry.get(key)
        parts = [((key, index), part) for index, part in enumerate(value)] if isinstance(value, list) else [((key,), value)]
        found += [(path, part) for path, part in parts if isinstance(part, str) and part]
    return found
