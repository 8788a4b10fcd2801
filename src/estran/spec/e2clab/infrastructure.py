"""Reading `layers_services.yaml`: testbeds, layers, services with their machines, managers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from estran.spec.e2clab.blocks import block, entries, known_keys, mistyped, where
from estran.spec.e2clab.model import MANAGERS, TESTBEDS, Machine, Manager, Note, Service, Testbed
from estran.spec.e2clab.page import Page, refuse
from estran.spec.e2clab.schema import Common, LayerEntry, ServiceEntry, TestbedEntry
from estran.spec.marks import Path
from estran.spec.suggest import did_you_mean

_TOP: Final = ("environment", "layers", *MANAGERS)
_COMMON: Final = ("job_name", "walltime", "cluster")
_TYPES: Final = ("dstat", "tig", "tpg")


@dataclass(slots=True)
class Infrastructure:
    """What the file says; parts of it that are wrong are left out."""

    job_name: str | None = None
    testbeds: dict[str, Testbed] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    managers: list[Manager] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def read_infrastructure(page: Page) -> Infrastructure:
    """Read the file; what is wrong goes to the page's complaints."""
    if not isinstance(page.data, Mapping):
        refuse(page, "the file must be a map of environment: and layers:", "begin with layers: and a list of them")
        return Infrastructure()
    found = Infrastructure()
    old = isinstance(page.data.get("environment"), str)
    known_keys(page, page.data, (*_TOP, *_COMMON, *TESTBEDS) if old else _TOP)
    if "layers" not in page.data:
        page.complaints.add((), "the key 'layers' is missing", "add layers: and a list of them")
    _testbeds(page, found)
    _layers(page, found)
    for name in MANAGERS:
        if page.data.get(name) is not None:
            found.managers.append(_manager(page, name))
    return found


def _testbeds(page: Page, found: Infrastructure) -> None:
    """Settings of testbeds: within ``environment:``, or at the top beside ``environment: g5k``, as the first releases had it."""
    environment = page.data.get("environment")
    if environment is None:
        if "environment" in page.data:
            page.complaints.add(("environment",), "is empty", "name a testbed, or remove it", at="key")
        return
    if isinstance(environment, str):
        _known_testbed(page, environment, ("environment",))
        base: Path = ()
        blocks = {name: value for name, value in page.data.items() if name in TESTBEDS} or {environment: {}}
    elif isinstance(environment, Mapping):
        base = ("environment",)
        known = (*_COMMON, *TESTBEDS)
        mistyped(page, environment, known, base)
        for key in environment:
            if key not in known:
                found.notes.append(
                    Note(where(page, (*base, key), key=True), f"the setting {key!r} is for no testbed, and is not read")
                )
        blocks = {name: value for name, value in environment.items() if name in TESTBEDS}
    else:
        page.complaints.add(("environment",), "must be a map", f"its keys are {', '.join((*_COMMON, *TESTBEDS))}")
        return
    shared = {key: value for key, value in (page.data if base == () else environment).items() if key in _COMMON}
    common = block(page, shared, Common, base)
    given = {} if common is None else common.model_dump(exclude_none=True)
    found.job_name = given.get("job_name")
    for name, value in blocks.items():
        entry = block(page, {} if value is None else value, TestbedEntry, (*base, name))
        if entry is not None:
            found.testbeds[name] = Testbed(name, given | entry.model_dump(exclude_unset=True), where(page, (*base, name), key=True))


def _known_testbed(page: Page, name: str, path: Path) -> None:
    if name not in TESTBEDS:
        page.complaints.add(path, f"{name!r} is no testbed", did_you_mean(name, TESTBEDS, kind="testbed"))


def _layers(page: Page, found: Infrastructure) -> None:
    if "layers" in page.data and not page.data["layers"]:
        page.complaints.add(("layers",), "is empty", "add at least one layer with one service", at="key")
    first = next(iter(found.testbeds), None)
    used: dict[str, str] = {}
    for path, value in entries(page, page.data.get("layers"), ("layers",), of="layer"):
        block(page, value, LayerEntry, path)
        name = value.get("name") if isinstance(value, Mapping) else None
        if not isinstance(name, str) or not isinstance(value.get("services"), list):
            continue
        if name.lower() in used:
            page.complaints.add((*path, "name"), f"there is another layer {used[name.lower()]!r}", "name them apart")
            continue
        used[name.lower()] = name
        services = [
            (place, entry)
            for place, raw in entries(page, value["services"], (*path, "services"), of="service")
            if (entry := _service(page, raw, place)) is not None
        ]
        found.layers.append(name)
        found.services += _services(page, name, len(found.layers), services, first)


def _service(page: Page, value: Any, path: Path) -> ServiceEntry | None:
    """One service's entry; if it is wrong but has a name, one with that name, so that selectors find it."""
    entry = block(page, value, ServiceEntry, path)
    if entry is None:
        name = value.get("name") if isinstance(value, Mapping) else None
        return ServiceEntry(name=name) if isinstance(name, str) and name else None
    if entry.environment is not None:
        _known_testbed(page, entry.environment, (*path, "environment"))
    return entry


def _services(
    page: Page, layer: str, layer_id: int, given: list[tuple[Path, ServiceEntry]], testbed: str | None
) -> Iterator[Service]:
    """The services of a layer, with copies at its end as ``repeat`` asks; machines are numbered through the layer."""
    copies = [pair for pair in given for _ in range(pair[1].repeat)]
    host = 0
    for service_id, (path, entry) in enumerate([*given, *copies], 1):
        key = f"{layer}.{entry.name}.{service_id}".lower()
        machines = tuple(
            Machine(f"{key}.{number}", f"{layer_name(layer)}-{host + number - 1}", layer_id, service_id, number)
            for number in range(1, entry.quantity + 1)
        )
        host += entry.quantity
        yield Service(
            name=entry.name,
            layer=layer,
            layer_id=layer_id,
            service_id=service_id,
            testbed=entry.environment or testbed,
            roles=entry.roles,
            env=entry.env,
            metadata=entry.model_dump(exclude_unset=True),
            machines=machines,
            where=where(page, path),
        )


def layer_name(layer: str) -> str:
    """A layer's name as one of ours: letters, digits, ``-`` and ``_``."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", layer)[:48]
    return plain if plain[:1].isalpha() else f"layer-{plain}"[:48]


def _manager(page: Page, name: str) -> Manager:
    settings = page.data[name]
    if name == "monitoring":
        kind = settings.get("type") if isinstance(settings, Mapping) else None
        if kind is None:
            page.complaints.add((name,), "needs a type", f"add type: with one of {', '.join(_TYPES)}", at="key")
        elif kind not in _TYPES:
            page.complaints.add(
                (name, "type"), f"{kind!r} is none of {', '.join(_TYPES)}", did_you_mean(str(kind), _TYPES, kind="type")
            )
    return Manager(name, settings, where(page, (name,), key=True))
