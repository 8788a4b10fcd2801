"""What a run recorded of itself as one flat table of facts: group, name, value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal, TypeAlias, get_args

from estran.errors import EstranError
from estran.observe.queries import Run, open_run
from estran.reproduce.layout import kind_of
from estran.spec.document import read_file
from estran.study.folder import Folder
from estran.study.rows import cell

Group = Literal["description", "files", "platform", "environment", "network", "load", "machine", "repository"]
GROUPS: Final = get_args(Group)
Name: TypeAlias = tuple[Group, str]
Facts: TypeAlias = Mapping[Name, Any]

EVERY_PACKAGE: Final[Name] = ("environment", "every package is recorded")
_WORDS: Final = ("title", "description", "claims", "factors", "assignment", "seed")
"""Keys of a description that change nothing, or are told apart from it."""
_PLACES: Final[Mapping[str, Group]] = {
    "kernel": "machine", "kernel_build": "machine", "os": "machine", "libc": "machine", "hardware": "machine", "gpus": "machine",
    "container": "machine", "machine": "machine", "sysctls": "machine", "git": "repository", "estran": "environment",
    "estran_source": "environment", "python": "environment", "containers": "environment",
}  # fmt: skip
"""Keys of a manifest that are facts as they are; of the others, some are named below, and the rest is told by these."""
_CALLED: Final[Mapping[str, str]] = {
    "estran": "Estran",
    "estran_source": "Estran's own code",
    "python": "Python",
    "machine": "name",
}
_FACTS: Final = ("engine", "limiter", "simulated", "fabric.ipv6", "fabric.mtu", "fabric.tcp_congestion_control")
"""Facts of platforms that are told, where there are any."""


def facts(run: Path) -> Facts:
    """All recorded facts of a run.

    Raises
    ------
    RequestError
        If this is no run folder.
    EstranError
        If what is in it is damaged.
    """
    opened = open_run(run)
    try:
        found: dict[Name, Any] = dict(_description(opened))
        for part in (_manifest, _environment, _platform, _network):
            found.update(part(opened))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise EstranError(f"its record is damaged: {error!r}", where=str(run), remedy="restore it as it was written") from error
    return found


def representatives(a: Path, b: Path) -> tuple[Path, Path] | None:
    """Two runs that stand for two folders: of studies, the first finished ones with the same levels and block; None without any.

    Raises
    ------
    RequestError
        If one is neither a run nor a study.
    """
    if kind_of(a) == kind_of(b) == "run":
        return a, b
    sides = [_rows(path) for path in (a, b)]
    shared = next((key for key in sides[0] if key in sides[1]), None)
    return None if shared is None else (sides[0][shared], sides[1][shared])


def _rows(path: Path) -> dict[tuple[Any, ...], Path]:
    folder = Folder.open(path)
    outcomes = folder.outcomes()
    return {
        (row.block, *sorted((name, cell(level)) for name, level in row.levels.items())): run
        for row in folder.rows
        if outcomes[row.run].status == "done" and (run := outcomes[row.run].folder) is not None
    }


def _description(run: Run) -> Iterator[tuple[Name, Any]]:
    assignment = run.document("assignment") or {}
    yield ("description", "seed"), run.status.seed
    for name, level in assignment.get("factors", {}).items():
        yield ("description", f"level of {name}"), cell(level)
    file = run.folder / "experiment.yaml"
    document = read_file(file).data if file.exists() else {}
    for key, value in document.items():
        if key not in _WORDS:
            for name, one in flat(value, key):
                yield ("description", name), one


def flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Leaves of plain data with dotted names; items of lists are named by what they connect, where they connect anything."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}")
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        labels = [_label(item, index) for index, item in enumerate(value)]
        for index, (item, label) in enumerate(zip(value, labels, strict=True)):
            yield from flat(item, f"{name}[{label if labels.count(label) == 1 else index}]")
    else:
        yield name, value


def _label(item: Any, index: int) -> str:
    if isinstance(item, Mapping):
        if isinstance(ends := item.get("between"), list) and len(ends) == 2:
            return f"{ends[0]} ↔ {ends[1]}"
        if isinstance(item.get("from"), str) and "to" in item:
            to = item["to"] if isinstance(item["to"], list) else [item["to"]]
            return f"{item['from']} → {', '.join(map(str, to))}"
    return str(index)


def _manifest(run: Run) -> Iterator[tuple[Name, Any]]:
    document = run.document("manifest") or {}
    for key, group in _PLACES.items():
        if document.get(key) is not None:
            for name, value in flat(document[key], _CALLED.get(key, key)):
                yield (group, name.removeprefix("hardware.").removeprefix("sysctls.").removeprefix("git.")), value
    described = Path(str(document.get("source", "experiment.yaml"))).name
    for path, digest in document.get("hashes", {}).items():
        if path != described:  # which is told by its parts
            yield ("files", Path(path).name if path.startswith(("/", "~")) else path), digest
    for name, value in document.get("environment", {}).items():
        yield ("environment", f"variable {name}"), value
    for name, version in document.get("packages", {}).items():
        yield ("environment", f"package {name}"), version


def _environment(run: Run) -> Iterator[tuple[Name, Any]]:
    listed = (run.document("environment") or {}).get("distributions", ())
    if listed:
        yield EVERY_PACKAGE, True
    for one in listed:
        if one["name"] != "estran":  # told by its version and its own code
            told = [one["version"], *(str(one[key]) for key in ("commit", "diff") if one.get(key))]
            yield ("environment", f"package {one['name']}"), " ".join(told)


def _platform(run: Run) -> Iterator[tuple[Name, Any]]:
    yield ("platform", "platform"), run.status.platform
    found = (run.document("network") or {}).get("facts", {})
    if isinstance(engine := found.get("engine"), Mapping):
        found = {**found, "engine": engine.get("engine")}
    leaves = dict(leaf for key, value in found.items() for leaf in flat(value, key))
    for name in _FACTS:
        if leaves.get(name) is not None:
            yield ("platform", name), leaves[name]
    if leaves.get("simulated"):
        yield ("platform", "calibrated"), found.get("calibration") is not None


def _network(run: Run) -> Iterator[tuple[Name, Any]]:
    """Medians over like links and hosts of what was measured before the run, and how busy the machine was with other work."""
    document = run.document("network") or {}
    links: defaultdict[str, list[float]] = defaultdict(list)
    for link in document.get("links", ()):
        ends = " → ".join(link[end].rpartition("-")[0] for end in ("source", "target"))
        for what in ("delay", "rate", "loss"):
            if (value := (link.get("measured") or {}).get(what)) is not None:
                links[f"measured {what} {ends}"].append(float(value))
    for share in document.get("cpus", ()):
        if share.get("measured") is not None:
            links[f"measured processor share of {share['host'].rpartition('-')[0]}"].append(float(share["measured"]))
    for name, values in links.items():
        yield ("network", name), median(values)
    busy = _busy(run.folder)
    if busy is not None:
        yield ("load", "share of the machine that was busy"), busy


def _busy(folder: Path) -> float | None:
    import msgspec

    found = msgspec.json.decode((folder / "run.json").read_bytes()).get("machine_busy")
    return None if found is None else float(found)
