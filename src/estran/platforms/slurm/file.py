"""Platform files of kind ``slurm``: which nodes a run needs, for how long, and on whose account."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from estran.errors import Where
from estran.platforms.remote.source import Needs, Open, Supplied, Texts
from estran.platforms.slurm.request import Part, Request
from estran.platforms.ssh.inventory import Reaching
from estran.platforms.ssh.target import Target
from estran.spec.document import Document
from estran.spec.marks import Path, dotted
from estran.spec.platform_file import check_block
from estran.spec.schema import Count, Entry, Name, Scalar, Text
from estran.spec.suggest import did_you_mean
from estran.units import Quantity

SHORTEST: Final = 60.0
"""Seconds: Slurm counts time limits in minutes."""
OPTION: Final = r"^[a-z][a-z0-9-]*$"
OWN: Final = frozenset({
    "array", "chdir", "clusters", "error", "exclusive", "export", "het-group", "input", "job-name", "no-requeue", "nodes", "ntasks",
    "ntasks-per-node", "output", "parsable", "requeue", "test-only", "wait", "wrap",
})  # fmt: skip
"""Options of sbatch that are set by Estran itself."""
KEYS: Final = {
    "partition": "partition", "account": "account", "qos": "qos", "constraint": "constraint", "gres": "gres", "time": "time",
    "mem": "memory", "cpus-per-task": "cpus",
}  # fmt: skip
"""Options of sbatch that have a key of their own in the file."""


def _host(value: Any) -> Any:
    """Take a mere name for a host of that name."""
    return {"host": value} if isinstance(value, str) else value


OptionName = Annotated[str, StringConstraints(pattern=OPTION)]


class NodeEntry(Entry):
    """Which nodes; what a layer does not say itself, it has from the top of the file."""

    partition: Text | None = Field(default=None, description="Partition (queue); else the cluster's default.")
    account: Text | None = Field(default=None, description="Account that is charged; else your default.")
    qos: Text | None = Field(default=None, description="Quality of service.")
    constraint: Text | None = Field(default=None, description="Features that nodes must have, such as 'skylake&ib'.")
    gres: Text | None = Field(default=None, description="Generic resources of each node, such as gpu:1.")
    hosts_per_node: Count | None = Field(default=None, description="Hosts of the experiment on one node; 1 unless given.")
    cpus: Count | None = Field(default=None, description="Processors of each host; if not given, each has its node for itself.")
    memory: Annotated[float, Quantity("size", positive=True)] | None = Field(
        default=None, description="Main memory of each host, such as 16GiB; if not given, what the cluster gives."
    )
    modules: Texts | None = Field(default=None, description="Environment modules that are loaded first, such as python/3.11.")
    python: Text | None = Field(default=None, description="Command that starts Python ≥ 3.11 on the nodes; python3 unless given.")
    options: dict[OptionName, Scalar | None] = Field(
        default={}, description="Further options of sbatch, such as {reservation: maintenance}."
    )


class LayerNodes(NodeEntry):
    """Nodes of one layer."""

    nodes: Count | None = Field(default=None, description="Number of nodes; as many as the layer's hosts need, unless given.")


class LoginEntry(Reaching):
    """A host reached over SSH."""

    host: Text = Field(description="Name, address, or alias of ssh_config.")


class SlurmFile(NodeEntry, Supplied, Open):
    """A platform that allocates its hosts through Slurm."""

    platform: Literal["slurm"] = Field(description="The kind of platform.")
    time: Annotated[float, Quantity("duration", positive=True)] = Field(description="Time limit of the job, such as 1h.")
    login: Annotated[LoginEntry, BeforeValidator(_host)] | None = Field(
        default=None, description="Host from which jobs are submitted, reached over SSH; if not given, this machine."
    )
    layers: dict[Name, LayerNodes] = Field(default={}, description="What differs for the hosts of one layer.")


def read_request(document: Document, layers: Mapping[str, Sequence[str]]) -> Request:
    """Read what a platform file asks of Slurm.

    Parameters
    ----------
    layers
        Names of the hosts that Slurm is to provide, by layer.

    Raises
    ------
    SpecErrors
        All that is wrong with the file, each at its place.
    """
    file = check_block(document, SlurmFile)
    complaints = document.complaints
    if file.time < SHORTEST:
        complaints.add(("time",), "is less than a minute, in which Slurm counts", "write at least 1min")
    for layer in file.layers:
        if layer not in layers:
            remedy = did_you_mean(layer, layers, kind="layer")
            complaints.add(("layers", layer), f"the experiment has no layer {layer!r}", remedy, at="key")
    _check_options(document, (), file)
    parts = [_part(document, layer, hosts, file) for layer, hosts in layers.items()]
    complaints.stop_if_any()
    return Request(file.time, _joined(parts), document.marks.file, _login(document, file), Needs.of(file), *_places(document))


def read_access(document: Document) -> Open:
    """Read how hosts of different layers get at each other; raises as `read_request` does."""
    file = check_block(document, SlurmFile)
    return Open(gateway=file.gateway, behind=file.behind)


def slurm_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of platform files of kind ``slurm``."""
    schema = SlurmFile.model_json_schema(by_alias=True, mode="validation")
    for shape in (schema, schema["$defs"]["LayerNodes"]):
        _admit_text(shape["properties"], "modules")
    _admit_text(schema["properties"], "login", "packages")
    _admit_text(schema["$defs"]["LoginEntry"]["properties"], "key")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Estran platform: Slurm"}


def _admit_text(properties: dict[str, Any], *keys: str) -> None:
    """Admit a mere text where a list of one, or a map with one key, is meant."""
    for key in keys:
        shape = properties[key]
        if "anyOf" not in shape:
            shape["anyOf"] = [{name: shape.pop(name) for name in ("type", "items", "minItems") if name in shape}]
        shape["anyOf"] = [{"type": "string", "minLength": 1}, *shape["anyOf"]]


def _login(document: Document, file: SlurmFile) -> Target | None:
    if file.login is None:
        return None
    given = file.login.model_dump(exclude_none=True)
    keys = tuple(given.pop("key", ()))
    return Target(name=given["host"], keys=keys, where=str(document.marks.where(("login",))), **given)


def _part(document: Document, layer: str, hosts: Sequence[str], file: SlurmFile) -> Part:
    """The nodes of one layer."""
    path, own = ("layers", layer), file.layers.get(layer, LayerNodes())
    _check_options(document, path, own)
    chosen = {key: _first(getattr(own, key), getattr(file, key)) for key in NodeEntry.model_fields if key != "options"}
    per_node = chosen["hosts_per_node"] or 1
    if per_node > 1 and chosen["cpus"] is None:
        place = (*path, "hosts_per_node") if own.hosts_per_node else ("hosts_per_node",)
        document.complaints.add(place, "hosts that share a node need a number of processors", "add cpus: for each host")
    needed = math.ceil(len(hosts) / per_node)
    nodes = own.nodes or needed
    if nodes < needed:
        what = f"{nodes} × {per_node} hosts are fewer than the {len(hosts)} of layer {layer}"
        document.complaints.add((*path, "nodes"), what, f"write at least {needed}, or more hosts_per_node")
    return Part(
        nodes,
        {host: index % nodes for index, host in enumerate(hosts)},
        per_node,
        chosen["cpus"],
        chosen["memory"],
        _options(chosen, {**file.options, **own.options}),
        tuple(chosen["modules"] or ()),
        chosen["python"] or "python3",
    )


def _check_options(document: Document, path: Path, entry: NodeEntry) -> None:
    for name in entry.options:
        if name in OWN:
            document.complaints.add((*path, "options", name), "is set by Estran itself", "leave it out", at="key")
        elif name in KEYS:
            document.complaints.add((*path, "options", name), f"has a key of its own, {KEYS[name]}:", "write it there", at="key")


def _options(chosen: Mapping[str, Any], further: Mapping[str, Any]) -> tuple[str, ...]:
    named = {key: chosen[key] for key in ("partition", "account", "qos", "constraint", "gres") if chosen[key] is not None}
    wanted = {**named, **further}
    return tuple(f"--{name}" if value is None or value is True else f"--{name}={value}" for name, value in wanted.items())


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Let layers whose nodes are of one kind be one part: not every cluster takes heterogeneous jobs."""
    found: list[Part] = []
    for part in parts:
        like = next((other for other in found if _kind(other) == _kind(part)), None)
        if like is None:
            found.append(part)
            continue
        places = {**like.places, **{host: like.nodes + index for host, index in part.places.items()}}
        found[found.index(like)] = Part(like.nodes + part.nodes, places, *_kind(like))
    return tuple(found)


def _kind(part: Part) -> tuple[Any, ...]:
    return (part.hosts_per_node, part.cpus, part.memory, part.options, part.modules, part.python)


def _places(document: Document) -> tuple[dict[str, Where], dict[str, str]]:
    """Where each key of the file stands, and what stands there."""
    tops = [(), *(("layers", layer) for layer in document.data.get("layers") or {})]
    keys = [(*top, key) for top in tops for key in _block(document.data, top)]
    where = {dotted(path): document.marks.where(path) for path in keys}
    return where, {dotted(path): str(_block(document.data, path[:-1])[path[-1]]) for path in keys}


def _block(data: Any, path: Sequence[str]) -> Mapping[str, Any]:
    for part in path:
        data = data[part] or {}
    return dict(data)


def _first(own: Any, general: Any) -> Any:
    return general if own is None else own
