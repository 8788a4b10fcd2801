"""The experiment file's JSON Schema, so that editors complete and check while one types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from estran.spec.catalogue.loader import device_entries, link_entries
from estran.spec.factors import PLAIN
from estran.spec.faults import DATA_KINDS, HOST_KINDS, SERVICE_KINDS
from estran.spec.index import ComponentIndex

if TYPE_CHECKING:
    from pydantic import BaseModel

_REFERENCE: Final = {"$ref": "#/$defs/Reference"}
_REFERENCE_SHAPE: Final = {
    "title": "Reference",
    "description": "A level of a factor.",
    "type": "string",
    "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_-]*\}$",
}


def json_schema(components: ComponentIndex | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an experiment file.

    It admits ``${name}`` wherever a value may stand, and names the devices and links of the catalogue. With an index it names
    components too, and describes their settings.
    """
    from estran.spec.schema import ExperimentFile, ServiceEntry

    schema = ExperimentFile.model_json_schema(by_alias=True, mode="validation")
    shapes = schema["$defs"]
    _describe(schema, ExperimentFile)
    _describe(shapes["ServiceEntry"], ServiceEntry)
    _suggest(shapes["LayerEntry"]["properties"]["device"], list(device_entries()))
    _suggest(shapes["NetworkEntry"]["properties"]["link"], list(link_entries()))
    _suggest(shapes["DeviceEntry"]["properties"]["like"], list(device_entries()))
    _suggest(shapes["LinkEntry"]["properties"]["like"], list(link_entries()))
    _listed(shapes["ServiceEntry"]["properties"], "on", "ports")
    _listed(shapes["StreamEntry"]["properties"], "to")
    _timed(shapes)
    _shared(shapes)
    _faults(shapes["FaultEntry"]["properties"])
    if components is not None:
        _components(shapes, components)
    for shape in (schema, *list(shapes.values())):
        _admit_references(shape)
    for key in PLAIN:
        schema["properties"][key] = ExperimentFile.model_json_schema(by_alias=True)["properties"][key]
    shapes["Reference"] = dict(_REFERENCE_SHAPE)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Estran experiment"}


def _describe(shape: dict[str, Any], model: type[BaseModel]) -> None:
    """Put back the descriptions that pydantic drops beside a ``$ref``."""
    for name, field in model.model_fields.items():
        shape["properties"][field.alias or name].setdefault("description", field.description)


def _suggest(shape: dict[str, Any], names: list[str]) -> None:
    """Offer names for completion, and admit those that a file defines itself."""
    described: dict[str, Any] = {key: shape.pop(key) for key in ("description", "default", "title") if key in shape}
    plain = {**shape}
    shape.clear()
    shape.update(described, anyOf=[{"enum": names}, plain])


def _listed(properties: dict[str, Any], *keys: str) -> None:
    """Admit one item where a list of one is meant."""
    for key in keys:
        shape = properties[key]
        described = {name: shape.pop(name) for name in ("description", "default", "title") if name in shape}
        properties[key] = {**described, "anyOf": [shape["items"], shape]}


def _timed(shapes: dict[str, Any]) -> None:
    """Admit a mere duration where a cost is meant."""
    duration = {key: value for key, value in shapes["CostEntry"]["properties"]["time"].items() if key in ("anyOf", "type")}
    cost = {"anyOf": [{"$ref": "#/$defs/CostEntry"}, duration]}
    shapes["ServiceEntry"]["properties"]["costs"]["additionalProperties"] = cost
    for name in ("ServingEntry", "CallEntry"):
        held = shapes[name]["properties"].get("cost")
        if held is not None:
            shapes[name]["properties"]["cost"] = {"description": held.get("description", ""), "default": {}, **cost}


def _shared(shapes: dict[str, Any]) -> None:
    """Admit a mere share, or the word idle."""
    shape = shapes["ServiceEntry"]["properties"]["share"]
    most = {key: value for key, value in shapes["ShareEntry"]["properties"]["most"].items() if key in ("anyOf", "type")}
    described = {"description": shape.get("description", ""), "default": {}}
    shapes["ServiceEntry"]["properties"]["share"] = {
        **described, "anyOf": [{"$ref": "#/$defs/ShareEntry"}, {"const": "idle"}, most],
    }  # fmt: skip


def _faults(properties: dict[str, Any]) -> None:
    """Admit one item where a list of one is meant, and the word none for no time."""
    for key in (*HOST_KINDS, *SERVICE_KINDS, *DATA_KINDS, "at"):
        listed = properties[key]["anyOf"]
        properties[key]["anyOf"] = [listed[0]["items"], *listed]
    for option in properties["partition"]["anyOf"]:
        if "items" in option:
            option["items"] = {"anyOf": [option["items"]["items"], option["items"]]}
    properties["for"]["anyOf"] = [{"const": "none"}, *properties["for"]["anyOf"]]


def _components(shapes: dict[str, Any], components: ComponentIndex) -> None:
    """Name the components, and tie the settings of each to its name."""
    service, rules = shapes["ServiceEntry"], []
    names = list(components.names())
    _suggest(service["properties"]["component"], names)
    for name in names:
        settings = dict(components.describe(name).settings)
        if not settings:
            continue
        inner = settings.pop("$defs", {})
        renamed = {key: f"{name}.{key}" for key in inner}
        for key, shape in inner.items():
            shapes[renamed[key]] = _renamed(shape, renamed)
        shapes[name] = _renamed(settings, renamed)
        chosen = {"properties": {"component": {"const": name}}, "required": ["component"]}
        rules.append({"if": chosen, "then": {"properties": {"with": {"$ref": f"#/$defs/{name}"}}}})
    if rules:
        service["allOf"] = rules


def _renamed(shape: Any, names: dict[str, str]) -> Any:
    """Point the references of a component's schema at its renamed definitions."""
    if isinstance(shape, dict):
        target = str(shape.get("$ref", "")).removeprefix("#/$defs/")
        moved = {"$ref": f"#/$defs/{names[target]}"} if target in names else {}
        return {key: _renamed(value, names) for key, value in shape.items()} | moved
    return [_renamed(value, names) for value in shape] if isinstance(shape, list) else shape


def _admit_references(shape: Any) -> None:
    """Admit ``${name}`` for every value below an object or a list."""
    if not isinstance(shape, dict):
        return
    for key in ("properties", "patternProperties"):
        for name, inner in shape.get(key, {}).items():
            _admit_references(inner)
            shape[key][name] = _or_reference(inner)
    for key in ("additionalProperties", "items"):
        if isinstance(shape.get(key), dict):
            _admit_references(shape[key])
            shape[key] = _or_reference(shape[key])
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in shape.get(key, []):
            _admit_references(inner)


def _or_reference(shape: dict[str, Any]) -> dict[str, Any]:
    if not shape or _REFERENCE in shape.get("anyOf", []):
        return shape
    described: dict[str, Any] = {key: shape[key] for key in ("description", "default", "title") if key in shape}
    return {**described, "anyOf": [{key: value for key, value in shape.items() if key not in described}, _REFERENCE]}
