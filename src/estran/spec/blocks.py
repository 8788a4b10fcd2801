"""Checks each block of a description by itself, so that one wrong block hides no other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from estran.spec.document import Document
from estran.spec.findings import findings
from estran.spec.marks import Complaints, Path
from estran.spec.schema import (
    KIND,
    NAME,
    NAME_LENGTH,
    DeviceEntry,
    ExperimentFile,
    FaultEntry,
    LayerEntry,
    LinkEntry,
    MeasureEntry,
    NetworkEntry,
    ServiceEntry,
    StreamEntry,
)
from estran.spec.suggest import closest, did_you_mean

M = TypeVar("M", bound=BaseModel)
TOP = tuple(field.alias or name for name, field in ExperimentFile.model_fields.items())
"""Top-level keys of a file."""


@dataclass(slots=True)
class Blocks:
    """The blocks that are well formed by themselves.

    Attributes
    ----------
    declared
        Names that each section gives, whether their blocks are right or wrong: references to them are no errors.
    network, streams
        With their index in the file.
    """

    scalars: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, DeviceEntry] = field(default_factory=dict)
    links: dict[str, LinkEntry] = field(default_factory=dict)
    layers: dict[str, LayerEntry] = field(default_factory=dict)
    network: dict[int, NetworkEntry] = field(default_factory=dict)
    services: dict[str, ServiceEntry] = field(default_factory=dict)
    streams: dict[int, StreamEntry] = field(default_factory=dict)
    faults: dict[str, FaultEntry] = field(default_factory=dict)
    measure: MeasureEntry | None = None
    declared: dict[str, set[str]] = field(default_factory=dict)


def as_meant(document: Document) -> None:
    """Complain of sections whose names are mistyped, and read them as what is meant: what refers to them is no second error."""
    for key in list(document.data):
        meant = None if key in TOP else closest(key, TOP)
        if meant is not None and meant not in document.data:
            document.complaints.add((key,), "unknown key", f"did you mean {meant!r}?", at="key")
            document.data = {meant if name == key else name: value for name, value in document.data.items()}
            document.marks.rename(key, meant)


def read_blocks(data: Mapping[str, Any], complaints: Complaints) -> Blocks:
    """Check the shape of every block of a document; what is wrong goes to the complaints."""
    reader = _Reader(data, complaints)
    reader.top()
    blocks = Blocks(scalars={key: reader.scalar(key) for key in ("experiment", "title", "description", "folder", "seed")})
    blocks.devices = reader.named("devices", DeviceEntry)
    blocks.links = reader.named("links", LinkEntry)
    blocks.layers = reader.named("layers", LayerEntry)
    blocks.network = reader.listed("network", NetworkEntry)
    blocks.services = reader.named("services", ServiceEntry)
    blocks.streams = reader.listed("streams", StreamEntry)
    blocks.faults = reader.named("faults", FaultEntry)
    blocks.measure = reader.block(MeasureEntry, data["measure"], ("measure",)) if "measure" in data else MeasureEntry()
    for section in ("devices", "links", "layers", "services"):
        block = data.get(section)
        blocks.declared[section] = set(block) if isinstance(block, dict) else set()
    return blocks


class _Reader:
    def __init__(self, data: Mapping[str, Any], complaints: Complaints) -> None:
        self._data = data
        self._complaints = complaints

    def top(self) -> None:
        """Unknown and missing keys of the file itself."""
        for key in self._data:
            if key not in TOP:
                self._complaints.add((key,), "unknown key", did_you_mean(key, TOP, kind="key"), at="key")
        for name, described in ExperimentFile.model_fields.items():
            if described.is_required() and name not in self._data:
                self._complaints.add((), f"the key {name!r} is missing", f"add {name}: ({described.description})")

    def scalar(self, key: str) -> Any:
        """One of the values that stand at the top."""
        described = ExperimentFile.model_fields[key]
        if key not in self._data:
            return described.default
        shape = get_type_hints(ExperimentFile, include_extras=True)[key]
        try:
            return TypeAdapter(shape).validate_python(self._data[key])
        except ValidationError as error:
            self._report(error, self._data[key], shape, (key,))
        return described.default

    def named(self, section: str, model: type[M]) -> dict[str, M]:
        """The blocks of a section that maps names to blocks."""
        block = self._data.get(section)
        if block is None:
            if section in self._data:
                optional = "" if ExperimentFile.model_fields[section].is_required() else f", or remove {section}:"
                self._complaints.add((section,), "is empty", f"write its entries below it{optional}", at="key")
            return {}
        if not isinstance(block, dict):
            self._complaints.add((section,), "must be a map of names to blocks", f"write for example {section}: {{name: {{…}}}}")
            return {}
        if not block and ExperimentFile.model_fields[section].is_required():
            self._complaints.add((section,), "is empty", "add at least one")
        checked = {name: self.block(model, value, (section, name)) for name, value in block.items() if self._name(section, name)}
        return {name: entry for name, entry in checked.items() if entry is not None}

    def _name(self, section: str, name: str) -> bool:
        """Whether a name can be one here."""
        shape = KIND if section in ("devices", "links") else NAME
        if re.fullmatch(shape, name) and len(name) <= NAME_LENGTH:
            return True
        first = "a letter or digit" if shape == KIND else "a letter"
        remedy = f"use letters, digits, - and _, beginning with {first}, {NAME_LENGTH} at most"
        self._complaints.add((section, name), f"{name!r} cannot be a name here", remedy, at="key")
        return False

    def listed(self, section: str, model: type[M]) -> dict[int, M]:
        """The blocks of a section that is a list."""
        block = self._data.get(section)
        if block is None:
            return {}
        if not isinstance(block, list):
            self._complaints.add((section,), "must be a list", "begin each entry with '- '")
            return {}
        checked = {index: self.block(model, value, (section, index)) for index, value in enumerate(block)}
        return {index: entry for index, entry in checked.items() if entry is not None}

    def block(self, model: type[M], value: Any, path: Path) -> M | None:
        """One block, or None if it is wrong."""
        if not isinstance(value, dict):
            keys = ", ".join(field.alias or name for name, field in model.model_fields.items())
            self._complaints.add(path, "must be a map", f"its keys are {keys}")
            return None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            self._report(error, value, model, path)
            return None

    def _report(self, error: ValidationError, value: Any, shape: Any, path: Path) -> None:
        for found in findings(error, value, shape):
            self._complaints.add((*path, *found.path), found.what, found.remedy, at="key" if found.on_key else "value")
